//! Alerts to post: small valid ones, each with an identity of its own where it has one.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// A valid alert without identity.
pub fn alert(title: &str) -> Value {
    json!({
        "title": title,
        "description": "raised by a test",
        "type": "application",
        "severity": "high",
        "source": {"name": "tests", "type": "test"},
    })
}

/// A valid alert with identity: its own `id`, and a fixed start.
pub fn identified(title: &str) -> Value {
    with(alert(title), json!({"id": unique("id"), "starts_at": "2023-12-01T14:30:22Z"}))
}

/// `alert` with the fields of `extra` added or replaced.
pub fn with(mut alert: Value, extra: Value) -> Value {
    let fields = alert.as_object_mut().expect("an alert is an object");
    fields.extend(extra.as_object().expect("extra fields are an object").clone());
    alert
}

/// `alert` with one more label.
pub fn labelled(mut alert: Value, name: &str, value: &str) -> Value {
    alert["labels"][name] = json!(value);
    alert
}

/// A name that no other test uses. A run starts with a Temporal server that knows no alert.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
