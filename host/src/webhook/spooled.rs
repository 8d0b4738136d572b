//! What can be asked of the spool: what is in it, and what is to become of requests that were set aside.

use axum::Json;
use axum::extract::State;
use campanile_store::SetAsideFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Surroundings;
use super::error::ApiError;
use super::query::Asked;
use super::response::WebhookResponse;
use super::spool::{SetAside, SpoolStatus};
use crate::fault::Fault;

/// The spool, and the requests in it that failed by their content.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SpoolPage {
    /// How full it is.
    pub status: SpoolStatus,
    /// The requests that were set aside, the latest first.
    pub set_aside: Vec<SetAside>,
}

/// Which of the requests that were set aside.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SpoolFilter {
    /// The request, by its id.
    #[param(example = "grafana-0d9a7f3e5a0c4c0f9b392f3c1d1f6a55")]
    id: Option<String>,
    /// The source.
    #[param(example = "grafana")]
    source: Option<String>,
    /// All that are set aside, where nothing else says which.
    #[serde(default)]
    all: bool,
}

/// Which requests an order reached.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SpoolOrdered {
    /// Always true.
    success: bool,
    /// The requests, by id.
    requests: Vec<String>,
}

/// List the spooled requests that failed by their content.
#[utoipa::path(
    get,
    path = "/spool",
    tag = "spool",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    responses(
        (status = 200, description = "The spool; empty where no source has one", body = SpoolPage),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 503, description = "The store does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn get_spool(State(surroundings): State<Surroundings>) -> Result<Json<SpoolPage>, ApiError> {
    let Some(spool) = surroundings.spool else { return Ok(Json(SpoolPage::default())) };
    let set_aside = spool.listed().await?;
    Ok(Json(SpoolPage { status: spool.status(), set_aside }))
}

/// Hand over again what was set aside, behind all that waits: once the source's plugin has a better version.
#[utoipa::path(
    post,
    path = "/spool/retry",
    tag = "spool",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(SpoolFilter),
    responses(
        (status = 200, description = "They wait again", body = SpoolOrdered),
        (status = 400, description = "The filter does not say which", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 503, description = "The store does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_spool_retry(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<SpoolFilter>,
) -> Result<Json<SpoolOrdered>, ApiError> {
    ordered(surroundings, filter, true).await
}

/// Drop what was set aside.
#[utoipa::path(
    post,
    path = "/spool/discard",
    tag = "spool",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(SpoolFilter),
    responses(
        (status = 200, description = "They are gone", body = SpoolOrdered),
        (status = 400, description = "The filter does not say which", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 503, description = "The store does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_spool_discard(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<SpoolFilter>,
) -> Result<Json<SpoolOrdered>, ApiError> {
    ordered(surroundings, filter, false).await
}

async fn ordered(
    surroundings: Surroundings,
    filter: SpoolFilter,
    again: bool,
) -> Result<Json<SpoolOrdered>, ApiError> {
    if filter.id.is_none() && filter.source.is_none() && !filter.all {
        let message = "say which of those that are set aside: by id or source, or all=true";
        return Err(ApiError::invalid(vec![Fault::whole(message)]));
    }
    let SpoolFilter { id, source, .. } = filter;
    let filter = SetAsideFilter { id, source };
    let requests = match surroundings.spool {
        Some(spool) if again => spool.retry(&filter).await?,
        Some(spool) => spool.discard(&filter).await?,
        None => Vec::new(),
    };
    tracing::info!(count = requests.len(), again, "spooled requests that were set aside taken back");
    Ok(Json(SpoolOrdered { success: true, requests }))
}
