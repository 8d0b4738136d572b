//! The tests' HTTP client: one per process, and answers that say all about themselves when a test fails.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use serde_json::Value;

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The body as JSON of an answer that must be a 200.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The client. It follows no proxy and no redirect, and gives up after two minutes.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let client = builder().redirect(reqwest::redirect::Policy::none());
        // A client outlives the runtime of the test that made a connection: keep none.
        client.pool_max_idle_per_host(0).timeout(Duration::from_secs(120)).build().expect("a plain client")
    })
}

/// What makes a client of a test's own, which follows no proxy.
pub fn builder() -> ClientBuilder {
    // Another part of the process may have been first, with the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

/// Sends a request and reads the answer.
pub async fn send(request: RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Reply { status, headers, text: response.text().await? })
}
