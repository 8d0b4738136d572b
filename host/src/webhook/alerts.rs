//! Posting alerts, and asking what became of one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::HeaderMap;
use futures::future::join_all;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::Surroundings;
use super::access::ALERTS;
use super::aside::aside;
use super::error::ApiError;
use super::query::Asked;
use super::receive::{Received, overloaded, receive};
use super::request::{Arrival, WebhookRequest};
use super::response::{AlertResult, WebhookResponse, now};
use super::why::why;
use crate::disk::Content;
use crate::fault::{Fault, excerpt};
use crate::ledger::Ledger;
use crate::telemetry::metric;
use crate::temporal::{
    self, AlertFilter, AlertPage, Found, FoundAlert, LARGEST_PAGE, Link, ListError, Pending, Submitted,
};

/// How long a synchronous post waits when it does not say.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);
/// As many alerts as Temporal takes about as quickly as one.
const FEW_ALERTS: usize = 10;

/// Accept alerts. Answers as soon as Temporal holds them.
#[utoipa::path(
    post,
    path = "/webhook/alerts",
    tag = "alerts",
    request_body = WebhookRequest,
    responses(
        (status = 200, description = "Temporal holds the alerts", body = WebhookResponse),
        (status = 400, description = "The request is wrong; nothing was accepted", body = WebhookResponse),
        (status = 401, description = "A key or a signature is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 408, description = "The body did not come to its end", body = WebhookResponse),
        (status = 409, description = "The batch_id was used before, for other alerts", body = WebhookResponse),
        (status = 413, description = "The body is over the limit", body = WebhookResponse),
        (status = 415, description = "The body is not declared as JSON", body = WebhookResponse),
        (status = 429, description = "The key posts faster than it may", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer; nothing is confirmed", body = WebhookResponse),
        (status = 503, description = "Too many requests are under way; nothing was accepted", body = WebhookResponse),
    )
)]
pub(super) async fn post_alerts(
    State(surroundings): State<Surroundings>,
    request: Request,
) -> Result<(HeaderMap, Json<WebhookResponse>), ApiError> {
    let mut received = receive(&surroundings, ALERTS, "", request).await?;
    let request = read(&mut received).await?;
    let warnings = received.arrival.warnings.clone();
    let submitted = accept(&surroundings, received.arrival, request).await?;
    let response = WebhookResponse { warnings, ..WebhookResponse::accepted(submitted, None) };
    Ok((received.headers, Json(response)))
}

/// Accept alerts and wait for what becomes of them.
#[utoipa::path(
    post,
    path = "/webhook/alerts/sync",
    tag = "alerts",
    params(("timeout" = Option<Pause>, Query, description = "How long to wait, such as `30s` (the default)")),
    request_body = WebhookRequest,
    responses(
        (status = 200, description = "Temporal holds the alerts; `results` tells of each", body = WebhookResponse),
        (status = 400, description = "The request is wrong; nothing was accepted", body = WebhookResponse),
        (status = 401, description = "A key or a signature is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 408, description = "The body did not come to its end", body = WebhookResponse),
        (status = 409, description = "The batch_id was used before, for other alerts", body = WebhookResponse),
        (status = 413, description = "The body is over the limit", body = WebhookResponse),
        (status = 415, description = "The body is not declared as JSON", body = WebhookResponse),
        (status = 429, description = "The key posts faster than it may", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer; nothing is confirmed", body = WebhookResponse),
        (status = 503, description = "Too many requests are under way; nothing was accepted", body = WebhookResponse),
    )
)]
pub(super) async fn post_alerts_sync(
    State(surroundings): State<Surroundings>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<(HeaderMap, Json<WebhookResponse>), ApiError> {
    let mut received = receive(&surroundings, ALERTS, "", request).await?;
    let timeout = timeout(query.as_deref(), surroundings.sync_timeout_max);
    let (timeout, request) = match (timeout, read(&mut received).await) {
        (Ok(timeout), Ok(request)) => (timeout, request),
        (Err(fault), Ok(_)) => return Err(ApiError::invalid(vec![fault])),
        (Ok(_), Err(error)) => return Err(error),
        (Err(fault), Err(error)) => return Err(error.and(fault)),
    };
    let warnings = received.arrival.warnings.clone();
    let submitted = accept(&surroundings, received.arrival, request).await?;
    drop(received.place);
    let results = results(&surroundings.link, &submitted, Instant::now() + timeout).await;
    let response = WebhookResponse { warnings, ..WebhookResponse::accepted(submitted, Some(results)) };
    Ok((received.headers, Json(response)))
}

/// What a workflow carries itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CarriedAlerts)]
enum Carried {
    /// One alert.
    One(Box<FoundAlert>),
    /// Of a batch: those that it carries inline.
    Several {
        /// The alerts, in the order of the request.
        alerts: Vec<FoundAlert>,
    },
}

/// What is known of an alert, or of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlertAnswer {
    /// Always true.
    success: bool,
    /// The workflow.
    workflow_id: String,
    /// Where it stands.
    state: temporal::State,
    #[serde(flatten)]
    carried: Carried,
    /// Of a batch: the workflows of its alerts that run on their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<String>,
    /// What is being tried again.
    pending: Vec<Pending>,
    /// Why the receiver that was asked for was, or was not, told: what decided, line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<Vec<String>>,
    /// Its page in Temporal's web UI, where the host knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    temporal_url: Option<String>,
    /// When this was answered.
    #[schema(format = DateTime)]
    timestamp: String,
}

