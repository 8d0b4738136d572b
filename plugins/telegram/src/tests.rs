//! What Telegram gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::json;

use super::*;
use crate::message::TEXT;
use crate::settings::URL;

const SENT: &str =
    r#"{"ok": true, "result": {"message_id": 42, "chat": {"id": -1001234, "type": "supergroup"}}}"#;

fn settings() -> Settings {
    Settings {
        url: URL.to_owned(),
        chat: "@alerts".to_owned(),
        topic: None,
        silent: false,
        resolved: Resolved::Reply,
        text: None,
    }
}

/// Delivers to a Telegram that gives these answers: the requests that it got, and what came of it.
fn told(
    settings: &Settings,
    delivery: &Delivery,
    answers: &[(u16, &str)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    exchange(answers, |send| deliver(delivery, settings, send))
}

fn text(settings: &Settings, delivery: &Delivery) -> String {
    body(&told(settings, delivery, &[(200, SENT)]).0[0])["text"].as_str().unwrap().to_owned()
}

fn error(code: u16, description: &str) -> String {
    json!({ "ok": false, "error_code": code, "description": description }).to_string()
}

#[test]
fn a_whole_alert_is_sent_and_its_message_remembered() {
    let document = json!({
        "title": "Pool <full>", "type": "database", "description": "All connections\nin use", "starts_at": "2026-01-02T03:04:05Z",
        "source": { "name": "Monitoring" }, "context": { "environment": "production", "service": "payments" },
        "labels": { "team": "db" }, "links": [{ "href": "https://run.example/?a=1&b=2", "text": "Runbook" }],
        "data": { "triage": { "priority": "P1" } },
    });
    let (requests, result) = told(&settings(), &firing(&document), &[(200, SENT)]);
    assert_eq!(requests[0].url, format!("{URL}/sendMessage"));
    assert_eq!(
        body(&requests[0]),
        json!({
            "chat_id": "@alerts", "parse_mode": "HTML", "disable_notification": false,
            "link_preview_options": { "is_disabled": true },
            "text": "🔴 <b>Critical: Pool &lt;full&gt;</b>\n\nAll connections\nin use\n\n<b>Priority</b> P1\n\
                <b>Type</b> database\n<b>Source</b> Monitoring\n<b>Where</b> production/payments\n\
                <b>Since</b> 2026-01-02T03:04:05Z\n<b>team</b> db\n\
                <a href=\"https://run.example/?a=1&amp;b=2\">Runbook</a>\n\n<code>alert-1</code>",
        })
    );
    let receipt = result.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("-1001234/42"), "200"));
}

#[test]
fn a_resolve_replies_to_the_message_of_the_firing() {
    let (requests, _) = told(&settings(), &resolved(&json!({}), Some("-1001234/42")), &[(200, SENT)]);
    let body = body(&requests[0]);
    assert_eq!(body["chat_id"], "-1001234");
    assert_eq!(body["reply_parameters"], json!({ "message_id": 42, "allow_sending_without_reply": true }));
    assert!(body["text"].as_str().unwrap().starts_with("✅ <b>Resolved: t</b>"));
}

#[test]
fn a_resolve_changes_it_if_the_operator_likes() {
    let settings = Settings { resolved: Resolved::Edit, ..settings() };
    let delivery = resolved(&json!({}), Some("-1001234/42"));
    let (requests, result) = told(&settings, &delivery, &[(200, SENT)]);
    assert!(result.is_ok() && requests[0].url.ends_with("/editMessageText"));
    assert_eq!(body(&requests[0])["message_id"], 42);
    let same = error(400, "Bad Request: message is not modified: specified new message content and …");
    assert!(told(&settings, &delivery, &[(400, &same)]).1.is_ok(), "a repeat is no failure");
    let gone = error(400, "Bad Request: message to edit not found");
    let (requests, result) = told(&settings, &delivery, &[(400, &gone), (200, SENT)]);
    assert!(result.is_ok() && requests[1].url.ends_with("/sendMessage"));
}

#[test]
fn what_is_no_message_of_ours_is_sent_anew() {
    for earlier in [None, Some("odd"), Some("1/x")] {
        let (requests, _) = told(&settings(), &resolved(&json!({}), earlier), &[(200, SENT)]);
        assert_eq!(body(&requests[0])["reply_parameters"], Value::Null, "{earlier:?}");
    }
}

#[test]
fn topic_and_silence_go_along() {
    let settings = Settings { topic: Some(7), silent: true, ..settings() };
    let body = body(&told(&settings, &firing(&json!({})), &[(200, SENT)]).0[0]);
    assert_eq!((&body["message_thread_id"], &body["disable_notification"]), (&json!(7), &json!(true)));
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let settings = Settings {
        text: Some("<i>{{ title }}</i> <a href=\"{{ source.url }}\">x</a>".to_owned()),
        ..settings()
    };
    let document =
        json!({ "title": "<a href=\"tg://user?id=1\">x</a>", "source": { "name": "s", "url": "\"><b>" } });
    assert_eq!(
        text(&settings, &firing(&document)),
        "<i>&lt;a href=&quot;tg://user?id=1&quot;&gt;x&lt;/a&gt;</i> <a href=\"&quot;&gt;&lt;b&gt;\">x</a>"
    );
}

