//! What the external system gets.

use campanile_guest::failure::permanent;
use campanile_guest::http::Method;
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

/// The request's body.
pub(crate) fn body(change: &Change) -> Result<Value, Failure> {
    let deliveries: Vec<_> = change.deliveries.iter().map(delivery).collect();
    Ok(json!({
        "change_id": change.change_id,
        "alert_id": change.alert.id,
        "status": status(change.alert.status),
        "outcome": change.outcome.as_str(),
        "deliveries": deliveries,
        "alert": Document::parse(&change.alert.document)?.into_value(),
    }))
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

    #[test]
    fn the_body_tells_the_outcome_receiver_by_receiver() {
        assert_eq!(
            body(&ended(&json!({ "title": "t" }), Outcome::Partial)).unwrap(),
            json!({
                "change_id": "alert-1-resolved/updater/partial", "alert_id": "alert-1-resolved",
                "status": "resolved", "outcome": "partial", "alert": { "title": "t" },
                "deliveries": [
                    { "receiver": "slack", "state": "delivered", "message": "200: ok" },
                    { "receiver": "email", "state": "failed", "message": "no such user" },
                ],
            })
        );
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
