//! Mattermost by an incoming webhook, and as a bot. Its answers: docs.mattermost.com/developers/integrate/webhooks/incoming,
//! and github.com/mattermost/mattermost, api/v4/source/introduction.yaml and posts.yaml.

use serde_json::{Value, json};

use super::alerts::SINCE;
use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

const POST: &str = "1ycw8b6rktrp3xt3m5uyerfpxh";
const POSTED: &str =
    r#"{"id": "1ycw8b6rktrp3xt3m5uyerfpxh", "channel_id": "4xp9fdt77pncbef59f4k1qe83o", "message": "…"}"#;

pub(super) const MATTERMOST: Service = Service {
    plugin: "mattermost",
    home: "https://mattermost.example.com",
    config: "",
    grants: "",
    secrets: &[("MATTERMOST_HOOK", "xxx4hush9fdt77pncbef59f4k1", "")],
    answers: &[("POST /hooks/xxx4hush9fdt77pncbef59f4k1", 200, "ok")],
    pause: Pause { status: 429, retry_after: Some("1"), body: "limit exceeded", seconds: 1 },
    refusal: Refusal {
        at: "POST /hooks/xxx4hush9fdt77pncbef59f4k1",
        status: 400,
        body: r#"{"id": "web.incoming_webhook.invalid.app_error", "message": "Invalid webhook.",
            "request_id": "ga4d5ff8h7bb8ex1ybcz5wm8kr", "status_code": 400}"#,
        code: "invalid-webhook",
        words: "Invalid webhook.",
    },
};

/// The same server, for a bot.
const BOT: Service = Service {
    config: "url = \"{home}\"\nchannel = \"4xp9fdt77pncbef59f4k1qe83o\"",
    grants: "http = [\"POST {home}/api/v4/posts\", \"PUT {home}/api/v4/posts/*/patch\"]\n\
             secrets = [\"MATTERMOST_TOKEN\"]",
    secrets: &[("MATTERMOST_TOKEN", "9xuqwrwgstrb3mzrxb83nbhush", "kind = \"bearer\"")],
    answers: &[
        ("POST /api/v4/posts", 201, POSTED),
        ("PUT /api/v4/posts/1ycw8b6rktrp3xt3m5uyerfpxh/patch", 200, POSTED),
    ],
    ..MATTERMOST
};

fn field(title: &str, value: &str) -> Value {
    json!({"title": title, "value": value, "short": title != "Links"})
}

/// What stands below the headline.
fn attachments(fired: &Value) -> Value {
    json!([{
        "fallback": "🔴 Critical: Pool \"db\" is full", "color": "#D00000", "text": "All connections in use",
        "fields": [
            field("Severity", "Critical"), field("Type", "database"), field("Source", "Monitoring"),
            field("Environment", "production"), field("Service", "payments"), field("Since", SINCE),
            field("team", "db"), field("Links", "[Runbook](https://run.example/db)"),
        ],
        "footer": fired["id"],
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn mattermosts_webhook_gets_a_message_and_another_one_at_the_end() {
    let stage = Stage::of(&[MATTERMOST]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "mattermost"), receipt(&ended, "mattermost")], [None; 2]);
    let [message, over] = stage.requests("mattermost");
    for request in [&message, &over] {
        assert_eq!(request.line(), "POST /hooks/xxx4hush9fdt77pncbef59f4k1");
        assert_eq!(request.header("content-type"), "application/json");
    }
    let headline = "🔴 **Pool \"db\" is full**";
    assert_eq!(message.json(), json!({"text": headline, "attachments": attachments(&fired)}));
    let over = over.json();
    assert_eq!(
        [&over["text"], &over["attachments"][0]["color"]],
        ["✅ **Pool \"db\" is full**", "#2EB67D"],
        "{over}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mattermosts_bot_changes_its_post_at_the_end_and_replies_to_it() {
    let stage = Stage::of(&[BOT]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "mattermost"), receipt(&ended, "mattermost")], [Some(POST); 2]);
    let requests = stage.requests("mattermost");
    let [post, patch, reply] = &requests;
    assert_eq!(
        requests.each_ref().map(|request| request.line()),
        [
            "POST /api/v4/posts".to_owned(),
            format!("PUT /api/v4/posts/{POST}/patch"),
            "POST /api/v4/posts".to_owned()
        ]
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), "Bearer 9xuqwrwgstrb3mzrxb83nbhush");
    }
    let delivery = |ledger: &Value| format!("{}/mattermost", ledger["id"].as_str().expect("an id"));
    assert_eq!(
        post.json(),
        json!({
            "channel_id": "4xp9fdt77pncbef59f4k1qe83o", "pending_post_id": delivery(&fired),
            "message": "🔴 **Pool \"db\" is full**", "props": {"attachments": attachments(&fired)},
        })
    );
    let patch = patch.json();
    assert_eq!(patch["message"], "✅ **Pool \"db\" is full**", "{patch}");
    assert_eq!(patch["props"]["attachments"][0]["color"], "#2EB67D", "{patch}");
    assert_eq!(
        reply.json(),
        json!({
            "channel_id": "4xp9fdt77pncbef59f4k1qe83o", "root_id": POST, "pending_post_id": delivery(&ended),
            "message": "✅ Resolved: Pool \"db\" is full",
        })
    );
}
