//! One shape for everything that goes wrong, whoever noticed it: a handler, the router, a panic.

use std::any::Any;

use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use uuid::Uuid;

use super::BODY_PAUSE;
use super::response::WebhookResponse;
use crate::fault::Fault;
use crate::telemetry::metric;
use crate::temporal::{LookupError, SubmitError};

/// The header by which a request is found in the log.
const REQUEST_ID: &str = "x-request-id";
/// What a sender is asked to wait when Temporal is away, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How many faults of a request are logged; its sender gets all of them.
const LOGGED_FAULTS: usize = 3;
/// The code of a request whose content is wrong.
const INVALID: &str = "invalid-request";

/// A refusal.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    faults: Vec<Fault>,
    retry_after: Option<u64>,
    /// How many alerts the request brought, as far as that is known.
    alerts: usize,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), faults: Vec::new(), retry_after: None, alerts: 0 }
    }

    /// The request's content is wrong.
    pub(super) fn invalid(faults: Vec<Fault>) -> Self {
        let message = match faults.as_slice() {
            [only] => only.to_string(),
            several => format!("{} faults: see `errors`", several.len()),
        };
        Self { faults, ..Self::new(StatusCode::BAD_REQUEST, INVALID, message) }
    }

    /// The same refusal with one more fault, if it is about faults.
    pub(super) fn and(mut self, fault: Fault) -> Self {
        if self.code != INVALID {
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
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", message)
    }

    pub(super) fn body_timeout() -> Self {
        let pause = BODY_PAUSE.as_secs();
        let message =
            format!("no more of the body came for {pause} seconds: nothing was accepted, send it again");
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", message)
    }

    pub(super) fn unsupported_media_type(given: Option<&str>) -> Self {
        let given = given.unwrap_or("none");
        let message = format!("content type is {given}: send `content-type: application/json`");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message)
    }

    pub(super) fn unknown_plugin(name: &str) -> Self {
        let message =
            format!("no plugin {name} is loaded in this process: GET /plugins lists those that are");
        Self::new(StatusCode::NOT_FOUND, "unknown-plugin", message)
    }

    fn temporal_unavailable(message: String) -> Self {
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "temporal-unavailable", message);
        Self { retry_after: Some(RETRY_AFTER_SECONDS), ..error }
    }

    fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    #[cfg(test)]
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn render(self, request_id: &str) -> Response {
        metric::refused(self.code, self.alerts);
        let body = WebhookResponse::refused(self.message, self.faults, self.code, request_id);
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
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
            SubmitError::Refused { source, .. } => {
                tracing::error!(%error, %source, "alerts not accepted");
                let message = format!("{error}: {source}");
                Self { retry_after: Some(RETRY_AFTER_SECONDS), ..Self::internal(message) }
            }
            SubmitError::Reused { batch_id } => {
                let fault = Fault {
                    path: "batch_id".to_owned(),
                    value: batch_id.strip_prefix("batch-").map(Into::into),
                    message: "was used before, for other alerts: use another one".to_owned(),
                };
                let message = error.to_string();
                Self { faults: vec![fault], ..Self::new(StatusCode::CONFLICT, "batch-id-reused", message) }
            }
        }
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let message = error.to_string();
        match error {
            LookupError::NotFound(_) | LookupError::Foreign(_) => {
                Self::new(StatusCode::NOT_FOUND, "not-found", message)
            }
            LookupError::Unavailable(_) => Self::temporal_unavailable(message),
            LookupError::NoLedger(..) => Self::internal(message),
        }
    }
}

/// Gives every request an id, and every refusal its body.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= 128 && id.is_ascii()).map(str::to_owned);
    let id = given.unwrap_or_else(|| Uuid::new_v4().to_string());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let (code, status) = (error.code, error.status.as_u16());
        let faults: Vec<String> = error.faults.iter().take(LOGGED_FAULTS).map(ToString::to_string).collect();
        let (text, faults) = (&error.message, faults.join("; "));
        tracing::warn!(request = id, %method, path, status, code, error = text, faults, "request refused");
        response = error.render(&id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

pub(super) async fn not_found(uri: Uri) -> ApiError {
    let message =
        format!("there is nothing at {} here: GET /docs of a webhook lists what there is", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "not-found", message)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message =
        format!("{} does not take {method}: GET /docs of a webhook lists what it takes", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
}

pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a request handler panicked");
    ApiError::internal("the host has a fault: its log says more").into_response()
}
