//! What Discord gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::message::{FIELDS, TITLE, TOTAL};
use crate::settings::URL;

const POSTED: &str = r#"{"id": "1234567890", "channel_id": "99", "content": ""}"#;

fn settings() -> Settings {
    Settings { url: URL.to_owned(), thread: None, mention: None, title: None, text: None, facts: true }
}

/// Delivers to a Discord that gives these answers: the requests that it got, and what came of it.
fn told(
    settings: &Settings,
    delivery: &Delivery,
    answers: &[(u16, &str)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    exchange(answers, |send| deliver(delivery, settings, send))
}

fn message(settings: &Settings, delivery: &Delivery) -> Value {
    body(&told(settings, delivery, &[(200, POSTED)]).0[0])
}

fn failed(status: u16, text: &str) -> Failure {
    told(&settings(), &firing(&json!({})), &[(status, text)]).1.unwrap_err()
}

#[test]
fn an_alert_is_an_embed_and_its_id_is_remembered() {
    let document = json!({
        "title": "Pool full", "type": "database", "description": "All connections in use",
        "source": { "name": "Database Monitoring" }, "context": { "environment": "production" },
        "labels": { "team": "db" }, "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
    });
    let (requests, result) = told(&settings(), &firing(&document), &[(200, POSTED)]);
    assert_eq!((requests[0].method, requests[0].url.as_str()), (Method::Post, &*format!("{URL}?wait=true")));
    assert_eq!(
        body(&requests[0]),
        json!({
            "content": "", "allowed_mentions": { "parse": [] },
            "embeds": [{
                "title": "🔴 Pool full", "description": "All connections in use", "color": 0xD0_00_00,
                "fields": [
                    { "name": "Severity", "value": "Critical", "inline": true },
                    { "name": "Type", "value": "database", "inline": true },
                    { "name": "Source", "value": "Database Monitoring", "inline": true },
                    { "name": "Environment", "value": "production", "inline": true },
                    { "name": "Links", "value": "[Runbook](https://run.example/db)", "inline": false },
                    { "name": "team", "value": "db", "inline": true },
                ],
                "footer": { "text": "alert-1" },
            }],
        })
    );
    let receipt = result.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("1234567890"), "200"));
}

#[test]
fn a_resolve_turns_the_embed_green() {
    let (requests, result) = told(&settings(), &resolved(&json!({}), Some("123")), &[(200, POSTED)]);
    assert!(result.is_ok());
    assert_eq!(
        (requests[0].method, requests[0].url.as_str()),
        (Method::Patch, &*format!("{URL}/messages/123"))
    );
    let body = body(&requests[0]);
    assert_eq!((&body["embeds"][0]["color"], body.get("content")), (&json!(0x2E_B6_7D), None));
}

