//! Connecting to a checked address, with TLS where the URL asks for it. No proxies, no second look at the name.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::io::InspectReader;
use url::{Host, Url};
use wasmtime_wasi_http::Error;

use super::EgressConfig;
use super::addresses::resolve;
use super::failure::Failure;
use super::off_limits::OffLimits;
use super::resolver::Resolver;
use crate::fault::Fault;
use crate::operator_file;
use crate::plugin::descriptors::Descriptors;
use crate::plugin::grants::{Grants, host_of};
use crate::server_certificate;

/// The variable that names a file of certificate authorities in place of the system's.
const CERTIFICATES: &str = "SSL_CERT_FILE";
/// Where most systems keep theirs.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl";

/// What all plugins connect with: the trusted certificate authorities and the time limit. Cheap to clone.
#[derive(Clone)]
pub(in crate::plugin) struct Connector {
    tls: TlsConnector,
    roots: Arc<RootCertStore>,
    timeout: Duration,
    off_limits: OffLimits,
    pub(super) descriptors: Descriptors,
    pub(super) resolver: Resolver,
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connector {
    /// Reads the certificate authorities of the system and of the configuration.
    ///
    /// # Errors
    /// Every file that cannot be read or holds no certificate, with paths such as `egress.root-certificates[0]`.
    pub(in crate::plugin) fn new(config: &EgressConfig) -> Result<Self, Vec<Fault>> {
        let given = read_roots(&config.root_certificates, "egress.root-certificates")?;
        let roots = Arc::new(roots(&given)?);
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring serves TLS 1.2 and 1.3");
        let tls = match server_certificate::verifier(roots.clone(), given) {
            Ok(verifier) => tls.dangerous().with_custom_certificate_verifier(verifier),
            // There is nothing to trust.
            Err(_) => tls.with_root_certificates(roots.clone()),
        };
        let mut tls = tls.with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (tls, timeout) = (Arc::new(tls).into(), config.connect_timeout);
        let (off_limits, descriptors) = (OffLimits::default(), Descriptors::of_process());
        Ok(Self { tls, roots, timeout, off_limits, descriptors, resolver: Resolver::System })
    }

    /// The descriptors that connections take, and everything else of plugins.
    pub(in crate::plugin) fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    async fn descriptor(&self, by: Instant) -> Result<OwnedSemaphorePermit, Failure> {
        self.descriptors.take(1, by).await.ok_or_else(|| {
            let most = self.descriptors.most();
            let text = format!(
                "all {most} files and connections that plugins of this host may have open are in use; raise the host's limit on open files (ulimit -n)"
            );
            Failure::new(Error::ConnectionLimitReached, text)
        })
    }

    /// The same, for which these services are out of reach.
    pub(in crate::plugin) fn avoiding(self, off_limits: OffLimits) -> Self {
        Self { off_limits, ..self }
    }

    /// The certificate authorities that are trusted.
    pub(super) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// How long looking up, connecting and the TLS handshake may take in all.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn connect(
        &self,
        url: &Url,
        grants: &Grants,
        by: Instant,
    ) -> Result<Box<dyn Stream>, Failure> {
        let descriptor = self.descriptor(by).await?;
        let addresses = resolve(&self.resolver, &self.off_limits, url, grants, by).await?;
        let stream = dial(&addresses, by).await?;
        // Open as long as the stream is: the descriptor lives in what looks at its bytes, and sees nothing.
        let stream = InspectReader::new(stream, move |_: &[u8]| _ = &descriptor);
        let peer = url.host_str().unwrap_or_default();
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        match timeout_at(by, self.tls.connect(server_name(url)?, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(Failure::tls(&error, peer)),
            Err(_) => Err(Failure::new(
                Error::ConnectionTimeout,
                format!("the TLS handshake with {peer} took too long"),
            )),
        }
    }
}

/// The certificate authorities of the system, and those that were given.
fn roots(given: &[CertificateDer<'static>]) -> Result<RootCertStore, Vec<Fault>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_roots(env::var_os(CERTIFICATES).map(PathBuf::from))?);
    if roots.is_empty() {
        tracing::warn!(target: "plugin", "the system has no certificate authorities; plugins cannot use https");
    }
    roots.add_parsable_certificates(given.iter().cloned());
    Ok(roots)
}

/// The certificate authorities of the system, or those that the variable [`CERTIFICATES`] names in their place.
fn system_roots(named: Option<PathBuf>) -> Result<Vec<CertificateDer<'static>>, Vec<Fault>> {
    let load = || Ok(rustls_native_certs::load_native_certs().certs);
    let looked = named.as_deref().map_or(Ok(None), operator_file::state);
    let path = named.as_deref().unwrap_or(Path::new(SYSTEM_CERTIFICATES));
    let found = looked.and_then(|_| operator_file::within(operator_file::READ_LIMIT, path, load));
    found.map_err(|error| {
        let whose = match &named {
            Some(path) => format!("{CERTIFICATES}={}", path.display()),
            None => "the system's certificate authorities (SSL_CERT_DIR, if that is set)".to_owned(),
        };
        vec![Fault { path: String::new(), value: None, message: format!("{whose} cannot be read: {error}") }]
    })
}

fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    match host_of(url) {
        Some(Host::Ipv4(address)) => Ok(std::net::IpAddr::from(address).into()),
        Some(Host::Ipv6(address)) => Ok(std::net::IpAddr::from(address).into()),
        Some(Host::Domain(name)) => ServerName::try_from(name).map_err(|_| invalid_host(url)),
        None => Err(invalid_host(url)),
    }
}

