//! What the external system gets.

use campanile_guest::failure::permanent;
use campanile_guest::http::Method;
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Status};
use campanile_guest::{Change, DeliveryResult, Document};
use serde_json::{Value, json};

/// The method that the configuration names; `POST` if it names none.
pub(crate) fn method(name: Option<&str>) -> Result<Method, Failure> {
    match name.unwrap_or("POST") {
        "POST" => Ok(Method::Post),
        "PUT" => Ok(Method::Put),
        "PATCH" => Ok(Method::Patch),
        other => {
            let message = format!("the configuration's `method` is {other:?}, not one of POST, PUT, PATCH");
            Err(permanent("config-invalid", message))
        }
    }
}

/// The request's body: what the operator's template gives, else all that is known.
pub(crate) fn body(change: &Change, written: Option<&str>) -> Result<String, Failure> {
    let document = Document::parse(&change.alert.document)?;
    match written {
        Some(template) => Texts::of_change(change, &document).json("body", template),
        None => Ok(known(change, document).to_string()),
    }
}

fn known(change: &Change, document: Document) -> Value {
    let deliveries: Vec<_> = change.deliveries.iter().map(delivery).collect();
    json!({
        "change_id": change.change_id,
        "alert_id": change.alert.id,
        "status": status(change.alert.status),
        "outcome": change.outcome.as_str(),
        "deliveries": deliveries,
        "alert": document.into_value(),
    })
}

fn delivery(result: &DeliveryResult) -> Value {
    json!({ "receiver": result.receiver, "state": result.state.as_str(), "message": result.message })
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}

#[cfg(test)]
mod tests {
    use campanile_guest::Outcome;
    use campanile_guest::testing::ended;

    use super::*;

    fn sent(change: &Change, written: Option<&str>) -> Value {
        serde_json::from_str(&body(change, written).unwrap()).unwrap()
    }

    #[test]
    fn the_body_tells_the_outcome_receiver_by_receiver() {
        assert_eq!(
            sent(&ended(&json!({ "title": "t" }), Outcome::Partial), None),
            json!({
                "change_id": "alert-1-resolved/updater/partial", "alert_id": "alert-1-resolved",
                "status": "resolved", "outcome": "partial", "alert": { "title": "t", "thread_id": "alert-1" },
                "deliveries": [
                    { "receiver": "slack", "state": "delivered", "message": "200: ok" },
                    { "receiver": "email", "state": "failed", "message": "no such user" },
                ],
            })
        );
    }

    #[test]
    fn an_operator_words_it() {
        let template =
            r#"{"ticket": "{{ data.ticket }}", "state": "{{ outcome }}", "told": {{ deliveries | json }}}"#;
        let change = ended(&json!({ "data": { "ticket": "\"7\"" } }), Outcome::Failed);
        let told = known(&change, Document::parse(&change.alert.document).unwrap())["deliveries"].clone();
        let expected = json!({ "ticket": "\"7\"", "state": "failed", "told": told });
        assert_eq!(sent(&change, Some(template)), expected);
        let failure = body(&change, Some("{{ title }}")).unwrap_err();
        assert!(failure.message.contains("template `body` gives no JSON"), "{}", failure.message);
    }

    #[test]
    fn the_method_is_one_of_three() {
        assert_eq!(method(None).unwrap(), Method::Post);
        assert_eq!(method(Some("PATCH")).unwrap(), Method::Patch);
        assert!(method(Some("GET")).unwrap_err().message.contains("\"GET\""));
    }

    #[test]
    fn the_configuration_schema_is_json() {
        let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
        assert_eq!(schema["properties"]["method"]["enum"], json!(["POST", "PUT", "PATCH"]));
    }
}
