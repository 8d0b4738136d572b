//! Source: events as PagerDuty's Events API v2 takes them, answered as PagerDuty answers. One alert per event.

mod alert;
mod event;

use bindings::exports::campanile::source::source::{Decoded, Guest, Reply, Request};
use campanile_guest::source::Settings;
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
    use super::PagerdutyEvents;
    #[cfg(target_family = "wasm")]
    export!(PagerdutyEvents);
}

struct PagerdutyEvents;

impl Guest for PagerdutyEvents {
    fn describe() -> Description {
        Description {
            name: "pagerduty-events".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes events as PagerDuty's Events API v2 does.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("pagerduty-events", "PagerDuty Events", "custom").read()?;
        let answer = event::take(&request.path, &request.body, &settings, random_key)?;
        let sheet = answer.sheet.complete()?;
        Ok(Decoded {
            alerts: sheet.alerts,
            warnings: sheet.warnings,
            delivery_id: None,
            reply: Some(Reply {
                status: answer.status,
                content_type: "application/json".to_owned(),
                body: answer.body.to_string().into_bytes(),
            }),
        })
    }
}

/// A key for an event that came without one.
fn random_key() -> String {
    let bytes = bindings::wasi::random::random::get_random_bytes(16);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
