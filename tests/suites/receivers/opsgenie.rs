//! Opsgenie by the Alert API. Its answers: docs.opsgenie.com/docs/alert-api, …/docs/response and …/docs/api-rate-limiting (of
//! a 429 they show no body).

use serde_json::json;

use super::alerts::{SINCE, ended, raised};
use super::service::{Pause, Refusal, Service, answer};
use super::stage::{Stage, receipt};

const KEY: &str = "eb243592-faa2-4ba2-hush-1f565c889bf6";
const TAKEN: &str = r#"{"result": "Request will be processed", "took": 0.302,
    "requestId": "43a29c5c-3dbf-4fa4-9c26-f4f71023e120"}"#;
const CLOSED: &str = r#"{"result": "Request will be processed", "took": 0.107,
    "requestId": "84f3a1b2-6c5e-4b8a-9a57-0d7b6a5e4c31"}"#;

pub(super) const OPSGENIE: Service = Service {
    plugin: "opsgenie",
    home: "https://api.opsgenie.com",
    config: "url = \"{home}/v2/alerts\"",
    grants: "",
    secrets: &[("OPSGENIE_KEY", KEY, "")],
    answers: &[("POST /v2/alerts", 202, TAKEN)],
    pause: Pause { status: 429, retry_after: None, body: "", seconds: 0 },
    refusal: Refusal {
        at: "POST /v2/alerts",
        status: 401,
        body: r#"{"message": "Could not authenticate", "took": 0.001,
            "requestId": "11c8ff7f-a1c0-4c5b-8b6d-2d8d8d5c4a6e"}"#,
        code: "invalid-key",
        words: "Could not authenticate",
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn opsgenie_gets_an_alert_that_the_end_closes_by_its_alias() {
    let stage = Stage::of(&[OPSGENIE]).await;
    let alert = raised();
    let fired = stage.ledger(alert.clone()).await;
    let [request] = stage.requests("opsgenie");
    let created = request.json();
    let alias = created["alias"].as_str().expect("an alias");
    let path = format!("/v2/alerts/{alias}/close");
    stage.server("opsgenie").always(&path, answer(202, CLOSED));
    let ended = stage.ledger(ended(alert)).await;
    assert_eq!(receipt(&fired, "opsgenie"), Some("43a29c5c-3dbf-4fa4-9c26-f4f71023e120"));
    assert_eq!(receipt(&ended, "opsgenie"), Some("84f3a1b2-6c5e-4b8a-9a57-0d7b6a5e4c31"));
    let [create, close] = stage.requests("opsgenie");
    for request in [&create, &close] {
        assert_eq!(request.header("authorization"), format!("GenieKey {KEY}"));
        assert_eq!(request.header("content-type"), "application/json");
    }
    assert_eq!(create.line(), "POST /v2/alerts");
    assert_eq!(close.line(), format!("POST {path}?identifierType=alias"));
    assert_eq!(
        created,
        json!({
            "message": "Pool \"db\" is full", "alias": alias, "tags": [], "priority": "P1",
            "description": "All connections in use\n\nRunbook: https://run.example/db",
            "source": "Monitoring", "entity": "production/payments",
            "details": {
                "Alert": fired["id"], "Severity": "Critical", "Type": "database", "Source": "Monitoring",
                "Environment": "production", "Service": "payments", "Since": SINCE, "team": "db",
            },
        })
    );
    assert_eq!(
        close.json(),
        json!({"user": "Campanile", "source": "Monitoring", "note": "Resolved: Pool \"db\" is full"})
    );
}
