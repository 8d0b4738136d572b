//! Notifier: creates an alert of Opsgenie, and closes it, by the Alert API.

mod alert;
mod responders;
mod service;
mod settings;
mod text;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt, Status};
use campanile_guest::{Delivery, Document, digest};

use service::OPSGENIE;
use settings::Settings;

campanile_guest::notifier! {
    name: "opsgenie",
    summary: "Creates an alert of Opsgenie for every alert, and closes it.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://api.opsgenie.com/v2/alerts", "POST https://api.opsgenie.com/v2/alerts/*/close"],
    secrets: ["OPSGENIE_KEY"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let alias = digest(&delivery.thread_id);
    let request = match delivery.alert.status {
        Status::Firing => Request::post(&settings.url)
            .json(&alert::create(delivery, &document, settings, &alias, &mut texts)),
        Status::Resolved => {
            Request::post(close_url(settings, &alias)).json(&alert::close(delivery, &document))
        }
    };
    let receipt = send(&request.header("authorization", format!("GenieKey {}", settings.key)))?;
    receipt.receipt(&OPSGENIE).map(|receipt| texts.noted(receipt))
}

fn close_url(settings: &Settings, alias: &str) -> String {
    format!("{}/{alias}/close?identifierType=alias", settings.url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
