//! The HTTP wall: the webhook, what can be asked of it, and its description. Knows alerts and the engine that takes
//! them; nothing of plugins but their inventory and how to release one.

mod accept;
mod access;
mod alerts;
mod aside;
mod body;
mod code;
mod connections;
mod deliveries;
mod dry_run;
mod error;
mod explained;
mod front;
mod handover;
mod home;
mod listen;
mod mend;
mod origin;
mod peer;
mod places;
mod published;
mod query;
mod receive;
mod request;
mod response;
mod room;
mod serve;
mod sources;
mod spool;
mod spooled;
mod status;
mod suspended;
mod timing;
mod tls;
mod weight;
mod why;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tower::{Layer, Service, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::normalize_path::NormalizePathLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

use error::ApiError;

use crate::disk::{Content, Disks};
use crate::plugin::Registry;
use crate::records::Records;
use crate::reload::Reloads;
use crate::routing::Routing;
use crate::telemetry::Metrics;
use crate::temporal::{ActivityConfig, Dispatch, Link};

pub(crate) use access::{ALERTS, scrubbed};
pub use access::{Access, KeyConfig, LiveAccess, NewKey, SourceConfig};
pub use dry_run::{DryRun, ReadAlert, Refused, read_body, read_decoded, read_posted};
pub use front::Front;
pub use listen::{Door, Listen};
pub use places::Places;
pub use request::read_alert;
pub use response::{AlertResult, WebhookResponse};
pub use room::Room;
pub use spool::{SetAside, Spool, SpoolConfig, SpoolStatus};
pub use spooled::SpoolPage;
pub use tls::{Tls, TlsConfig};
pub use weight::BodyLimits;

/// How long a sender may pause within a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Clone)]
pub struct Surroundings {
    /// The connection to Temporal.
    pub link: Link,
    /// How activities are retried; part of what is submitted.
    pub activities: ActivityConfig,
    /// The plugins of this process: sources where it accepts alerts, the others where it works on them.
    pub registry: Registry,
    /// The metrics.
    pub metrics: Metrics,
    /// Whether this process accepts alerts.
    pub accepts: bool,
    /// Whether this process is to have a worker.
    pub works: bool,
    /// Whether this process's worker polls.
    pub polling: Arc<AtomicBool>,
    /// What has to be written to.
    pub disks: Disks,
    /// When the process started.
    pub started: Instant,
    /// Whether the routes in the configuration file are in force.
    pub reloads: Reloads,
    /// The routes in force.
    pub routing: Routing,
    /// Who may post, ask and steer.
    pub access: LiveAccess,
    /// Where requests wait while Temporal is away.
    pub spool: Option<Spool>,
    /// What the store holds, where this process accepts alerts.
    pub records: Option<Records>,
    /// What starts the workflows of what is accepted, likewise.
    pub dispatch: Option<Dispatch>,
    /// Places for requests that are worked on.
    pub places: Places,
    /// Memory for bodies that are being read.
    pub room: Room,
    /// How long a repeat is one without a `starts_at`.
    pub repeat_window: Duration,
    /// The largest request body, in bytes, as sent and unpacked.
    pub body_limit: usize,
    /// What a body may hold.
    pub body_limits: BodyLimits,
    /// The origins whose pages may use the API in a browser.
    pub cors_origins: Arc<[HeaderValue]>,
    /// The longest time that a synchronous request waits.
    pub sync_timeout_max: Duration,
}

impl Surroundings {
    /// Where the requests of a source wait.
    fn spool_of(&self, source: &str) -> Option<&Spool> {
        self.spool.as_ref().filter(|_| self.access.current().spools(source))
    }

    /// A refusal, or that of the disk with this in it, where that cannot be written.
    async fn or_disk(&self, error: ApiError, content: Content) -> ApiError {
        if !error.may_be_of_disk() {
            return error;
        }
        self.disks.look_again().await;
        error.on_disk(self.disks.faults_of(content))
    }

    /// What the store holds.
    ///
    /// # Errors
    ///
    /// This process accepts nothing.
    fn records(&self) -> Result<&Records, ApiError> {
        self.records.as_ref().ok_or_else(|| ApiError::internal("this process has no store"))
    }

    /// What it takes to accept a request to this source; `None` for `/webhook/alerts`.
    fn intake(&self, source: Option<&str>) -> Result<accept::Intake, ApiError> {
        let replicas = source.map(|source| self.access.current().replicas_of(source));
        Ok(accept::Intake {
            records: self.records()?.clone(),
            repeat_window: self.repeat_window,
            hold_down: self.routing.current().hold_down(),
            replicas: replicas.unwrap_or_default(),
        })
    }

    /// Whether this process's worker polls; `None` if this process is not to have one.
    fn is_polling(&self) -> Option<bool> {
        self.works.then(|| self.polling.load(Ordering::Relaxed))
    }
}

/// The API's description. Schemas come from the types that are read and written.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Campanile",
        description = "Alerts in; plugins of your own process them, tell people and write their status back.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Keys),
    security((), ("bearer" = []), ("api-key" = []), ("basic" = [])),
    paths(
        alerts::post_alerts,
        alerts::post_alerts_sync,
        sources::post_source,
        alerts::get_alerts,
        alerts::get_alert,
        deliveries::post_ack,
        deliveries::get_deliveries,
        deliveries::post_retry,
        deliveries::post_discard,
        suspended::post_store_resume,
        suspended::post_store_discard,
        spooled::get_spool,
        spooled::post_spool_retry,
        spooled::post_spool_discard,
        home::get_home,
        status::get_health,
        status::get_livez,
        status::get_readyz,
        status::get_plugins,
        status::post_release,
        status::get_metrics
    ),
    components(schemas(alerts::Pause))
)]
struct Description;

