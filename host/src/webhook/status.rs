//! How the host itself is: health, plugins, metrics.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Surroundings;
use super::error::ApiError;
use super::query::Asked;
use super::response::WebhookResponse;
use super::spool::{Spool, SpoolStatus};
use crate::disk::Disk;
use crate::plugin::Inventory;
use crate::reload::RefusedConfiguration;
use crate::store::StoreHandle;
use crate::telemetry::metric;

/// Whether the host can do its work now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, or `unavailable` if it could not take or run an alert now.
    status: &'static str,
    /// The host's version.
    version: &'static str,
    /// Seconds since it started.
    uptime_seconds: u64,
    /// The durable engine.
    temporal: TemporalHealth,
    /// The plugins.
    plugins: PluginHealth,
    /// The configuration in the files, where it is refused, and the one before in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refused_configuration: Option<RefusedConfiguration>,
    /// Keys of the configuration that were changed since the start and take effect with the next one.
    needs_restart: Vec<String>,
    /// The directories that have to be written to: those of the embedded Temporal server and of a store in a file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disks: Vec<Disk>,
    /// Where the host keeps what it has accepted; absent where this process accepts nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    store: Option<StoreHealth>,
    /// The spool, where this process accepts alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    spool: Option<SpoolStatus>,
}

/// The durable engine, seen from here.
#[derive(Debug, Serialize, ToSchema)]
struct TemporalHealth {
    /// The server's URL.
    address: String,
    /// The namespace.
    namespace: String,
    /// Whether it has answered in the last five seconds.
    reachable: bool,
    /// The task queue.
    task_queue: String,
    /// Whether this process's worker polls it; absent where this process has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_polling: Option<bool>,
    /// Whether any worker polls it, as Temporal has seen in the last two minutes; absent if Temporal was not asked yet, or
    /// does not answer. Alerts are taken without one, and wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    queue_polled: Option<bool>,
}

/// The store, seen from here.
#[derive(Debug, Serialize, ToSchema)]
struct StoreHealth {
    /// Its file, or the address of its database without a password.
    location: String,
    /// Why it takes nothing; absent if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    fault: Option<String>,
    /// How many alerts wait for an operator: `campanile store resume`.
    suspended: u64,
}

impl From<&StoreHandle> for StoreHealth {
    fn from(store: &StoreHandle) -> Self {
        let suspended = store.get().map_or(0, |store| store.suspended_count());
        let fault = store.fault().map(|error| error.to_string());
        Self { location: store.location(), fault, suspended }
    }
}

/// Why the store takes nothing.
fn store_fault(surroundings: &Surroundings) -> Option<String> {
    surroundings.records.as_ref()?.handle.fault().map(|error| error.to_string())
}

/// The plugins, counted; `/plugins` has them in full.
#[derive(Debug, Serialize, ToSchema)]
struct PluginHealth {
    /// Names of the plugins that are loaded.
    loaded: Vec<String>,
    /// Files that were refused.
    refused: Vec<String>,
    /// Names of plugins that are there and not loaded yet.
    loading: Vec<String>,
}

/// Ask how the host and its parts are.
#[utoipa::path(
    get,
    path = "/health",
    tag = "host",
    security(()),
    responses(
        (status = 200, description = "It can do its work", body = Health),
        (
            status = 503,
            description = "It cannot: Temporal or the store does not answer, no worker polls, or the disk cannot be written",
            body = Health
        ),
    )
)]
pub(super) async fn get_health(State(surroundings): State<Surroundings>) -> impl IntoResponse {
    let link = &surroundings.link;
    let reachable = !link.is_away();
    let worker_polling = surroundings.is_polling();
    let can_write = surroundings.disks.faults().is_empty();
    let is_ok =
        reachable && worker_polling.unwrap_or(true) && can_write && store_fault(&surroundings).is_none();
    let health = Health {
        status: if is_ok { "ok" } else { "unavailable" },
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: surroundings.started.elapsed().as_secs(),
        temporal: TemporalHealth {
            address: link.address.to_string(),
            namespace: link.namespace.to_string(),
            reachable,
            task_queue: link.task_queue.to_string(),
            worker_polling,
            queue_polled: link.is_queue_polled().filter(|_| reachable),
        },
        plugins: surroundings.registry.inventory().into(),
        refused_configuration: surroundings.reloads.refused(),
        needs_restart: surroundings.reloads.needs_restart(),
        disks: surroundings.disks.seen(),
        store: surroundings.records.as_ref().map(|records| StoreHealth::from(&records.handle)),
        spool: surroundings.spool.as_ref().map(Spool::status),
    };
    (status(is_ok), Json(health))
}

