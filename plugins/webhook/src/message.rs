//! What the receiver gets.

use campanile_guest::Document;
use campanile_guest::types::Failure;
use serde_json::{Value, json};

use crate::bindings::exports::campanile::notifier::notifier::Delivery;

/// The request's body.
pub(crate) fn body(delivery: &Delivery) -> Result<Value, Failure> {
    Ok(json!({
        "delivery_id": delivery.delivery_id,
        "receiver": delivery.receiver,
        "attempt": delivery.attempt,
        "alert": Document::parse(&delivery.alert.document)?.into_value(),
        "metadata": Document::parse(&delivery.alert.metadata)?.into_value(),
    }))
}

/// The placeholder that the host replaces by the signature; `webhook-timestamp`, which the signature covers, is the
/// host's to add.
pub(crate) fn signature(secret: &str) -> String {
    format!("${{secret:{secret}}}")
}

#[cfg(test)]
mod tests {
    use campanile_guest::types::{Alert, Severity, Status};

    use super::*;

    fn delivery(document: &str) -> Delivery {
        Delivery {
            delivery_id: "alert-1/webhook".to_owned(),
            receiver: "webhook".to_owned(),
            attempt: 2,
            traceparent: String::new(),
            alert: Alert {
                id: "alert-1".to_owned(),
                title: "t".to_owned(),
                severity: Severity::Low,
                status: Status::Firing,
                labels: Vec::new(),
                document: document.to_owned(),
                metadata: r#"{"run": 7}"#.to_owned(),
            },
        }
    }

    #[test]
    fn the_body_carries_the_whole_alert() {
        let body = body(&delivery(r#"{"title": "t", "x_vendor": [1]}"#)).unwrap();
        assert_eq!(
            body,
            json!({
                "delivery_id": "alert-1/webhook", "receiver": "webhook", "attempt": 2,
                "alert": { "title": "t", "x_vendor": [1] }, "metadata": { "run": 7 },
            })
        );
    }

    #[test]
    fn a_document_that_is_not_json_is_refused() {
        assert_eq!(body(&delivery("no")).unwrap_err().code, "invalid-document");
    }

    #[test]
    fn the_signature_is_left_to_the_host() {
        assert_eq!(signature("WEBHOOK_SECRET"), "${secret:WEBHOOK_SECRET}");
    }

    #[test]
    fn the_configuration_schema_is_json() {
        let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
        assert_eq!(schema["additionalProperties"], false);
    }
}
