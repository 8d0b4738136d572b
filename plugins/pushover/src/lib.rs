//! Notifier: tells people by Pushover. What is critical rings until somebody confirms it, or until it is over.

mod message;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt, Retry};
use campanile_guest::{Delivery, Document};

use service::PUSHOVER;
use settings::Settings;

campanile_guest::notifier! {
    name: "pushover",
    summary: "Tells people by Pushover about every alert; what is critical rings until somebody confirms it.",
    config: include_str!("../config.schema.json"),
    http: [
        "POST https://api.pushover.net/1/messages.json",
        "POST https://api.pushover.net/1/receipts/*/cancel.json",
    ],
    secrets: ["PUSHOVER_TOKEN", "PUSHOVER_USER"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let form = message::form(delivery, &document, settings, &mut texts);
    let left = quiet(delivery, settings, send)?;
    let mut receipt = send(&post(settings, "messages.json", &form))?.receipt(&PUSHOVER)?;
    if let Some(why) = left {
        receipt.message = format!("{}; the firing still rings: {why}", receipt.message);
    }
    Ok(texts.noted(receipt))
}

/// Ends the ringing of the firing, before the message that it is over: a repeat ends it again, which changes nothing.
/// What Pushover refuses for good is no reason to keep the message back; why it did is the answer.
fn quiet(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Option<String>, Failure> {
    let is_plain = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let Some(id) = delivery.earlier_id().filter(is_plain) else { return Ok(None) };
    let form = [("token", settings.token.clone())];
    let request = post(settings, &format!("receipts/{id}/cancel.json"), &form);
    match send(&request).and_then(|answer| answer.receipt(&PUSHOVER)) {
        Err(failure) if failure.retry == Retry::Never => Ok(Some(failure.message)),
        done => done.map(|_| None),
    }
}

fn post(settings: &Settings, method: &str, form: &[(&str, String)]) -> Request {
    let fields: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Request::post(format!("{}/{method}", settings.url.trim_end_matches('/'))).form(&fields)
}

#[cfg(test)]
mod tests;
