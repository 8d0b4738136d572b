//! What Mattermost gets, and what becomes of its answers.

use campanile_guest::http::Method;
use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::message::MESSAGE;
use crate::settings::{Bot, EXAMPLE, TOKEN};

const CHANNEL: &str = "4xp9fdt77pncbef59f4k1qe83o";
const POST: &str = "abcdefghijklmnopqrstuvwxyz";
const POSTED: &str = r#"{"id": "abcdefghijklmnopqrstuvwxyz", "message": "…", "channel_id": "c"}"#;

/// The most of a request, unless the server is set otherwise.
const REQUEST: usize = 300_000;

fn webhook() -> Settings {
    Settings { url: EXAMPLE.to_owned(), way: Way::Webhook, title: None, text: None, facts: true }
}

fn bot() -> Settings {
    let bot = Bot { token: TOKEN.to_owned(), channel: CHANNEL.to_owned() };
    Settings { url: "https://mattermost.example.com/".to_owned(), way: Way::Bot(bot), ..webhook() }
}

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
    assert_eq!(result.unwrap(), Receipt { id: None, message: "200".to_owned() });
    assert_eq!((requests[0].method, requests[0].url.as_str()), (Method::Post, EXAMPLE));
    body(&requests[0])
}

/// An error in the documented form.
fn error(id: &str, status: u16) -> String {
    json!({ "id": id, "message": "Something went wrong", "request_id": "r", "status_code": status })
        .to_string()
}

fn whole() -> Value {
    json!({
        "title": "Pool_exhausted", "type": "database", "description": "All in use",
        "source": { "name": "Monitoring" }, "labels": { "team": "db" },
        "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
    })
}

#[test]
fn a_webhook_gets_a_text_and_an_attachment() {
    assert_eq!(
        message(&webhook(), &firing(&whole())),
        json!({
            "text": "🔴 **Pool\\_exhausted**",
            "attachments": [{
                "fallback": "🔴 Critical: Pool_exhausted",
                "color": "#D00000",
                "text": "All in use",
                "fields": [
                    { "short": true, "title": "Severity", "value": "Critical" },
                    { "short": true, "title": "Type", "value": "database" },
                    { "short": true, "title": "Source", "value": "Monitoring" },
                    { "short": true, "title": "team", "value": "db" },
                    { "short": false, "title": "Links", "value": "[Runbook](https://run.example/db)" },
                ],
                "footer": "alert-1",
            }],
        })
    );
    let over = message(&webhook(), &resolved(&whole(), None));
    assert_eq!(
        (&over["text"], &over["attachments"][0]["color"]),
        (&json!("✅ **Pool\\_exhausted**"), &json!("#2EB67D"))
    );
}

#[test]
fn a_bot_posts_and_remembers_its_message() {
    let (requests, result) = told(&bot(), &firing(&whole()), &[(201, POSTED)]);
    assert_eq!(requests[0].url, "https://mattermost.example.com/api/v4/posts");
    assert!(requests[0].headers.contains(&("authorization", TOKEN.to_owned())));
    let attachments = message(&webhook(), &firing(&whole()))["attachments"].clone();
    assert_eq!(
        body(&requests[0]),
        json!({
            "channel_id": CHANNEL, "pending_post_id": "alert-1/receiver",
            "message": "🔴 **Pool\\_exhausted**", "props": { "attachments": attachments },
        })
    );
    assert_eq!(result.unwrap(), Receipt { id: Some(POST.to_owned()), message: "201".to_owned() });
}

#[test]
fn a_resolve_changes_the_message_and_replies_to_it() {
    let (requests, result) = told(&bot(), &resolved(&whole(), Some(POST)), &[(200, POSTED), (201, POSTED)]);
    assert!(result.is_ok());
    assert_eq!(requests[0].method, Method::Put);
    assert_eq!(requests[0].url, format!("https://mattermost.example.com/api/v4/posts/{POST}/patch"));
    let patch = body(&requests[0]);
    assert_eq!(patch["props"]["attachments"][0]["color"], "#2EB67D");
    assert_eq!(patch["message"], "✅ **Pool\\_exhausted**");
    assert_eq!(
        (requests[1].method, requests[1].url.as_str()),
        (Method::Post, "https://mattermost.example.com/api/v4/posts")
    );
    assert_eq!(
        body(&requests[1]),
        json!({
            "channel_id": CHANNEL, "root_id": POST, "message": "✅ Resolved: Pool\\_exhausted",
            "pending_post_id": "alert-1-resolved/receiver",
        })
    );
}

#[test]
fn a_message_that_is_gone_is_posted_anew_and_one_that_is_fixed_is_replied_to() {
    let delivery = resolved(&whole(), Some(POST));
    let gone = [
        (403, error("api.context.permissions.app_error", 403)),
        (400, error("api.post.update_post.permissions_details.app_error", 400)),
    ];
    for (status, text) in gone {
        let (requests, result) = told(&bot(), &delivery, &[(status, &text), (201, POSTED)]);
        assert!(result.is_ok() && body(&requests[1])["props"]["attachments"].is_array());
        assert_eq!(body(&requests[1]).get("root_id"), None);
    }
    let fixed = error("api.post.update_post.permissions_time_limit.app_error", 400);
    let (requests, result) = told(&bot(), &delivery, &[(400, &fixed), (201, POSTED)]);
    assert!(result.is_ok() && body(&requests[1])["root_id"] == POST);
    let root = error("api.post.create_post.root_id.app_error", 400);
    let (requests, result) = told(&bot(), &delivery, &[(200, POSTED), (400, &root), (201, POSTED)]);
    assert!(result.is_ok() && body(&requests[2]).get("root_id").is_none());
}

