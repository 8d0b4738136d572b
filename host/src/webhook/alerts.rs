//! Posting alerts, and asking what became of one.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::HeaderMap;
use campanile_store::{Disposition, Placed};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::Surroundings;
use super::accept::accept;
use super::access::ALERTS;
use super::aside::aside;
use super::error::ApiError;
use super::query::Asked;
use super::receive::{Received, overloaded, receive};
use super::request::WebhookRequest;
use super::response::{AlertResult, WebhookResponse, now};
use crate::fault::{Fault, excerpt};
use crate::ledger::Acknowledgement;
use crate::life_table;
use crate::temporal::{
    self, AlertFilter, AlertPage, AlertState, Found, FoundAlert, LARGEST_PAGE, Link, Pending,
};

/// How long a synchronous post waits when it does not say.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Accept alerts. Answers as soon as they are in the store.
#[utoipa::path(
    post,
    path = "/webhook/alerts",
    tag = "alerts",
    request_body = WebhookRequest,
    responses(
        (status = 200, description = "The host has accepted the alerts", body = WebhookResponse),
        (status = 400, description = "The request is wrong; nothing was accepted", body = WebhookResponse),
        (status = 401, description = "A key or a signature is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 408, description = "The body did not come to its end", body = WebhookResponse),
        (status = 409, description = "The batch_id was used before, for other alerts", body = WebhookResponse),
        (status = 413, description = "The body is over the limit", body = WebhookResponse),
        (status = 415, description = "The body is not declared as JSON", body = WebhookResponse),
        (status = 429, description = "The key posts faster than it may", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer; nothing is confirmed", body = WebhookResponse),
        (status = 503, description = "Too many requests are under way, or the store takes nothing; nothing was accepted", body = WebhookResponse),
    )
)]
pub(super) async fn post_alerts(
    State(surroundings): State<Surroundings>,
    request: Request,
) -> Result<(HeaderMap, Json<WebhookResponse>), ApiError> {
    let mut received = receive(&surroundings, ALERTS, "", request).await?;
    let request = read(&mut received).await?;
    let warnings = received.arrival.warnings.clone();
    let accepted = accept(&surroundings, received.arrival, request).await?;
    let response = WebhookResponse { warnings, ..WebhookResponse::accepted(&accepted.alerts, None) };
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
        (status = 200, description = "The host has accepted the alerts; `results` tells of each", body = WebhookResponse),
        (status = 400, description = "The request is wrong; nothing was accepted", body = WebhookResponse),
        (status = 401, description = "A key or a signature is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 408, description = "The body did not come to its end", body = WebhookResponse),
        (status = 409, description = "The batch_id was used before, for other alerts", body = WebhookResponse),
        (status = 413, description = "The body is over the limit", body = WebhookResponse),
        (status = 415, description = "The body is not declared as JSON", body = WebhookResponse),
        (status = 429, description = "The key posts faster than it may", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer; nothing is confirmed", body = WebhookResponse),
        (status = 503, description = "Too many requests are under way, or the store takes nothing; nothing was accepted", body = WebhookResponse),
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
    let accepted = accept(&surroundings, received.arrival, request).await?;
    drop(received.place);
    let results = results(&surroundings, &accepted.alerts, Instant::now() + timeout).await?;
    let response = WebhookResponse { warnings, ..WebhookResponse::accepted(&accepted.alerts, Some(results)) };
    Ok((received.headers, Json(response)))
}

/// What is known of an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlertAnswer {
    /// Always true.
    success: bool,
    /// Its id.
    workflow_id: String,
    /// Where it stands.
    state: AlertState,
    /// What its post became: `new`, `escalated`, `renewed`, `resolves`, `flapped` or `nothing-open`.
    #[schema(value_type = String, example = "new")]
    disposition: Disposition,
    /// Why: the row of the life table that applied.
    #[schema(example = "firing, and nothing was open under its key")]
    disposition_reason: &'static str,
    /// The id of its life, the same for all notifications of that.
    thread_id: String,
    /// Whether its life goes on.
    open: bool,
    /// Whether its life goes on, and was not posted for `store.stale-after`.
    stale: bool,
    /// How often its life was posted again.
    repeats: i64,
    /// Who has acknowledged its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    acknowledged: Option<Acknowledgement>,
    /// The workflow that carries it, once one is to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    carried_by: Option<String>,
    #[serde(flatten)]
    alert: FoundAlert,
    /// What is being tried again.
    pending: Vec<Pending>,
    /// Why the receiver that was asked for was, or was not, told: what decided, line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<Vec<String>>,
    /// The page of what carries it in Temporal's web UI, where the host knows one.
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

/// List alerts in order of acceptance, the newest first.
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
        (status = 503, description = "The store does not answer", body = WebhookResponse),
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
    let texts = [
        ("scope", &filter.scope),
        ("key", &filter.key),
        ("receiver", &filter.receiver),
        ("text", &filter.text),
    ];
    for (name, value) in texts {
        if let Some(text) = value.as_ref().filter(|text| text.contains('\0')) {
            return Err(ApiError::invalid(vec![fault_in(
                name,
                text.as_str().into(),
                "has a NUL in it".to_owned(),
            )]));
        }
    }
    if let Some(cursor) = filter.cursor.as_ref().filter(|cursor| cursor.parse::<i64>().is_err()) {
        let message = "is not the `next` of a page".to_owned();
        return Err(ApiError::invalid(vec![fault_in("cursor", cursor.as_str().into(), message)]));
    }
    let records = surroundings.records()?;
    if let Some(text) = filter.text.as_ref().filter(|_| records.encrypts()) {
        let message = "cannot be searched for: what the store holds is encrypted".to_owned();
        return Err(ApiError::encrypted(fault_in("text", text.as_str().into(), message)));
    }
    Ok(Json(temporal::list(records, &filter).await?))
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
        (status = 404, description = "It is not known, or no longer", body = WebhookResponse),
        (status = 503, description = "The store does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn get_alert(
    State(surroundings): State<Surroundings>,
    path: Result<Path<String>, PathRejection>,
    Asked(Question { why }): Asked<Question>,
) -> Result<Json<AlertAnswer>, ApiError> {
    let Path(id) = path?;
    let found = temporal::lookup(surroundings.records()?, &surroundings.link, &id).await?;
    let why = why.map(|receiver| {
        // Only who works on alerts reads the routes.
        let router = surroundings.works.then(|| surroundings.routing.current());
        crate::webhook::why::why(&found.alert, &found.pending, router.as_deref(), &receiver)
    });
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

impl AlertAnswer {
    fn new(found: Found, why: Option<Vec<String>>, link: &Link) -> Self {
        Self {
            success: true,
            workflow_id: found.alert.id.clone(),
            state: found.state,
            disposition: found.disposition,
            disposition_reason: life_table::reason(found.disposition, found.alert.alert.identity().is_some()),
            thread_id: found.thread_id,
            open: found.is_open,
            stale: found.is_stale,
            repeats: found.repeats,
            acknowledged: found.acknowledged,
            temporal_url: found.carried_by.as_deref().and_then(|carrier| link.page(carrier)),
            carried_by: found.carried_by,
            alert: found.alert,
            pending: found.pending,
            why,
            timestamp: now(),
        }
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

/// What became of each alert by the deadline.
async fn results(
    surroundings: &Surroundings,
    placed: &[Placed],
    deadline: Instant,
) -> Result<Vec<AlertResult>, ApiError> {
    let records = surroundings.records()?;
    let ids: Vec<_> = placed.iter().map(|placed| placed.id.as_str()).collect();
    let found = async { records.store()?.wait(&ids, deadline).await };
    // They are accepted, whatever became of them.
    let found = found.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "no results");
        Vec::new()
    });
    let found: HashMap<_, _> = found.iter().map(|found| (found.id.as_str(), found)).collect();
    let results = placed.iter().map(|placed| {
        let ledger = found.get(placed.id.as_str()).and_then(|found| {
            temporal::ledger_of(records, found).unwrap_or_else(|error| {
                tracing::warn!(alert = placed.id, %error, "no result");
                None
            })
        });
        AlertResult {
            workflow_id: placed.id.clone(),
            disposition: placed.disposition,
            completed: ledger.is_some(),
            outcome: ledger.as_ref().map(|ledger| ledger.outcome),
            ledger,
        }
    });
    Ok(results.collect())
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
