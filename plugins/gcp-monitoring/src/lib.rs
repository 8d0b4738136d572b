//! Source: the webhook of Google Cloud Monitoring. One alert per notification.

mod facts;
mod incident;
mod policy;

use bindings::exports::campanile::source::source::{Decoded, Guest, Request};
use campanile_guest::source::{Settings, json};
use campanile_guest::types::{Description, Failure};

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:source/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::GcpMonitoring;
    #[cfg(target_family = "wasm")]
    export!(GcpMonitoring);
}

struct GcpMonitoring;

impl Guest for GcpMonitoring {
    fn describe() -> Description {
        Description {
            name: "gcp-monitoring".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the webhook of Google Cloud Monitoring.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("gcp-monitoring", "Google Cloud Monitoring", "infrastructure").read()?;
        let sheet = incident::decode(&json(&request.body)?, &settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
