//! The HTTP wall: the webhook, what can be asked of it, and its description. Knows alerts and the engine that takes
//! them; nothing of plugins but their inventory and how to release one.

mod alerts;
mod error;
mod request;
mod response;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::plugin::Registry;
use crate::telemetry::Metrics;
use crate::temporal::{ActivityConfig, Link};

pub use response::{AlertResult, WebhookResponse};

/// How long a sender may pause within a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Clone)]
pub struct Surroundings {
    /// The connection to Temporal.
    pub link: Link,
    /// How activities are retried; part of what is submitted.
    pub activities: ActivityConfig,
    /// The plugins, where this process has them.
    pub registry: Option<Registry>,
    /// The metrics.
    pub metrics: Metrics,
    /// Whether this process accepts alerts.
    pub accepts: bool,
    /// Whether this process's worker polls.
    pub polling: Arc<AtomicBool>,
    /// When the process started.
    pub started: Instant,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// The longest time that a synchronous request waits.
    pub sync_timeout_max: Duration,
}

impl Surroundings {
    /// Whether this process's worker polls; `None` if this process is not to have one.
    fn is_polling(&self) -> Option<bool> {
        self.registry.as_ref()?;
        Some(self.polling.load(Ordering::Relaxed))
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
    paths(
        alerts::post_alerts,
        alerts::post_alerts_sync,
        alerts::get_alert,
        status::get_health,
        status::get_plugins,
        status::post_release,
        status::get_metrics
    )
)]
struct Description;

/// The API's description as a document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// All routes.
pub fn router(surroundings: Surroundings) -> Router {
    let mut router = Router::new()
        .route("/health", get(status::get_health))
        .route("/plugins", get(status::get_plugins))
        .route("/plugins/{name}/release", post(status::post_release))
        .route("/metrics", get(status::get_metrics));
    if surroundings.accepts {
        router = router
            .route("/webhook/alerts", post(alerts::post_alerts))
            .route("/webhook/alerts/sync", post(alerts::post_alerts_sync))
            .route("/alerts/{*workflow_id}", get(alerts::get_alert))
            .merge(SwaggerUi::new("/docs").url("/openapi.json", openapi()));
    }
    router
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(DefaultBodyLimit::max(surroundings.body_limit))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(middleware::from_fn(error::finish))
        .with_state(surroundings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_the_promised_schemas() {
        let document = serde_json::to_value(openapi()).unwrap();
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
