//! Source: CloudWatch alarms and other messages of Amazon SNS. One alert per message.

mod alarm;
mod envelope;

use bindings::exports::campanile::source::source::{Decoded, Guest, Request};
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
    use super::CloudWatchSns;
    #[cfg(target_family = "wasm")]
    export!(CloudWatchSns);
}

struct CloudWatchSns;

impl Guest for CloudWatchSns {
    fn describe() -> Description {
        Description {
            name: "cloudwatch-sns".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes CloudWatch alarms and other messages of Amazon SNS.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let settings = Settings::of("cloudwatch-sns", "CloudWatch", "infrastructure").read()?;
        let (sheet, delivery_id) = envelope::decode(&request.headers, &request.body, &settings)?;
        let sheet = sheet.complete()?;
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id, reply: None })
    }
}
