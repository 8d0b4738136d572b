//! What the receiver gets.

use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};
use serde_json::{Value, json};

/// The request's body: what the operator's template gives, else all that is known.
pub(crate) fn body(delivery: &Delivery, written: Option<&str>) -> Result<String, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    match written {
        Some(template) => Texts::of(delivery, &document).json("body", template),
        None => Ok(known(delivery, document)?.to_string()),
    }
}

fn known(delivery: &Delivery, document: Document) -> Result<Value, Failure> {
    Ok(json!({
        "delivery_id": delivery.delivery_id,
        "thread_id": delivery.thread_id,
        "earlier": delivery.earlier.as_ref().map(earlier),
        "receiver": delivery.receiver,
        "attempt": delivery.attempt,
        "alert": document.into_value(),
        "metadata": Document::parse(&delivery.alert.metadata)?.into_value(),
    }))
}

/// What the receiver answered to the firing that this ends.
fn earlier(receipt: &Receipt) -> Value {
    json!({ "id": receipt.id, "message": receipt.message })
}

/// The placeholder that the host replaces by the signature; `webhook-timestamp`, which the signature covers, is the
/// host's to add.
pub(crate) fn signature(secret: &str) -> String {
    format!("${{secret:{secret}}}")
}

#[cfg(test)]
mod tests {
    use campanile_guest::testing::{firing, resolved};
    use campanile_guest::types::Retry;

    use super::*;

    fn sent(delivery: &Delivery, written: Option<&str>) -> Value {
        serde_json::from_str(&body(delivery, written).unwrap()).unwrap()
    }

    #[test]
    fn the_body_carries_the_whole_alert() {
        let mut delivery = firing(&json!({ "title": "t", "x_vendor": [1] }));
        delivery.alert.metadata = r#"{"run": 7}"#.to_owned();
        assert_eq!(
            sent(&delivery, None),
            json!({
                "delivery_id": "alert-1/receiver", "thread_id": "thread-1/receiver", "earlier": null,
                "receiver": "receiver", "attempt": 1,
                "alert": { "title": "t", "x_vendor": [1] }, "metadata": { "run": 7 },
            })
        );
    }

    #[test]
    fn an_end_says_what_it_ends() {
        let (start, end) = (firing(&json!({})), resolved(&json!({}), Some("INC-7")));
        let [start, end] = [start, end].map(|delivery| sent(&delivery, None));
        assert_eq!(start["thread_id"], end["thread_id"]);
        assert_eq!(end["earlier"], json!({ "id": "INC-7", "message": "200" }));
    }

    #[test]
    fn an_operator_words_it_and_an_alert_cannot() {
        let template = r#"{"text": "{{ state }}: {{ title }}", "team": {{ labels.team | json }}, "of": "{{ earlier.id }}"}"#;
        let delivery = resolved(&json!({ "title": "\",\n\"admin\": \"{{ x }}" }), Some("INC-7"));
        assert_eq!(
            sent(&delivery, Some(template)),
            json!({ "text": "Resolved: \",\n\"admin\": \"{{ x }}", "team": null, "of": "INC-7" })
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let failure = body(&firing(&json!({})), Some("{\"text\": {{ title }}}")).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), ("config-invalid", Retry::Never));
        assert!(failure.message.contains("template `body` gives no JSON"), "{}", failure.message);
    }

    #[test]
    fn a_document_that_is_not_json_is_refused() {
        let mut delivery = firing(&json!({}));
        delivery.alert.document = "no".to_owned();
        assert_eq!(body(&delivery, None).unwrap_err().code, "invalid-document");
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
