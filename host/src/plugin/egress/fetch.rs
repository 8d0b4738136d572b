//! Requests of the host itself, by the rules that hold for plugins: the name looked up once, only public addresses, TLS, no
//! redirects, and an end to everything.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::EgressConfig;
use super::connect::Connector;
use crate::fault::Fault;
use crate::plugin::grants::Grants;

/// How long a request may take in all.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const LARGEST: usize = 64 << 10;

/// Gets pages. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    connector: Connector,
    grants: Arc<Grants>,
}

impl Fetcher {
    /// Reads the certificate authorities of the system and of the configuration.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used.
    pub fn new(config: &EgressConfig) -> Result<Self, Vec<Fault>> {
        Ok(Self { connector: Connector::new(config)?, grants: Arc::new(Grants::none()) })
    }

    /// The certificate authorities that are trusted.
    pub fn roots(&self) -> &RootCertStore {
        self.connector.roots()
    }

    /// The body of a 200, of at most 64 KiB.
    ///
    /// # Errors
    ///
    /// Why there is none, as a text.
    pub async fn get(&self, url: &Url) -> Result<Bytes, String> {
        let by = Instant::now() + FETCH_TIMEOUT;
        let got = timeout_at(by, self.get_by(url, by)).await;
        got.unwrap_or_else(|_| Err(format!("{} did not answer in time", url.host_str().unwrap_or_default())))
    }

    async fn get_by(&self, url: &Url, by: Instant) -> Result<Bytes, String> {
        let stream = self.connector.connect(url, &self.grants, by).await.map_err(|failure| failure.text)?;
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request =
            Request::get(target).header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort]);
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| error.to_string())?;
        connection.abort();
        match status {
            StatusCode::OK => Ok(body.to_bytes()),
            other => Err(format!("it answers {other}")),
        }
    }

    /// One that finds `name` on this machine, at this port, and trusts what these configured roots signed.
    #[cfg(test)]
    pub(crate) fn to_loopback(config: &EgressConfig, name: &str, port: u16) -> Self {
        use super::resolver::{Resolver, table::Table};
        let mut fetcher = Self::new(config).unwrap();
        fetcher.connector.resolver = Resolver::Table(Arc::new(Table::at(name, port)));
        let loopback = crate::plugin::GrantsConfig {
            private_networks: vec!["127.0.0.0/8".to_owned()],
            ..Default::default()
        };
        fetcher.grants = Arc::new(loopback.try_into().unwrap());
        fetcher
    }
}
