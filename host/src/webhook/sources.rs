//! Posting to a source: the plugin of that name turns the request into alerts, and gives the answer that its vendor
//! expects.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Surroundings;
use super::accept::accept;
use super::access::{ALERTS, split_key};
use super::aside::aside;
use super::code::Code;
use super::error::ApiError;
use super::receive::{OF_THE_WAY, overloaded, receive};
use super::request::{self, Arrival, Known, MOST_OF_SOURCE, WebhookRequest};
use super::response::WebhookResponse;
use super::spool::{Spool, Spooled};
use crate::alert::Alert;
use crate::disk::Content;
use crate::fault::Fault;
use crate::ledger::Retry;
use crate::plugin::{CallError, Decoded, Plugin, Reason, Role, SourceReply, SourceRequest};
use crate::shown;
use crate::telemetry::metric;

/// Headers that no source gets to see, besides those that keys come in.
const CREDENTIALS: [HeaderName; 4] =
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key")];

/// How long senders wait for a plugin that is being loaded, in seconds.
const LOADING_SECONDS: u64 = 2;

/// Post to a source. What a body looks like, and what the answer is, is the vendor's affair.
#[utoipa::path(
    post,
    path = "/webhook/{source}",
    tag = "alerts",
    params(("source" = String, Path, description = "The name of a source, such as `alertmanager`", example = "alertmanager")),
    request_body(content = Value, description = "What the vendor sends"),
    responses(
        (status = 200, description = "The host has accepted the alerts; a source may answer in its vendor's own way", body = WebhookResponse),
        (status = 202, description = "The spool holds the request (`spool = true`); or a source's own answer, such as PagerDuty's", body = WebhookResponse),
        (status = 400, description = "The source cannot read the request; nothing was accepted", body = WebhookResponse),
        (status = 401, description = "A key or a signature is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 404, description = "No source has this name", body = WebhookResponse),
        (status = 408, description = "The body did not come to its end", body = WebhookResponse),
        (status = 413, description = "The body is over a limit, or has too many alerts", body = WebhookResponse),
        (status = 415, description = "The body is packed with something other than gzip", body = WebhookResponse),
        (status = 422, description = "The source crashed or hit a limit on this very body twice", body = WebhookResponse),
        (status = 503, description = "Temporal or the source is not there; nothing is confirmed", body = WebhookResponse),
    )
)]
pub(super) async fn post_source(
    State(surroundings): State<Surroundings>,
    address: Result<Path<Address>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(address) = address?;
    let refused = |error: ApiError| error.for_source(members_of_refusal(&surroundings, &address.source));
    take(&surroundings, &address, request).await.map_err(refused)
}

/// What the source's vendor wants in a refusal.
fn members_of_refusal(surroundings: &Surroundings, source: &str) -> Option<Map<String, Value>> {
    surroundings.registry.get(Role::Source, &plugin_of(surroundings, source)).ok()?.refusal()
}

/// What stands behind `/webhook/`.
#[derive(Deserialize)]
pub(super) struct Address {
    source: String,
    /// What clients add by themselves, such as `api/v2/alerts`.
    #[serde(default)]
    below: String,
}

async fn take(
    surroundings: &Surroundings,
    Address { source, below }: &Address,
    request: Request,
) -> Result<Response, ApiError> {
    if source == ALERTS {
        let message = format!("{ALERTS} is not a source: post to /webhook/{ALERTS} itself");
        return Err(ApiError::new(Code::NotFound, message));
    }
    let received = receive(surroundings, source, below, request).await?;
    let arrival = received.arrival;
    let post = Post {
        known: received.known,
        request: seen(&received.parts, split_key(below).1, received.body),
        arrival,
    };
    let answer = match (surroundings.spool_of(source), received.place) {
        (None, None) => Err(overloaded()),
        (Some(spool), None) => spool_it(surroundings, spool, source, post, 0).await,
        (None, Some(_place)) => read(surroundings, source, post).await?.hand_over(surroundings).await,
        (Some(spool), Some(_place)) => hand_over_or_spool(surroundings, spool, source, post).await,
    };
    Ok((received.headers, answer?).into_response())
}