#[test]
fn what_is_gone_or_unknown_is_posted_anew() {
    let gone = (404, r#"{"message": "Unknown Message", "code": 10008}"#);
    let (requests, result) = told(&settings(), &resolved(&json!({}), Some("123")), &[gone, (200, POSTED)]);
    assert!(result.is_ok() && requests[1].method == Method::Post);
    for earlier in [None, Some(""), Some("../../x")] {
        let (requests, _) = told(&settings(), &resolved(&json!({}), earlier), &[(200, POSTED)]);
        assert_eq!(requests[0].method, Method::Post, "{earlier:?}");
    }
}

#[test]
fn a_thread_is_named_in_both_requests() {
    let settings = Settings { thread: Some("77".to_owned()), ..settings() };
    let (requests, _) = told(&settings, &firing(&json!({})), &[(200, POSTED)]);
    assert!(requests[0].url.ends_with("?wait=true&thread_id=77"));
    let (requests, _) = told(&settings, &resolved(&json!({}), Some("5")), &[(200, POSTED)]);
    assert!(requests[0].url.ends_with("/messages/5?thread_id=77"));
}

#[test]
fn only_the_operator_calls_somebody_and_only_for_what_fires() {
    let document = json!({ "title": "@everyone <@&1>", "description": "@here" });
    let called = Settings { mention: Some("<@&42>".to_owned()), ..settings() };
    assert_eq!(message(&settings(), &firing(&document))["allowed_mentions"], json!({ "parse": [] }));
    let fired = message(&called, &firing(&document));
    assert_eq!(
        (&fired["content"], &fired["allowed_mentions"]["parse"][1]),
        (&json!("<@&42>"), &json!("roles"))
    );
    assert_eq!(message(&called, &resolved(&document, None))["allowed_mentions"], json!({ "parse": [] }));
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let (title, text) = (Some("**{{ title }}**".to_owned()), Some("> {{ description }}".to_owned()));
    let document = json!({ "title": "a**b", "description": "[x](https://evil.example)" });
    let embed = &message(&Settings { title, text, ..settings() }, &firing(&document))["embeds"][0];
    assert_eq!(embed["title"], r"**a\*\*b**");
    assert_eq!(embed["description"], r"> \[x\](https://evil.example)");
}

#[test]
fn discords_limits_hold_for_the_largest_alert() {
    for character in ['x', '*', '🔥'] {
        let message = message(&settings(), &firing(&largest(character)));
        let embed = &message["embeds"][0];
        let length = |text: &Value| width(text.as_str().unwrap());
        let fields = embed["fields"].as_array().unwrap();
        let texts: usize = fields.iter().map(|field| length(&field["name"]) + length(&field["value"])).sum();
        let total = length(&embed["title"])
            + length(&embed["description"])
            + length(&embed["footer"]["text"])
            + texts;
        assert!(length(&embed["title"]) <= TITLE && length(&embed["description"]) <= 4096);
        assert!(total <= TOTAL && fields.len() <= FIELDS, "{total}, {}", fields.len());
        assert!(fields.iter().all(|field| length(&field["name"]) <= 256 && length(&field["value"]) <= 1024));
        assert!(fields.len() > 5, "there is room for facts");
    }
}

#[test]
fn no_field_is_blank() {
    for text in BLANKS {
        let message = message(&settings(), &firing(&blank(text)));
        // Neither is asked for: the embed has a title.
        assert_eq!(blank_texts(&message), ["/content", "/embeds/0/description"], "{text:?}: {message}");
        let host = json!({ "name": "host", "value": r"db\-1", "inline": true });
        assert!(message["embeds"][0]["fields"].as_array().unwrap().contains(&host), "{message}");
    }
}

#[test]
fn metrics_and_the_scalars_of_data_are_fields_behind_the_labels() {
    let document = json!({ "labels": { "team": "db" }, "metrics": { "cpu": 95.2 }, "data": { "runs": 3 } });
    let message = message(&settings(), &firing(&document));
    let fields = message["embeds"][0]["fields"].as_array().unwrap();
    let names: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Severity", "Type", "Source", "team", "cpu", "runs"]);
}

#[test]
fn what_is_left_out_is_told() {
    let labels: serde_json::Map<_, _> = (0..40).map(|n| (n.to_string(), json!("x"))).collect();
    let links: Vec<_> = (0..40).map(|n| format!("https://run.example/{n}")).collect();
    let message = message(&settings(), &firing(&json!({ "labels": labels, "links": links })));
    let fields = message["embeds"][0]["fields"].as_array().unwrap();
    // Severity, type, source and links; twenty labels; and this.
    assert_eq!(fields[FIELDS - 1], json!({ "name": "…", "value": "and 20 more", "inline": true }));
    let links = fields[3]["value"].as_str().unwrap();
    let shown = links.matches("](https:").count();
    assert!(links.ends_with(&format!(" · … and {} more", 40 - shown)), "{links}");
}

#[test]
fn discords_errors_say_whether_to_try_again() {
    let wait = r#"{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}"#;
    for (status, text, code, retry) in [
        (429, wait, "rate-limited", Retry::After(64_570)),
        (404, r#"{"message": "Unknown Webhook", "code": 10015}"#, "unknown-webhook", Retry::Never),
        (
            401,
            r#"{"message": "Invalid Webhook Token", "code": 50027}"#,
            "invalid-webhook-token",
            Retry::Never,
        ),
        (
            400,
            r#"{"message": "Invalid Form Body", "code": 50035, "errors": {}}"#,
            "invalid-form-body",
            Retry::Never,
        ),
        (400, r#"{"message": "New", "code": 1}"#, "http-400", Retry::Never),
        (502, "<html>", "http-502", Retry::Backoff),
    ] {
        let failure = failed(status, text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{text}");
    }
    let failure = failed(404, r#"{"message": "Unknown Webhook", "code": 10015}"#);
    assert!(failure.message.starts_with("service.example answered 404: 10015: Unknown Webhook: make a new"));
}

#[test]
fn a_refused_field_is_named_with_its_cause() {
    let refused = |errors: Value| {
        failed(400, &json!({ "code": 50035, "message": "Invalid Form Body", "errors": errors }).to_string())
            .message
    };
    let required =
        json!({ "_errors": [{ "code": "BASE_TYPE_REQUIRED", "message": "This field is required" }] });
    let field =
        json!({ "embeds": { "0": { "fields": { "5": { "value": required }, "7": { "name": required } } } } });
    assert_eq!(
        refused(field),
        "service.example answered 400: 50035: Invalid Form Body: embeds[0].fields[5].value: This field is required; \
         embeds[0].fields[7].name: This field is required"
    );
    assert!(
        refused(json!({ "thread_id": required }))
            .ends_with(": check `thread`: the id of a thread of the webhook's channel")
    );
    assert!(
        refused(json!({ "content": required })).ends_with("content: This field is required: check `mention`")
    );
}

#[test]
fn the_configuration_schema_names_the_default() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], URL);
}
