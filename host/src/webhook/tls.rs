//! TLS: a certificate that is read again when its files change, and client certificates where they are asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use super::listen::Stream;
use crate::fault::Fault;
use crate::operator_file;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those that lead from it to a root, as PEM; read again when it changes.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
    /// Who signs the certificates that clients must have, as PEM; clients need none if absent.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// The newest good certificate.
#[derive(Clone)]
pub struct Tls {
    current: Arc<ArcSwap<ServerConfig>>,
    files: Arc<TlsConfig>,
}

impl Tls {
    /// Reads the files. Needs a tokio runtime, where it looks whether they change.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub fn start(config: TlsConfig) -> Result<Self, Fault> {
        let seen = stamps(&config);
        let current = Arc::new(ArcSwap::from_pointee(read(&config)?));
        let tls = Self { current, files: Arc::new(config) };
        tokio::spawn(tls.clone().keep_reading(seen));
        Ok(tls)
    }

    /// Whether the files can be used.
    ///
    /// # Errors
    ///
    /// Which one cannot, and why.
    pub fn check(config: &TlsConfig) -> Result<(), Fault> {
        read(config).map(drop)
    }

    async fn keep_reading(self, mut seen: Vec<Option<SystemTime>>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (files, before) = (self.files.clone(), seen.clone());
            let look = move || {
                let now = stamps(&files);
                (now != before).then(|| (read(&files), now))
            };
            let Ok(Some((config, now))) = tokio::task::spawn_blocking(look).await else { continue };
            match config {
                Ok(config) => {
                    self.current.store(Arc::new(config));
                    seen = now;
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                }
                // Half of a pair may be there already: looked at again.
                Err(fault) => {
                    tracing::warn!("the new certificate cannot be used, the one before stays: {fault}")
                }
            }
        }
    }

    pub(super) async fn accept(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        let accepted = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
        let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Box::new(stream))
    }
}

fn stamps(config: &TlsConfig) -> Vec<Option<SystemTime>> {
    let files = [Some(&config.certificate), Some(&config.key), config.client_ca.as_ref()];
    files.into_iter().flatten().map(|file| operator_file::state(file).ok()??.modified().ok()).collect()
}

fn read(config: &TlsConfig) -> Result<ServerConfig, Fault> {
    let chain = certificates("certificate", &config.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&pem("key", &config.key)?)
        .map_err(|error| unusable("key", &config.key, &error))?;
    let builder = match &config.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("client-ca", file)? {
                roots.add(root).map_err(|error| unusable("client-ca", file, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            let verifier = verifier.map_err(|error| unusable("client-ca", file, &error))?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| unusable("key", &config.key, &error));
    let mut config = config?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(name: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = pem(name, file)?;
    let read = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| unusable(name, file, &error))?;
    if read.is_empty() {
        return Err(unusable(name, file, &"it holds no certificate in PEM form"));
    }
    Ok(read)
}

fn pem(name: &str, file: &Path) -> Result<Vec<u8>, Fault> {
    operator_file::read(file, operator_file::LIST).map_err(|error| unusable(name, file, &error))
}

fn unusable(name: &str, file: &Path, error: &dyn std::fmt::Display) -> Fault {
    let message = format!("{} cannot be used: {error}", file.display());
    Fault { path: format!("tls.{name}"), value: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator_file::tests::are_refused_in_time;

    #[test]
    fn odd_files_are_no_certificates() {
        are_refused_in_time("cert.pem", |path| {
            let config = TlsConfig { certificate: path.into(), key: path.into(), client_ca: None };
            stamps(&config);
            Tls::check(&config).unwrap_err().to_string()
        });
    }
}