#[test]
fn a_resolve_without_a_message_of_its_own_is_posted() {
    for earlier in [None, Some("C0/17.5"), Some("../users/me")] {
        let (requests, _) = told(&bot(), &resolved(&whole(), earlier), &[(201, POSTED)]);
        assert_eq!(requests[0].url, "https://mattermost.example.com/api/v4/posts");
    }
}

#[test]
fn trouble_in_between_is_tried_again_as_a_whole() {
    let delivery = resolved(&json!({}), Some(POST));
    let (_, result) = told(&bot(), &delivery, &[(200, POSTED), (503, "")]);
    assert_eq!(result.unwrap_err().retry, Retry::Backoff);
    let (_, result) = told(&bot(), &delivery, &[(500, "")]);
    assert_eq!(result.unwrap_err().retry, Retry::Backoff);
}

#[test]
fn mattermosts_limits_hold_for_the_largest_alert() {
    for character in ['x', '*', '@', '\u{1}', '語', '🔥'] {
        for settings in [webhook(), bot()] {
            let (requests, _) = told(&settings, &firing(&largest(character)), &[(201, POSTED)]);
            let sent = body(&requests[0]);
            let text = sent["text"].as_str().or(sent["message"].as_str()).unwrap();
            let attachments = sent.get("attachments").unwrap_or(&sent["props"]["attachments"]);
            assert!(width(text) <= MESSAGE && width(attachments[0]["text"].as_str().unwrap()) <= MESSAGE);
            assert!(requests[0].body.len() < REQUEST, "{character:?}: {}", requests[0].body.len());
            assert!(attachments[0]["fields"].as_array().unwrap().len() > 20);
        }
    }
}

#[test]
fn no_field_is_blank() {
    for text in BLANKS {
        let message = message(&webhook(), &firing(&blank(text)));
        assert_eq!(blank_texts(&message), ["/attachments/0/text"], "which may be: {text:?}: {message}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    let message = message(&webhook(), &firing(&largest('x')));
    let fields = message["attachments"][0]["fields"].as_array().unwrap();
    assert_eq!(fields[24], json!({ "short": true, "title": "…", "value": "and 31 more" }));
    let links = fields[25]["value"].as_str().unwrap();
    assert!(links.contains(") · … and 4") && links.ends_with(" more"), "{links}");
}

#[test]
fn an_alert_calls_nobody_and_writes_no_markup() {
    let text = "@channel <!here> <@abc> <https://evil.example|x> [y](https://evil.example) # z";
    let document = json!({
        "title": text, "description": text, "labels": { text: text },
        "links": ["javascript:x", { "href": "https://run.example/)@all", "text": text }],
    });
    let message = message(&webhook(), &firing(&document));
    let shown = "@\u{200B}channel ‹!here› ‹@\u{200B}abc› ‹https://evil.example\\|x› \\[y\\](https://evil.example) \\# z";
    assert_eq!(message["text"], format!("🔴 **{shown}**"));
    assert_eq!(message["attachments"][0]["text"], shown);
    let fields = message["attachments"][0]["fields"].to_string();
    assert!(!fields.contains("@c") && !fields.contains("@all") && !fields.contains(['<', '>']), "{fields}");
}

#[test]
fn an_operator_words_it() {
    let settings = Settings {
        title: Some("@here {{ state }}".to_owned()),
        text: Some("| a |\n|---|\n| {{ title }} |".to_owned()),
        facts: false,
        ..webhook()
    };
    let message = message(&settings, &firing(&json!({ "title": "@here" })));
    assert_eq!(message["text"], "@here Critical");
    assert_eq!(message["attachments"][0]["text"], "| a |\n|---|\n| @\u{200B}here |");
    assert_eq!(message["attachments"][0].get("fields"), None);
}

#[test]
fn mattermosts_answers_say_whether_to_try_again() {
    for (status, id, code, retry) in [
        (400, "web.incoming_webhook.invalid.app_error", "invalid-webhook", Retry::Never),
        (501, "web.incoming_webhook.disabled.app_error", "webhooks-disabled", Retry::Never),
        (404, "web.incoming_webhook.channel.app_error", "channel-not-found", Retry::Never),
        (403, "web.incoming_webhook.permissions.app_error", "no-permission", Retry::Never),
        (403, "web.incoming_webhook.user.app_error", "no-permission", Retry::Never),
        (401, "api.context.session_expired.app_error", "invalid-token", Retry::Never),
        (403, "api.context.permissions.app_error", "no-permission", Retry::Never),
        (404, "app.channel.get.existing.app_error", "channel-not-found", Retry::Never),
        (400, "api.post.create_post.can_not_post_to_deleted.error", "is-archived", Retry::Never),
        (400, "the.error.id", "http-400", Retry::Never),
        (500, "api.post.deduplicate_create_post.pending", "http-500", Retry::Backoff),
        (500, "api.post.create_webhook_post.creating.app_error", "http-500", Retry::Backoff),
    ] {
        let failure = told(&bot(), &firing(&json!({})), &[(status, &error(id, status))]).1.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{id}");
        assert!(failure.message.contains("Something went wrong"), "{}", failure.message);
    }
    let limited = told(&webhook(), &firing(&json!({})), &[(429, "limit exceeded")]).1.unwrap_err();
    assert_eq!((limited.code.as_str(), limited.retry), ("rate-limited", Retry::Backoff));
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert!(schema["properties"]["url"]["description"].as_str().unwrap().contains(EXAMPLE));
    assert_eq!(schema["properties"]["token"]["default"], TOKEN);
}
