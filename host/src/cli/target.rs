//! The host that a command talks to: where it is, by what it is known, and what it answered.

use std::error::Error;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Identity, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;
use crate::{operator_file, server_certificate, shown};

/// Which host a command talks to.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// Address of the host, without a key in it
    #[arg(
        long,
        env = "CAMPANILE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000",
        hide_env_values = true
    )]
    url: String,
    /// A key that opens it there, if it asks for one
    #[arg(long, env = "CAMPANILE_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
    /// Certificates as PEM, of which one has to be the host's or have signed it [default: those that this machine trusts]
    #[arg(long, env = "CAMPANILE_CACERT", value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Take any certificate for the host's: who is on the way to it can read the key and the alerts
    #[arg(long)]
    insecure: bool,
    /// The certificate to show to the host, as PEM, for one that asks clients for it (`[tls] client-ca`)
    #[arg(long, env = "CAMPANILE_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of that certificate, as PEM [default: in the same file]
    #[arg(long, env = "CAMPANILE_CERT_KEY", value_name = "FILE", requires = "cert", hide_env_values = true)]
    cert_key: Option<PathBuf>,
}

impl Target {
    /// The address of a path there. What could be a secret is refused: errors and logs repeat addresses.
    pub(super) fn at(&self, path: &str) -> anyhow::Result<Url> {
        let base = Url::parse(&self.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.context("--url is not an address such as http://127.0.0.1:8000")?;
        let is_plain = base.username().is_empty() && base.password().is_none();
        if !is_plain || base.query().is_some() || base.fragment().is_some() {
            bail!(
                "--url has a user, a query or a fragment: give the address alone, and the key by --key or CAMPANILE_KEY"
            );
        }
        Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).context("--url cannot be used")
    }

    /// A client that shows the key; the host answers in less than `timeout`.
    pub(super) fn http(&self, timeout: Duration) -> anyhow::Result<reqwest::Client> {
        // A host is reached directly: a proxy of the environment would rarely lead to it, and never to loopback. HTTP/1.1
        // reports why a connection ended.
        let mut client = reqwest::Client::builder().no_proxy().http1_only().timeout(timeout);
        client = client.default_headers(self.headers()?).tls_danger_accept_invalid_certs(self.insecure);
        let given = self.cacert.as_deref().map(authorities).transpose()?;
        let identity =
            self.cert.as_deref().map(|file| identity(file, self.cert_key.as_deref())).transpose()?;
        client = match (given.filter(|_| !self.insecure), identity) {
            (Some(given), identity) => client.tls_backend_preconfigured(trusting(given, identity)?),
            (None, Some(Shown { pem, .. })) => {
                client.identity(Identity::from_pem(&pem).context("--cert cannot be used")?)
            }
            (None, None) => client,
        };
        client.build().context("the TLS options cannot be used")
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let bearer = HeaderValue::try_from(format!("Bearer {key}"));
            let mut bearer = bearer.context("the key has characters that no key has")?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(headers)
    }
}

/// TLS to a host whose certificate is one of these, or signed by one.
fn trusting(given: Vec<CertificateDer<'static>>, shown: Option<Shown>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(given.iter().cloned());
    let verifier = server_certificate::verifier(roots.into(), given).context("--cacert cannot be used")?;
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let tls =
        tls.with_safe_default_protocol_versions()?.dangerous().with_custom_certificate_verifier(verifier);
    match shown {
        None => Ok(tls.with_no_client_auth()),
        Some(Shown { chain, key, .. }) => {
            tls.with_client_auth_cert(chain, key).context("--cert and --cert-key do not fit each other")
        }
    }
}

fn authorities(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = certificates(&pem("--cacert", file)?);
    if certificates.is_empty() {
        bail!("--cacert: {} holds no certificate as PEM (-----BEGIN CERTIFICATE-----)", file.display());
    }
    Ok(certificates)
}

/// The certificates of a file, if all of them can be read.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap_or_default()
}

