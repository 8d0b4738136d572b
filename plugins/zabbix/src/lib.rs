//! Source: what Zabbix posts by the media type of `media_campanile.yaml`. One alert per event.

mod event;
mod macros;
mod tags;

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
    use super::Zabbix;
    #[cfg(target_family = "wasm")]
    export!(Zabbix);
}

struct Zabbix;

impl Guest for Zabbix {
    fn describe() -> Description {
        Description {
            name: "zabbix".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes what Zabbix posts by the media type beside it.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("zabbix", "Zabbix", "infrastructure").read()?;
        let sheet = event::decode(&json(&request.body)?, &settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
