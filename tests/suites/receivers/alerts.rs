//! The alerts that services are told of.

use harness::alerts::{identified, with};
use serde_json::{Value, json};

/// When [`raised`] alerts began, and [`ended`] ones ended.
pub(super) const SINCE: &str = "2023-12-01T14:30:22.000000Z";
pub(super) const UNTIL: &str = "2023-12-01T14:45:00.000000Z";

/// An alert with all that services show.
pub(super) fn raised() -> Value {
    with(
        identified("Pool \"db\" is full"),
        json!({
            "description": "All connections in use", "type": "database", "severity": "critical",
            "source": {"name": "Monitoring", "type": "test"}, "starts_at": SINCE,
            "context": {"environment": "production", "service": "payments"}, "labels": {"team": "db"},
            "links": [{"href": "https://run.example/db", "text": "Runbook"}],
        }),
    )
}

/// One that trackers know: it has an issue in Jira and one on GitHub, and labels of an Alertmanager.
pub(super) fn tracked() -> Value {
    with(
        raised(),
        json!({
            "labels": {"alertname": "PoolFull", "instance": "db-1:9100"},
            "data": {"jira": {"issue": "OPS-7"}, "github": {"issue": 1347}},
        }),
    )
}

/// The end of an alert.
pub(super) fn ended(alert: Value) -> Value {
    with(alert, json!({"status": "resolved", "ends_at": UNTIL}))
}

/// What an updater writes of an alert of this id that alice took over while Slack was busy.
pub(super) fn lines_of_taking(id: &str, updater: &str, sent: &Value) -> String {
    let change = change_id(&format!("{id}/{updater}/acknowledged"), sent);
    format!(
        "alert: Pool \"db\" is full\nid: {id}\nacknowledged: by alice: on it\noutcome: failed\n\
         - slack: failed: no further attempt: acknowledged by alice\nchange: {change}"
    )
}

/// The id of a change in what was sent: it ends with a digest of the receivers and their states.
pub(super) fn change_id(beginning: &str, sent: &Value) -> String {
    let text = sent.to_string();
    let (_, rest) = text.split_once(&format!("{beginning}-")).expect("it names the change");
    let digest: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(digest.len(), 16, "{text}");
    format!("{beginning}-{digest}")
}

/// What it writes of the end, of which Slack is told.
pub(super) fn lines_of_end(id: &str, updater: &str, sent: &Value) -> String {
    let change = change_id(&format!("{id}-resolved/{updater}/delivered"), sent);
    format!(
        "alert: Pool \"db\" is full\nid: {id}-resolved\noutcome: delivered\n- slack: delivered: 200\n\
         change: {change}"
    )
}
