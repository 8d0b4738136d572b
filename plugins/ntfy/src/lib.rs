//! Notifier: tells the subscribers of a topic of ntfy, at ntfy.sh or on a server of one's own.

mod fit;
mod message;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use settings::Settings;

campanile_guest::notifier! {
    name: "ntfy",
    summary: "Tells the subscribers of a topic of ntfy about every alert.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://ntfy.sh/"],
    secrets: [],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let body = message::message(delivery, &document, settings, &mut texts);
    let request = Request::post(&settings.url).json(&body).header("authorization", &settings.token);
    let receipt = send(&request)?.receipt(&service::NTFY);
    receipt.map(|receipt| texts.noted(receipt))
}

#[cfg(test)]
mod tests;
