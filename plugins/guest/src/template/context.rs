//! What a template can name: the fields of the alert's document, and what is known beside it.

use minijinja::Value;
use serde_json::Value as Json;

use crate::document::Document;
use crate::look::Look;
use crate::notifier::Delivery;
use crate::types::{Severity, Status};

/// The fields of the document, overlaid by those that the host has settled.
pub(super) fn of(delivery: &Delivery, document: &Document) -> Value {
    let fields = document.value().as_object().into_iter().flatten();
    let fields = fields.map(|(name, value)| (name.clone(), plain(value)));
    let settled = settled(delivery, document).map(|(name, value)| (name.to_owned(), value));
    let settled = settled.into_iter().filter(|(_, value)| !value.is_undefined());
    Value::from_pairs(fields.chain(settled))
}

fn settled(delivery: &Delivery, document: &Document) -> [(&'static str, Value); 14] {
    let (alert, look) = (&delivery.alert, Look::of(&delivery.alert));
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
        ("receiver", Value::from(delivery.receiver.as_str())),
        ("delivery_id", Value::from(delivery.delivery_id.as_str())),
        ("thread_id", Value::from(delivery.thread_id.as_str())),
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
