//! Notifier: triggers an alert of a PagerDuty service, and resolves it, by the Events API v2.

mod event;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use service::PAGERDUTY;
use settings::Settings;

campanile_guest::notifier! {
    name: "pagerduty",
    summary: "Triggers an alert of a PagerDuty service for every alert, and resolves it.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://events.pagerduty.com/v2/enqueue"],
    secrets: ["PAGERDUTY_ROUTING_KEY"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

/// The receipt's id is the key by which PagerDuty knows the alert.
fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let key = event::key(delivery);
    let event = event::event(delivery, &document, settings, &key, &mut texts);
    let receipt = send(&Request::post(&settings.url).json(&event))?.receipt(&PAGERDUTY)?;
    Ok(texts.noted(Receipt { id: Some(key), ..receipt }))
}

#[cfg(test)]
mod tests;
