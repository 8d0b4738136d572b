//! Notifier: POSTs every alert as JSON to an address, in the form of Standard Webhooks; the host signs it.

mod message;

use bindings::exports::campanile::notifier::notifier::{Delivery, Guest};
use campanile_guest::config;
use campanile_guest::http::{Method, Request, header_value};
use campanile_guest::types::{Description, Failure, Receipt};

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:notifier/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Webhook;
    #[cfg(target_family = "wasm")]
    export!(Webhook);
}

struct Webhook;

impl Guest for Webhook {
    fn describe() -> Description {
        Description {
            name: "webhook".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Posts every alert as JSON to an address, signed by the host if so configured."
                .to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn notify(delivery: Delivery) -> Result<Receipt, Failure> {
        let url = config::required("url", "https://example.com/alerts")?;
        let authorization = config::get("authorization")?.unwrap_or_default();
        let signature = config::get("secret")?.map(|name| message::signature(&name)).unwrap_or_default();
        let id = header_value(&delivery.delivery_id);
        let headers = [
            ("webhook-id", id.as_str()),
            ("webhook-signature", &signature),
            ("authorization", &authorization),
            ("traceparent", &delivery.traceparent),
        ];
        Request { method: Method::Post, url: &url, headers: &headers, body: &message::body(&delivery)? }
            .send()
    }
}
