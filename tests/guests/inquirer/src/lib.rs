//! A processor that asks a service: it posts the alert's id and title to the setting `url`. If the service answers, the alert gets
//! the label of the setting `mark`. 429 and 5xx are worth another attempt (after `Retry-After`, where it is given), all else is not.

use exports::campanile::processor::processor::{Alert, Decision, Description, Failure, Guest};
use guest_support::config;
use guest_support::http::{self, Answer};
use serde_json::json;

use campanile::types::types::Retry;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:processor/plugin@0.1.0",
    generate_all,
});

struct Inquirer;

impl Guest for Inquirer {
    fn describe() -> Description {
        Description {
            name: "inquirer".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Asks a service about each alert.".to_owned(),
            config_schema: r#"{"type": "object", "additionalProperties": false, "required": ["url"],
                "properties": {"url": {"type": "string"}, "mark": {"type": "string"}}}"#
                .to_owned(),
            http: vec!["POST http://127.0.0.1:*/**".to_owned()],
            secrets: Vec::new(),
        }
    }

    fn process(alert: Alert) -> Result<Decision, Failure> {
        let body = json!({"id": alert.id, "title": alert.title}).to_string();
        match http::post(&config("url"), &[], &body) {
            Ok(answer) => decision(&answer),
            Err(error) => Err(failure("unreachable", error, Retry::Backoff)),
        }
    }
}

fn decision(answer: &Answer) -> Result<Decision, Failure> {
    let retry = match (answer.status, answer.retry_after) {
        (200..=299, _) => {
            return Ok(Decision::Change(json!({"labels": {config("mark"): "yes"}}).to_string()));
        }
        (429 | 500..=599, Some(seconds)) => Retry::After(seconds * 1000),
        (429 | 500..=599, None) => Retry::Backoff,
        _ => Retry::Never,
    };
    let status = answer.status;
    Err(failure(&format!("http-{status}"), format!("the service answered {status}"), retry))
}

fn failure(code: &str, message: String, retry: Retry) -> Failure {
    Failure { code: code.to_owned(), message, retry }
}

export!(Inquirer);
