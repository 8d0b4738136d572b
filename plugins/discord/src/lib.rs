//! Notifier: tells a Discord channel through a webhook, as an embed, and turns that green when it is over.

mod answer;
mod markdown;
mod message;
mod service;
mod settings;

use campanile_guest::http::{Method, Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use service::{DISCORD, GONE};
use settings::Settings;

campanile_guest::notifier! {
    name: "discord",
    summary: "Tells a Discord channel about every alert through a webhook.",
    config: include_str!("../config.schema.json"),
    http: [
        "POST https://discord.com/api/v10/webhooks/**",
        "PATCH https://discord.com/api/v10/webhooks/**",
    ],
    secrets: ["DISCORD_PATH"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

/// Posts the embed, or replaces the one of the firing. What was deleted meanwhile is posted anew.
fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let embed = message::embed(delivery, &document, settings, &mut texts);
    let receipt = match delivery.earlier_id().filter(|id| is_snowflake(id)) {
        Some(id) => match answer::read(send(&edit(settings, id).json(&message::edit(embed.clone())))?)
            .receipt(&DISCORD)
        {
            Err(failure) if failure.code == GONE => post(delivery, settings, embed, send),
            done => done,
        },
        None => post(delivery, settings, embed, send),
    };
    receipt.map(|receipt| texts.noted(receipt))
}

fn post(
    delivery: &Delivery,
    settings: &Settings,
    embed: serde_json::Value,
    send: Send,
) -> Result<Receipt, Failure> {
    let request = settings.in_thread(Request::post(&settings.url).query("wait", "true"));
    answer::read(send(&request.json(&message::post(delivery, settings, embed)))?).receipt(&DISCORD)
}

fn edit(settings: &Settings, id: &str) -> Request {
    let url = format!("{}/messages/{id}", settings.url.trim_end_matches('/'));
    settings.in_thread(Request::new(Method::Patch, url))
}

/// Whether this is an id of Discord's, and so fit for a path.
fn is_snowflake(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
