//! What Teams gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::settings::EXAMPLE;

fn settings() -> Settings {
    Settings { url: EXAMPLE.to_owned(), title: None, text: None, facts: true }
}

fn told(delivery: &Delivery, settings: &Settings, answer: (u16, &str)) -> (Value, Result<Receipt, Failure>) {
    let (requests, result) = exchange(&[answer], |send| deliver(delivery, settings, send));
    assert_eq!(requests[0].url, settings.url);
    (body(&requests[0]), result)
}

fn card(delivery: &Delivery, settings: &Settings) -> Value {
    let (mut message, result) = told(delivery, settings, (202, ""));
    assert_eq!(result.unwrap().message, "202");
    message["attachments"][0]["content"].take()
}

fn failed(status: u16, text: &str) -> Failure {
    told(&firing(&json!({})), &settings(), (status, text)).1.unwrap_err()
}

#[test]
fn a_whole_alert_is_shown_in_the_documented_envelope() {
    let delivery = firing(&json!({
        "title": "Pool exhausted", "type": "database", "description": "All in use\nsince noon",
        "source": { "name": "Monitoring" }, "labels": { "team": "db" },
        "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
    }));
    let (message, result) = told(&delivery, &settings(), (202, ""));
    assert_eq!(
        message,
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard", "version": "1.4", "msteams": { "width": "Full" },
                    "body": [
                        { "type": "Container", "style": "attention", "bleed": true, "items": [
                            { "type": "TextBlock", "text": "🔴 Pool exhausted", "wrap": true, "size": "Large", "weight": "Bolder" },
                        ] },
                        { "type": "TextBlock", "text": "All in use\n\nsince noon", "wrap": true },
                        { "type": "FactSet", "facts": [
                            { "title": "Severity", "value": "Critical" },
                            { "title": "Type", "value": "database" },
                            { "title": "Source", "value": "Monitoring" },
                            { "title": "team", "value": "db" },
                        ] },
                        { "type": "TextBlock", "text": "alert-1", "wrap": true, "size": "Small", "isSubtle": true },
                    ],
                    "actions": [{ "type": "Action.OpenUrl", "title": "Runbook", "url": "https://run.example/db" }],
                },
            }],
        })
    );
    assert_eq!(result.unwrap(), Receipt { id: None, message: "202".to_owned() });
}

#[test]
fn the_colour_is_that_of_the_severity() {
    let style = |delivery: &Delivery| card(delivery, &settings())["body"][0]["style"].clone();
    for (severity, expected) in
        [("critical", "attention"), ("high", "attention"), ("medium", "warning"), ("low", "accent")]
    {
        assert_eq!(style(&firing(&json!({ "severity": severity }))), expected);
    }
    assert_eq!(style(&resolved(&json!({}), None)), "good");
}

#[test]
fn nothing_to_say_leaves_no_empty_block() {
    let card = card(&firing(&json!({ "description": " " })), &Settings { facts: false, ..settings() });
    assert_eq!(card["body"].as_array().unwrap().len(), 1);
    assert_eq!(card["actions"], json!([]));
}

#[test]
fn teams_limit_holds_for_the_largest_alert() {
    for character in ['x', '"', '*', '\n', '\u{1}', 'ü', '語', '🔥'] {
        let (message, _) = told(&firing(&largest(character)), &settings(), (202, ""));
        assert!(fit::size(&message) <= fit::MESSAGE, "{character:?}: {}", fit::size(&message));
        let content = &message["attachments"][0]["content"];
        assert!(content["body"][2]["facts"].as_array().unwrap().len() > 3, "{character:?}");
        assert_eq!(content["actions"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn no_text_of_the_card_is_blank() {
    for text in BLANKS {
        for settings in [settings(), Settings { facts: false, ..settings() }] {
            let card = card(&firing(&blank(text)), &settings);
            assert!(blank_texts(&card).is_empty(), "{text:?}: {card}");
        }
    }
}

#[test]
fn what_is_left_out_is_told() {
    let card = card(&firing(&largest('"')), &settings());
    let facts = card["body"][2]["facts"].as_array().unwrap();
    let [.., last, links] = &facts[..] else { panic!("{facts:?}") };
    assert_eq!(*links, json!({ "title": "Links", "value": "… and 495 more" }));
    assert_eq!(*last, json!({ "title": "…", "value": format!("and {} more", 57 - facts.len()) }));
}

#[test]
fn an_alert_writes_no_markdown_and_no_link() {
    let text = "**[reset](https://evil.example)** <at>All</at>\",\"type\":\"x";
    let document = json!({
        "title": text, "description": text, "labels": { text: text },
        "links": ["javascript:alert(1)", { "href": "https://run.example", "text": "a\n[b](c)" }],
    });
    let card = card(&firing(&document), &settings());
    let shown = "\\*\\*[reset]\u{200B}(https://evil.example)\\*\\* <at>All</at>\",\"type\":\"x";
    assert_eq!(card["body"][0]["items"][0]["text"], format!("🔴 {shown}"));
    assert_eq!(card["body"][1]["text"], shown);
    assert!(!card["body"].to_string().contains("]("));
    assert_eq!(
        card["actions"],
        json!([{ "type": "Action.OpenUrl", "title": "a [b](c)", "url": "https://run.example" }])
    );
}

#[test]
fn an_operator_words_it() {
    let settings = Settings {
        title: Some("{{ state }}".to_owned()),
        text: Some("**[{{ title }}](https://run.example)**".to_owned()),
        ..settings()
    };
    let card = card(&firing(&json!({ "title": "a_b" })), &settings);
    assert_eq!(card["body"][0]["items"][0]["text"], "Critical");
    assert_eq!(card["body"][1]["text"], "**[a\\_b](https://run.example)**");
}

#[test]
fn a_workflows_answers_say_whether_to_try_again() {
    let error =
        |code: &str, message: &str| json!({ "error": { "code": code, "message": message } }).to_string();
    let unauthorized = error(
        "DirectApiAuthorizationRequired",
        "The request must be authenticated only by Shared Access scheme.",
    );
    for (status, text, code, retry) in [
        (401, unauthorized.clone(), "invalid-sig", Retry::Never),
        (400, error("MissingApiVersionParameter", "…"), "invalid-url", Retry::Never),
        (400, error("Other", "…"), "http-400", Retry::Never),
        (404, String::new(), "http-404", Retry::Never),
        (413, String::new(), "http-413", Retry::Never),
        (429, String::new(), "rate-limited", Retry::Backoff),
        (500, String::new(), "http-500", Retry::Backoff),
        (502, error("Other", "…"), "http-502", Retry::Backoff),
    ] {
        let failure = failed(status, &text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{status} {text}");
    }
    let message = failed(401, &unauthorized).message;
    assert!(message.contains("Shared Access scheme.: check `url`"), "{message}");
}

#[test]
fn the_configuration_schema_has_the_example() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert!(schema["properties"]["url"]["description"].as_str().unwrap().contains(EXAMPLE));
    assert!(include_str!("../teams.toml").contains(EXAMPLE));
}
