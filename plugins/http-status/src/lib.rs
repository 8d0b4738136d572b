//! Status updater: tells an external system, as JSON over HTTP, what became of an alert.

mod message;

use bindings::exports::campanile::status_updater::status_updater::{Change, Guest};
use campanile_guest::config;
use campanile_guest::http::{Request, Service, header_value};
use campanile_guest::types::{Description, Failure, Receipt};

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:status-updater/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::HttpStatus;
    #[cfg(target_family = "wasm")]
    export!(HttpStatus);
}

struct HttpStatus;

impl Guest for HttpStatus {
    fn describe() -> Description {
        Description {
            name: "http-status".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Tells an external system, as JSON over HTTP, what became of an alert.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn update_status(change: Change) -> Result<Receipt, Failure> {
        let url = config::required("url", "https://example.com/status")?;
        let method = message::method(config::get("method")?.as_deref())?;
        Request::new(method, url)
            .json(&message::body(&change)?)
            .header("idempotency-key", header_value(&change.change_id))
            .header("authorization", config::get("authorization")?.unwrap_or_default())
            .header("traceparent", &change.traceparent)
            .send()?
            .receipt(&Service::PLAIN)
    }
}
