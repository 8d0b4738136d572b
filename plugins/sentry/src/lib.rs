//! Source: the webhooks of Sentry's integration platform. One alert per hook.

mod event;
mod hook;
mod issue;
mod metric_alert;

use bindings::exports::campanile::source::source::{Decoded, Guest, Request};
use campanile_guest::source::{Settings, header, json};
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
    use super::Sentry;
    #[cfg(target_family = "wasm")]
    export!(Sentry);
}

struct Sentry;

impl Guest for Sentry {
    fn describe() -> Description {
        Description {
            name: "sentry".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the webhooks of Sentry's integration platform.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("sentry", "Sentry", "application").read()?;
        let resource = header(&request.headers, "sentry-hook-resource");
        let sheet = hook::decode(resource, &json(&request.body)?, &settings)?.complete()?;
        // Sentry draws a new `Request-ID` for each attempt, so it does not tell a repeat.
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
