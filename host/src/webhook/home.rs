//! `/`: what this is, and where to go from here.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::Surroundings;

/// What there is for all, by path. The first two are where alerts are accepted.
const PAGES: [(&str, &str); 4] = [
    ("docs", "the API, to read and to try"),
    ("openapi.json", "the same for programs"),
    ("health", "how the host and its parts are"),
    ("metrics", "metrics in Prometheus' text form"),
];
/// How many of them only a host that accepts alerts has.
const OF_WEBHOOKS: usize = 2;
const WHAT: &str = "Campanile takes alerts; plugins process them, notify people and write their status back.";

/// Say what this is, and list what there is: to browsers as a page with links, to others as text.
#[utoipa::path(
    get,
    path = "/",
    tag = "host",
    security(()),
    responses(
        (status = 200, description = "What this is, with links", content((String = "text/plain"), (String = "text/html")))
    )
)]
pub(super) async fn get_home(State(surroundings): State<Surroundings>, headers: HeaderMap) -> Response {
    let pages = &PAGES[if surroundings.accepts { 0 } else { OF_WEBHOOKS }..];
    let accept = headers.get(ACCEPT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match accept.is_some_and(|kinds| kinds.contains("text/html")) {
        true => ([(CONTENT_TYPE, "text/html; charset=utf-8")], page(pages)).into_response(),
        false => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text(pages)).into_response(),
    }
}

/// Links are relative: a proxy may have put the host below a path.
fn page(pages: &[(&str, &str)]) -> String {
    let item = |(path, what): &(&str, &str)| format!("<li><a href=\"{path}\">/{path}</a>: {what}</li>\n");
    let items: String = pages.iter().map(item).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Campanile</title>\n<h1>Campanile</h1>\n\
         <p>{WHAT}</p>\n<ul>\n{items}</ul>\n"
    )
}

fn text(pages: &[(&str, &str)]) -> String {
    let lines: String =
        pages.iter().map(|(path, what)| format!("{:<14} {what}\n", format!("/{path}"))).collect();
    format!("{WHAT}\n\n{lines}")
}
