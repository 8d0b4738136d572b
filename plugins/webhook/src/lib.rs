//! Notifier: POSTs every alert as JSON to an address, in the form of Standard Webhooks; the host signs it.

mod message;

use campanile_guest::http::{Request, Service, header_value};
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, config};

campanile_guest::notifier! {
    name: "webhook",
    summary: "Posts every alert as JSON to an address, signed by the host if so configured.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: [],
    notify: notify,
}

/// What its status says, and the id of what it made of the alert, which the end brings back.
const RECEIVER: Service = Service { id: &["/id"], ..Service::PLAIN };

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    let url = config::required("url", "https://example.com/alerts")?;
    let body = message::body(delivery, config::get("body")?.as_deref())?;
    let signature = config::get("secret")?.map(|name| message::signature(&name)).unwrap_or_default();
    Request::post(url)
        .json_text(body)
        .header("webhook-id", header_value(&delivery.delivery_id))
        .header("webhook-signature", signature)
        .header("authorization", config::get("authorization")?.unwrap_or_default())
        .header("traceparent", &delivery.traceparent)
        .send()?
        .receipt(&RECEIVER)
}
