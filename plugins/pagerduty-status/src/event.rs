//! What PagerDuty is told, and what its answers mean.
//!
//! Sources: developer.pagerduty.com, "Events API v2 Overview" (response codes, and that 429 and 5xx are to be tried
//! again), "Send an Alert Event" (the three fields, `dedup_key` of at most 255 characters, and what is dropped), and the
//! example answers of v2.developer.pagerduty.com/docs/send-an-event-events-api-v2.

use campanile_guest::http::{Rule, Service};
use campanile_guest::{Change, Document, key};
use serde_json::{Value, json};

/// Where events are posted to.
pub(crate) const ENQUEUE: &str = "https://events.pagerduty.com/v2/enqueue";

/// Where the key is, unless the operator says otherwise. The first is where the source `pagerduty-events` has it, whose alerts' own
/// keys have more at their ends.
pub(crate) const KEYS: [&str; 3] = ["/data/dedup_key", "/dedup_key", "/id"];

/// The longest `dedup_key`, in characters.
const LONGEST_KEY: usize = 255;

const ROUTING_KEY: &str =
    "check the secret behind `routing-key`: the integration key of an Events API v2 integration";

pub(crate) const PAGERDUTY: Service = Service {
    id: &["/dedup_key"],
    error: &["/message", "/errors/0", "/errors/1", "/errors/2"],
    success: None,
    wait: None,
    rules: &[
        Rule::never("routing_key", "invalid-routing-key", ROUTING_KEY),
        Rule::never("dedup_key", "invalid-dedup-key", "check `dedup-key`"),
    ],
};

/// What the operator set.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) routing_key: String,
    pub(crate) key: Key,
}

/// By which `dedup_key` PagerDuty knows the alert.
pub(crate) enum Key {
    /// The first text at these places of the alert's document.
    Document(Vec<String>),
    /// The one that this receiver, the notifier `pagerduty`, gave it: made of its `thread-id`.
    Receiver(String),
}

impl Key {
    /// The key of this alert, or why it has none.
    fn of(&self, change: &Change, document: &Document) -> Result<String, String> {
        match self {
            Self::Document(pointers) => found(document, pointers).map(str::to_owned),
            Self::Receiver(name) => Ok(key(&format!("{}/{name}", change.thread_id(document)), LONGEST_KEY)),
        }
    }
}

/// A text at one of these places that can be a key.
fn found<'a>(document: &'a Document, pointers: &[String]) -> Result<&'a str, String> {
    let found = pointers.iter().find_map(|pointer| document.text(pointer));
    let key = found.ok_or_else(|| format!("the alert has no text at {}", pointers.join(" or ")))?;
    match key.chars().count() {
        0..=LONGEST_KEY => Ok(key),
        length => {
            Err(format!("the alert's key has {length} characters, and none there has over {LONGEST_KEY}"))
        }
    }
}

/// The event, or why there is none.
pub(crate) fn event(change: &Change, document: &Document, settings: &Settings) -> Result<Value, String> {
    let action = match change.state(document) {
        "resolved" => "resolve",
        "acknowledged" => "acknowledge",
        _ => return Err("the alert is neither acknowledged nor resolved".to_owned()),
    };
    let (routing_key, key) = (&settings.routing_key, settings.key.of(change, document)?);
    Ok(json!({ "routing_key": routing_key, "event_action": action, "dedup_key": key }))
}
