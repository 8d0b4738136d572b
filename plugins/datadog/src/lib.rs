//! Source: the Webhooks integration of Datadog, with the payload of `template.json`. One alert per event.

mod event;
mod template;

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
    use super::Datadog;
    #[cfg(target_family = "wasm")]
    export!(Datadog);
}

struct Datadog;

impl Guest for Datadog {
    fn describe() -> Description {
        Description {
            name: "datadog".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the Webhooks integration of Datadog.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("datadog", "Datadog", "custom").read()?;
        let event = json(&request.body)?;
        let sheet = event::decode(&event, &settings)?.complete()?;
        let delivery_id = event::delivery_id(&event);
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id, reply: None })
    }
}
