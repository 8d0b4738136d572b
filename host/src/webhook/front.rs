//! Serving from the first second: the listener answers as soon as it is bound, at first only that the process lives and
//! is not ready, and by the host's own routes once the host is built.

use std::fs;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::code::Code;
use super::error::{self, ApiError};
use super::listen::{Door, Listen};
use super::tls::Tls;
use super::{serve, status, timing};

/// The routes that requests are answered by; replaced as a whole.
pub(super) type Routes = Arc<ArcSwap<Router>>;

/// What the host does at the moment, for those who ask why it is not ready.
type Stage = Arc<ArcSwap<&'static str>>;

/// A listener that is served.
pub struct Front {
    address: Listen,
    routes: Routes,
    stage: Stage,
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
}

impl Front {
    /// Begins to serve. Needs a tokio runtime.
    pub fn open(door: Door, tls: Option<Tls>) -> Self {
        let address = door.address().clone();
        let stage = Stage::new(ArcSwap::from_pointee("it begins"));
        let routes = Routes::new(ArcSwap::from_pointee(starting(stage.clone())));
        let (stop, mut stopped) = watch::channel(false);
        let served = routes.clone();
        let server = tokio::spawn(async move {
            let stopped = async {
                // A sender that is gone has stopped, too.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            serve::serve(door, tls, served, stopped).await;
        });
        Self { address, routes, stage, stop, server: Some(server) }
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Says what the host is doing.
    pub fn at_stage(&self, stage: &'static str) {
        self.stage.store(Arc::new(stage));
    }

    /// Answers by the host's own routes from now on; gives what stops the serving, and its end.
    pub fn show(mut self, router: Router) -> (watch::Sender<bool>, Option<JoinHandle<()>>) {
        self.routes.store(Arc::new(router));
        (self.stop.clone(), self.server.take())
    }
}

impl Drop for Front {
    /// A host that is not built after all leaves no socket file.
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        server.abort();
        if let Listen::Unix(path) = &self.address {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }
}

/// The routes of a host that is not built yet.
fn starting(stage: Stage) -> Router {
    let routes = Router::new()
        .route("/livez", get(status::get_livez))
        .route("/readyz", get(not_ready))
        .route_layer(middleware::from_fn(timing::name))
        .fallback(not_yet)
        .with_state(stage);
    routes.layer(middleware::from_fn(error::finish)).layer(middleware::from_fn(timing::measure))
}

fn reason(stage: &Stage) -> String {
    format!("the host is starting: {}", stage.load_full())
}

async fn not_ready(State(stage): State<Stage>) -> impl IntoResponse {
    status::Probe::answer(vec![reason(&stage)])
}

async fn not_yet(State(stage): State<Stage>) -> ApiError {
    ApiError::new(Code::Starting, format!("{}; nothing was accepted", reason(&stage))).retry_after(1)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn ask(routes: &Router, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let answer = routes.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_starting_host_lives_and_is_not_ready() {
        let stage = Stage::new(ArcSwap::from_pointee("it begins"));
        let routes = starting(stage.clone());
        stage.store(Arc::new("opening the store"));
        assert_eq!(ask(&routes, "/livez").await.0, StatusCode::OK);
        let (status, body) = ask(&routes, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["reasons"][0], "the host is starting: opening the store");
        let (status, body) = ask(&routes, "/webhook/alerts").await;
        assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &"starting".into()), "{body}");
    }
}
