//! Source: the common alert schema of Azure Monitor. One alert per request.

mod alert;
mod context;

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
    use super::AzureMonitor;
    #[cfg(target_family = "wasm")]
    export!(AzureMonitor);
}

struct AzureMonitor;

impl Guest for AzureMonitor {
    fn describe() -> Description {
        Description {
            name: "azure-monitor".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes the common alert schema of Azure Monitor.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("azure-monitor", "Azure Monitor", "infrastructure").read()?;
        let sheet = alert::decode(&json(&request.body)?, &settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
