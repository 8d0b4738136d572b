//! Notifier: tells a Slack channel, through an incoming webhook or through the Web API, as a Block Kit message.

mod message;
mod service;
mod settings;
mod text;
mod web_api;

use campanile_guest::http::{Request, Send, Service};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use settings::{Settings, Way};

campanile_guest::notifier! {
    name: "slack",
    summary: "Tells a Slack channel about every alert through an incoming webhook, or as an app.",
    config: include_str!("../config.schema.json"),
    // What the incoming webhook needs; the sidecar shows what the Web API needs in its place.
    http: ["POST https://hooks.slack.com/services/**"],
    secrets: ["SLACK_PATH"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let body = message::message(delivery, &document, settings, &mut texts);
    let receipt = match &settings.way {
        Way::Webhook { url } => send(&Request::post(url).json(&body))?.receipt(&Service::PLAIN),
        Way::WebApi(api) => web_api::deliver(api, delivery, body, send),
    };
    receipt.map(|receipt| texts.noted(receipt))
}

#[cfg(test)]
mod tests;
