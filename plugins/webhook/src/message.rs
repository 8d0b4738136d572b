//! What the receiver gets.

use campanile_guest::types::Failure;
use campanile_guest::{Delivery, Document};
use serde_json::{Value, json};

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
    use campanile_guest::testing::firing;

    use super::*;

    #[test]
    fn the_body_carries_the_whole_alert() {
        let mut delivery = firing(&json!({ "title": "t", "x_vendor": [1] }));
        delivery.alert.metadata = r#"{"run": 7}"#.to_owned();
        assert_eq!(
            body(&delivery).unwrap(),
            json!({
                "delivery_id": "alert-1/receiver", "receiver": "receiver", "attempt": 1,
                "alert": { "title": "t", "x_vendor": [1] }, "metadata": { "run": 7 },
            })
        );
    }

    #[test]
    fn a_document_that_is_not_json_is_refused() {
        let mut delivery = firing(&json!({}));
        delivery.alert.document = "no".to_owned();
        assert_eq!(body(&delivery).unwrap_err().code, "invalid-document");
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
