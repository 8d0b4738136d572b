//! The way out: what happens to a plugin's `wasi:http/outgoing-handler` request. The URL is normalised, secrets are
//! filled in, the grant is checked, the name is looked up once and its addresses are checked, and the request goes to
//! one of them, as HTTP/1.1, each phase within the time of the call. Redirects are the plugin's to follow, as a new
//! request; proxies are not used.

mod addresses;
mod body;
mod connect;
mod failure;
mod outgoing;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use http::header::{EXPECT, HeaderName, TE, TRAILER};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use self::body::{ResponseBody, read_whole};
use self::connect::Stream;
use self::failure::Failure;
use self::outgoing::Outgoing;
use super::grants::Grants;
use super::secrets::Secrets;

pub(super) use self::connect::{Connector, read_roots};

/// How many requests one call may send.
const MOST_REQUESTS: u32 = 10;
/// The most that a response's head may hold, in bytes.
const MOST_HEAD: usize = 64 * 1024;
/// How long a plugin whose request is refused may take to finish the body. Reading it lets the plugin come to the point
/// where it learns why.
const REFUSED_BODY: Duration = Duration::from_secs(1);

/// The table `[egress]` of the host's configuration: how all plugins get out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EgressConfig {
    /// How long looking a name up, connecting and the TLS handshake may take in all, such as `5s`. A plugin can ask for
    /// less, and the deadline of its call goes first.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// PEM files with certificate authorities to trust beside those of the system.
    pub root_certificates: Vec<PathBuf>,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), root_certificates: Vec::new() }
    }
}

/// One plugin's way out; shared by all its calls.
pub(super) struct Egress {
    plugin: String,
    grants: Grants,
    secrets: Secrets,
    connector: Connector,
}

impl Egress {
    /// `plugin` is its name in the log; `secrets` are the host's, of which `grants` picks.
    pub(super) fn new(
        plugin: impl Into<String>,
        grants: Grants,
        secrets: Secrets,
        connector: Connector,
    ) -> Self {
        Self { plugin: plugin.into(), grants, secrets, connector }
    }

    /// What the plugin may reach.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    async fn send(&self, request: Request<WasiBody>, limits: Limits) -> Result<Response<WasiBody>, Failure> {
        let (head, body) = request.into_parts();
        let mut outgoing = match Outgoing::prepare(head, &self.grants, &self.secrets) {
            Ok(outgoing) => outgoing,
            Err(failure) => {
                _ = read_whole(body, limits.deadline.min(Instant::now() + REFUSED_BODY)).await;
                return Err(failure);
            }
        };
        let body = read_whole(body, limits.deadline).await?;
        outgoing.sign(&body)?;
        let url = outgoing.url().clone();
        let request = outgoing.into_request(body)?;
        let connected_by = limits.deadline.min(Instant::now() + limits.connect.min(self.connector.timeout()));
        let stream = self.connector.connect(&url, &self.grants, connected_by).await?;
        exchange(stream, request, limits).await
    }
}

/// Sends one request over a fresh connection, which the response's body then owns.
async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
    limits: Limits,
) -> Result<Response<WasiBody>, Failure> {
    let late = |_| Failure::new(Error::HttpResponseTimeout, "the server did not answer in time");
    let answered_by = limits.deadline.min(Instant::now() + limits.first_byte);
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| Failure::exchange(&error))?;
    // What goes wrong with the connection is seen by whoever waits for the answer or reads its body.
    let connection = wasmtime_wasi::runtime::spawn(async move { _ = connection.await });
    let answer = timeout_at(answered_by, sender.send_request(request)).await.map_err(late)?;
    let (head, incoming) = answer.map_err(|error| Failure::exchange(&error))?.into_parts();
    let body = ResponseBody::new(incoming, limits.between_bytes, limits.deadline, connection)?;
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// What one request may take.
#[derive(Clone, Copy)]
struct Limits {
    deadline: Instant,
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Limits {
    fn new(deadline: Instant, options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        // A plugin can ask for less than the call has left, never for more; the sum with an instant must not overflow.
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = |limit: Option<Duration>| limit.map_or(left, |limit| limit.min(left));
        Self {
            deadline,
            connect: asked(options.connect_timeout),
            first_byte: asked(options.first_byte_timeout),
            between_bytes: asked(options.between_bytes_timeout),
        }
    }
}

/// What a call sent and received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub requests: u64,
    pub denied: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
}

/// The way out of one call: what wasmtime-wasi-http asks, with the call's deadline and counters.
pub(super) struct EgressCall {
    egress: Arc<Egress>,
    deadline: Instant,
    requests: u32,
    failures: Arc<Mutex<Vec<String>>>,
    /// The identity of the alert that the call is about, for the log.
    alert: Arc<str>,
}

impl EgressCall {
    /// Nothing that the call starts outlives `deadline`.
    pub(super) fn new(egress: Arc<Egress>, alert: Arc<str>, deadline: StdInstant) -> Self {
        Self { egress, deadline: Instant::from_std(deadline), requests: 0, failures: Arc::default(), alert }
    }

    /// Why requests of this call were refused or failed so far, in the operator's words: the plugin itself only gets
    /// the code. At most one text per request.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic { requests: self.requests.into(), ..Traffic::default() }
    }

    /// Counts one more request.
    fn admit(&mut self) -> Result<(), Failure> {
        self.requests = self.requests.saturating_add(1);
        if self.requests <= MOST_REQUESTS {
            return Ok(());
        }
        Err(Failure::new(Error::ConnectionLimitReached, format!("a call may send {MOST_REQUESTS} requests")))
    }
}

/// Notes a failure for the ledger and the log, and hands the code on to the plugin.
fn report(
    failure: Failure,
    plugin: &str,
    alert: &str,
    requested: &str,
    failures: &Mutex<Vec<String>>,
) -> Error {
    let mut failures = failures.lock();
    // One more than can be sent: a plugin that goes on after the last one is told of once.
    if failures.len() <= MOST_REQUESTS as usize {
        let text = format!("{requested}: {}", failure.text);
        match failure.code {
            Error::HttpRequestDenied | Error::DestinationIpProhibited => {
                tracing::warn!(target: "plugin", plugin, alert, "http request refused: {text}");
            }
            _ => tracing::warn!(target: "plugin", plugin, alert, "http request failed: {text}"),
        }
        failures.push(text);
    }
    failure.code
}

/// What a future of [`WasiHttpHooks::send_request`] resolves to: the response, and what drives it on (nothing, since the
/// body owns its connection).
type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for EgressCall {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let admitted = self.admit();
        let limits = Limits::new(self.deadline, options);
        let (egress, alert, failures) = (self.egress.clone(), self.alert.clone(), self.failures.clone());
        Box::new(async move {
            let requested = outgoing::shown(request.method(), request.uri());
            let sent = match admitted {
                Ok(()) => egress.send(request, limits).await,
                Err(failure) => Err(failure),
            };
            match sent {
                Ok(response) => Ok((response, Box::new(async { Ok(()) }) as _)),
                Err(failure) => Err(report(failure, &egress.plugin, &alert, &requested, &failures)),
            }
        })
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static FILTER: LazyLock<ForbiddenHeaderFilter> = LazyLock::new(|| Arc::new(is_forbidden));
        FILTER.clone()
    }

    /// The host writes that header itself, from the URL that was checked.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

/// The connection's own headers, which plugins neither set nor see.
fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name) || [EXPECT, TE, TRAILER].contains(name)
}

#[cfg(test)]
mod tests;