fn status(is_ok: bool) -> StatusCode {
    if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Whether the process lives, or is to be sent anything.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Probe {
    /// `ok`, or `unavailable`.
    status: &'static str,
    /// What is missing, one line each.
    reasons: Vec<String>,
}

impl Probe {
    pub(super) fn answer(reasons: Vec<String>) -> (StatusCode, Json<Self>) {
        let is_ok = reasons.is_empty();
        (status(is_ok), Json(Self { status: if is_ok { "ok" } else { "unavailable" }, reasons }))
    }
}

/// Ask whether the process lives: restart it if this does not answer.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "host",
    security(()),
    responses((status = 200, description = "It lives", body = Probe))
)]
pub(super) async fn get_livez() -> impl IntoResponse {
    Probe::answer(Vec::new())
}

/// Ask whether the host is ready: its plugins are loaded, its worker polls, what is posted can be taken, and the disk can be
/// written.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "host",
    security(()),
    responses(
        (status = 200, description = "It is", body = Probe),
        (status = 503, description = "It is not; `reasons` say why", body = Probe),
    )
)]
pub(super) async fn get_readyz(State(surroundings): State<Surroundings>) -> impl IntoResponse {
    Probe::answer(missing(&surroundings).await)
}

/// What the host lacks to be ready, one line each.
async fn missing(surroundings: &Surroundings) -> Vec<String> {
    let link = &surroundings.link;
    let mut reasons = surroundings.disks.faults();
    if !surroundings.registry.is_first_pass_over() {
        reasons.push(surroundings.registry.why_waiting());
    }
    if surroundings.is_polling() == Some(false) {
        reasons.push(format!("no worker polls {} yet", link.task_queue));
    }
    if let Some(fault) = store_fault(surroundings) {
        reasons.push(fault);
    }
    let needs_temporal = surroundings.accepts && !surroundings.access.current().has_spool();
    if needs_temporal && link.is_away() {
        reasons.push(format!("temporal at {} does not answer: {}", link.address, link.trouble()));
    }
    reasons
}

impl From<Inventory> for PluginHealth {
    fn from(inventory: Inventory) -> Self {
        Self {
            loaded: inventory.loaded.into_iter().map(|plugin| plugin.name).collect(),
            refused: inventory.refused.into_iter().map(|refused| refused.file).collect(),
            loading: inventory.loading,
        }
    }
}

/// List the plugins that are loaded, and the files that were refused and why.
#[utoipa::path(
    get,
    path = "/plugins",
    tag = "host",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    responses(
        (status = 200, description = "The plugins of this process", body = Inventory),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
    )
)]
pub(super) async fn get_plugins(State(surroundings): State<Surroundings>) -> Json<Inventory> {
    Json(surroundings.registry.inventory())
}

/// What came of a request to release a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Released {
    /// The plugin.
    plugin: String,
    /// Whether it was in quarantine.
    was_quarantined: bool,
}

/// End the quarantine of a plugin, in this process.
#[utoipa::path(
    post,
    path = "/plugins/{name}/release",
    tag = "host",
    security(("bearer" = []), ("api-key" = []), ("basic" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses(
        (status = 200, description = "It is called again", body = Released),
        (status = 400, description = "The name is not UTF-8", body = WebhookResponse),
        (status = 401, description = "The admin key is missing or wrong", body = WebhookResponse),
        (status = 403, description = "The key is not for this", body = WebhookResponse),
        (status = 404, description = "No such plugin is loaded here", body = WebhookResponse),
    )
)]
pub(super) async fn post_release(
    State(surroundings): State<Surroundings>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Released>, ApiError> {
    let Path(plugin) = path?;
    match surroundings.registry.release(&plugin) {
        Some(was_quarantined) => Ok(Json(Released { plugin, was_quarantined })),
        None => Err(ApiError::unknown_plugin(&plugin)),
    }
}

/// Which metrics are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Scrape {
    /// `false` leaves out what is counted for single plugins and receivers: with thousands of them that is megabytes.
    #[param(example = true)]
    plugins: Option<bool>,
}

/// Metrics in Prometheus' text form.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "host",
    security(()),
    params(Scrape),
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        (status = 400, description = "A parameter is wrong", body = WebhookResponse),
    )
)]
pub(super) async fn get_metrics(
    State(surroundings): State<Surroundings>,
    Asked(Scrape { plugins }): Asked<Scrape>,
) -> Result<impl IntoResponse, ApiError> {
    metric::ready(missing(&surroundings).await.is_empty());
    let page = surroundings.metrics.render(plugins.unwrap_or(true));
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
}