/// A request to a source, let in and unpacked.
#[derive(Clone)]
pub(super) struct Post {
    /// By what a repeat of it is recognised.
    pub(super) known: Known,
    /// As the source sees it.
    pub(super) request: SourceRequest,
    /// When and how it came.
    pub(super) arrival: Arrival,
}

/// What a source found in a request.
pub(super) struct Found {
    arrival: Arrival,
    request: WebhookRequest,
    reply: Option<SourceReply>,
}

/// Has the source decode a request.
pub(super) async fn read(surroundings: &Surroundings, source: &str, post: Post) -> Result<Found, ApiError> {
    let plugin = plugin(surroundings, source)?;
    let sender = post.arrival.sender();
    let decoded = plugin.decode(post.request, sender.clone(), &post.arrival.traceparent).await.result;
    let decoded = decoded.map_err(|error| refusal(source, &error))?;
    let size = decoded.alerts.iter().map(String::len).sum();
    let (name, arrival) = (source.to_owned(), post.arrival);
    let mut found = aside(&sender, size, move || understood(&name, arrival, decoded)).await??;
    found.request = found.request.known_by(post.known);
    let (trace, is_empty) = (&found.arrival.traceparent, found.request.alerts.is_empty());
    for warning in &found.arrival.warnings {
        match is_empty {
            // Such as an acknowledgement: the vendor's routine.
            true => tracing::info!(source, trace, "{warning}"),
            false => tracing::warn!(source, trace, "{warning}"),
        }
    }
    Ok(found)
}

impl Found {
    /// Accepts the alerts, and gives the answer. A vendor that gives one id to two deliveries has two deliveries,
    /// not a refusal that it would never come back from.
    pub(super) async fn hand_over(self, surroundings: &Surroundings) -> Result<Response, ApiError> {
        let Self { arrival, request, reply } = self;
        let warnings = arrival.warnings.clone();
        if request.alerts.is_empty() {
            return Ok(answer(WebhookResponse::nothing(warnings), reply));
        }
        // Only one with an id can meet another with the same.
        let again = request.batch_id.is_some().then(|| (arrival.clone(), request.clone()));
        let accepted = match (accept(surroundings, arrival, request).await, again) {
            (Err(error), Some((mut arrival, mut request))) if error.code() == Code::BatchIdReused => {
                let id = request.batch_id.take().unwrap_or_default();
                let warning =
                    format!("the delivery {id} was there before with other alerts: taken as another one");
                tracing::warn!(trace = arrival.traceparent, "{warning}");
                arrival.warnings.push(warning);
                accept(surroundings, arrival, request).await?
            }
            (taken, _) => taken?,
        };
        let response = WebhookResponse { warnings, ..WebhookResponse::accepted(&accepted.alerts, None) };
        Ok(answer(response, reply))
    }
}

/// For a sender that never posts again: what cannot be handed over now is kept and handed over later, under the same id,
/// and so is what came behind it.
async fn hand_over_or_spool(
    surroundings: &Surroundings,
    spool: &Spool,
    source: &str,
    mut post: Post,
) -> Result<Response, ApiError> {
    let id = post.known.id.get_or_insert_with(new_id).clone();
    let (mut reply, mut failures) = (None, 0);
    match read(surroundings, source, post.clone()).await {
        Ok(found) => {
            spool.note_decoded(source);
            reply.clone_from(&found.reply);
            if !spool.holds(source).await {
                match found.hand_over(surroundings).await {
                    Err(error) if error.is_ours() => {
                        tracing::warn!(source, id, "spooled: {}", error.message())
                    }
                    final_answer => return final_answer,
                }
            }
        }
        Err(error) if error.is_ours() => {
            failures = u32::from(error.is_failure_of_source());
            tracing::warn!(source, id, "spooled: {}", error.message());
        }
        Err(error) => return Err(error),
    }
    let spooled = spool_it(surroundings, spool, source, post, failures).await?;
    Ok(if reply.is_some() { answer(WebhookResponse::spooled(), reply) } else { spooled })
}

