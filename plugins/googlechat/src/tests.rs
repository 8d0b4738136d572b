//! What Google Chat gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::settings::{KEYS, URL, address};

const POSTED: &str = r#"{"name":"spaces/AAAA/messages/B.C","thread":{"name":"spaces/AAAA/threads/B"}}"#;

fn settings() -> Settings {
    Settings { url: address(URL, "AAAA"), mention: None, title: None, text: None, facts: true }
}

fn posted(settings: &Settings, delivery: &Delivery) -> (Request, Receipt) {
    let (requests, receipt) = exchange(&[(200, POSTED)], |send| deliver(delivery, settings, send));
    (requests[0].clone(), receipt.unwrap())
}

fn card(settings: &Settings, document: &Value) -> Value {
    body(&posted(settings, &firing(document)).0)["cardsV2"][0]["card"].clone()
}

fn failed(status: u16, text: &str) -> Failure {
    exchange(&[(status, text)], |send| deliver(&firing(&json!({})), &settings(), send)).1.unwrap_err()
}

fn refused(code: u16, status: &str, message: &str) -> Failure {
    failed(code, &json!({ "error": { "code": code, "message": message, "status": status } }).to_string())
}

#[test]
fn the_request_is_the_documented_one() {
    let (request, receipt) = posted(
        &Settings { mention: Some("<users/all>".to_owned()), ..settings() },
        &firing(&json!({
            "title": "Pool exhausted", "type": "database", "description": "All <in> use",
            "source": { "name": "Monitoring" }, "context": { "service": "payments" }, "labels": { "team": "db" },
            "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
        })),
    );
    let fact = |name: &str, value: &str| json!({ "decoratedText": { "topLabel": name, "text": value, "wrapText": true } });
    assert_eq!(
        request.url,
        "https://chat.googleapis.com/v1/spaces/AAAA/messages\
         ?key=${secret:GOOGLECHAT_KEY}&token=${secret:GOOGLECHAT_TOKEN}\
         &messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD&requestId=677e66bf-2a8c-b1f3-d158-a213fad38e36"
    );
    assert_eq!(request.headers, [("content-type", "application/json; charset=UTF-8".to_owned())]);
    assert_eq!(
        body(&request),
        json!({
            "text": "<users/all>",
            "cardsV2": [{ "cardId": "alert", "card": {
                "header": { "title": "🔴 Pool exhausted", "subtitle": "Critical · payments · Monitoring" },
                "sections": [{ "widgets": [
                    { "textParagraph": { "text": "All &lt;in&gt; use" } },
                    fact("Alert", "alert-1"), fact("Severity", "Critical"), fact("Type", "database"),
                    fact("Source", "Monitoring"), fact("Service", "payments"), fact("team", "db"),
                    { "buttonList": { "buttons": [
                        { "text": "Runbook", "onClick": { "openLink": { "url": "https://run.example/db" } } },
                    ] } },
                ] }],
            } }],
            "fallbackText": "🔴 Pool exhausted",
            "thread": { "threadKey": "85091be385977ceb6bd3c24da8ce57e4" },
        })
    );
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("spaces/AAAA/messages/B.C"), "200"));
}

#[test]
fn a_resolve_is_another_request_in_the_same_thread() {
    let (fired, _) = posted(&settings(), &firing(&json!({})));
    let (over, _) = posted(&settings(), &resolved(&json!({}), Some("spaces/AAAA/messages/B.C")));
    assert_eq!(body(&fired)["thread"], body(&over)["thread"]);
    assert_ne!(fired.url, over.url);
    assert_eq!(body(&over)["fallbackText"], "✅ t");
    assert_eq!(posted(&settings(), &firing(&json!({}))).0, fired, "a repeat is the same request");
}

#[test]
fn googles_limit_holds_for_the_largest_alert() {
    for character in ['x', '"', '<', '\n', '\u{1}', '字', '🔥'] {
        let mut document = largest(character);
        let text = character.to_string().repeat(99);
        let link = |n| json!({ "href": format!("https://r.example/{n}{}", "\\".repeat(480)), "text": text });
        document["links"] = (0..9).map(link).collect();
        let (request, _) = posted(&settings(), &firing(&document));
        assert!(request.body.len() <= 32_000, "{character:?}: {}", request.body.len());
    }
}

#[test]
fn no_text_of_the_card_is_blank() {
    for text in BLANKS {
        for settings in [settings(), Settings { facts: false, ..settings() }] {
            let body = body(&posted(&settings, &firing(&blank(text))).0);
            assert!(blank_texts(&body).is_empty(), "{text:?}: {body}");
        }
    }
}

#[test]
fn what_is_left_out_is_told() {
    let card = card(&settings(), &largest('x'));
    let widgets = card["sections"][0]["widgets"].as_array().unwrap();
    let fact = |name: &str, value: &str| json!({ "decoratedText": { "topLabel": name, "text": value, "wrapText": true } });
    assert_eq!(widgets[14], fact("…", "and 43 more"));
    assert_eq!(widgets[16], fact("Links", "… and 495 more"));
}

#[test]
fn nothing_to_say_leaves_no_empty_section() {
    let bare = Settings { facts: false, ..settings() };
    assert_eq!(card(&bare, &json!({ "description": " " }))["sections"], json!([]));
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let (title, text) =
        (Some("{{ state }}: {{ title }}".to_owned()), Some("<b>{{ description }}</b>".to_owned()));
    let settings = Settings { title, text, ..settings() };
    let document = json!({
        "title": "<users/all>\n", "description": "<users/all> </b><a href=\"https://evil.example\">x</a>",
        "labels": { "a": "<b>x" },
    });
    let card = card(&settings, &document);
    assert_eq!(card["header"]["title"], "Critical: <users/all>", "a header is plain text");
    let widgets = card["sections"][0]["widgets"].as_array().unwrap();
    assert_eq!(
        widgets[0]["textParagraph"]["text"],
        "<b>&lt;users/all&gt; &lt;/b&gt;&lt;a href=&quot;https://evil.example&quot;&gt;x&lt;/a&gt;</b>"
    );
    assert_eq!(widgets.last().unwrap()["decoratedText"]["text"], "&lt;b&gt;x");
}

#[test]
fn googles_errors_say_whether_to_try_again() {
    for (status, word, message, code, retry) in [
        (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted", "rate-limited", Retry::Backoff),
        (503, "UNAVAILABLE", "The service is currently unavailable.", "unavailable", Retry::Backoff),
        (500, "INTERNAL", "Internal error encountered.", "internal", Retry::Backoff),
        (
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            "invalid-key",
            Retry::Never,
        ),
        (400, "INVALID_ARGUMENT", "Invalid JSON payload received.", "invalid-argument", Retry::Never),
        (401, "UNAUTHENTICATED", "Request had invalid credentials", "unauthenticated", Retry::Never),
        (403, "PERMISSION_DENIED", "The caller does not have permission", "permission-denied", Retry::Never),
        (404, "NOT_FOUND", "Space not found.", "not-found", Retry::Never),
    ] {
        let failure = refused(status, word, message);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{message}");
        assert!(failure.message.contains(message));
    }
    assert_eq!(failed(429, "").code, "rate-limited");
    assert_eq!(failed(502, "<html>").retry, Retry::Backoff);
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], URL);
    assert!(schema["properties"]["space"]["description"].as_str().unwrap().contains(KEYS));
}
