//! Source: the webhook of Uptime Kuma. One alert per notification.

mod address;
mod message;
mod monitor;
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
    use super::UptimeKuma;
    #[cfg(target_family = "wasm")]
    export!(UptimeKuma);
}

struct UptimeKuma;

impl Guest for UptimeKuma {
    fn describe() -> Description {
        Description {
            name: "uptime-kuma".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the webhook of Uptime Kuma.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("uptime-kuma", "Uptime Kuma", "availability").read()?;
        let sheet = notification::decode(&json(&request.body)?, &settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
