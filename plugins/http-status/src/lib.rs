//! Status updater: tells an external system, as JSON over HTTP, what became of an alert.

mod message;

use campanile_guest::http::{Request, Service, header_value};
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Change, config};

campanile_guest::status_updater! {
    name: "http-status",
    summary: "Tells an external system, as JSON over HTTP, what became of an alert.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: [],
    update: update,
}

fn update(change: &Change) -> Result<Receipt, Failure> {
    let url = config::required("url", "https://example.com/status")?;
    let body = message::body(change, config::get("body")?.as_deref())?;
    let method = message::method(config::get("method")?.as_deref())?;
    Request::new(method, url)
        .json_text(body)
        .header("idempotency-key", header_value(&change.change_id))
        .header("authorization", config::get("authorization")?.unwrap_or_default())
        .header("traceparent", &change.traceparent)
        .send()?
        .receipt(&Service::PLAIN)
}
