//! What becomes of suspended alerts: an operator has them go on, or ends them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::Surroundings;
use super::error::ApiError;
use super::query::Asked;
use super::response::WebhookResponse;
use crate::fault::Fault;
use crate::temporal::{self, Resumption};

/// How long one waits for the store and Temporal to have been compared since the host began.
const RECONCILING: Duration = Duration::from_secs(10);

/// Which suspended alerts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SuspendedFilter {
    /// The alert, by its id.
    #[param(example = "alert-security-7-20261126-060835", pattern = r"^[^\u0000]*$")]
    id: Option<String>,
    /// All that are suspended, where no id is given.
    #[serde(default)]
    all: bool,
}

/// The suspended alerts that were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resumed {
    /// Always true.
    success: bool,
    /// The alerts, by id.
    alerts: Vec<String>,
}

/// Have suspended alerts go on: receivers are notified of them.
#[utoipa::path(
    post,
    path = "/store/resume",
    tag = "alerts",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(SuspendedFilter),
    responses(
        (status = 200, description = "They go on", body = Resumed),
        (status = 400, description = "The filter does not say which", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
        (status = 503, description = "The store does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_store_resume(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<SuspendedFilter>,
) -> Result<Json<Resumed>, ApiError> {
    change(&surroundings, filter, Resumption::Resume).await
}

/// End suspended alerts: no receiver is notified of them.
#[utoipa::path(
    post,
    path = "/store/discard",
    tag = "alerts",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(SuspendedFilter),
    responses(
        (status = 200, description = "They are at their end", body = Resumed),
        (status = 400, description = "The filter does not say which", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 500, description = "Temporal does not answer", body = WebhookResponse),
        (status = 503, description = "The store does not answer", body = WebhookResponse),
    )
)]
pub(super) async fn post_store_discard(
    State(surroundings): State<Surroundings>,
    Asked(filter): Asked<SuspendedFilter>,
) -> Result<Json<Resumed>, ApiError> {
    change(&surroundings, filter, Resumption::Discard).await
}

async fn change(
    surroundings: &Surroundings,
    filter: SuspendedFilter,
    resumption: Resumption,
) -> Result<Json<Resumed>, ApiError> {
    if filter.id.is_none() && !filter.all {
        return Err(ApiError::invalid(vec![Fault::whole("say which suspended alerts: by id, or all=true")]));
    }
    if filter.id.as_ref().is_some_and(|id| id.contains('\0')) {
        return Err(ApiError::invalid(vec![Fault::whole("id: no alert has U+0000 in its id")]));
    }
    let (records, dispatch) = (surroundings.records()?, surroundings.dispatch.as_ref());
    // What runs in a restored database of Temporal has to be terminated before.
    if let Some(dispatch) = dispatch
        && timeout(RECONCILING, dispatch.reconciled()).await.is_err()
    {
        return Err(ApiError::temporal_away(&surroundings.link));
    }
    let alerts = temporal::resume(records, dispatch, filter.id, resumption).await?;
    tracing::info!(count = alerts.len(), ?resumption, "suspended alerts changed by an operator");
    Ok(Json(Resumed { success: true, alerts }))
}
