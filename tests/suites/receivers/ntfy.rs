//! ntfy with an access token. Its answers: docs.ntfy.sh/publish, "Publish as JSON", and server/errors.go in
//! github.com/binwiederhier/ntfy.

use serde_json::json;

use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

pub(super) const NTFY: Service = Service {
    plugin: "ntfy",
    home: "https://ntfy.sh",
    config: "url = \"{home}/\"\ntoken = \"${secret:NTFY_TOKEN}\"",
    grants: "secrets = [\"NTFY_TOKEN\"]",
    secrets: &[("NTFY_TOKEN", "tk_AgQdq7mVBoFD37zQVN29hush", "kind = \"bearer\"")],
    answers: &[(
        "POST /",
        200,
        r#"{"id": "hwQ2YpKdmg", "time": 1701441022, "expires": 1701484222, "event": "message",
            "topic": "alerts-change-me", "message": "…"}"#,
    )],
    pause: Pause {
        status: 429,
        retry_after: None,
        body: r#"{"code": 42901, "http": 429, "error": "limit reached: too many requests",
            "link": "https://ntfy.sh/docs/publish/#limitations"}"#,
        seconds: 0,
    },
    refusal: Refusal {
        at: "POST /",
        status: 403,
        body: r#"{"code": 40301, "http": 403, "error": "forbidden",
            "link": "https://ntfy.sh/docs/publish/#authentication"}"#,
        code: "forbidden",
        words: "40301: forbidden",
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn ntfy_gets_a_notification_that_the_end_replaces() {
    let stage = Stage::of(&[NTFY]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "ntfy"), receipt(&ended, "ntfy")], [Some("hwQ2YpKdmg"); 2]);
    let [message, over] = stage.requests("ntfy");
    for request in [&message, &over] {
        assert_eq!(request.line(), "POST /");
        assert_eq!(request.header("authorization"), "Bearer tk_AgQdq7mVBoFD37zQVN29hush");
        assert_eq!(request.header("content-type"), "application/json");
    }
    let (message, over) = (message.json(), over.json());
    assert_eq!(
        message,
        json!({
            "topic": "alerts-change-me", "title": "🔴 Pool \"db\" is full", "priority": 5,
            "tags": ["critical", "database"],
            "message": "All connections in use\n\nCritical · production/payments · Monitoring\nteam=db",
            "click": "https://run.example/db",
            "actions": [{"action": "view", "label": "Runbook", "url": "https://run.example/db"}],
            "sequence_id": message["sequence_id"],
        })
    );
    assert!(message["sequence_id"].is_string(), "{message}");
    assert_eq!(
        [&over["sequence_id"], &over["title"], &over["priority"]],
        [&message["sequence_id"], &json!("✅ Pool \"db\" is full"), &json!(3)],
        "{over}"
    );
}
