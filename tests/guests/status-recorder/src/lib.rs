//! A status updater that posts the change it was given, as JSON, to the setting `url`.

use exports::campanile::status_updater::status_updater::{
    Change, DeliveryState, Description, Failure, Guest, Outcome, Receipt,
};
use guest_support::{config, http};
use serde_json::{Value, json};

use campanile::types::types::Retry;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:status-updater/plugin@0.1.0",
    generate_all,
});

struct StatusRecorder;

impl Guest for StatusRecorder {
    fn describe() -> Description {
        Description {
            name: "status-recorder".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Posts the change it was given to a URL.".to_owned(),
            config_schema: r#"{"type": "object", "additionalProperties": false, "required": ["url"],
                "properties": {"url": {"type": "string"}}}"#
                .to_owned(),
            http: vec!["POST http://127.0.0.1:*/**".to_owned()],
            secrets: Vec::new(),
        }
    }

    fn update_status(change: Change) -> Result<Receipt, Failure> {
        match http::post(&config("url"), &[], &body(&change).to_string()) {
            Ok(answer) if answer.status < 300 => {
                Ok(Receipt { id: answer.receipt, message: format!("answered {}", answer.status) })
            }
            Ok(answer) => Err(failure(format!("the receiver answered {}", answer.status))),
            Err(error) => Err(failure(error)),
        }
    }
}

fn failure(message: String) -> Failure {
    Failure { code: "not-updated".to_owned(), message, retry: Retry::Backoff }
}

fn body(change: &Change) -> Value {
    let deliveries: Vec<_> = change
        .deliveries
        .iter()
        .map(|result| {
            let state = state(result.state);
            json!({"receiver": result.receiver, "state": state, "message": result.message})
        })
        .collect();
    json!({
        "change_id": change.change_id,
        "updater": change.updater,
        "attempt": change.attempt,
        "alert_id": change.alert.id,
        "document": serde_json::from_str::<serde_json::Value>(&change.alert.document).unwrap_or_default(),
        "outcome": outcome(change.outcome),
        "deliveries": deliveries,
    })
}

fn state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
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

export!(StatusRecorder);
