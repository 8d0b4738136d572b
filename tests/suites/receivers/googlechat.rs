//! Google Chat by an incoming webhook. Its answers: developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages,
//! and google.aip.dev/193 for errors.

use serde_json::{Value, json};

use super::alerts::SINCE;
use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

const PLACE: &str = "POST /v1/spaces/AAAAk3ZqY0c/messages";
const MESSAGE: &str = "spaces/AAAAk3ZqY0c/messages/UMxbHmzDlr4.UMxbHmzDlr4";

pub(super) const GOOGLECHAT: Service = Service {
    plugin: "googlechat",
    home: "https://chat.googleapis.com",
    config: "url = \"{home}\"",
    grants: "",
    secrets: &[("GOOGLECHAT_KEY", "AIzaSyD-hush", ""), ("GOOGLECHAT_TOKEN", "hush_vF-8QJ7=", "")],
    answers: &[(
        PLACE,
        200,
        r#"{"name": "spaces/AAAAk3ZqY0c/messages/UMxbHmzDlr4.UMxbHmzDlr4",
            "thread": {"name": "spaces/AAAAk3ZqY0c/threads/UMxbHmzDlr4"}}"#,
    )],
    pause: Pause {
        status: 429,
        retry_after: None,
        body: r#"{"error": {"code": 429, "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED"}}"#,
        seconds: 0,
    },
    refusal: Refusal {
        at: PLACE,
        status: 400,
        body: r#"{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT"}}"#,
        code: "invalid-key",
        words: "API key not valid. Please pass a valid API key.",
    },
};

fn fact(name: &str, value: &str) -> Value {
    json!({"decoratedText": {"topLabel": name, "text": value, "wrapText": true}})
}

#[tokio::test(flavor = "multi_thread")]
async fn google_chat_gets_a_card_and_one_in_the_same_thread_at_the_end() {
    let stage = Stage::of(&[GOOGLECHAT]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "googlechat"), receipt(&ended, "googlechat")], [Some(MESSAGE); 2]);
    let [message, over] = stage.requests("googlechat");
    let asked = format!(
        "{PLACE}?key=AIzaSyD-hush&token=hush_vF-8QJ7%3D\
         &messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD&requestId="
    );
    let ids = [&message, &over].map(|request| {
        assert_eq!(request.header("content-type"), "application/json; charset=UTF-8");
        let line = request.line();
        let id = line.strip_prefix(&asked).unwrap_or_else(|| panic!("{line}"));
        uuid::Uuid::parse_str(id).unwrap_or_else(|error| panic!("{line}: {error}"))
    });
    assert_ne!(ids[0], ids[1]);
    let (message, over) = (message.json(), over.json());
    let button = json!({"text": "Runbook", "onClick": {"openLink": {"url": "https://run.example/db"}}});
    assert_eq!(
        message,
        json!({
            "cardsV2": [{"cardId": "alert", "card": {
                "header": {
                    "title": "🔴 Pool \"db\" is full", "subtitle": "Critical · production/payments · Monitoring",
                },
                "sections": [{"widgets": [
                    {"textParagraph": {"text": "All connections in use"}},
                    fact("Alert", fired["id"].as_str().expect("an id")), fact("Severity", "Critical"),
                    fact("Type", "database"), fact("Source", "Monitoring"), fact("Environment", "production"),
                    fact("Service", "payments"), fact("Since", SINCE), fact("team", "db"),
                    {"buttonList": {"buttons": [button]}},
                ]}],
            }}],
            "fallbackText": "🔴 Pool \"db\" is full", "thread": message["thread"],
        })
    );
    assert!(message["thread"]["threadKey"].is_string(), "{message}");
    assert_eq!(
        [&over["thread"], &over["fallbackText"]],
        [&message["thread"], &json!("✅ Pool \"db\" is full")],
        "{over}"
    );
}
