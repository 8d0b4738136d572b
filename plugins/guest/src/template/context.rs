//! What a template can name: the fields of the alert's document, and what is known beside it.

use minijinja::Value;
use serde_json::Value as Json;

use crate::document::Document;
use crate::look::Look;
use crate::notifier::Delivery;
use crate::status_updater::{Change, DeliveryResult};
use crate::types::{Alert, Severity, Status};

/// What a delivery can say.
pub(super) fn of(delivery: &Delivery, document: &Document) -> Value {
    let earlier = delivery.earlier.as_ref().map(|receipt| {
        let id = optional(receipt.id.as_deref());
        Value::from_pairs([("id", id), ("message", Value::from(receipt.message.as_str()))])
    });
    let metadata = serde_json::from_str(&delivery.alert.metadata).unwrap_or_default();
    let own = [
        ("receiver", Value::from(delivery.receiver.as_str())),
        ("delivery_id", Value::from(delivery.delivery_id.as_str())),
        ("thread_id", Value::from(delivery.thread_id.as_str())),
        ("attempt", Value::from(delivery.attempt)),
        ("earlier", earlier.unwrap_or_else(|| Value::from(()))),
        ("metadata", plain(&metadata)),
    ];
    overlaid(&delivery.alert, document, own)
}

/// What a change can say.
pub(super) fn of_change(change: &Change, document: &Document) -> Value {
    let own = [
        ("updater", Value::from(change.updater.as_str())),
        ("change_id", Value::from(change.change_id.as_str())),
        ("outcome", Value::from(change.outcome.as_str())),
        ("deliveries", change.deliveries.iter().map(told).collect()),
        ("lines", Value::from(change.lines(document).join("\n"))),
    ];
    overlaid(&change.alert, document, own)
}

fn told(delivery: &DeliveryResult) -> Value {
    let (receiver, message) = (delivery.receiver.as_str(), delivery.message.as_str());
    Value::from_pairs([("receiver", receiver), ("state", delivery.state.as_str()), ("message", message)])
}

/// The document and its fields, overlaid by those that the host has settled.
fn overlaid<const N: usize>(alert: &Alert, document: &Document, own: [(&'static str, Value); N]) -> Value {
    let whole = plain(document.value());
    let names = document.value().as_object().into_iter().flatten().map(|(name, _)| name);
    let fields = names.map(|name| (name.clone(), whole.get_attr(name).unwrap_or_default()));
    let fields = fields.chain([("alert".to_owned(), whole.clone())]);
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
pub(super) fn plain(value: &Json) -> Value {
    match value {
        Json::Null => Value::UNDEFINED,
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Value::from(whole),
            (None, Some(whole), _) => Value::from(whole),
            (None, None, Some(real)) => Value::from(real),
            (None, None, None) => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, value)| (name.as_str(), plain(value))))
        }
    }
}