/// How a key is shown, for `/docs` to try.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in [
            ("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))),
            ("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic))),
            ("api-key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")))),
        ] {
            components.add_security_scheme(name, scheme);
        }
    }
}

/// The API's description as a document.
pub fn openapi() -> serde_json::Value {
    let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
    published::complete(&mut document);
    document
}

/// Hands over what is in the spool, as long as the host runs.
pub async fn hand_over(surroundings: Surroundings) {
    if let Some(spool) = surroundings.spool.clone() {
        handover::run(surroundings, spool).await;
    }
}

/// All routes.
pub fn router(surroundings: Surroundings) -> Router {
    let mut open = Router::new()
        .route("/", get(home::get_home))
        .route("/health", get(status::get_health))
        .route("/livez", get(status::get_livez))
        .route("/readyz", get(status::get_readyz))
        .route("/metrics", get(status::get_metrics));
    let mut closed = Router::new()
        .route("/plugins", get(status::get_plugins))
        .route("/plugins/{name}/release", post(status::post_release));
    let mut pages = Router::new();
    if surroundings.accepts {
        open = open
            .route("/webhook/alerts", post(alerts::post_alerts))
            .route("/webhook/alerts/sync", post(alerts::post_alerts_sync))
            .route("/webhook/{source}", post(sources::post_source).put(sources::post_source))
            .route("/webhook/{source}/{*below}", post(sources::post_source).put(sources::post_source));
        closed = closed
            .route("/alerts", get(alerts::get_alerts))
            .route_service("/alerts/{*workflow_id}", one_alert(&surroundings))
            .route("/deliveries", get(deliveries::get_deliveries))
            .route("/deliveries/retry", post(deliveries::post_retry))
            .route("/deliveries/discard", post(deliveries::post_discard))
            .route("/store/resume", post(suspended::post_store_resume))
            .route("/store/discard", post(suspended::post_store_discard))
            .route("/spool", get(spooled::get_spool))
            .route("/spool/retry", post(spooled::post_spool_retry))
            .route("/spool/discard", post(spooled::post_spool_discard));
        pages = pages.merge(SwaggerUi::new("/docs").external_url_unchecked("/openapi.json", openapi()));
        pages = pages.route_layer(middleware::from_fn(timing::name));
    }
    let routes = open
        .merge(closed.route_layer(middleware::from_fn_with_state(surroundings.clone(), admin)))
        .route_layer(middleware::from_fn(timing::name))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(surroundings.clone());
    let router = pages
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback_service(NormalizePathLayer::trim_trailing_slash().layer(routes))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(DefaultBodyLimit::max(surroundings.body_limit))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(middleware::from_fn_with_state(surroundings.clone(), origin::refuse_foreign));
    let router = match surroundings.cors_origins.as_ref() {
        [] => router,
        origins => router.layer(cors(origins)),
    };
    router.layer(middleware::from_fn(error::finish)).layer(middleware::from_fn(timing::measure))
}

/// An alert, and taking it over: its id may have slashes in it, so that both have one address to the router.
fn one_alert(
    surroundings: &Surroundings,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + use<> {
    let alert = get(alerts::get_alert).with_state(surroundings.clone());
    let ack = post(deliveries::post_ack).with_state(surroundings.clone());
    tower::service_fn(move |request: Request| {
        let is_ack = request.uri().path().ends_with(deliveries::ACK);
        if is_ack { ack.clone() } else { alert.clone() }.oneshot(request)
    })
}

/// Lets in whoever may see plugins and alerts, and steer.
async fn admin(
    State(surroundings): State<Surroundings>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    surroundings.access.current().admit_admin(&parts)?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// What of its own a request may have: a key, an id, a signature by Standard Webhooks.
const ASKED: [&str; 5] =
    ["x-api-key", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"];

/// What pages of these origins may do in a browser; others may do nothing.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers([&[AUTHORIZATION, CONTENT_TYPE][..], &ASKED.map(HeaderName::from_static)].concat())
        .expose_headers([HeaderName::from_static("x-request-id"), RETRY_AFTER])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_complete() {
        let document = openapi();
        assert_eq!(document["paths"]["/webhook/{source}"]["put"]["operationId"], "put_source");
        let alert = &document["components"]["schemas"]["AlertPayload"]["properties"];
        assert_eq!(alert["id"]["type"], serde_json::json!(["string", "null"]));
        assert!(document["paths"]["/webhook/alerts"]["post"]["responses"]["401"]["headers"].is_object());
    }

    #[test]
    fn the_description_has_the_promised_schemas() {
        let document = openapi();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let promised = [
            "AlertPayload",
            "AlertSeverity",
            "AlertType",
            "AlertSource",
            "AlertContext",
            "WebhookRequest",
            "WebhookResponse",
        ];
        for name in promised {
            assert!(schemas.contains_key(name), "{name} is missing among {:?}", schemas.keys());
        }
    }
}
