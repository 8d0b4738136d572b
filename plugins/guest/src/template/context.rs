//! What a template can name: the fields of the alert's document, and what is known beside it.

use minijinja::Value;
use serde_json::Value as Json;

use crate::document::Document;
use crate::look::Look;
use crate::notifier::Delivery;
use crate::status_updater::Change;
use crate::types::{Alert, Severity, Status};

/// What a delivery can say.
pub(super) fn of(delivery: &Delivery, document: &Document) -> Value {
    let own = [
        ("receiver", delivery.receiver.as_str()),
        ("delivery_id", delivery.delivery_id.as_str()),
        ("thread_id", delivery.thread_id.as_str()),
    ];
    overlaid(&delivery.alert, document, own)
}

/// What a change can say.
pub(super) fn of_change(change: &Change, document: &Document) -> Value {
    let own = [
        ("updater", change.updater.as_str()),
        ("change_id", change.change_id.as_str()),
        ("outcome", change.outcome.as_str()),
    ];
    overlaid(&change.alert, document, own)
}

/// The fields of the document, overlaid by those that the host has settled.
fn overlaid(alert: &Alert, document: &Document, own: [(&'static str, &str); 3]) -> Value {
    let fields = document.value().as_object().into_iter().flatten();
    let fields = fields.map(|(name, value)| (name.clone(), plain(value)));
    let own = own.map(|(name, value)| (name, Value::from(value)));
    let settled = settled(alert, document).into_iter().chain(own).filter(|(_, value)| !value.is_undefined());
    Value::from_pairs(fields.chain(settled.map(|(name, value)| (name.to_owned(), value))))
}

fn settled(alert: &Alert, document: &Document) -> [(&'static str, Value); 11] {
    let look = Look::of(alert);
    [
        ("id", Value::from(alert.id.as_str())),
        ("title", Value::from(alert.title.as_str())),
        ("severity", Value::from(severity(alert.severity))),
        ("status", Value::from(status(alert.status))),
        (
            "labels",
            Value::from_pairs(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        ),
        ("links", document.links().into_iter().map(link).collect()),
        ("type", Value::from(document.kind())),
        ("priority", optional(document.priority())),
        ("place", optional(document.place().as_deref())),
        ("emoji", Value::from(look.emoji)),
        ("state", Value::from(look.word)),
    ]
}

fn link((href, text): (&str, &str)) -> Value {
    Value::from_pairs([("href", href), ("text", text)])
}

fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::UNDEFINED, Value::from)
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}

/// What is `null` is as good as absent.
fn plain(value: &Json) -> Value {
    match value {
        Json::Null => Value::UNDEFINED,
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(real)) => Value::from(real),
            (None, None) => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, value)| (name.as_str(), plain(value))))
        }
    }
}