/// Has the spool hold a request on which its source failed so often.
async fn spool_it(
    surroundings: &Surroundings,
    spool: &Spool,
    source: &str,
    mut post: Post,
    failures: u32,
) -> Result<Response, ApiError> {
    let id = post.known.id.take().unwrap_or_else(new_id);
    if let Err(error) = spool.put(Spooled::new(source, id, post), failures).await {
        return Err(surroundings.or_disk(error.into(), Content::Store).await);
    }
    metric::spooled();
    Ok((StatusCode::ACCEPTED, Json(WebhookResponse::spooled())).into_response())
}

fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The request as the source sees it: without credentials, and without what says how the body travelled.
fn seen(parts: &Parts, below: &str, body: Bytes) -> SourceRequest {
    let headers =
        parts.headers.iter().filter(|(name, _)| !CREDENTIALS.contains(name) && !OF_THE_WAY.contains(name));
    SourceRequest {
        method: parts.method.as_str().to_owned(),
        path: path(below, parts.uri.query()),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect(),
        body: body.into(),
    }
}

/// Path and query as the source sees them.
fn path(below: &str, query: Option<&str>) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let pairs: Vec<_> = pairs.filter(|(name, _)| name != "token").collect();
    let mut path = format!("/{below}");
    if !pairs.is_empty() {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        path = format!("{path}?{query}");
    }
    path
}

/// The name of the plugin that decodes for a source.
fn plugin_of(surroundings: &Surroundings, source: &str) -> String {
    surroundings.access.current().plugin_of(source).unwrap_or(source).to_owned()
}

fn plugin(surroundings: &Surroundings, source: &str) -> Result<Arc<Plugin>, ApiError> {
    let registry = &surroundings.registry;
    let access = surroundings.access.current();
    let named = access.plugin_of(source);
    let plugin = named.unwrap_or(source);
    match registry.get(Role::Source, plugin) {
        Ok(plugin) => Ok(plugin),
        Err(error) if registry.is_loading(plugin) => {
            Err(ApiError::new(Code::PluginLoading, error.message).retry_after(LOADING_SECONDS))
        }
        Err(error) if named.is_some() || registry.knows_source(plugin) => {
            Err(ApiError::new(Code::SourceUnavailable, error.message))
        }
        Err(_) => Err(ApiError::new(
            Code::UnknownSource,
            format!(
                "there is no source {source}: drop {source}.wasm into the plugin directory, or see GET /plugins"
            ),
        )),
    }
}

/// What the source's failure means to the sender: its own word that it will never be able to read this, or our fault.
fn refusal(source: &str, error: &CallError) -> ApiError {
    let message = format!("{source}: {}", error.message);
    let code = match (error.reason, error.retry) {
        (Reason::Guest, Retry::Never) => Code::Undecodable,
        (Reason::FailingInput, _) => Code::FailingInput,
        // A source that wants to be asked again has nothing to wait for: it sees the same body.
        (
            Reason::Trap
            | Reason::Deadline
            | Reason::Memory
            | Reason::HostCalls
            | Reason::InvalidOutput
            | Reason::Guest,
            _,
        ) => Code::SourceFailed,
        _ => Code::SourceUnavailable,
    };
    let refusal = ApiError::new(code, message);
    match error.retry {
        Retry::After { after_ms } => refusal.retry_after(after_ms.div_ceil(1_000)),
        _ => refusal,
    }
}

