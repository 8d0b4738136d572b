//! A notifier that posts all it was given, as JSON, to the setting `url`. It maps the answer as the shipped notifiers
//! do: 429 and 5xx are worth a retry (after `Retry-After`, if told), every other error is not. The settings `header` and
//! `body`, if set, go into the header `x-setting` and the field `setting`.

use exports::campanile::notifier::notifier::{Delivery, Description, Failure, Guest, Receipt};
use guest_support::config;
use guest_support::http::{self, Answer};
use serde_json::{Map, Value, json};

use campanile::types::types::{Alert, Retry, Severity, Status};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:notifier/plugin@0.1.0",
    generate_all,
});

struct Recorder;

impl Guest for Recorder {
    fn describe() -> Description {
        Description {
            name: "recorder".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Posts what it was given to a URL.".to_owned(),
            config_schema: r#"{"type": "object", "additionalProperties": false, "required": ["url"],
                "properties": {"url": {"type": "string"}, "header": {"type": "string"},
                "body": {"type": "string"}}}"#
                .to_owned(),
            http: vec!["POST http://127.0.0.1:*/**".to_owned()],
            secrets: Vec::new(),
        }
    }

    fn notify(delivery: Delivery) -> Result<Receipt, Failure> {
        let body = json!({
            "setting": config("body"),
            "delivery_id": delivery.delivery_id,
            "thread_id": delivery.thread_id,
            "earlier": delivery.earlier.map(|receipt| json!({"id": receipt.id, "message": receipt.message})),
            "receiver": delivery.receiver,
            "attempt": delivery.attempt,
            "traceparent": delivery.traceparent,
            "alert": alert(&delivery.alert),
        });
        let header = config("header");
        let headers = if header.is_empty() { vec![] } else { vec![("x-setting", header.as_str())] };
        match http::post(&config("url"), &headers, &body.to_string()) {
            Ok(answer) => receipt(answer),
            Err(error) => Err(failure("unreachable", error, Retry::Backoff)),
        }
    }
}

fn receipt(answer: Answer) -> Result<Receipt, Failure> {
    let Answer { status, retry_after, receipt } = answer;
    let retry = match (status, retry_after) {
        (200..=299, _) => return Ok(Receipt { id: receipt, message: format!("answered {status}") }),
        (429 | 500..=599, Some(seconds)) => Retry::After(seconds * 1000),
        (429 | 500..=599, None) => Retry::Backoff,
        _ => Retry::Never,
    };
    Err(failure(&format!("http-{status}"), format!("the receiver answered {status}"), retry))
}

fn failure(code: &str, message: String, retry: Retry) -> Failure {
    Failure { code: code.to_owned(), message, retry }
}

fn alert(alert: &Alert) -> Value {
    let labels: Map<_, _> = alert.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    json!({
        "id": alert.id,
        "title": alert.title,
        "severity": match alert.severity {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        },
        "status": match alert.status { Status::Firing => "firing", Status::Resolved => "resolved" },
        "labels": labels,
        "document": parsed(&alert.document),
        "metadata": parsed(&alert.metadata),
    })
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| json!({"not JSON": text, "error": error.to_string()}))
}

export!(Recorder);
