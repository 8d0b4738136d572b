//! Source: the webhook contact point of Grafana Alerting. One alert per entry of the notification.

mod notification;

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
    use super::Grafana;
    #[cfg(target_family = "wasm")]
    export!(Grafana);
}

struct Grafana;

impl Guest for Grafana {
    fn describe() -> Description {
        Description {
            name: "grafana".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the webhook of Grafana Alerting.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("grafana", "Grafana", "custom").read()?;
        let sheet = notification::decode(&json(&request.body)?, &settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
