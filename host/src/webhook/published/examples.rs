//! An example for every parameter, every request and every answer. Those of answers are a host's.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::webhook::code::Code;
use crate::webhook::response::WebhookResponse;

/// An alert, and a request as a vendor sends it.
const ALERT: &str = include_str!("../../../../examples/security-login.json");
const GROUP: &str = include_str!("../../../../plugins/alertmanager/payloads/firing.json");
/// By path, what is answered when all is well, status by status.
static ANSWERS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("answers.json")).unwrap_or_default());

/// Adds those of one operation.
pub(super) fn add(path: &str, operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let example = parameter["name"].as_str().and_then(of_parameter);
        if let Some(example) = example.filter(|_| parameter.get("example").is_none()) {
            parameter["example"] = example;
        }
    }
    if let Some(example) = of_request(path) {
        operation["requestBody"]["content"]["application/json"]["example"] = example;
    }
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        for (_, content) in response.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten() {
            match ANSWERS[path].get(status) {
                Some(answer) => content["example"] = answer.clone(),
                None => content["examples"] = refusals(path, status),
            }
        }
    }
}

fn of_parameter(name: &str) -> Option<Value> {
    Some(match name {
        "source" => "alertmanager".into(),
        "workflow_id" => "alert-security-20241201-143022-20241201-143022".into(),
        "name" => "slack".into(),
        "all" | "acknowledged" | "ended" => false.into(),
        "open" | "stale" => true.into(),
        "timeout" => "30s".into(),
        "limit" => 50.into(),
        "cursor" => "AAEC".into(),
        "outcome" => "failed".into(),
        "severity" => "critical".into(),
        _ => return None,
    })
}

fn of_request(path: &str) -> Option<Value> {
    let read = |text| serde_json::from_str::<Value>(text).ok();
    match path {
        "/webhook/alerts" | "/webhook/alerts/sync" => Some(json!({"alerts": [read(ALERT)?]})),
        "/webhook/{source}" => read(GROUP),
        "/alerts/{workflow_id}/ack" => Some(json!({"by": "alice", "note": "on it, restarting the pool"})),
        _ => None,
    }
}

/// By code, the refusals with a status under a path.
fn refusals(path: &str, status: &str) -> Value {
    let fits = |code: &&Code| is_of(**code, path) && status_under(path, **code) == status;
    let example = |code: &Code| (code.as_str().to_owned(), json!({"value": refusal(*code)}));
    Value::Object(Code::ALL.iter().filter(fits).map(example).collect::<Map<_, _>>())
}

/// Whether a code can be answered there.
fn is_of(code: Code, path: &str) -> bool {
    let is_source = path == "/webhook/{source}";
    match code {
        Code::Undecodable
        | Code::UnknownSource
        | Code::TooManyAlerts
        | Code::SourceUnavailable
        | Code::SourceFailed
        | Code::FailingInput
        | Code::SpoolFull => is_source,
        Code::Encrypted => path == "/alerts",
        Code::StoreFull => path.starts_with("/webhook"),
        Code::UnknownPlugin => path.starts_with("/plugins"),
        Code::NotFound => path.starts_with("/alerts"),
        _ => true,
    }
}

fn status_under(path: &str, code: Code) -> String {
    let status = if path == "/webhook/{source}" { code.status_of_source() } else { code.status() };
    status.as_str().to_owned()
}

fn refusal(code: Code) -> Value {
    let fault = Fault {
        path: "alerts[0].severity".to_owned(),
        value: Some("urgent".into()),
        message: "is not one of low, medium, high, critical".to_owned(),
    };
    let (message, faults) = match code {
        Code::InvalidRequest => (fault.to_string(), vec![fault]),
        _ => (code.meaning().to_owned(), Vec::new()),
    };
    let id = "0d9a7f3e-5a0c-4c0f-9b39-2f3c1d1f6a55";
    let mut refusal = json!(WebhookResponse::refused(message, faults, code.as_str(), id));
    refusal["timestamp"] = "2026-11-26T05:24:19.000001Z".into();
    refusal
}

#[cfg(test)]
mod tests {
    use crate::webhook::openapi;

    use super::*;

    /// What of `described` has no example, or one that is none.
    fn faults(at: &str, document: &Value, described: &Value) -> Vec<String> {
        let mut schema = described["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let several = described["examples"].as_object().into_iter().flatten().map(|(_, one)| &one["value"]);
        let examples: Vec<&Value> = described.get("example").into_iter().chain(several).collect();
        let wrong = examples.iter().flat_map(|example| validator.iter_errors(example));
        let wrong = wrong.map(|error| format!("{at}: {error} at {}", error.instance_path()));
        let missing = examples.is_empty().then(|| format!("{at}: no example"));
        wrong.chain(missing).collect()
    }

    #[test]
    fn everything_has_an_example_that_is_one() {
        let document = openapi();
        let mut found = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let at = format!("{method} {path}");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    found.extend(faults(&format!("{at} {}", parameter["name"]), &document, parameter));
                }
                let request = operation["requestBody"]["content"].as_object().into_iter().flatten();
                let request = request.map(|(kind, content)| (format!("request {kind}"), content));
                let responses = operation["responses"].as_object().unwrap().iter();
                let responses = responses.flat_map(|(status, response)| {
                    let contents = response["content"].as_object().into_iter().flatten();
                    contents.map(move |(kind, content)| (format!("{status} {kind}"), content))
                });
                for (what, content) in request.chain(responses) {
                    found.extend(faults(&format!("{at} {what}"), &document, content));
                }
            }
        }
        assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
    }
}
