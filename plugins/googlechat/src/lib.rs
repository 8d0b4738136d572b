//! Notifier: tells a space of Google Chat through an incoming webhook, as a card; a resolve goes into the firing's thread.

mod message;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document, digest};

use settings::Settings;

campanile_guest::notifier! {
    name: "googlechat",
    summary: "Tells a space of Google Chat about every alert through an incoming webhook.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://chat.googleapis.com/v1/spaces/*/messages"],
    secrets: ["GOOGLECHAT_KEY", "GOOGLECHAT_TOKEN"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let body = message::message(delivery, &document, settings, &mut texts);
    let request = Request::post(&settings.url)
        .query("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
        .query("requestId", &uuid(&delivery.delivery_id))
        .json(&body)
        .header("content-type", "application/json; charset=UTF-8");
    let receipt = send(&request)?.receipt(&service::GOOGLE_CHAT);
    receipt.map(|receipt| texts.noted(receipt))
}

/// The id in the form of a UUID, which is what Google recommends for a `requestId`.
fn uuid(id: &str) -> String {
    let mut digits = digest(id);
    for place in [20, 16, 12, 8] {
        digits.insert(place, '-');
    }
    digits
}

#[cfg(test)]
mod tests;