/// Checks what the source found. An alert that cannot be used becomes a warning; only if none is left is the request
/// refused.
pub(super) fn understood(source: &str, mut arrival: Arrival, decoded: Decoded) -> Result<Found, ApiError> {
    let Decoded { alerts, warnings, delivery_id, reply } = decoded;
    let found = alerts.len();
    if found > MOST_OF_SOURCE {
        // Sources stop reading behind the first that is too many.
        let message = format!(
            "{source} found more than {MOST_OF_SOURCE} alerts in one request: send fewer per request"
        );
        return Err(ApiError::new(Code::TooManyAlerts, message).with_alerts(found));
    }
    let (mut faults, mut odd) = (Vec::new(), Vec::new());
    let mut read = |(index, text): (usize, &String)| match alert(index, text) {
        Ok((alert, found)) => {
            odd.extend(found);
            Some(alert)
        }
        Err(found) => {
            faults.extend(found);
            None
        }
    };
    let alerts: Vec<Alert> = alerts.iter().enumerate().filter_map(&mut read).collect();
    if alerts.is_empty() && found > 0 {
        return Err(ApiError::invalid(faults).with_alerts(found));
    }
    let left_out = faults.iter().map(|fault| format!("left out: {fault}"));
    arrival.warnings = warnings;
    arrival.warnings.extend(shown::warnings(left_out.chain(odd).collect()));
    let request = WebhookRequest { alerts, batch_id: delivery_id, metadata: Default::default() };
    Ok(Found { arrival, request, reply })
}

fn alert(index: usize, text: &str) -> Result<(Alert, Vec<String>), Vec<Fault>> {
    let read = request::read_alert(text, &format!("alerts[{index}]"));
    read.map_err(|faults| faults.into_iter().map(|fault| request::of_alert(index, fault)).collect())
}

/// What keeps a source's answer from being a page of this host: a browser neither runs it nor guesses that it is one.
const NO_PAGE: [(HeaderName, &str); 2] =
    [(CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// The vendor's answer, or ours.
fn answer(response: WebhookResponse, reply: Option<SourceReply>) -> Response {
    let Some(SourceReply { status, content_type, body }) = reply else {
        return Json(response).into_response();
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    (status, NO_PAGE, [(CONTENT_TYPE, content_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_found_is_mended_before_it_is_left_out() {
        let alert = |title: &str, severity: &str| {
            let source = serde_json::json!({"name": "n", "type": "t"});
            let alert = serde_json::json!({"title": title, "description": "", "type": "Custom", "severity": severity, "source": source});
            alert.to_string().replace("half", r"\ud83d")
        };
        let large = alert(&"x".repeat(600 << 10), "high");
        let alerts = vec![alert("half", "low"), alert("t", "bogus"), alert("t", "WARN"), large];
        let decoded = Decoded { alerts, ..Decoded::default() };
        let Found { arrival, request, .. } = understood("acme", Arrival::default(), decoded).unwrap();
        assert_eq!(request.alerts.len(), 3);
        assert_eq!(request.alerts[0].title, "\u{fffd}");
        let expected = [
            "left out: alerts[1].severity: \"bogus\" is not one of",
            "alerts[0].title: half a character",
            "alerts[2].severity: \"WARN\" was read as medium",
            "alerts[3].title: has 614400 characters, more than 1024: it was cut",
        ];
        assert_eq!(arrival.warnings.len(), expected.len(), "{:#?}", arrival.warnings);
        for (warning, expected) in arrival.warnings.iter().zip(expected) {
            assert!(warning.starts_with(expected), "{warning}");
        }
    }

    #[test]
    fn a_reply_of_a_source_is_never_a_page_of_this_host() {
        for content_type in
            ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/plain", ""]
        {
            let body = b"<script>fetch('/plugins')</script>".to_vec();
            let reply = SourceReply { status: 200, content_type: content_type.to_owned(), body };
            let response = answer(WebhookResponse::nothing(Vec::new()), Some(reply));
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.split("; ").any(|directive| directive == "sandbox"), "{content_type}: {policy}");
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff", "{content_type}");
        }
    }

    #[test]
    fn a_source_that_asks_for_another_attempt_failed_on_the_body() {
        let failure = |retry| {
            let message = "no".to_owned();
            CallError { code: "c".to_owned(), message, retry, reason: Reason::Guest, cut_short: false }
        };
        assert!(!refusal("acme", &failure(Retry::Never)).is_failure_of_source());
        for retry in [Retry::Backoff, Retry::After { after_ms: 7_000 }] {
            assert!(refusal("acme", &failure(retry)).is_failure_of_source(), "{retry:?}");
        }
    }
}
