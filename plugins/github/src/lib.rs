//! Source: GitHub's webhooks: workflow runs, deployments, Dependabot and secret scanning. One alert per delivery.

mod dependabot;
mod deployment;
mod hook;
mod ping;
mod repository;
mod secret_scanning;
mod workflow_run;

use bindings::exports::campanile::source::source::{Decoded, Guest, Request};
use campanile_guest::config;
use campanile_guest::source::{Settings, header};
use campanile_guest::types::{Description, Failure};

use hook::Hook;

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:source/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Github;
    #[cfg(target_family = "wasm")]
    export!(Github);
}

struct Github;

impl Guest for Github {
    fn describe() -> Description {
        Description {
            name: "github".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Takes GitHub's webhooks: failed workflow runs and deployments, Dependabot and secret scanning alerts.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn decode(request: Request) -> Result<Decoded, Failure> {
        let hook = Hook {
            event: header(&request.headers, "x-github-event"),
            content_type: header(&request.headers, "content-type"),
            body: &request.body,
            all_branches: config::get("branches")?.is_some_and(|branches| branches == "all"),
        };
        let sheet = hook.decode(&Settings::of("github", "GitHub", "").read()?)?.complete()?;
        let delivery_id = header(&request.headers, "x-github-delivery").map(str::to_owned);
        Ok(Decoded { alerts: sheet.alerts, warnings: sheet.warnings, delivery_id, reply: None })
    }
}
