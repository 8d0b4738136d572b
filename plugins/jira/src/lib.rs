//! Notifier: an issue in Jira for every alert. A resolve comments on it, and moves it where the operator wants it.

mod adf;
mod answer;
mod description;
mod jira;
mod message;
mod service;
mod settings;
mod wiki;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt, Status};
use campanile_guest::{Delivery, Document};

use jira::Jira;
use settings::Settings;

campanile_guest::notifier! {
    name: "jira",
    summary: "Creates an issue in Jira for every alert; a resolve comments on it and moves it.",
    config: include_str!("../config.schema.json"),
    // What Jira Cloud needs; the sidecar shows what Data Center needs in its place.
    http: [
        "POST https://*.atlassian.net/rest/api/3/search/jql",
        "POST https://*.atlassian.net/rest/api/3/issue",
        "POST https://*.atlassian.net/rest/api/3/issue/*/comment",
        "GET,POST https://*.atlassian.net/rest/api/3/issue/*/transitions",
    ],
    secrets: ["JIRA_TOKEN"],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    deliver(delivery, &Settings::read()?, &mut Request::send)
}

fn deliver(delivery: &Delivery, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let mut jira = Jira { settings, send };
    let receipt = match delivery.alert.status {
        Status::Firing => open(delivery, &document, &mut texts, &mut jira),
        Status::Resolved => close(delivery, &mut texts, &mut jira),
    };
    receipt.map(|receipt| texts.noted(receipt))
}

/// The issue that is there, if this is a repeat; a new one otherwise.
fn open(
    delivery: &Delivery,
    document: &Document,
    texts: &mut Texts,
    jira: &mut Jira,
) -> Result<Receipt, Failure> {
    let label = message::label(delivery);
    if let Some(key) = jira.find(&label)? {
        return Ok(Receipt { message: format!("{key} was there already"), id: Some(key) });
    }
    jira.create(&message::fields(delivery, document, jira.settings, label, texts))
}

/// Moves the issue and comments on it, in this order: where the one fails for now, a repeat comments but once.
fn close(delivery: &Delivery, texts: &mut Texts, jira: &mut Jira) -> Result<Receipt, Failure> {
    let earlier = delivery.earlier_id().filter(|id| jira::is_key(id)).map(str::to_owned);
    let Some(key) = earlier.map_or_else(|| jira.find(&message::label(delivery)), |key| Ok(Some(key)))? else {
        let message = "the firing has no issue, so there is none to close".to_owned();
        return Ok(Receipt { id: None, message });
    };
    let left = jira.end(&key)?;
    let mut receipt = jira.comment(&key, &message::comment(jira.settings, texts))?;
    if let Some(why) = left {
        receipt.message = format!("{}; {key} was not moved: {why}", receipt.message);
    }
    Ok(Receipt { id: Some(key), ..receipt })
}

#[cfg(test)]
mod tests;
