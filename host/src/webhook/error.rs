//! One shape for everything that goes wrong, whoever noticed it: a handler, the router, a panic.

use std::any::Any;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::Request;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, RETRY_AFTER,
    TRANSFER_ENCODING, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::FutureExt;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use uuid::Uuid;

use super::code::Code;
use super::peer::Peer;
use super::response::WebhookResponse;
use super::spool::SpoolError;
use super::{BODY_PAUSE, access};
use crate::fault::Fault;
use crate::telemetry::metric;
use crate::temporal::{LookupError, SubmitError};

/// The header by which a request is found in the log.
const REQUEST_ID: &str = "x-request-id";
/// What a sender is asked to wait when Temporal is away, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How long refusals for want of room are not logged again.
const STORM: Duration = Duration::from_secs(1);
/// How many faults of a request are logged; its sender gets all of them.
const LOGGED_FAULTS: usize = 3;

/// A refusal.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: Code,
    message: String,
    faults: Vec<Fault>,
    /// Seconds.
    retry_after: Option<u64>,
    /// How many alerts the request brought, as far as that is known.
    alerts: usize,
}

impl ApiError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let status = code.status();
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS);
        Self { status, code, message: message.into(), faults: Vec::new(), retry_after, alerts: 0 }
    }

    /// The same refusal with `retry-after`, in seconds.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same refusal as senders to a source take it.
    pub(super) fn for_source(mut self) -> Self {
        self.status = self.code.status_of_source();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            self.retry_after = self.retry_after.or(Some(RETRY_AFTER_SECONDS));
        }
        self
    }

    /// The same refusal without what looks like a key: what was sent may be repeated in it, and it is logged.
    fn without_keys(mut self) -> Self {
        self.message = access::scrubbed(&self.message);
        for fault in &mut self.faults {
            fault.message = access::scrubbed(&fault.message);
            let has_key = fault.value.as_ref().is_some_and(|value| access::has_key(&value.to_string()));
            if has_key {
                fault.value = Some("***".into());
            }
        }
        self
    }

    /// Whether the source crashed or hit a limit on the body.
    pub(super) fn is_failure_of_source(&self) -> bool {
        matches!(self.code, Code::SourceFailed | Code::FailingInput)
    }

    /// Whether the sender can do nothing about it.
    pub(super) fn is_ours(&self) -> bool {
        matches!(
            self.code,
            Code::TemporalUnavailable
                | Code::TemporalRefused
                | Code::SourceUnavailable
                | Code::SourceFailed
                | Code::FailingInput
                | Code::PluginLoading
                | Code::Internal
        )
    }

    /// One line for a person.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What kind of refusal it is.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// The request's content is wrong.
    pub(super) fn invalid(faults: Vec<Fault>) -> Self {
        let message = match faults.as_slice() {
            [only] => only.to_string(),
            several => format!("{} faults: see `errors`", several.len()),
        };
        Self { faults, ..Self::new(Code::InvalidRequest, message) }
    }

    /// The same refusal with one more fault, if it is about faults.
    pub(super) fn and(mut self, fault: Fault) -> Self {
        if self.code != Code::InvalidRequest {
            return self;
        }
        self.faults.insert(0, fault);
        Self::invalid(self.faults).with_alerts(self.alerts)
    }

    /// The refusal of a request that brought so many alerts.
    pub(super) fn with_alerts(self, alerts: usize) -> Self {
        Self { alerts, ..self }
    }

    pub(super) fn body_too_large() -> Self {
        let message =
            "the body is over the limit: send fewer alerts per request, or raise [webhook] body-limit";
        Self::new(Code::BodyTooLarge, message)
    }

    pub(super) fn too_many_values(found: usize, most: usize) -> Self {
        let message = format!(
            "the body holds {found} JSON values, more than {most} (`webhook.body-values`): send fewer alerts per request"
        );
        Self::new(Code::BodyTooComplex, message)
    }

    pub(super) fn too_deep(found: usize, most: usize) -> Self {
        let message =
            format!("the body is nested {found} levels deep, more than {most} (`webhook.body-depth`)");
        Self::new(Code::BodyTooComplex, message)
    }

    pub(super) fn body_timeout() -> Self {
        let pause = BODY_PAUSE.as_secs();
        let message = format!(
            "the body did not come to its end, or paused for {pause} seconds: nothing was accepted, send it again"
        );
        Self::new(Code::BodyTimeout, message)
    }

    pub(super) fn unsupported_media_type(given: Option<&str>) -> Self {
        let given = given.unwrap_or("none");
        let message = format!("content type is {given}: send `content-type: application/json`");
        Self::new(Code::UnsupportedMediaType, message)
    }

    pub(super) fn unknown_plugin(name: &str) -> Self {
        let message =
            format!("no plugin {name} is loaded in this process: GET /plugins lists those that are");
        Self::new(Code::UnknownPlugin, message)
    }

    fn nothing_at(path: &str) -> Self {
        let message = format!("there is nothing at {path} here: GET /docs of a webhook lists what there is");
        Self::new(Code::NotFound, message)
    }

    fn not_taken(method: &Method, path: &str) -> Self {
        let message = format!("{path} does not take {method}: GET /docs of a webhook lists what it takes");
        Self::new(Code::MethodNotAllowed, message)
    }

    fn temporal_unavailable(message: String) -> Self {
        Self::new(Code::TemporalUnavailable, message).retry_after(RETRY_AFTER_SECONDS)
    }

    fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    #[cfg(test)]
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn render(self, request_id: &str) -> Response {
        metric::refused(self.code.as_str(), self.alerts);
        let body = WebhookResponse::refused(self.message, self.faults, self.code.as_str(), request_id);
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            if self.code == Code::RateLimited
                && let Ok(none_left) = HeaderValue::try_from(format!("\"key\";r=0;t={seconds}"))
            {
                response.headers_mut().insert("ratelimit", none_left);
            }
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic realm=\"campanile\""));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// The body follows in [`finish`], which knows the request's id.
    fn into_response(self) -> Response {
        (self.status, Extension(self)).into_response()
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match &error {
            SubmitError::Unavailable { .. } => Self::temporal_unavailable(format!(
                "{error}: nothing is confirmed, send it again; with an `id` and `starts_at`, or a `batch_id`, \
                 nothing runs twice"
            )),
            SubmitError::Refused { is_final, source, .. } => {
                tracing::error!(%error, %source, "alerts not accepted");
                let message = format!("{error}: {source}");
                match is_final {
                    true => Self::new(Code::TemporalRefused, message),
                    false => Self::internal(message).retry_after(RETRY_AFTER_SECONDS),
                }
            }
            SubmitError::Reused { batch_id } => {
                let fault = Fault {
                    path: "batch_id".to_owned(),
                    value: batch_id.strip_prefix("batch-").map(Into::into),
                    message: "was used before, for other alerts: use another one".to_owned(),
                };
                let message = error.to_string();
                Self { faults: vec![fault], ..Self::new(Code::BatchIdReused, message) }
            }
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(vec![Fault::whole(rejection.body_text())])
    }
}