/// A duration, as far as a description can say it: `1m30s` is one as well.
#[derive(ToSchema)]
#[schema(pattern = r"^[0-9]{1,4}(ms|s|m|h)$", example = "30s")]
#[expect(dead_code, reason = "a description only")]
pub(super) struct Pause(String);

/// List alerts, newest first: those that are under way, then by their end; a page is in the order of acceptance.
#[utoipa::path(
    get,
    path = "/alerts",
    tag = "alerts",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(temporal::AlertFilter),
    responses(
        (status = 200, description = "A page of them", body = temporal::AlertPage),
        (status = 400, description = "A filter is none", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn get_alerts(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<AlertFilter>,
) -> Result<Json<AlertPage>, ApiError> {
    if let Some(limit) = filter.limit.filter(|limit| !(1..=LARGEST_PAGE).contains(limit)) {
        let message = format!("{limit} is not between 1 and {LARGEST_PAGE}");
        return Err(ApiError::invalid(vec![fault_in("limit", limit.into(), message)]));
    }
    for (name, value) in [("source", &filter.source), ("key", &filter.key)] {
        if let Some(text) = value.as_ref().filter(|text| text.contains('\0')) {
            return Err(ApiError::invalid(vec![fault_in(
                name,
                text.as_str().into(),
                "has a NUL in it".to_owned(),
            )]));
        }
    }
    match temporal::list(&surroundings.link, &filter).await {
        Ok(page) => Ok(Json(page)),
        Err(ListError::Lookup(error)) => Err(error.into()),
        Err(error @ ListError::Cursor) => {
            Err(ApiError::invalid(vec![fault_in("cursor", filter.cursor.into(), error.to_string())]))
        }
    }
}

fn fault_in(path: &str, value: Value, message: String) -> Fault {
    Fault { path: path.to_owned(), value: Some(excerpt(&value)), message }
}

/// Ask what became of an alert.
#[utoipa::path(
    get,
    path = "/alerts/{workflow_id}",
    tag = "alerts",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(("workflow_id" = String, Path, description = "From `workflow_ids`, or an alert's own `id`"), Question),
    responses(
        (status = 200, description = "The alert, its state, its outcome and its ledger", body = AlertAnswer),
        (status = 400, description = "The path is not UTF-8, or the question is none", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 404, description = "Temporal does not know it, or no longer", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn get_alert(
    State(surroundings): State<Surroundings>,
    path: Result<Path<String>, PathRejection>,
    Asked(Question { why }): Asked<Question>,
) -> Result<Json<AlertAnswer>, ApiError> {
    let Path(id) = path?;
    let mut found = temporal::lookup(&surroundings.link, &id).await?;
    if let [FoundAlert { outcome, ledger: Some(ledger), .. }] = found.alerts.as_mut_slice() {
        temporal::complete(&surroundings.link, ledger).await;
        *outcome = Some(ledger.outcome);
    }
    let why = why.map(|receiver| answer(&surroundings, &found, &receiver));
    Ok(Json(AlertAnswer::new(found, why, &surroundings.link)))
}

/// What is asked of an alert.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Question {
    /// A receiver: why it was, or was not, told. The answer is in `why`.
    #[param(example = "slack-ops")]
    why: Option<String>,
}

fn answer(surroundings: &Surroundings, found: &Found, receiver: &str) -> Vec<String> {
    let [alert] = found.alerts.as_slice() else {
        return vec![format!(
            "{} is a batch: ask it of one of its alerts, by its own id.",
            found.workflow_id
        )];
    };
    // Only who works on alerts reads the routes.
    let router = surroundings.works.then(|| surroundings.routing.current());
    why(alert, &found.pending, router.as_deref(), receiver)
}

impl AlertAnswer {
    fn new(found: Found, why: Option<Vec<String>>, link: &Link) -> Self {
        let Found { workflow_id, state, mut alerts, children, pending } = found;
        let carried = match alerts.pop() {
            Some(alert) if alerts.is_empty() && children.is_empty() => Carried::One(Box::new(alert)),
            last => {
                alerts.extend(last);
                Carried::Several { alerts }
            }
        };
        let temporal_url = link.page(&workflow_id);
        let timestamp = now();
        Self { success: true, workflow_id, state, carried, children, pending, why, temporal_url, timestamp }
    }
}

/// Reads the request, and notes what is odd about it.
async fn read(received: &mut Received) -> Result<WebhookRequest, ApiError> {
    received.place.as_ref().ok_or_else(overloaded)?;
    let (headers, body) = (received.parts.headers.clone(), received.body.clone());
    let (request, warnings) =
        aside(&received.arrival.sender(), body.len(), move || WebhookRequest::read(&headers, &body))
            .await??;
    for warning in &warnings {
        tracing::warn!(trace = received.arrival.traceparent, "{warning}");
    }
    received.arrival.warnings = warnings;
    Ok(request.known_by(received.known.clone()))
}

/// Has Temporal hold a request's alerts.
pub(super) async fn accept(
    surroundings: &Surroundings,
    arrival: Arrival,
    request: WebhookRequest,
) -> Result<Submitted, ApiError> {
    let alerts = request.alerts.len();
    metric::received(alerts);
    let _places = surroundings.places.take_for(alerts, &arrival.sender());
    let id = request.batch_id.clone();
    let submission = request.into_submission(arrival);
    let Surroundings { link, activities, repeat_window, .. } = surroundings;
    let began = Instant::now();
    let submitted = temporal::submit(link, *activities, *repeat_window, submission).await;
    // Many alerts take long by themselves.
    if alerts <= FEW_ALERTS {
        surroundings.places.notice(began.elapsed());
    }
    let submitted = match submitted {
        Ok(submitted) => submitted,
        Err(error) => {
            let error = ApiError::from(error).of_request(id.as_deref()).with_alerts(alerts);
            return Err(surroundings.or_disk(error, Content::Temporal).await);
        }
    };
    metric::accepted(submitted.alerts.len());
    for carried in &submitted.alerts {
        tracing::info!(alert = carried.id, workflow = carried.workflow_id, "accepted");
    }
    Ok(submitted)
}

/// What became of each alert by the deadline.
async fn results(link: &Link, submitted: &Submitted, deadline: Instant) -> Vec<AlertResult> {
    let workflows: BTreeSet<String> =
        submitted.alerts.iter().map(|carried| carried.workflow_id.clone()).collect();
    // All at once: each may take as long as there is, and a request holds a bounded number.
    let ledgers = join_all(workflows.into_iter().map(|id| ledgers_by(link.clone(), id, deadline))).await;
    let ledgers: BTreeMap<String, Ledger> =
        ledgers.into_iter().flatten().map(|ledger| (ledger.id.clone(), ledger)).collect();
    let result = |carried: &temporal::Carried| {
        let ledger = ledgers.get(&carried.id).cloned();
        AlertResult {
            workflow_id: carried.workflow_id.clone(),
            id: carried.id.clone(),
            completed: ledger.is_some(),
            outcome: ledger.as_ref().map(|ledger| ledger.outcome),
            ledger,
        }
    };
    submitted.alerts.iter().map(result).collect()
}

/// The ledgers of one workflow, and of those that it had no room for; none if it is not done by the deadline.
async fn ledgers_by(link: Link, workflow_id: String, deadline: Instant) -> Vec<Ledger> {
    match tokio::time::timeout_at(deadline, temporal::wait(&link, &workflow_id)).await {
        Ok(Ok((mut ledgers, children))) => {
            let own = children.into_iter().filter(|child| temporal::batch_of(child) == Some(&workflow_id));
            let own = own.map(|child| Box::pin(ledgers_by(link.clone(), child, deadline)));
            ledgers.extend(join_all(own).await.into_iter().flatten());
            ledgers
        }
        Ok(Err(error)) => {
            tracing::warn!(workflow = workflow_id, %error, "no result");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// `?timeout=30s`, cut to what the operator allows.
fn timeout(query: Option<&str>, most: Duration) -> Result<Duration, Fault> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or("").as_bytes());
    let given = pairs.filter(|(name, _)| name == "timeout").map(|(_, value)| value.into_owned()).last();
    let Some(text) = given else { return Ok(SYNC_TIMEOUT.min(most)) };
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.map(|duration| duration.min(most)).ok_or_else(|| {
        let value = excerpt(&Value::String(text));
        let message = format!("{value} is not a duration such as 30s, 1m30s or 500ms");
        Fault { path: "timeout".to_owned(), value: Some(value), message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_read_and_bounded() {
        let most = Duration::from_secs(60);
        assert_eq!(timeout(None, most).unwrap(), SYNC_TIMEOUT);
        assert_eq!(timeout(Some("timeout=5s"), most).unwrap(), Duration::from_secs(5));
        assert_eq!(timeout(Some("timeout=1h"), most).unwrap(), most);
        assert!(timeout(Some("timeout=soon"), most).is_err());
        assert!(timeout(Some("timeout=-5s"), most).is_err());
    }
}
