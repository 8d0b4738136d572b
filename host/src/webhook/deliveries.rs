//! Acknowledging an alert, and dead letters.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Surroundings;
use super::error::ApiError;
use super::query::Asked;
use super::response::WebhookResponse;
use crate::fault::{Fault, excerpt};
use crate::ledger::Acknowledgement;
use crate::temporal::{self, DeliveryFilter, DeliveryPage, LARGEST_PAGE, Order};

/// The end of the address at which an alert is taken over.
pub(super) const ACK: &str = "/ack";
/// The longest texts, in characters.
const LONGEST_NAME: usize = 200;
const LONGEST_NOTE: usize = 1_024;

/// Who takes an alert over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AckRequest {
    /// Who.
    #[schema(min_length = 1, max_length = 200, example = "alice")]
    by: String,
    /// What they have to say.
    #[serde(default)]
    #[schema(max_length = 1024, example = "on it, restarting the pool")]
    note: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Acked {
    /// Always true.
    success: bool,
    /// The alert.
    alert: String,
    /// Whether it was under way, so that nobody else is told of it any more; otherwise it had come to its end, and its updaters
    /// are told.
    stopped: bool,
    /// The acknowledgement that counts, which is the first.
    acknowledgement: Acknowledgement,
}

/// Take an alert over: attempts that are under way are ended, and nobody stands in for those who could not be told.
#[utoipa::path(
    post,
    path = "/alerts/{workflow_id}/ack",
    tag = "alerts",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(("workflow_id" = String, Path, description = "From `workflow_ids`, or an alert's own `id`")),
    request_body = AckRequest,
    responses(
        (status = 200, description = "It is taken over", body = Acked),
        (status = 400, description = "The request is wrong", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 404, description = "It is not known, or no longer", body = WebhookResponse),
        (status = 415, description = "The body is not declared as JSON", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_ack(
    State(surroundings): State<Surroundings>,
    path: Result<Path<String>, PathRejection>,
    request: Result<Json<AckRequest>, JsonRejection>,
) -> Result<Json<Acked>, ApiError> {
    let Path(path) = path?;
    let alert = path.strip_suffix(ACK).unwrap_or(&path);
    let Json(AckRequest { by, note }) = request.map_err(rejected)?;
    let faults: Vec<Fault> = [
        text_fault("by", &by, 1, LONGEST_NAME),
        note.as_ref().and_then(|note| text_fault("note", note, 0, LONGEST_NOTE)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    let acknowledgement = Acknowledgement { by, note, at: Timestamp::now() };
    let (link, retry) = (&surroundings.link, surroundings.activities.update_alert_status);
    let records = surroundings.records()?;
    let taken = temporal::acknowledge(records, link, alert, acknowledgement, retry).await?;
    let temporal::TakenOver { stopped, acknowledgement } = taken;
    tracing::info!(alert, by = acknowledgement.by, stopped, "alert acknowledged");
    Ok(Json(Acked { success: true, alert: alert.to_owned(), stopped, acknowledgement }))
}

fn text_fault(path: &str, text: &str, least: usize, most: usize) -> Option<Fault> {
    let count = text.chars().count();
    (!(least..=most).contains(&count)).then(|| Fault {
        path: path.to_owned(),
        value: Some(excerpt(&text.into())),
        message: format!("has {count} characters, not {least} to {most}"),
    })
}

fn rejected(rejection: JsonRejection) -> ApiError {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => ApiError::unsupported_media_type(None),
        other => ApiError::invalid(vec![Fault::whole(other.body_text())]),
    }
}

/// List the deliveries that exhausted their retries, the latest first.
#[utoipa::path(
    get,
    path = "/deliveries",
    tag = "deliveries",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(DeliveryFilter),
    responses(
        (status = 200, description = "Those that wait, or that were delivered or discarded", body = DeliveryPage),
        (status = 400, description = "A filter is none", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn get_deliveries(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<DeliveryFilter>,
) -> Result<Json<DeliveryPage>, ApiError> {
    let filter = checked(filter)?;
    Ok(Json(temporal::deliveries(surroundings.records()?, &filter).await?))
}

/// Which deliveries are tried again or discarded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ordered {
    /// Always true.
    success: bool,
    /// The deliveries, by id.
    deliveries: Vec<String>,
}

/// Try dead letters again, each under its own id: all that the filter takes.
#[utoipa::path(
    post,
    path = "/deliveries/retry",
    tag = "deliveries",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(DeliveryFilter),
    responses(
        (status = 200, description = "They are tried again", body = Ordered),
        (status = 400, description = "A filter is none", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_retry(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<DeliveryFilter>,
) -> Result<Json<Ordered>, ApiError> {
    ordered(&surroundings, filter, Order::Retry).await
}

/// Discard dead letters, which are never tried again: all that the filter takes.
#[utoipa::path(
    post,
    path = "/deliveries/discard",
    tag = "deliveries",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(DeliveryFilter),
    responses(
        (status = 200, description = "They are not tried again", body = Ordered),
        (status = 400, description = "A filter is none", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_discard(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<DeliveryFilter>,
) -> Result<Json<Ordered>, ApiError> {
    ordered(&surroundings, filter, Order::Discard).await
}

async fn ordered(
    surroundings: &Surroundings,
    filter: DeliveryFilter,
    order: Order,
) -> Result<Json<Ordered>, ApiError> {
    let filter = checked(filter)?;
    if !filter.is_given() || filter.ended {
        let message = "say which dead letters: by id, receiver, error, severity or since, or all=true";
        return Err(ApiError::invalid(vec![Fault::whole(message)]));
    }
    let deliveries = temporal::order(surroundings.records()?, &surroundings.link, &filter, order).await?;
    tracing::info!(count = deliveries.len(), ?order, "dead letters ordered");
    Ok(Json(Ordered { success: true, deliveries }))
}

fn checked(filter: DeliveryFilter) -> Result<DeliveryFilter, ApiError> {
    let limit = filter.limit.filter(|limit| !(1..=LARGEST_PAGE).contains(limit)).map(|limit| Fault {
        path: "limit".to_owned(),
        value: Some(limit.into()),
        message: format!("{limit} is not between 1 and {LARGEST_PAGE}"),
    });
    let texts = [("receiver", &filter.receiver), ("id", &filter.id), ("error", &filter.error)];
    let nul = texts.into_iter().filter(|(_, text)| text.as_ref().is_some_and(|text| text.contains('\0')));
    let nul = nul.map(|(path, text)| Fault {
        path: path.to_owned(),
        value: text.as_deref().map(|text| excerpt(&text.into())),
        message: "has a NUL in it".to_owned(),
    });
    let faults: Vec<Fault> = limit.into_iter().chain(nul).collect();
    if faults.is_empty() { Ok(filter) } else { Err(ApiError::invalid(faults)) }
}
