//! Notifier: publishes every alert to a topic of Amazon SNS. The host signs the request.

mod answer;
mod message;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use settings::Settings;

campanile_guest::notifier! {
    name: "sns",
    summary: "Publishes every alert to a topic of Amazon SNS.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://*.amazonaws.com/"],
    secrets: ["SNS_KEY"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let form = message::form(delivery, &document, settings, &mut texts);
    let fields: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = Request::post(&settings.url).form(&fields).header("authorization", &settings.authorization);
    let receipt = answer::read(send(&request)?).receipt(&service::SNS);
    receipt.map(|receipt| texts.noted(receipt))
}

#[cfg(test)]
mod tests;
