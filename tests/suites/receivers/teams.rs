//! Microsoft Teams by a workflow. Its answers are those of Power Automate, as github.com/caronc/apprise/issues/1161 quotes
//! them; the envelope and the card: learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using.

use serde_json::{Value, json};

use super::alerts::SINCE;
use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

const PLACE: &str = "POST /powerautomate/automations/direct/workflows/ID/triggers/manual/paths/invoke";

pub(super) const TEAMS: Service = Service {
    plugin: "teams",
    home: "https://ID.environment.api.powerplatform.com",
    config: "",
    grants: "",
    secrets: &[("TEAMS_SIG", "a1B2-c3D4_hush", "")],
    answers: &[(PLACE, 202, "")],
    pause: Pause { status: 429, retry_after: Some("1"), body: "", seconds: 1 },
    refusal: Refusal {
        at: PLACE,
        status: 401,
        body: r#"{"error": {"code": "DirectApiAuthorizationRequired",
            "message": "The request must be authenticated only by Shared Access scheme."}}"#,
        code: "invalid-sig",
        words: "The request must be authenticated only by Shared Access scheme.",
    },
};

fn fact(title: &str, value: &str) -> Value {
    json!({"title": title, "value": value})
}

/// The card in a message.
fn card(message: &Value) -> &Value {
    &message["attachments"][0]["content"]
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_gets_a_card_and_another_one_at_the_end() {
    let stage = Stage::of(&[TEAMS]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "teams"), receipt(&ended, "teams")], [None; 2]);
    let [message, over] = stage.requests("teams");
    let query = "api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=a1B2-c3D4_hush";
    for request in [&message, &over] {
        assert_eq!(request.line(), format!("{PLACE}?{query}"));
        assert_eq!(request.header("content-type"), "application/json");
    }
    let message = message.json();
    let headline = "🔴 Pool \"db\" is full";
    assert_eq!(
        message,
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
                "content": card(&message),
            }],
        })
    );
    assert_eq!(
        *card(&message),
        json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard", "version": "1.4", "msteams": {"width": "Full"},
            "body": [
                {"type": "Container", "style": "attention", "bleed": true, "items": [
                    {"type": "TextBlock", "text": headline, "wrap": true, "size": "Large", "weight": "Bolder"},
                ]},
                {"type": "TextBlock", "text": "All connections in use", "wrap": true},
                {"type": "FactSet", "facts": [
                    fact("Severity", "Critical"), fact("Type", "database"), fact("Source", "Monitoring"),
                    fact("Environment", "production"), fact("Service", "payments"), fact("Since", SINCE),
                    fact("team", "db"),
                ]},
                {"type": "TextBlock", "text": fired["id"], "wrap": true, "size": "Small", "isSubtle": true},
            ],
            "actions": [{"type": "Action.OpenUrl", "title": "Runbook", "url": "https://run.example/db"}],
        })
    );
    let over = over.json();
    assert_eq!(card(&over)["body"][0]["style"], "good", "{over}");
    assert_eq!(card(&over)["body"][0]["items"][0]["text"], "✅ Pool \"db\" is full", "{over}");
}
