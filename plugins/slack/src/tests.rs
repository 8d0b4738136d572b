//! What Slack gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::message::{FACTS, FALLBACK, FIELD, FIELDS, HEADER, SECTION};
use crate::settings::{TOKEN, WEB_API, WEBHOOK, WebApi};

const POSTED: &str = r#"{"ok": true, "channel": "C0", "ts": "17.5", "message": {"text": "…"}}"#;

fn webhook() -> Settings {
    Settings { way: Way::Webhook { url: WEBHOOK.to_owned() }, title: None, text: None, facts: true }
}

fn web_api() -> Settings {
    let (url, token) = (WEB_API.to_owned(), TOKEN.to_owned());
    Settings { way: Way::WebApi(WebApi { url, token, channel: "C0123".to_owned() }), ..webhook() }
}

/// Delivers to a Slack that gives these answers: the requests that it got, and what came of it.
fn told(
    settings: &Settings,
    delivery: &Delivery,
    answers: &[(u16, &str)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    exchange(answers, |send| deliver(delivery, settings, send))
}

/// The message that the webhook gets for this alert.
fn message(settings: &Settings, delivery: &Delivery) -> Value {
    let (requests, result) = told(settings, delivery, &[(200, "ok")]);
    assert_eq!(result.unwrap().message, "200: ok");
    body(&requests[0])
}

fn blocks(message: &Value) -> &Vec<Value> {
    message["attachments"][0]["blocks"].as_array().unwrap()
}

fn failed(status: u16, text: &str) -> Failure {
    told(&web_api(), &firing(&json!({})), &[(status, text)]).1.unwrap_err()
}

fn method(request: &Request) -> &str {
    request.url.rsplit('/').next().unwrap()
}

#[test]
fn a_whole_alert_is_shown() {
    let message = message(
        &webhook(),
        &firing(&json!({
            "title": "Pool & exhausted", "type": "database", "description": "All connections <in use>",
            "source": { "name": "Database Monitoring", "type": "custom" },
            "context": { "environment": "production", "service": "payments" }, "labels": { "team": "db" },
            "data": { "triage": { "priority": "P1" } },
            "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
        })),
    );
    let blocks = blocks(&message);
    assert_eq!(message["text"], "🔴 Critical: Pool &amp; exhausted");
    assert_eq!(message["attachments"][0]["color"], "#D00000");
    assert_eq!(blocks[0]["text"]["text"], "🔴 Pool &amp; exhausted");
    assert_eq!(blocks[1]["text"]["text"], "All connections &lt;in use&gt;");
    let fields: Vec<_> =
        blocks[2]["fields"].as_array().unwrap().iter().map(|field| field["text"].as_str().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "*Severity*\nCritical",
            "*Priority*\nP1",
            "*Type*\ndatabase",
            "*Source*\nDatabase Monitoring",
            "*Environment*\nproduction",
            "*Service*\npayments",
            "*team*\ndb",
        ]
    );
    assert_eq!(blocks[3]["text"]["text"], "<https://run.example/db|Runbook>");
    assert_eq!(blocks[4]["elements"][0]["text"], "alert-1");
}

#[test]
fn what_is_resolved_looks_different() {
    let message = message(&webhook(), &resolved(&json!({ "title": "Pool exhausted" }), None));
    assert_eq!(message["text"], "✅ Resolved: Pool exhausted");
    assert_eq!(message["attachments"][0]["color"], "#2EB67D");
}

#[test]
fn slacks_limits_hold_for_the_largest_alert() {
    for character in ['&', '🔥'] {
        let message = message(&webhook(), &firing(&largest(character)));
        assert!(width(message["text"].as_str().unwrap()) <= FALLBACK);
        for block in blocks(&message) {
            let limit = if block["type"] == "header" { HEADER } else { SECTION };
            let length = |text: &Value| width(text.as_str().unwrap());
            assert!(block.get("text").is_none_or(|text| length(&text["text"]) <= limit), "{block}");
            let fields = block["fields"].as_array().cloned().unwrap_or_default();
            let all = blocks(&message).iter().filter_map(|block| block["fields"].as_array()).flatten();
            assert!(all.map(|field| length(&field["text"])).sum::<usize>() <= FACTS.size);
            assert!(
                fields.len() <= FIELDS && fields.iter().all(|field| length(&field["text"]) <= FIELD),
                "{block}"
            );
        }
    }
}