impl From<SpoolError> for ApiError {
    fn from(error: SpoolError) -> Self {
        match &error {
            SpoolError::Full(..) | SpoolError::Share { .. } => {
                Self::new(Code::SpoolFull, format!("{error}, and the request cannot be handed over now"))
            }
            SpoolError::SetAsideFull(_) => Self::new(Code::SpoolFull, error.to_string()),
            SpoolError::Disk(source) => {
                tracing::error!(%error, %source, "request not spooled");
                Self::internal(format!("{error}: {source}"))
            }
        }
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let message = error.to_string();
        match error {
            LookupError::NotFound(_) | LookupError::Foreign(_) => Self::new(Code::NotFound, message),
            LookupError::Unavailable(_) => Self::temporal_unavailable(message),
            LookupError::NoLedger(..) => Self::internal(message),
        }
    }
}

/// Gives every request an id, and every refusal its body.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= 128 && id.is_ascii() && !access::has_key(id));
    let given = given.map(str::to_owned);
    let id = given.unwrap_or_else(|| Uuid::new_v4().to_string());
    let (method, path) = (request.method().clone(), without_key(request.uri().path()));
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address());
    let mut response = match head_fault(&request) {
        None => next.run(request).await,
        Some(fault) => {
            let refused = ApiError::invalid(vec![Fault::whole(fault)]).into_response();
            ([(CONNECTION, "close")], refused).into_response()
        }
    };
    let mut refused = response.extensions_mut().remove::<ApiError>();
    // What axum itself says has no body.
    if refused.is_none() {
        refused = match response.status() {
            StatusCode::NOT_FOUND => Some(ApiError::nothing_at(&path)),
            StatusCode::METHOD_NOT_ALLOWED => Some(ApiError::not_taken(&method, &path)),
            _ => None,
        };
    }
    if let Some(error) = refused.map(ApiError::without_keys) {
        log(&error, &id, peer, method.as_str(), &path);
        let kept = [ALLOW, CONNECTION].map(|name| (name.clone(), response.headers_mut().remove(name)));
        response = error.render(&id);
        for (name, value) in kept {
            value.map(|value| response.headers_mut().insert(name, value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    secure(response.headers_mut());
    response
}

/// The whole answer to what was not taken for a request, and so never comes by [`finish`].
pub(super) fn raw(error: ApiError) -> Bytes {
    let id = Uuid::new_v4().to_string();
    log(&error, &id, None, "-", "-");
    let mut response = error.render(&id);
    secure(response.headers_mut());
    let status = response.status();
    let mut answer = format!("HTTP/1.1 {status}\r\n{REQUEST_ID}: {id}\r\n{CONNECTION}: close\r\n");
    for (name, value) in response.headers() {
        answer.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    let body = response.into_body().collect().now_or_never().and_then(Result::ok).unwrap_or_default();
    let body = body.to_bytes();
    answer.push_str(&format!("{CONTENT_LENGTH}: {}\r\n\r\n", body.len()));
    [answer.as_bytes(), &body].concat().into()
}

/// A line for every refusal; of those that come in storms, for one a second.
fn log(error: &ApiError, id: &str, peer: Option<IpAddr>, method: &str, path: &str) {
    static QUIET: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let mut left_out = 0;
    if matches!(error.code, Code::Overloaded | Code::RateLimited | Code::HeadTooLarge) {
        let mut quiet = QUIET.lock();
        match &mut *quiet {
            Some((since, count)) if since.elapsed() < STORM => return *count += 1,
            quiet => left_out = quiet.replace((Instant::now(), 0)).map_or(0, |(_, count)| count),
        }
    }
    let (code, status, text) = (error.code.as_str(), error.status.as_u16(), &error.message);
    let faults: Vec<String> = error.faults.iter().take(LOGGED_FAULTS).map(ToString::to_string).collect();
    let faults = faults.join("; ");
    let left_out = (left_out > 0).then_some(left_out);
    tracing::warn!(
        request = id,
        peer = peer.map(tracing::field::display),
        method,
        path,
        status,
        code,
        error = text,
        faults,
        left_out,
        "request refused"
    );
}

/// What a browser may do with an answer: show the pages of `/docs`, and nothing else. What a source
/// answered has a stricter policy already.
fn secure(headers: &mut HeaderMap) {
    let policy =
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// A path as it may be logged: without segments that a key may be hidden in.
fn without_key(path: &str) -> String {
    let shown = |segment| if access::has_key(segment) { "***" } else { segment };
    path.split('/').map(shown).collect::<Vec<_>>().join("/")
}

/// What is wrong with a head that HTTP/1.1 forbids (RFC 9112, sections 3.2, 6.1 and 7), and that hyper takes: two readers of it
/// could see two requests.
fn head_fault(request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        (values.next(), values.next().is_some())
    };
    let (coding, more) = only(TRANSFER_ENCODING);
    if coding.is_some_and(|coding| more || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("transfer-encoding is `chunked`, once, or absent");
    }
    if request.version() != Version::HTTP_11 {
        return None;
    }
    let is_host = |host: &HeaderValue| {
        host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
    };
    match only(HOST) {
        (Some(host), false) if is_host(host) => None,
        _ => Some("a request has one `host`, such as campanile.example.com"),
    }
}

pub(super) async fn not_found(uri: Uri) -> ApiError {
    ApiError::nothing_at(&without_key(uri.path()))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::not_taken(&method, &without_key(uri.path()))
}

pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a request handler panicked");
    ApiError::internal("the host has a fault: its log says more").into_response()
}
