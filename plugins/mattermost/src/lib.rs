//! Notifier: tells a Mattermost channel, through an incoming webhook or as a bot, as a message with an attachment.

mod bot;
mod markdown;
mod message;
mod service;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use message::Message;
use service::MATTERMOST;
use settings::{Settings, Way};

campanile_guest::notifier! {
    name: "mattermost",
    summary: "Tells a Mattermost channel about every alert through an incoming webhook, or as a bot.",
    config: include_str!("../config.schema.json"),
    // Each server has an address of its own.
    http: [],
    // What the incoming webhook needs; the sidecar shows what a bot needs in its place.
    secrets: ["MATTERMOST_HOOK"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let message = Message::of(delivery, &document, settings, &mut texts);
    let receipt = match &settings.way {
        Way::Webhook => send(&Request::post(&settings.url).json(&message.webhook()))?.receipt(&MATTERMOST),
        Way::Bot(bot) => bot::deliver(&settings.url, bot, delivery, &message, send),
    };
    receipt.map(|receipt| texts.noted(receipt))
}

#[cfg(test)]
mod tests;
