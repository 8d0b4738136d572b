//! Source: any JSON, by mappings that the operator writes into the sidecar.

mod entry;
mod field;
mod mapping;

use std::collections::BTreeMap;

use bindings::exports::campanile::source::source::{Decoded, Guest, Request};
use campanile_guest::config;
use campanile_guest::source::{Settings, json};
use campanile_guest::types::{Description, Failure};

use mapping::Mapping;

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:source/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Json;
    #[cfg(target_family = "wasm")]
    export!(Json);
}

struct Json;

impl Guest for Json {
    fn describe() -> Description {
        Description {
            name: "json".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes any JSON, by a mapping in its sidecar.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("json", "JSON", "custom").read()?;
        let mut mappings: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (key, value) in config::table("mappings")? {
            if let Some((name, key)) = key.split_once('.') {
                mappings.entry(name.to_owned()).or_default().insert(key.to_owned(), value);
            }
        }
        let mapping = Mapping::choose(&request.path, mappings)?;
        let sheet = mapping.decode(&json(&request.body)?, settings)?.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id: None, reply: None })
    }
}
