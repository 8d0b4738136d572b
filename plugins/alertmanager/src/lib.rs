//! Source: the webhook of Prometheus' Alertmanager, version 4. One alert per entry of the group.

mod group;

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
    use super::Alertmanager;
    #[cfg(target_family = "wasm")]
    export!(Alertmanager);
}

struct Alertmanager;

impl Guest for Alertmanager {
    fn describe() -> Description {
        Description {
            name: "alertmanager".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the webhook of Prometheus' Alertmanager.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("alertmanager", "Alertmanager", "infrastructure").read()?;
        let sheet = group::decode(&json(&request.body)?, &settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