fn invalid_host(url: &Url) -> Failure {
    let host = url.host_str().unwrap_or_default();
    Failure::new(
        Error::HttpRequestUriInvalid,
        format!("\"{host}\" is not a name that a certificate can carry"),
    )
}

/// The first address that answers. Each gets its share of the time that is left, so that one that is silent does not
/// use it up.
async fn dial(addresses: &[SocketAddr], by: Instant) -> Result<TcpStream, Failure> {
    let mut last = Failure::new(Error::DestinationNotFound, "there is no address to connect to");
    for (index, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let share = by.saturating_duration_since(now) / (addresses.len() - index) as u32;
        last = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one small write; waiting for more only delays it.
                _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => Failure::connect(&error, &address.to_string()),
            Err(_) => Failure::connect(&io::ErrorKind::TimedOut.into(), &address.to_string()),
        };
    }
    Err(last)
}

/// The certificates of PEM files; `path` is the configuration key that lists them.
pub(in crate::plugin) fn read_roots(
    files: &[PathBuf],
    path: &str,
) -> Result<Vec<CertificateDer<'static>>, Vec<Fault>> {
    let mut roots = Vec::new();
    let mut faults = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let message = match read_certificates(file) {
            Ok(found) if !found.is_empty() && found.iter().all(is_root) => {
                roots.extend(found);
                continue;
            }
            Ok(_) => "holds no usable certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        let value = Some(file.to_string_lossy().into());
        faults.push(Fault { path: format!("{path}[{index}]"), value, message });
    }
    if faults.is_empty() { Ok(roots) } else { Err(faults) }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = operator_file::read(file, operator_file::LIST).map_err(|error| error.to_string())?;
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn is_root(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::operator_file::tests::are_refused_in_time;

    #[test]
    fn certificate_authorities_that_hold_up_are_refused_with_their_variable() {
        are_refused_in_time("roots.pem", |path| {
            let faults = system_roots(Some(path.to_owned())).unwrap_err();
            let text = faults[0].to_string();
            let expected = format!("SSL_CERT_FILE={} cannot be read: ", path.display());
            assert!(text.starts_with(&expected), "{text}");
            text
        });
    }
}
