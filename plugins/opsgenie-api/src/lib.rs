//! Source: alerts as Opsgenie's Alert API takes them, answered as Opsgenie answers. One alert per request.

mod alert;
mod path;
mod request;

use std::time::Instant;

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
    use super::OpsgenieApi;
    #[cfg(target_family = "wasm")]
    export!(OpsgenieApi);
}

struct OpsgenieApi;

impl Guest for OpsgenieApi {
    fn describe() -> Description {
        Description {
            name: "opsgenie-api".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes alerts as Opsgenie's Alert API does.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let began = Instant::now();
        let settings = Settings::of("opsgenie-api", "Opsgenie API", "custom").read()?;
        let answer = request::take(&request.path, &request.body, &settings)?;
        let random = bindings::wasi::random::random::get_random_bytes(16);
        let body = answer.body(&request::uuid(&random), began.elapsed());
        let sheet = answer.sheet.complete()?;
        Ok(Decoded {
            alerts: sheet.alerts,
            warnings: sheet.warnings,
            delivery_id: None,
            reply: Some(Reply {
                status: answer.status,
                content_type: "application/json".to_owned(),
                body: body.to_string().into_bytes(),
            }),
        })
    }
}
