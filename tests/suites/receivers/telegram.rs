//! Telegram by a bot. Its answers: core.telegram.org/bots/api, "Making requests", `ResponseParameters`, `sendMessage`.

use serde_json::json;

use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

const SENT: &str = r#"{"ok": true, "result": {"message_id": 365, "date": 1701441022, "text": "…",
    "chat": {"id": -1001234567890, "title": "Alerts", "type": "supergroup"}}}"#;

pub(super) const TELEGRAM: Service = Service {
    plugin: "telegram",
    home: "https://api.telegram.org",
    config: "url = \"{home}/bot${secret:TELEGRAM_TOKEN}\"",
    grants: "",
    secrets: &[("TELEGRAM_TOKEN", "123456:ABC-DEF_hush", "")],
    answers: &[("POST /bot123456:ABC-DEF_hush/sendMessage", 200, SENT)],
    pause: Pause {
        status: 429,
        retry_after: None,
        body: r#"{"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1",
            "parameters": {"retry_after": 1}}"#,
        seconds: 1,
    },
    refusal: Refusal {
        at: "POST /bot123456:ABC-DEF_hush/sendMessage",
        status: 403,
        body: r#"{"ok": false, "error_code": 403,
            "description": "Forbidden: bot was kicked from the supergroup chat"}"#,
        code: "bot-kicked",
        words: "Forbidden: bot was kicked from the supergroup chat",
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn telegram_gets_a_message_that_the_end_replies_to() {
    let stage = Stage::of(&[TELEGRAM]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "telegram"), receipt(&ended, "telegram")], [Some("-1001234567890/365"); 2]);
    let [message, reply] = stage.requests("telegram");
    assert_eq!(
        [&message, &reply].map(|request| request.line()),
        ["POST /bot123456:ABC-DEF_hush/sendMessage"; 2]
    );
    let id = fired["id"].as_str().expect("an id");
    assert_eq!(
        message.json(),
        json!({
            "chat_id": "-1001234567890", "parse_mode": "HTML", "disable_notification": false,
            "link_preview_options": {"is_disabled": true},
            "text": format!(
                "🔴 <b>Critical: Pool &quot;db&quot; is full</b>\n\nAll connections in use\n\n<b>Type</b> database\n\
                 <b>Source</b> Monitoring\n<b>Where</b> production/payments\n<b>Since</b> 2023-12-01T14:30:22.000000Z\n\
                 <b>team</b> db\n<a href=\"https://run.example/db\">Runbook</a>\n\n<code>{id}</code>"
            ),
        })
    );
    let reply = reply.json();
    assert_eq!(reply["chat_id"], "-1001234567890");
    assert_eq!(reply["reply_parameters"], json!({"message_id": 365, "allow_sending_without_reply": true}));
    let text = reply["text"].as_str().expect("a text");
    assert!(text.starts_with("✅ <b>Resolved: Pool &quot;db&quot; is full</b>\n"), "{text}");
}
