//! What ntfy gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::message::MESSAGE;
use crate::settings::URL;

const PUBLISHED: &str =
    r#"{"id":"hwQ2YpKdmg","time":1635528741,"event":"message","topic":"alerts","message":"m"}"#;

fn settings() -> Settings {
    let (url, topic) = (URL.to_owned(), "alerts".to_owned());
    Settings { url, topic, token: String::new(), title: None, text: None, replace: true }
}

fn published(settings: &Settings, delivery: &Delivery) -> (Request, Receipt) {
    let (requests, receipt) = exchange(&[(200, PUBLISHED)], |send| deliver(delivery, settings, send));
    (requests[0].clone(), receipt.unwrap())
}

fn message(delivery: &Delivery) -> Value {
    body(&published(&settings(), delivery).0)
}

fn failed(status: u16, text: &str) -> Failure {
    exchange(&[(status, text)], |send| deliver(&firing(&json!({})), &settings(), send)).1.unwrap_err()
}

#[test]
fn the_request_is_the_documented_one() {
    let delivery = firing(&json!({
        "title": "Pool exhausted", "type": "database", "description": "All in use",
        "source": { "name": "Monitoring" }, "context": { "environment": "production", "service": "payments" },
        "labels": { "team": "db" }, "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
    }));
    let settings = Settings { token: "${secret:NTFY_TOKEN}".to_owned(), ..settings() };
    let (request, receipt) = published(&settings, &delivery);
    assert_eq!(request.url, "https://ntfy.sh/");
    assert!(request.headers.contains(&("authorization", "${secret:NTFY_TOKEN}".to_owned())));
    assert_eq!(
        body(&request),
        json!({
            "topic": "alerts", "title": "🔴 Pool exhausted", "priority": 5, "tags": ["critical", "database"],
            "message": "All in use\n\nCritical · production/payments · Monitoring\nteam=db",
            "click": "https://run.example/db", "sequence_id": "85091be385977ceb6bd3c24da8ce57e4",
            "actions": [{ "action": "view", "label": "Runbook", "url": "https://run.example/db" }],
        })
    );
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("hwQ2YpKdmg"), "200"));
}

#[test]
fn no_text_is_blank() {
    for text in BLANKS {
        let message = message(&firing(&blank(text)));
        assert!(blank_texts(&message).is_empty(), "{text:?}: {message}");
    }
}

#[test]
fn a_resolve_replaces_the_notification_of_the_firing() {
    let (fired, over) = (message(&firing(&json!({}))), message(&resolved(&json!({}), Some("hwQ2YpKdmg"))));
    assert_eq!(fired["sequence_id"], over["sequence_id"]);
    assert_eq!((&over["title"], &over["priority"]), (&json!("✅ t"), &json!(3)));
    let apart = Settings { replace: false, ..settings() };
    assert_eq!(body(&published(&apart, &firing(&json!({}))).0).get("sequence_id"), None);
}

#[test]
fn severity_is_priority() {
    let priority = |severity: &str| message(&firing(&json!({ "severity": severity })))["priority"].clone();
    assert_eq!(["critical", "high", "medium", "low"].map(priority), [5, 4, 3, 2]);
}

#[test]
fn ntfys_limits_hold_for_the_largest_alert() {
    for character in ['x', '"', '\\', '\n', '\u{1}', 'ü', '字', '🔥'] {
        let mut document = largest(character);
        let text = character.to_string().repeat(99);
        let link = |n| json!({ "href": format!("https://r.example/{n}{}", "\"".repeat(270)), "text": text });
        document["links"] = (0..9).map(link).collect();
        let (request, _) = published(&settings(), &firing(&document));
        let message = body(&request);
        assert!(request.body.len() <= 8192, "{character:?}: {}", request.body.len());
        assert!(message["message"].as_str().unwrap().len() <= MESSAGE, "{character:?}");
        assert_eq!(message["actions"].as_array().unwrap().len(), 3);
        assert!(message["message"].as_str().unwrap().ends_with("\nLinks: … and 6 more"), "{character:?}");
    }
}

#[test]
fn an_alert_stays_within_its_texts() {
    let message = message(&firing(&json!({
        "title": "x\",\"topic\":\"other\n", "description": "{{ 7 * 7 }}", "links": ["javascript:x"],
    })));
    assert_eq!(
        (&message["topic"], &message["title"]),
        (&json!("alerts"), &json!("🔴 x\",\"topic\":\"other"))
    );
    assert_eq!(message["message"], "{{ 7 * 7 }}\n\nCritical");
    assert_eq!(message.get("click"), None);
}

#[test]
fn ntfys_errors_say_whether_to_try_again() {
    for (status, text, code, retry) in [
        (401, r#"{"code":40101,"http":401,"error":"unauthorized"}"#, "unauthorized", Retry::Never),
        (403, r#"{"code":40301,"http":403,"error":"forbidden"}"#, "forbidden", Retry::Never),
        (
            400,
            r#"{"code":40009,"http":400,"error":"invalid request: topic invalid"}"#,
            "topic-invalid",
            Retry::Never,
        ),
        (413, r#"{"code":41303,"http":413,"error":"JSON body too large"}"#, "too-large", Retry::Never),
        (400, r#"{"code":40014,"http":400,"error":"attachments not allowed"}"#, "too-large", Retry::Never),
        (429, r#"{"code":42901,"http":429,"error":"limit reached"}"#, "rate-limited", Retry::Backoff),
        (500, r#"{"code":50001,"http":500,"error":"internal server error"}"#, "http-500", Retry::Backoff),
        (507, "", "http-507", Retry::Backoff),
        (404, "no", "http-404", Retry::Never),
    ] {
        let failure = failed(status, text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{text}");
    }
    assert!(
        failed(403, r#"{"code":40301,"error":"forbidden"}"#)
            .message
            .contains("40301: forbidden: set `token`")
    );
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], URL);
    assert_eq!(schema["required"], json!(["topic"]));
}
