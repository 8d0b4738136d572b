//! Notifier: tells a Telegram chat through a bot, and answers to its own message, or changes it, when it is over.

mod message;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};
use serde_json::Value;

use message::MESSAGE;
use service::{GONE, INVALID, TELEGRAM};
use settings::{Resolved, Settings};

campanile_guest::notifier! {
    name: "telegram",
    summary: "Tells a Telegram chat about every alert through a bot.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://api.telegram.org/*/sendMessage"],
    secrets: ["TELEGRAM_TOKEN"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

/// Sends the operator's text; the built-in one if its markup is refused.
fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let text = texts.render(&MESSAGE, settings.text.as_deref());
    let receipt = match tell(delivery, settings, &text, send) {
        Err(failure) if failure.code == INVALID && settings.text.is_some() => {
            let text = texts.built_in(&MESSAGE, &failure.message);
            tell(delivery, settings, &text, send)
        }
        told => told,
    };
    receipt.map(|receipt| texts.noted(receipt))
}

/// Sends the text, or ends the message of the firing with it. What was deleted meanwhile is sent anew.
fn tell(delivery: &Delivery, settings: &Settings, text: &str, send: Send) -> Result<Receipt, Failure> {
    match delivery.earlier_id().and_then(message::place) {
        Some(earlier) if settings.resolved == Resolved::Edit => {
            match call(settings, "editMessageText", &message::edit(earlier, text), send) {
                Err(failure) if failure.code == GONE => post(settings, None, text, send),
                done => done,
            }
        }
        earlier => post(settings, earlier, text, send),
    }
}

fn post(
    settings: &Settings,
    earlier: Option<(&str, i64)>,
    text: &str,
    send: Send,
) -> Result<Receipt, Failure> {
    call(settings, "sendMessage", &message::post(settings, earlier, text), send)
}

fn call(settings: &Settings, method: &str, body: &Value, send: Send) -> Result<Receipt, Failure> {
    let url = format!("{}/{method}", settings.url.trim_end_matches('/'));
    send(&Request::post(url).json(body))?.receipt(&TELEGRAM)
}

#[cfg(test)]
mod tests;