#[test]
fn metrics_and_the_scalars_of_data_are_facts_behind_the_labels() {
    let labels: serde_json::Map<_, _> = (0..8).map(|n| (format!("label-{n}"), json!("x"))).collect();
    let document = json!({
        "labels": labels, "metrics": { "cpu": 95.2, "odd": [1] },
        "data": { "runs": 3, "paged": false, "note": "y".repeat(3000), "deep": { "a": 1 } },
    });
    let message = message(&webhook(), &firing(&document));
    let sections = blocks(&message).iter().filter_map(|block| block["fields"].as_array());
    let fields: Vec<Vec<_>> =
        sections.map(|fields| fields.iter().map(|field| field["text"].as_str().unwrap()).collect()).collect();
    assert_eq!(fields.iter().map(Vec::len).collect::<Vec<_>>(), [FIELDS, 5]);
    assert_eq!(fields[0][3], "*label-0*\nx");
    let note = format!("*note*\n{}…", "y".repeat(199));
    assert_eq!(fields[1], ["*label-7*\nx", "*cpu*\n95.2", note.as_str(), "*paged*\nfalse", "*runs*\n3"]);
}

#[test]
fn no_text_is_blank() {
    for text in BLANKS {
        for settings in [webhook(), Settings { facts: false, ..webhook() }] {
            let message = message(&settings, &firing(&blank(text)));
            assert!(blank_texts(&message).is_empty(), "{text:?}: {message}");
        }
    }
}

#[test]
fn what_is_left_out_is_told() {
    let message = message(&webhook(), &firing(&largest('x')));
    let blocks = blocks(&message);
    assert_eq!(blocks[4]["fields"][FIELDS - 1]["text"], "*…*\nand 26 more");
    let links = blocks[5]["text"]["text"].as_str().unwrap();
    let shown = links.matches("<https:").count();
    assert!(links.ends_with(&format!("> · … and {} more", 500 - shown)), "{links}");
}

#[test]
fn nothing_to_say_leaves_no_empty_block() {
    let kinds = |settings: &Settings| {
        let message = message(settings, &firing(&json!({ "description": " " })));
        blocks(&message).iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&webhook()), ["header", "section", "context"]);
    assert_eq!(kinds(&Settings { facts: false, ..webhook() }), ["header"]);
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let (title, text) =
        (Some("{{ state }}: {{ title }}".to_owned()), Some("<!here> *{{ description }}*".to_owned()));
    let settings = Settings { title, text, ..webhook() };
    let document = json!({ "title": "<!channel>", "description": "<!channel> <https://evil.example|x>" });
    let message = message(&settings, &firing(&document));
    assert_eq!(blocks(&message)[0]["text"]["text"], "Critical: &lt;!channel&gt;");
    assert_eq!(
        blocks(&message)[1]["text"]["text"],
        "<!here> *&lt;!channel&gt; &lt;https://evil.example|x&gt;*"
    );
}

#[test]
fn a_bad_template_is_told_and_loses_nothing() {
    let settings = Settings { text: Some("{{ description".to_owned()), ..webhook() };
    let (requests, result) = told(&settings, &firing(&json!({ "description": "d" })), &[(200, "ok")]);
    assert_eq!(blocks(&body(&requests[0]))[1]["text"]["text"], "d");
    assert!(result.unwrap().message.contains("the template `text` failed: line 1: syntax error"));
}

#[test]
fn an_app_posts_and_remembers_its_message() {
    let (requests, result) = told(&web_api(), &firing(&json!({ "title": "Down" })), &[(200, POSTED)]);
    assert_eq!(requests[0].url, "https://slack.com/api/chat.postMessage");
    assert!(requests[0].headers.contains(&("authorization", TOKEN.to_owned())));
    assert_eq!(body(&requests[0])["channel"], "C0123");
    let receipt = result.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("C0/17.5"), "200"));
}

