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
use campanile_store::{SpoolFull, StoreError};
use futures::FutureExt;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::code::Code;
use super::peer::Peer;
use super::response::WebhookResponse;
use super::spool::SpoolError;
use super::{BODY_PAUSE, access};
use crate::fault::{Fault, excerpt};
use crate::records::RecordError;
use crate::telemetry::metric;
use crate::temporal::{Cause, Link, LookupError};

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
    /// What a vendor's clients want in it besides.
    vendor: Option<Box<Map<String, Value>>>,
}

impl ApiError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let status = code.status();
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS);
        Self {
            status,
            code,
            message: message.into(),
            faults: Vec::new(),
            retry_after,
            alerts: 0,
            vendor: None,
        }
    }

    /// The same refusal with `retry-after`, in seconds.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same refusal as senders to a source take it; `vendor` is what the clients of its vendor want in it.
    pub(super) fn for_source(mut self, vendor: Option<Map<String, Value>>) -> Self {
        self.vendor = vendor.map(Box::new);
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
                | Code::StoreUnavailable
                | Code::StoreFull
                | Code::DiskNotWritable
                | Code::Overloaded
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

    /// Temporal did not do what it was asked for.
    fn unanswered(cause: &Cause, address: Option<String>, message: String) -> Self {
        let code = match cause {
            Cause::Busy(_) => Code::Overloaded,
            _ => Code::TemporalUnavailable,
        };
        let faults = vec![of_temporal(address, format!("{cause}: {}", cause.advice()))];
        Self { faults, ..Self::new(code, message) }.retry_after(RETRY_AFTER_SECONDS)
    }

    /// Whether a disk that cannot be written may be what it came from.
    pub(super) fn may_be_of_disk(&self) -> bool {
        matches!(
            self.code,
            Code::TemporalUnavailable | Code::StoreUnavailable | Code::Overloaded | Code::Internal
        )
    }

    /// The same refusal where the disk under what was asked cannot be written, which is then the cause: `faults` say why.
    pub(super) fn on_disk(self, faults: Vec<String>) -> Self {
        if faults.is_empty() || !self.may_be_of_disk() {
            return self;
        }
        let message = format!("the disk cannot be written: {}: {AGAIN}", faults.join("; "));
        let of_disk = |message| Fault { path: "disk".to_owned(), value: None, message };
        let faults = faults.into_iter().map(of_disk).chain(self.faults).collect();
        Self { faults, alerts: self.alerts, ..Self::new(Code::DiskNotWritable, message) }
    }

    /// The refusal of alerts while Temporal does not answer.
    pub(super) fn temporal_away(link: &Link) -> Self {
        let (address, cause) = (link.address.to_string(), link.trouble());
        let message = format!("temporal at {address} does not answer: {cause}: {AGAIN}");
        Self::unanswered(&cause, Some(address), message).retry_after(RETRY_AFTER_SECONDS)
    }

    /// What the store holds is encrypted, so that this cannot be asked.
    pub(super) fn encrypted(fault: Fault) -> Self {
        Self { code: Code::Encrypted, ..Self::invalid(vec![fault]) }
    }

    /// The host has a fault: `message` says which.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { faults: vec![Fault::whole(&*message)], ..Self::new(Code::Internal, message) }
    }

    /// The same refusal of a request that had this id, if it is about that.
    pub(super) fn of_request(mut self, id: Option<&str>) -> Self {
        if self.code == Code::BatchIdReused {
            let value = id.map(|id| excerpt(&id.into()));
            self.faults.iter_mut().for_each(|fault| fault.value.clone_from(&value));
        }
        self
    }

    /// What is wrong with the content.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn render(self, request_id: &str) -> Response {
        metric::refused(self.code.as_str(), self.alerts);
        let body = WebhookResponse::refused(self.message, self.faults, self.code.as_str(), request_id);
        let mut response = match self.vendor {
            None => (self.status, Json(body)).into_response(),
            Some(members) => (self.status, Json(with_members(&body, *members))).into_response(),
        };
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

/// What a sender does where it is not known whether its alerts are there.
const AGAIN: &str =
    "nothing is confirmed, send it again; with an `id` and `starts_at`, or a `batch_id`, nothing runs twice";

/// What is wrong with Temporal, at its address.
fn of_temporal(address: Option<String>, message: String) -> Fault {
    Fault { path: "temporal".to_owned(), value: address.map(Into::into), message }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(vec![Fault::whole(rejection.body_text())])
    }
}

