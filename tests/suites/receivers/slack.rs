//! Slack as an app. Its answers: docs.slack.dev/reference/methods, `chat.postMessage` and `chat.update`, and
//! docs.slack.dev/apis/web-api/rate-limits.

use serde_json::{Value, json};

use super::alerts::SINCE;
use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

const POSTED: &str =
    r#"{"ok": true, "channel": "C0123ABC", "ts": "1503435956.000247", "message": {"text": "…"}}"#;

pub(super) const SLACK: Service = Service {
    plugin: "slack",
    home: "https://slack.com",
    config: "url = \"{home}/api\"\nchannel = \"C0123ABC\"",
    grants: "http = [\"POST {home}/api/chat.postMessage\", \"POST {home}/api/chat.update\"]\n\
             secrets = [\"SLACK_TOKEN\"]",
    secrets: &[("SLACK_TOKEN", "xoxb-17653672481-hush", "kind = \"bearer\"")],
    answers: &[("POST /api/chat.postMessage", 200, POSTED), ("POST /api/chat.update", 200, POSTED)],
    pause: Pause {
        status: 429,
        retry_after: Some("1"),
        body: r#"{"ok": false, "error": "ratelimited"}"#,
        seconds: 1,
    },
    refusal: Refusal {
        at: "POST /api/chat.postMessage",
        status: 200,
        body: r#"{"ok": false, "error": "channel_not_found"}"#,
        code: "channel-not-found",
        words: "channel_not_found",
    },
};

fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_a_message_that_the_end_changes_and_replies_to() {
    let stage = Stage::of(&[SLACK]).await;
    let [fired, ended] = stage.life().await;
    let message = Some("C0123ABC/1503435956.000247");
    assert_eq!([receipt(&fired, "slack"), receipt(&ended, "slack")], [message; 2]);
    let requests = stage.requests("slack");
    let [post, update, reply] = &requests;
    assert_eq!(
        requests.each_ref().map(|request| request.line()),
        ["POST /api/chat.postMessage", "POST /api/chat.update", "POST /api/chat.postMessage"]
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), "Bearer xoxb-17653672481-hush");
        assert_eq!(request.header("content-type"), "application/json; charset=utf-8");
    }
    let fields = [
        "*Severity*\nCritical",
        "*Type*\ndatabase",
        "*Source*\nMonitoring",
        "*Environment*\nproduction",
        "*Service*\npayments",
        &format!("*Since*\n{SINCE}"),
        "*team*\ndb",
    ];
    let blocks = json!([
        {"type": "header", "text": {"type": "plain_text", "emoji": true, "text": "🔴 Pool \"db\" is full"}},
        {"type": "section", "text": mrkdwn("All connections in use")},
        {"type": "section", "fields": fields.map(mrkdwn)},
        {"type": "section", "text": mrkdwn("<https://run.example/db|Runbook>")},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": fired["id"]}]},
    ]);
    assert_eq!(
        post.json(),
        json!({
            "channel": "C0123ABC", "text": "🔴 Critical: Pool \"db\" is full",
            "attachments": [{"color": "#D00000", "blocks": blocks}],
        })
    );
    let (over, update) = ("✅ Resolved: Pool \"db\" is full", update.json());
    assert_eq!(
        [&update["channel"], &update["ts"], &update["text"]],
        ["C0123ABC", "1503435956.000247", over],
        "{update}"
    );
    assert_eq!(update["attachments"][0]["color"], "#2EB67D", "{update}");
    assert_eq!(reply.json(), json!({"channel": "C0123ABC", "thread_ts": "1503435956.000247", "text": over}));
}