#[test]
fn a_resolve_updates_the_message_and_replies_to_it() {
    let delivery = resolved(&json!({ "title": "Down" }), Some("C0/17.5"));
    let (requests, result) = told(&web_api(), &delivery, &[(200, POSTED), (200, POSTED)]);
    assert!(result.is_ok());
    assert_eq!(requests.iter().map(method).collect::<Vec<_>>(), ["chat.update", "chat.postMessage"]);
    let (update, reply) = (body(&requests[0]), body(&requests[1]));
    assert_eq!((&update["channel"], &update["ts"]), (&json!("C0"), &json!("17.5")));
    assert_eq!(update["attachments"][0]["color"], "#2EB67D");
    assert_eq!(reply, json!({ "text": "✅ Resolved: Down", "channel": "C0", "thread_ts": "17.5" }));
}

#[test]
fn a_message_that_is_gone_is_posted_anew_and_one_that_is_fixed_is_replied_to() {
    let delivery = resolved(&json!({}), Some("C0/17.5"));
    let gone = (200, r#"{"ok": false, "error": "message_not_found"}"#);
    let (requests, result) = told(&web_api(), &delivery, &[gone, (200, POSTED)]);
    assert!(result.is_ok() && body(&requests[1])["attachments"].is_array());
    assert_eq!(body(&requests[1])["channel"], "C0123");
    let fixed = (200, r#"{"ok": false, "error": "edit_window_closed"}"#);
    let (requests, result) = told(&web_api(), &delivery, &[fixed, (200, POSTED)]);
    assert!(result.is_ok() && body(&requests[1])["thread_ts"] == "17.5");
}

#[test]
fn a_resolve_without_a_message_of_its_own_is_posted() {
    for earlier in [None, Some("odd")] {
        let (requests, _) = told(&web_api(), &resolved(&json!({}), earlier), &[(200, POSTED)]);
        assert_eq!(method(&requests[0]), "chat.postMessage");
    }
}

#[test]
fn trouble_in_between_is_tried_again_as_a_whole() {
    let delivery = resolved(&json!({}), Some("C0/17.5"));
    let (_, result) = told(&web_api(), &delivery, &[(200, POSTED), (503, "")]);
    assert_eq!(result.unwrap_err().retry, Retry::Backoff);
}

#[test]
fn slacks_errors_say_whether_to_try_again() {
    for (error, code, retry) in [
        ("ratelimited", "rate-limited", Retry::Backoff),
        ("fatal_error", "fatal-error", Retry::Backoff),
        ("internal_error", "internal-error", Retry::Backoff),
        ("channel_not_found", "channel-not-found", Retry::Never),
        ("invalid_auth", "invalid-auth", Retry::Never),
        ("msg_too_long", "msg-too-long", Retry::Never),
        ("restricted_action_read_only_channel", "restricted-action", Retry::Never),
        ("something_new", "refused", Retry::Never),
    ] {
        let failure = failed(200, &json!({ "ok": false, "error": error }).to_string());
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry));
        assert!(failure.message.contains(error), "{}", failure.message);
    }
    let blocks = r#"{"ok": false, "error": "invalid_blocks", "response_metadata": {"messages": ["[ERROR] must be more than 0 characters [json-pointer:/blocks/0/text]"]}}"#;
    assert!(failed(200, blocks).message.contains("must be more than 0 characters"));
    assert!(failed(200, r#"{"ok": false, "error": "not_in_channel"}"#).message.contains("invite the app"));
    assert_eq!(failed(429, "").code, "rate-limited");
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    let description = schema["properties"]["url"]["description"].as_str().unwrap();
    assert!(description.contains(WEBHOOK) && description.contains(WEB_API));
    assert_eq!(schema["properties"]["token"]["default"], TOKEN);
}
