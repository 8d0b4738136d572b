//! Status updater: acknowledges an alert in PagerDuty when somebody took it over, and resolves it when it has ended.

mod event;

use campanile_guest::failure::permanent;
use campanile_guest::http::{Request, Send};
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Change, Document, config};

use event::{ENQUEUE, KEYS, Key, PAGERDUTY, Settings};

campanile_guest::status_updater! {
    name: "pagerduty-status",
    summary: "Acknowledges and resolves alerts in PagerDuty, by Events API v2.",
    config: include_str!("../config.schema.json"),
    http: ["POST https://events.pagerduty.com/v2/enqueue"],
    secrets: ["PAGERDUTY_ROUTING_KEY"],
    update: update,
}

fn update(change: &Change) -> Result<Receipt, Failure> {
    let settings = Settings {
        url: config::get("url")?.unwrap_or_else(|| ENQUEUE.to_owned()),
        routing_key: config::required("routing-key", "${secret:PAGERDUTY_ROUTING_KEY}")?,
        key: key(config::get("dedup-key")?, config::get("receiver")?)?,
    };
    tell(change, &settings, &mut Request::send)
}

fn key(pointer: Option<String>, receiver: Option<String>) -> Result<Key, Failure> {
    match (pointer, receiver) {
        (Some(_), Some(_)) => Err(permanent(
            "config-invalid",
            "the configuration has `dedup-key` and `receiver`; set one of them",
        )),
        (Some(pointer), None) => Ok(Key::Document(vec![pointer])),
        (None, Some(receiver)) => Ok(Key::Receiver(receiver)),
        (None, None) => Ok(Key::Document(KEYS.map(str::to_owned).to_vec())),
    }
}

fn tell(change: &Change, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&change.alert.document)?;
    match event::event(change, &document, settings) {
        Ok(body) => send(&Request::post(&settings.url).json(&body))?.receipt(&PAGERDUTY),
        Err(why) => Ok(Receipt { id: None, message: format!("nothing to tell PagerDuty: {why}") }),
    }
}

#[cfg(test)]
mod tests;
