//! What PagerDuty gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::event::{KEY, SUMMARY};
use crate::settings::URL;

/// The most of an event, in bytes.
const EVENT: usize = 512 * 1024;

/// The answers that PagerDuty documents.
const TAKEN: &str = r#"{"status": "success", "message": "Event processed", "dedup_key": "samplekeyhere"}"#;
const INVALID: &str = r#"{"status": "invalid event", "message": "Event object is invalid",
    "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#;
const UNRECOGNIZED: &str = r#"{"status": "Unrecognized object", "message": "Event object format is unrecognized",
    "errors": ["JSON parse error"]}"#;

fn settings() -> Settings {
    Settings {
        url: URL.to_owned(),
        routing_key: "${secret:PAGERDUTY_ROUTING_KEY.m4rk}".to_owned(),
        client_url: None,
        summary: None,
        source: None,
        component: None,
        group: None,
        class: None,
    }
}

fn told(delivery: &Delivery, settings: &Settings, answer: (u16, &str)) -> (Value, Result<Receipt, Failure>) {
    let (requests, result) = exchange(&[answer], |send| deliver(delivery, settings, send));
    assert_eq!(requests[0].url, settings.url);
    (body(&requests[0]), result)
}

fn event(document: &Value) -> Value {
    told(&firing(document), &settings(), (202, TAKEN)).0
}

fn failed(status: u16, text: &str) -> Failure {
    told(&firing(&json!({})), &settings(), (status, text)).1.unwrap_err()
}

#[test]
fn a_trigger_is_the_documented_one() {
    let mut example: Value =
        serde_json::from_str(include_str!("../../pagerduty-events/payloads/trigger.json")).unwrap();
    let mut delivery = firing(&json!({
        "title": "Example alert on host1.example.com", "severity": "low", "type": "deploy",
        "starts_at": "2015-07-17T08:42:58.315+0000",
        "context": { "service": "postgres", "environment": "prod-datapipe" },
        "labels": { "host": example["payload"]["source"] },
        "links": [
            { "href": "https://example.com/", "text": "Link text" },
            { "href": example["images"][0]["src"], "text": "Example text" },
        ],
    }));
    delivery.thread_id = "samplekeyhere".to_owned();
    let settings = Settings {
        routing_key: "samplekeyhere".to_owned(),
        client_url: Some("https://monitoring.example.com".to_owned()),
        ..settings()
    };
    let (mut event, result) = told(&delivery, &settings, (202, TAKEN));
    // What differs by intent: the name of the client, where an image leads to, and what the details are.
    example["client"] = json!("Campanile");
    example["images"][0]["href"] = example["images"][0]["src"].clone();
    example["payload"]["custom_details"] = event["payload"]["custom_details"].take();
    event["payload"]["custom_details"] = example["payload"]["custom_details"].clone();
    assert_eq!(event, example);
    assert_eq!(
        event["payload"]["custom_details"],
        json!({
            "Alert": "alert-1", "Severity": "Low", "Type": "deploy", "Source": "unknown source",
            "Environment": "prod-datapipe", "Service": "postgres", "Since": "2015-07-17T08:42:58.315+0000",
            "host": example["payload"]["source"],
        })
    );
    let receipt = result.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("samplekeyhere"), "202"));
}

#[test]
fn a_resolve_is_the_documented_one_and_meets_its_trigger() {
    let (trigger, receipt) = told(&firing(&json!({})), &settings(), (202, TAKEN));
    let id = receipt.unwrap().id;
    for earlier in [id.as_deref(), None] {
        let (resolve, result) = told(&resolved(&json!({}), earlier), &settings(), (202, TAKEN));
        assert!(result.is_ok());
        assert_eq!(
            resolve,
            json!({
                "routing_key": settings().routing_key, "dedup_key": trigger["dedup_key"],
                "event_action": "resolve",
            })
        );
    }
    let earlier = resolved(&json!({}), Some("another"));
    assert_eq!(told(&earlier, &settings(), (202, TAKEN)).0["dedup_key"], "another");
}

#[test]
fn severities_are_those_of_pagerduty() {
    for (ours, theirs) in
        [("critical", "critical"), ("high", "error"), ("medium", "warning"), ("low", "info")]
    {
        assert_eq!(event(&json!({ "severity": ours }))["payload"]["severity"], theirs);
    }
}