/// What a client shows to the host: a certificate with its key.
struct Shown {
    pem: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A certificate with its key, which may be in the same file.
fn identity(certificate: &Path, key: Option<&Path>) -> anyhow::Result<Shown> {
    let mut text = pem("--cert", certificate)?;
    if let Some(key) = key {
        text.push(b'\n');
        text.extend(pem("--cert-key", key)?);
    }
    let place = key.map(|key| format!(" and {}", key.display())).unwrap_or_default();
    let chain = certificates(&text);
    let read = PrivateKeyDer::from_pem_slice(&text).ok().filter(|_| !chain.is_empty());
    read.map(|key| Shown { pem: text, chain, key }).with_context(|| {
        let file = certificate.display();
        format!(
            "{file}{place}: no certificate with its private key as PEM: --cert client.pem --cert-key client-key.pem"
        )
    })
}

fn pem(option: &str, file: &Path) -> anyhow::Result<Vec<u8>> {
    let read = operator_file::read(file, operator_file::LIST);
    read.with_context(|| format!("{option}: {} cannot be read", file.display()))
}

/// What a host answered, or its refusal in its own words.
pub(super) async fn answered<T: DeserializeOwned>(response: reqwest::Response) -> anyhow::Result<T> {
    let (url, status) = (response.url().clone(), response.status());
    let body = response.bytes().await.map_err(reqwest::Error::without_url)?;
    if !status.is_success() {
        let refusal: Value = serde_json::from_slice(&body).unwrap_or_default();
        match refusal["message"].as_str() {
            Some(message) if status == StatusCode::UNAUTHORIZED => {
                bail!("{}: a command takes it as --key KEY, or in CAMPANILE_KEY", shown::line(message))
            }
            Some(message) => bail!("{}{}", shown::line(message), listed(&refusal["errors"])),
            None => {
                bail!("{url} answered {status}, not as a campanile does: is that a proxy in front of it?")
            }
        }
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} is not a campanile"))
}

/// A line for each fault of a refusal whose message only counts them.
fn listed(errors: &Value) -> String {
    let faults = Vec::<Fault>::deserialize(errors).unwrap_or_default();
    let several = faults.iter().filter(|_| faults.len() > 1);
    several.map(|fault| format!("\n{}", shown::line(&fault.to_string()))).collect()
}

/// Why a host did not answer, and what helps.
pub(super) fn no_answer(url: &Url, error: reqwest::Error) -> anyhow::Error {
    let advice = advice(&error);
    anyhow::Error::new(error.without_url()).context(format!("no answer from {url}: {advice}"))
}

fn advice(error: &reqwest::Error) -> &'static str {
    match tls_error(error) {
        Some(error) if server_certificate::is_of_authority(error) => server_certificate::ADVICE,
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => {
            "its certificate is for other names: use one of those in --url, or make it with `-addext subjectAltName=DNS:NAME`"
        }
        Some(TlsError::InvalidCertificate(_)) => {
            "its certificate is not trusted: name the certificate of who signed it, such as --cacert ca.pem"
        }
        Some(TlsError::AlertReceived(AlertDescription::CertificateRequired)) => {
            "it asks for a client certificate: --cert client.pem --cert-key client-key.pem"
        }
        Some(TlsError::AlertReceived(_)) => {
            "it refuses the TLS connection: is --cert signed by one of its `[tls] client-ca`?"
        }
        Some(TlsError::InvalidMessage(_)) => "it does not speak TLS: is its address http://…?",
        _ if is_no_http(error) => "it does not speak HTTP: is its address https://…?",
        _ => "is the host running?",
    }
}

/// What TLS says of a failure, if it is one of TLS.
fn tls_error(error: &reqwest::Error) -> Option<&TlsError> {
    causes(error).find_map(unwrapped)
}

/// What an `io::Error` wraps is not among its causes.
fn unwrapped<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => error.get_ref().and_then(|inner| unwrapped(inner)),
        None => cause.downcast_ref(),
    }
}

fn is_no_http(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
}
