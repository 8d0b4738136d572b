//! Discord by webhook. Its answers: docs.discord.com/developers/resources/webhook, "Execute Webhook" and "Edit Webhook
//! Message", and …/topics/rate-limits, …/topics/opcodes-and-status-codes.

use serde_json::{Value, json};

use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

const POSTED: &str =
    r#"{"id": "334385199974967042", "channel_id": "290926798999357250", "type": 0, "content": ""}"#;

pub(super) const DISCORD: Service = Service {
    plugin: "discord",
    home: "https://discord.com",
    config: "url = \"{home}/api/v10/webhooks/${secret:DISCORD_PATH}\"",
    grants: "",
    secrets: &[("DISCORD_PATH", "1234567890/AbC-dEf_hush", "")],
    answers: &[
        ("POST /api/v10/webhooks/1234567890/AbC-dEf_hush", 200, POSTED),
        ("PATCH /api/v10/webhooks/1234567890/AbC-dEf_hush/messages/334385199974967042", 200, POSTED),
    ],
    pause: Pause {
        status: 429,
        retry_after: Some("1"),
        body: r#"{"message": "You are being rate limited.", "retry_after": 0.98, "global": false}"#,
        seconds: 1,
    },
    refusal: Refusal {
        at: "POST /api/v10/webhooks/1234567890/AbC-dEf_hush",
        status: 404,
        body: r#"{"message": "Unknown Webhook", "code": 10015}"#,
        code: "unknown-webhook",
        words: "10015: Unknown Webhook",
    },
};

fn field(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value, "inline": name != "Links"})
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_gets_an_embed_that_the_end_turns_green() {
    let stage = Stage::of(&[DISCORD]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "discord"), receipt(&ended, "discord")], [Some("334385199974967042"); 2]);
    let [post, edit] = stage.requests("discord");
    assert_eq!(post.line(), "POST /api/v10/webhooks/1234567890/AbC-dEf_hush?wait=true");
    assert_eq!(edit.line(), "PATCH /api/v10/webhooks/1234567890/AbC-dEf_hush/messages/334385199974967042");
    assert_eq!([&post, &edit].map(|request| request.header("content-type")), ["application/json"; 2]);
    assert_eq!(
        post.json(),
        json!({
            "content": "", "allowed_mentions": {"parse": []},
            "embeds": [{
                "title": "🔴 Pool \"db\" is full", "description": "All connections in use", "color": 0xD0_00_00,
                "fields": [
                    field("Severity", "Critical"), field("Type", "database"), field("Source", "Monitoring"),
                    field("Environment", "production"), field("Service", "payments"),
                    field("Since", r"2023\-12\-01T14:30:22.000000Z"),
                    field("Links", "[Runbook](https://run.example/db)"), field("team", "db"),
                ],
                "footer": {"text": fired["id"]},
            }],
        })
    );
    let edit = edit.json();
    assert_eq!(
        [&edit["embeds"][0]["title"], &edit["embeds"][0]["color"], &edit["allowed_mentions"]],
        [&json!("✅ Pool \"db\" is full"), &json!(0x2E_B6_7D), &json!({"parse": []})],
        "{edit}"
    );
}
