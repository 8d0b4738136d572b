//! Which certificates of servers are taken: those that webpki takes, and one of an authority that was given as such and that the
//! server itself shows, as `openssl req -x509` makes them. Webpki refuses it for being an authority's; curl and browsers take it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

/// What webpki calls such a certificate.
pub(crate) const IS_AUTHORITY: &str = "CaUsedAsEndEntity";
/// What helps where such a certificate is not taken.
pub const ADVICE: &str = "its certificate is one of an authority, as `openssl req -x509` makes it: give that very certificate as trusted, or make \
     another with `-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME`";

/// A verifier that trusts these roots; `given` are those among them that the operator named.
///
/// # Errors
///
/// There are no roots.
pub fn verifier(
    roots: Arc<RootCertStore>,
    given: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
    Ok(Arc::new(Verifier { webpki, given }))
}

/// Whether a certificate was refused for being that of an authority.
pub fn is_of_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return false };
    cause.to_string() == IS_AUTHORITY
}

#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.webpki.verify_server_cert(shown, intermediates, name, ocsp, now) {
            // Webpki looks at the time before that, and at the name after it.
            Err(error) if is_of_authority(&error) && self.given.contains(shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate for 127.0.0.1 as `openssl req -x509` makes it.
    fn authority() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    /// Shows a certificate at a time in seconds, to who was given another.
    fn verdict(
        shown: &CertificateDer<'static>,
        given: &CertificateDer<'static>,
        name: &str,
        at: u64,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(given.clone()).unwrap();
        let verifier = verifier(Arc::new(roots), vec![given.clone()]).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier.verify_server_cert(shown, &[], &name, &[], at)
    }

    #[test]
    fn an_authority_that_was_given_is_taken_for_its_own_names_in_its_time() {
        const IN_TIME: u64 = 1_780_000_000;
        let (own, other) = (authority(), authority());
        assert!(verdict(&own, &own, "127.0.0.1", IN_TIME).is_ok());
        let named = verdict(&own, &own, "127.0.0.2", IN_TIME).unwrap_err();
        assert!(
            matches!(named, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
            "{named:?}"
        );
        for at in [1_700_000_000, 1_900_000_000] {
            let late = verdict(&own, &own, "127.0.0.1", at).unwrap_err();
            assert!(
                matches!(late, Error::InvalidCertificate(_)) && !is_of_authority(&late),
                "{at}: {late:?}"
            );
        }
        let unknown = verdict(&own, &other, "127.0.0.1", IN_TIME).unwrap_err();
        assert!(is_of_authority(&unknown), "{unknown:?}");
    }
}
