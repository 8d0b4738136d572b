//! The certificate that SNS signs with: made out to SNS, and signed, certificate by certificate, up to a root that this host
//! trusts. What is missing between the two is fetched from where each certificate says that its issuer's is (RFC 5280, section
//! 4.2.2.1), often by plain HTTP: what is fetched is worth something only if the signatures fit.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use url::Url;
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::plugin::Fetcher;

/// Whom it is made out to, in most regions; in others to the host that serves it.
const SUBJECT: &str = "sns.amazonaws.com";
/// The most certificates that are fetched between it and a root.
const MOST_FETCHED: usize = 3;

/// The RSA key of the certificate at `url`, in the form of PKCS #1.
///
/// # Errors
///
/// What is wrong with the certificate, as the rest of a sentence.
pub(super) async fn public_key(
    pem: &[u8],
    url: &Url,
    fetcher: &Fetcher,
    now: Timestamp,
) -> Result<Arc<[u8]>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let mut chain = chain.map_err(|error| format!("is not PEM: {error}"))?.into_iter();
    let certificate = chain.next().ok_or_else(|| "is not PEM".to_owned())?;
    check_name(&certificate, url)?;
    check_chain(&certificate, chain.collect(), fetcher, now).await?;
    let key = parsed(&certificate)?.public_key().subject_public_key.data.as_ref().into();
    Ok(key)
}

fn check_name(certificate: &CertificateDer<'_>, url: &Url) -> Result<(), String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| unreadable(&error))?;
    let names = [SUBJECT, url.host_str().unwrap_or_default()];
    let is_for =
        |name| ServerName::try_from(name).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
    match names.into_iter().any(is_for) {
        true => Ok(()),
        false => Err(format!("is not made out to {SUBJECT}")),
    }
}

/// `above` are the certificates between it and a root, as far as they came with it.
async fn check_chain(
    certificate: &CertificateDer<'_>,
    mut above: Vec<CertificateDer<'static>>,
    fetcher: &Fetcher,
    now: Timestamp,
) -> Result<(), String> {
    for _ in 0..MOST_FETCHED {
        match verified(certificate, &above, fetcher.roots(), now) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
            verdict => return verdict.map_err(|error| refused(&error)),
        }
        let Some(url) = issuer(above.last().unwrap_or(certificate))? else { break };
        let page = fetcher.get(&url).await.map_err(|error| format!("has an issuer at {url}: {error}"))?;
        let fetched = CertificateDer::from_pem_slice(&page).unwrap_or_else(|_| page.to_vec().into());
        above.push(fetched);
    }
    verified(certificate, &above, fetcher.roots(), now).map_err(|error| refused(&error))
}

fn verified(
    certificate: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: Timestamp,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)));
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, above, now, algorithms)
}

/// Where the certificate that signed this one is.
fn issuer(certificate: &CertificateDer<'_>) -> Result<Option<Url>, String> {
    let parsed = parsed(certificate)?;
    let access = parsed.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(&access.accessdescs),
        _ => None,
    });
    let mut urls = access.flatten().filter_map(|access| match &access.access_location {
        GeneralName::URI(text) if access.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS => {
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
        }
        _ => None,
    });
    Ok(urls.next())
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::fmt::Display) -> String {
    format!("cannot be read: {error}")
}

fn refused(error: &Error) -> String {
    format!(
        "is not trusted here ({error}): if it is Amazon's, put the certificate above it into `egress.root-certificates`"
    )
}
