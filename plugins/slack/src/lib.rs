//! Notifier: tells a Slack channel through an incoming webhook, as a Block Kit message.

mod message;
mod text;

use bindings::exports::campanile::notifier::notifier::{Delivery, Guest};
use campanile_guest::http::{Method, Request};
use campanile_guest::types::{Description, Failure, Receipt};
use campanile_guest::{Document, config};

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:notifier/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Slack;
    #[cfg(target_family = "wasm")]
    export!(Slack);
}

/// Slack's address with the part that is secret left to the host.
const URL: &str = "https://hooks.slack.com/services/${secret:SLACK_PATH}";

struct Slack;

impl Guest for Slack {
    fn describe() -> Description {
        Description {
            name: "slack".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Tells a Slack channel about every alert through an incoming webhook.".to_owned(),
            config_schema: include_str!("../config.schema.json").to_owned(),
            http: vec!["POST https://hooks.slack.com/services/**".to_owned()],
            secrets: vec!["SLACK_PATH".to_owned()],
        }
    }

    fn notify(delivery: Delivery) -> Result<Receipt, Failure> {
        let url = config::get("url")?.unwrap_or_else(|| URL.to_owned());
        let document = Document::parse(&delivery.alert.document)?;
        let body = message::message(&delivery.alert, &document);
        Request { method: Method::Post, url: &url, headers: &[], body: &body }.send()
    }
}
