//! PagerDuty by the Events API v2, told by the notifier, the status updater, or both. Its answers: github.com/PagerDuty/developer-docs,
//! docs/events-API-v2/01-Overview.md (of a 429 it shows no body), and developer.pagerduty.com, "Send an Alert Event".

use serde_json::{Value, json};

use super::alerts::{SINCE, ended, tracked};
use super::service::{Pause, Refusal, Service};
use super::slack::SLACK;
use super::stage::{Stage, receipt};

const KEY: &str = "hush456789abcdef0123456789abcdef";
const PLACE: &str = "POST /v2/enqueue";

pub(super) const PAGERDUTY: Service = Service {
    plugin: "pagerduty",
    home: "https://events.pagerduty.com",
    config: "url = \"{home}/v2/enqueue\"",
    grants: "",
    secrets: &[("PAGERDUTY_ROUTING_KEY", KEY, "")],
    answers: &[(
        PLACE,
        202,
        r#"{"status": "success", "message": "Event processed", "dedup_key": "samplekeyhere"}"#,
    )],
    pause: Pause { status: 429, retry_after: None, body: "", seconds: 0 },
    refusal: Refusal {
        at: PLACE,
        status: 400,
        body: r#"{"status": "invalid event", "message": "Event object is invalid",
            "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#,
        code: "invalid-routing-key",
        words: "Length of 'routing_key' is incorrect (should be 32 characters)",
    },
};

pub(super) const PAGERDUTY_STATUS: Service = Service { plugin: "pagerduty-status", ..PAGERDUTY };

#[tokio::test(flavor = "multi_thread")]
async fn pagerduty_gets_an_event_and_one_with_the_same_key_at_the_end() {
    let stage = Stage::of(&[PAGERDUTY]).await;
    let [fired, ended] = stage.life().await;
    let id = fired["id"].as_str().expect("an id");
    let key = format!("{id}/pagerduty");
    assert_eq!([receipt(&fired, "pagerduty"), receipt(&ended, "pagerduty")], [Some(&*key); 2]);
    let [trigger, resolve] = stage.requests("pagerduty");
    assert_eq!([&trigger, &resolve].map(|request| request.line()), [PLACE; 2]);
    assert_eq!(
        trigger.json(),
        json!({
            "routing_key": KEY, "event_action": "trigger", "dedup_key": key, "client": "Campanile",
            "payload": {
                "summary": "Pool \"db\" is full", "source": "production/payments", "severity": "critical",
                "component": "payments", "group": "production", "class": "database", "timestamp": SINCE,
                "custom_details": {
                    "Alert": id, "Severity": "Critical", "Type": "database", "Source": "Monitoring",
                    "Environment": "production", "Service": "payments", "Since": SINCE, "team": "db",
                    "Description": "All connections in use",
                },
            },
            "links": [{"href": "https://run.example/db", "text": "Runbook"}], "images": [],
        })
    );
    assert_eq!(resolve.json(), json!({"routing_key": KEY, "event_action": "resolve", "dedup_key": key}));
}

/// An event of the status updater.
fn event(action: &str, key: &Value) -> Value {
    json!({"routing_key": KEY, "event_action": action, "dedup_key": key})
}

#[tokio::test(flavor = "multi_thread")]
async fn pagerduty_hears_who_took_its_alert_over_and_that_it_ended() {
    let stage = Stage::of(&[SLACK, PAGERDUTY_STATUS]).await;
    let alert = tracked();
    let taken = stage.taken_over(alert.clone(), &SLACK).await;
    let over = stage.ledger(ended(alert.clone())).await;
    for ledger in [taken, over] {
        assert_eq!(receipt(&ledger, "pagerduty-status"), Some("samplekeyhere"));
    }
    let events = stage.requests("pagerduty-status").map(|request| {
        assert_eq!(request.line(), PLACE);
        request.json()
    });
    assert_eq!(events, [event("acknowledge", &alert["id"]), event("resolve", &alert["id"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pagerdutys_two_plugins_mean_the_same_alert() {
    let config = "url = \"{home}/v2/enqueue\"\nreceiver = \"pagerduty\"";
    let stage = Stage::of(&[PAGERDUTY, Service { config, ..PAGERDUTY_STATUS }]).await;
    let [_, ended] = stage.life().await;
    assert_eq!(receipt(&ended, "pagerduty-status"), Some("samplekeyhere"));
    let [trigger, resolve] = stage.requests("pagerduty").map(|request| request.json());
    let [status] = stage.requests("pagerduty-status").map(|request| request.json());
    assert_eq!(status, resolve);
    assert_eq!(status["dedup_key"], trigger["dedup_key"]);
}
