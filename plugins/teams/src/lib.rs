//! Notifier: tells a Microsoft Teams channel, through a workflow that waits for a webhook, as an Adaptive Card.

mod card;
mod fit;
mod service;
mod settings;
mod text;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use service::WORKFLOW;
use settings::Settings;

campanile_guest::notifier! {
    name: "teams",
    summary: "Tells a Microsoft Teams channel about every alert through a workflow.",
    config: include_str!("../config.schema.json"),
    // Each workflow has an address of its own.
    http: [],
    secrets: ["TEAMS_SIG"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let message = card::message(delivery, &document, settings, &mut texts);
    let receipt = send(&Request::post(&settings.url).json(&message))?.receipt(&WORKFLOW)?;
    Ok(texts.noted(receipt))
}

#[cfg(test)]
mod tests;
