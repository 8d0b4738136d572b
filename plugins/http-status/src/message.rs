//! What the external system gets.

use campanile_guest::Document;
use campanile_guest::failure::permanent;
use campanile_guest::http::Method;
use campanile_guest::types::{Failure, Status};
use serde_json::{Value, json};

use crate::bindings::exports::campanile::status_updater::status_updater::{
    Change, DeliveryResult, DeliveryState, Outcome,
};

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
        "outcome": outcome(change.outcome),
        "deliveries": deliveries,
        "alert": Document::parse(&change.alert.document)?.into_value(),
    }))
}

fn delivery(result: &DeliveryResult) -> Value {
    json!({ "receiver": result.receiver, "state": state(result.state), "message": result.message })
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "pending",
        Outcome::Delivered => "delivered",
        Outcome::Partial => "partial",
        Outcome::Failed => "failed",
        Outcome::Dropped => "dropped",
        Outcome::Unrouted => "unrouted",
    }
}

fn state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use campanile_guest::types::{Alert, Severity};

    use super::*;

    #[test]
    fn the_body_tells_the_outcome_receiver_by_receiver() {
        let change = Change {
            change_id: "alert-1/http-status/partial".to_owned(),
            updater: "http-status".to_owned(),
            attempt: 1,
            traceparent: String::new(),
            alert: Alert {
                id: "alert-1".to_owned(),
                title: "t".to_owned(),
                severity: Severity::Low,
                status: Status::Resolved,
                labels: Vec::new(),
                document: r#"{"title": "t"}"#.to_owned(),
                metadata: "{}".to_owned(),
            },
            outcome: Outcome::Partial,
            deliveries: vec![
                DeliveryResult {
                    receiver: "slack".to_owned(),
                    state: DeliveryState::Delivered,
                    message: "200".to_owned(),
                },
                DeliveryResult {
                    receiver: "email".to_owned(),
                    state: DeliveryState::Failed,
                    message: "no".to_owned(),
                },
            ],
        };
        assert_eq!(
            body(&change).unwrap(),
            json!({
                "change_id": "alert-1/http-status/partial", "alert_id": "alert-1", "status": "resolved",
                "outcome": "partial", "alert": { "title": "t" },
                "deliveries": [
                    { "receiver": "slack", "state": "delivered", "message": "200" },
                    { "receiver": "email", "state": "failed", "message": "no" },
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