#[test]
fn the_source_is_the_most_exact_that_is_known() {
    let source = |document: Value| event(&document)["payload"]["source"].clone();
    let place = json!({ "environment": "production", "service": "payments" });
    assert_eq!(source(json!({ "context": place, "labels": { "instance": "db-1:9100" } })), "db-1:9100");
    assert_eq!(source(json!({ "context": place, "source": { "name": "Zabbix" } })), "production/payments");
    assert_eq!(source(json!({ "source": { "name": "Zabbix" } })), "Zabbix");
    assert_eq!(source(json!({})), "unknown source");
}

#[test]
fn what_is_not_known_is_not_sent() {
    let payload = &event(&json!({}))["payload"];
    assert_eq!(payload.get("component"), None);
    assert_eq!(payload.get("timestamp"), None);
    assert_eq!(payload["class"], "custom");
}

#[test]
fn pagerdutys_limits_hold_for_the_largest_alert() {
    for character in ['x', '"', '\u{1}', '🔥'] {
        let mut delivery = firing(&largest(character));
        delivery.thread_id = character.to_string().repeat(1000);
        let (event, _) = told(&delivery, &settings(), (202, TAKEN));
        assert!(event.to_string().len() < EVENT, "{}", event.to_string().len());
        assert!(width(event["payload"]["summary"].as_str().unwrap()) <= SUMMARY);
        assert!(width(event["dedup_key"].as_str().unwrap()) <= KEY);
        assert!(event["payload"]["custom_details"].as_object().unwrap().len() > 8);
        assert!(event["links"].as_array().unwrap().len() > 50);
    }
}

#[test]
fn no_text_of_the_event_is_blank() {
    for text in BLANKS {
        let event = event(&blank(text));
        assert!(blank_texts(&event).is_empty(), "{text:?}: {event}");
        assert_eq!(event["payload"]["summary"], "alert-1", "in place of the title");
    }
}

#[test]
fn all_that_pagerduty_finds_wrong_is_said() {
    let two = json!({ "message": "Event object is invalid", "errors": ["'payload.source' is blank", "'payload.severity' is missing"] });
    let failure = failed(400, &two.to_string());
    assert!(
        failure.message.contains("'payload.source' is blank: 'payload.severity' is missing"),
        "{failure:?}"
    );
}

#[test]
fn what_is_left_out_is_told() {
    let event = event(&largest('\u{1}'));
    let details = event["payload"]["custom_details"].as_object().unwrap();
    // The description is none of those that had to fit.
    assert_eq!(details["…"], format!("and {} more", 59 - details.len()));
    let shown = event["links"].as_array().unwrap().len();
    assert_eq!(details["Links"], format!("… and {} more", 500 - shown));
}

#[test]
fn an_alert_cannot_ask_for_the_key_or_another_event() {
    let text = "${secret:PAGERDUTY_ROUTING_KEY}\",\"event_action\":\"resolve";
    let document = json!({
        "title": text, "description": text, "labels": { "routing_key": text, "Alert": text },
        "links": ["javascript:alert(1)"],
    });
    let event = event(&document);
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["payload"]["summary"], text);
    // The host fills in the placeholder that it marked, and no other.
    assert_eq!(event.to_string().matches("m4rk").count(), 1);
    assert_eq!(event["payload"]["custom_details"]["Alert"], "alert-1");
    assert_eq!(event["links"], json!([]));
}

#[test]
fn an_operator_words_it() {
    let settings = Settings {
        summary: Some("{{ state }}: {{ title }}".to_owned()),
        source: Some("{{ labels.pod }}".to_owned()),
        class: Some("{{ nope(".to_owned()),
        ..settings()
    };
    let delivery = firing(&json!({ "title": "Down", "labels": { "pod": "a-1" } }));
    let (event, result) = told(&delivery, &settings, (202, TAKEN));
    assert_eq!(event["payload"]["summary"], "Critical: Down");
    assert_eq!(event["payload"]["source"], "a-1");
    assert!(result.unwrap().message.contains("the template `class` failed"));
}

#[test]
fn pagerdutys_answers_say_whether_to_try_again() {
    for (status, text, code, retry) in [
        (400, INVALID, "invalid-routing-key", Retry::Never),
        (400, UNRECOGNIZED, "http-400", Retry::Never),
        (403, "", "http-403", Retry::Never),
        (429, "", "rate-limited", Retry::Backoff),
        (500, UNRECOGNIZED, "http-500", Retry::Backoff),
        (503, "", "http-503", Retry::Backoff),
    ] {
        let failure = failed(status, text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{status} {text}");
    }
    let message = failed(400, INVALID).message;
    assert!(message.contains("should be 32 characters") && message.contains("`routing-key`"), "{message}");
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], URL);
    assert_eq!(schema["required"], json!(["routing-key"]));
}
