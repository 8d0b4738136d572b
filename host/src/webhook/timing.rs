//! How long requests take, by the template of their route: what senders write into a path never becomes a label.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::telemetry::metric;

/// The route of requests that no route took, or that were refused before.
const NO_ROUTE: &str = "none";

/// Where the route is noted on the way in.
#[derive(Clone, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

/// Measures requests: outside of everything that can answer them.
pub(super) async fn measure(mut request: Request, next: Next) -> Response {
    let (started, route, method) = (Instant::now(), Route::default(), method(request.method()));
    request.extensions_mut().insert(route.clone());
    let response = next.run(request).await;
    let route = route.0.get().map_or(NO_ROUTE, MatchedPath::as_str);
    metric::request(route, method, response.status().as_u16(), started.elapsed());
    response
}

/// Notes the route of a request: on every route.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let noted = request.extensions().get::<Route>().zip(request.extensions().get::<MatchedPath>());
    if let Some((route, matched)) = noted {
        // It is set once: routes are not nested.
        let _ = route.0.set(matched.clone());
    }
    next.run(request).await
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