#[test]
fn a_bad_template_is_told_and_loses_nothing() {
    let settings = Settings { text: Some("{% if %}".to_owned()), ..settings() };
    let (requests, result) = told(&settings, &firing(&json!({})), &[(200, SENT)]);
    assert!(body(&requests[0])["text"].as_str().unwrap().contains("Critical: t"));
    assert!(result.unwrap().message.starts_with("200; the built-in text was sent"));
}

#[test]
fn html_that_telegram_refuses_loses_nothing_either() {
    let settings = Settings { text: Some("<h1>{{ title }}</h1>".to_owned()), ..settings() };
    let refusal = error(400, "Bad Request: can't parse entities: Unsupported start tag \"h1\"");
    for earlier in [None, Some("1/2")] {
        let (requests, result) =
            told(&settings, &resolved(&json!({}), earlier), &[(400, &refusal), (200, SENT)]);
        assert_eq!(body(&requests[0])["text"], "<h1>t</h1>");
        assert!(body(&requests[1])["text"].as_str().unwrap().starts_with("✅ <b>Resolved: t</b>"));
        assert!(result.unwrap().message.contains("Unsupported start tag"));
    }
    let (requests, result) = told(&settings, &firing(&json!({})), &[(400, &refusal), (400, &refusal)]);
    assert_eq!((requests.len(), result.unwrap_err().code.as_str()), (2, "invalid-html"));
}

#[test]
fn what_is_left_out_is_told() {
    let text = |count: usize| {
        let links: Vec<_> = (0..count).map(|n| format!("https://run.example/{n}")).collect();
        let (requests, _) = told(&settings(), &firing(&json!({ "links": links })), &[(200, SENT)]);
        body(&requests[0])["text"].as_str().unwrap().to_owned()
    };
    assert!(text(12).contains("/9</a>\n… and 2 more\n\n<code>"), "{}", text(12));
    assert!(text(10).contains("/9</a>\n\n<code>"), "{}", text(10));
}

#[test]
fn telegrams_limit_holds_for_the_largest_alert_and_all_tags_are_closed() {
    for character in ['x', '<', '"', '🔥'] {
        let (requests, result) = told(&settings(), &firing(&largest(character)), &[(200, SENT)]);
        let body = body(&requests[0]);
        let text = body["text"].as_str().unwrap();
        assert_eq!(result.unwrap().message, "200", "the built-in template fits");
        assert!(width(text) <= TEXT, "{}", width(text));
        for tag in ["b", "a", "code"] {
            let opened =
                text.matches(&format!("<{tag}>")).count() + text.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{text}");
        }
        assert_eq!(text.matches("<b>").count(), 54, "every label has its line");
    }
}

#[test]
fn telegrams_errors_say_whether_to_try_again() {
    let wait = r#"{"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 35", "parameters": {"retry_after": 35}}"#;
    let moved = "Bad Request: group chat was upgraded to a supergroup chat";
    for (status, text, code, retry) in [
        (429, wait.to_owned(), "rate-limited", Retry::After(35_000)),
        (400, error(400, "Bad Request: chat not found"), "chat-not-found", Retry::Never),
        (400, error(400, moved), "chat-moved", Retry::Never),
        (
            400,
            error(400, "Bad Request: can't parse entities: Unsupported start tag"),
            "invalid-html",
            Retry::Never,
        ),
        (403, error(403, "Forbidden: bot was kicked from the supergroup chat"), "bot-kicked", Retry::Never),
        (401, error(401, "Unauthorized"), "unauthorized", Retry::Never),
        (404, error(404, "Not Found"), "not-found", Retry::Never),
        (400, error(400, "Bad Request: something new"), "http-400", Retry::Never),
        (200, error(400, "Bad Request: something new"), "refused", Retry::Never),
        (502, error(502, "Bad Gateway"), "http-502", Retry::Backoff),
    ] {
        let failure = told(&settings(), &firing(&json!({})), &[(status, &text)]).1.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{text}");
    }
}

#[test]
fn the_configuration_schema_names_the_default() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], URL);
}

#[test]
fn the_text_is_never_blank() {
    for blank_text in BLANKS {
        let templated = Settings { text: Some("{{ title }}".to_owned()), ..settings() };
        for settings in [settings(), templated] {
            let text = text(&settings, &firing(&blank(blank_text)));
            assert!(text.contains("Critical") && text.contains("db-1"), "{blank_text:?}: {text}");
        }
    }
}

#[test]
fn a_template_of_nothing_but_markup_is_replaced() {
    let settings = Settings { text: Some("<b>{{ labels.none }}</b>".to_owned()), ..settings() };
    let refusal = error(400, "Bad Request: message text is empty");
    let (requests, result) = told(&settings, &firing(&json!({})), &[(400, &refusal), (200, SENT)]);
    assert_eq!(body(&requests[0])["text"], "<b></b>");
    assert!(body(&requests[1])["text"].as_str().unwrap().contains("Critical"));
    assert!(result.unwrap().message.contains("the built-in text was sent"));
}