impl From<SpoolError> for ApiError {
    fn from(error: SpoolError) -> Self {
        let message = error.to_string();
        let error = match error {
            SpoolError::Full(SpoolFull::SetAside(_)) => return Self::new(Code::SpoolFull, message),
            SpoolError::Full(_) => {
                let message = format!("{message}, and the request cannot be handed over now");
                return Self::new(Code::SpoolFull, message);
            }
            SpoolError::Store(error) => error.into(),
            SpoolError::Record(error) => error.into(),
        };
        tracing::error!(error = message, "request not spooled");
        error
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Store(error) => error.into(),
            RecordError::Unreadable(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let fault = Fault { path: "store".to_owned(), value: None, message: message.clone() };
        let code = match error {
            StoreError::Reused => {
                let message = "was used before, for other alerts: use another one".to_owned();
                let fault = Fault { path: "batch_id".to_owned(), value: None, message };
                return Self { faults: vec![fault], ..Self::new(Code::BatchIdReused, error.to_string()) };
            }
            StoreError::Full { .. } => Code::StoreFull,
            error if error.is_transient() => Code::StoreUnavailable,
            _ => Code::Internal,
        };
        let refusal = Self { faults: vec![fault], ..Self::new(code, format!("{message}: {AGAIN}")) };
        refusal.retry_after(RETRY_AFTER_SECONDS)
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let message = error.to_string();
        match error {
            LookupError::NotFound(_) => Self::new(Code::NotFound, message),
            LookupError::Unavailable(cause) => Self::unanswered(&cause, None, message),
            LookupError::Record(error) => error.into(),
        }
    }
}

/// A refusal with what a vendor's clients want in it. They take `errors` for texts.
fn with_members(body: &WebhookResponse, members: Map<String, Value>) -> Map<String, Value> {
    let Ok(Value::Object(mut refusal)) = serde_json::to_value(body) else { return members };
    // Clients show these alone.
    let errors: Vec<Value> = match body.errors.as_slice() {
        [] => vec![body.message.clone().into()],
        faults => faults.iter().map(|fault| fault.to_string().into()).collect(),
    };
    refusal.insert("errors".to_owned(), Value::Array(errors));
    for (name, value) in members {
        refusal.entry(name).or_insert(value);
    }
    refusal
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
    if error.code == Code::Starting && method == "GET" {
        // Probes ask until the host has started, and the log says how far it has come.
        return;
    }
    if matches!(error.code, Code::Overloaded | Code::DiskNotWritable | Code::RateLimited | Code::HeadTooLarge)
    {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn body(error: ApiError) -> Value {
        let body = error.render("r-1").into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn an_error_of_temporal_has_its_cause() {
        let answer = async |cause: Cause| {
            let body = body(ApiError::unanswered(&cause, Some("http://t".to_owned()), String::new())).await;
            let fault = &body["errors"][0];
            assert_eq!((&fault["path"], &fault["value"]), (&json!("temporal"), &json!("http://t")));
            (body["code"].clone(), fault["message"].as_str().unwrap_or_default().to_owned())
        };
        let refused = Cause::Refused("os error 111".to_owned());
        let slow = Cause::TimedOut(Duration::from_millis(1_500));
        for (cause, begins) in [
            (refused, "it refused the connection (os error 111): start it"),
            (slow, "it did not answer within 1500 ms: it hangs"),
        ] {
            let (code, text) = answer(cause).await;
            assert!(code == "temporal-unavailable" && text.starts_with(begins), "{code}: {text}");
        }
    }

    #[tokio::test]
    async fn an_error_of_the_store_has_a_code_of_its_own() {
        let code = |error: StoreError| ApiError::from(error).code.as_str();
        assert_eq!(code(StoreError::Full { pending: 5, limit: 5 }), "store-full");
        assert_eq!(code(StoreError::Unavailable("gone".to_owned())), "store-unavailable");
        assert_eq!(code(StoreError::Reused), "batch-id-reused");
    }

    #[tokio::test]
    async fn the_disk_comes_before_what_it_brings_about() {
        let slow = || {
            let (cause, address) = (Cause::Busy("x".to_owned()), "http://t".to_owned());
            ApiError::unanswered(&cause, Some(address), String::new())
        };
        let full = "/data/temporal cannot be written: No space left on device: free space there";
        let error = slow().with_alerts(2).on_disk(vec![full.to_owned()]);
        assert_eq!((error.status.as_u16(), error.alerts, error.retry_after), (503, 2, Some(5)));
        let body = body(error).await;
        assert_eq!(body["code"], "disk-not-writable");
        assert!(body["message"].as_str().unwrap().contains(full), "{body}");
        assert_eq!(body["errors"][0], json!({"path": "disk", "value": null, "message": full}));
        assert_eq!(body["errors"][1]["path"], "temporal");
        assert_eq!(slow().on_disk(Vec::new()).code, Code::Overloaded);
        let refused = ApiError::invalid(vec![Fault::whole("no")]).on_disk(vec![full.to_owned()]);
        assert_eq!(refused.code, Code::InvalidRequest);
    }

    #[tokio::test]
    async fn every_500_has_its_cause() {
        let busy = LookupError::Unavailable(Cause::Busy("x".to_owned()));
        assert_eq!(ApiError::from(busy).status, StatusCode::SERVICE_UNAVAILABLE);
        for (error, cause) in [
            (
                ApiError::from(LookupError::Unavailable(Cause::TimedOut(Duration::from_secs(5)))),
                "within 5000 ms",
            ),
            (RecordError::Unreadable("no such key".to_owned()).into(), "no such key"),
        ] {
            assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
            let errors = body(error).await["errors"].to_string();
            assert!(errors.contains(cause), "{errors}");
        }
    }

    #[tokio::test]
    async fn a_vendors_clients_get_their_members_and_errors_as_texts() {
        let faults =
            || vec![Fault { path: "a".to_owned(), value: Some(json!([])), message: "is wrong".to_owned() }];
        let members = json!({"status": "invalid event", "message": "theirs"}).as_object().cloned();
        let theirs = body(ApiError::invalid(faults()).for_source(members)).await;
        assert_eq!(
            (&theirs["status"], &theirs["errors"]),
            (&json!("invalid event"), &json!(["a: is wrong"]))
        );
        assert_eq!((&theirs["message"], &theirs["code"]), (&json!("a: is wrong"), &json!("invalid-request")));
        let ours = body(ApiError::invalid(faults()).for_source(None)).await;
        assert_eq!((&ours["status"], &ours["errors"][0]["value"]), (&Value::Null, &json!([])));
    }
}
