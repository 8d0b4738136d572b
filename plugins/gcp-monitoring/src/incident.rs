//! A notification of Cloud Monitoring (schema version 1.2): an incident that was opened or closed.

use campanile_guest::failure::permanent;
use campanile_guest::source::{Draft, Settings, Sheet};
use campanile_guest::types::{Failure, Status};
use serde_json::Value;

use crate::{facts, policy};

/// What a body looks like, for those who sent another.
const EXAMPLE: &str =
    r#"{"version": "1.2", "incident": {"incident_id": "0.abc", "state": "open", "started_at": 1767225600}}"#;

/// The alert in a notification.
pub(crate) fn decode(body: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let incident = &body["incident"];
    if !incident.is_object() {
        let message = format!("the body is no notification of Cloud Monitoring, as in {EXAMPLE}");
        return Err(permanent("invalid-payload", message));
    }
    let mut sheet = Sheet::default();
    if let Some(status) = status(incident, &mut sheet) {
        let draft = draft(incident, status, settings, &mut sheet);
        // Nothing closes the incident of a channel's test.
        sheet.add(if body["version"] == "test" { draft.single() } else { draft });
    }
    Ok(sheet)
}

/// Whether the incident is open. The test of a channel writes `OPEN`; an acknowledgement is no news.
fn status(incident: &Value, sheet: &mut Sheet) -> Option<Status> {
    let state = incident["state"].as_str().unwrap_or_default().to_ascii_lowercase();
    match state.as_str() {
        "open" => Some(Status::Firing),
        "closed" => Some(Status::Resolved),
        "acknowledged" => {
            sheet.odd("incident.state", &incident["state"], "is not acted on: no alert");
            None
        }
        _ => {
            sheet.odd("incident.state", &incident["state"], "is not open or closed: open was taken");
            Some(Status::Firing)
        }
    }
}

fn draft(incident: &Value, status: Status, settings: &Settings, sheet: &mut Sheet) -> Draft {
    let (title, description) = (policy::title(incident, sheet), policy::description(incident, sheet));
    let draft = Draft::new("incident", settings, status, title.as_deref())
        .description(description.as_deref())
        .starts_at("started_at", &incident["started_at"])
        .ends_at("ended_at", &incident["ended_at"])
        .link("Incident", incident["url"].as_str());
    let draft = policy::grade(policy::link(draft, incident), incident);
    let draft = facts::tell(draft, incident, sheet);
    match sheet.text("incident", incident, "/incident_id") {
        Some(id) => {
            draft.dedup_key(&id).within(sheet.text("incident", incident, "/scoping_project_id").as_deref())
        }
        None => {
            sheet.warnings.push("incident.incident_id: is missing: no end will find the alert".to_owned());
            draft
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn read(body: &Value) -> (Value, Vec<String>) {
        let settings = Settings::of("gcp-monitoring", "Google Cloud Monitoring", "infrastructure");
        let sheet = decode(body, &settings).unwrap();
        assert_eq!(sheet.alerts.len(), 1);
        (serde_json::from_str(&sheet.alerts[0]).unwrap(), sheet.warnings)
    }

    pub(crate) fn alert(body: &str) -> Value {
        let (alert, warnings) = read(&serde_json::from_str(body).unwrap());
        assert!(warnings.is_empty(), "{warnings:?}");
        alert
    }

    #[test]
    fn an_open_incident_keeps_what_people_and_routes_need() {
        let body = include_str!("../payloads/open.json");
        let sent: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            alert(body),
            json!({
                "title": "Checkout: CPU is high",
                "description": "CPU utilization for acme-prod checkout-7 is above the threshold of 0.900 with a value \
                                of 0.963.\n\nLook at the traffic first, then add an instance.",
                "type": "infrastructure", "severity": "critical",
                "source": {"name": "Google Cloud Monitoring", "type": "gcp-monitoring"}, "status": "firing",
                "dedup_key": "0.nwg9th6llz4w/acme-prod", "starts_at": "2026-01-01T00:00:00Z",
                "context": {"environment": "production", "service": "checkout"},
                "labels": {
                    "env": "production", "service": "checkout", "instance_id": "3453121075891706391",
                    "project_id": "acme-prod", "zone": "europe-west3-b", "instance_name": "checkout-7",
                    "team": "payments", "policy_name": "Checkout: CPU", "condition_name": "VM Instance - CPU utilization",
                    "resource_type": "gce_instance", "metric_type": "compute.googleapis.com/instance/cpu/utilization",
                },
                "metrics": {"CPU utilization": 0.963},
                "links": [
                    {
                        "href": "https://console.cloud.google.com/monitoring/alerting/alerts/0.nwg9th6llz4w?channelType=webhook&project=acme-prod",
                        "text": "Incident",
                    },
                    {"href": "https://runbooks.example.com/checkout/cpu", "text": "Runbook"},
                ],
                "data": {
                    "incident_id": "0.nwg9th6llz4w", "scoping_project_id": "acme-prod", "resource_name": "acme-prod checkout-7",
                    "resource_display_name": "checkout-7", "resource_type_display_name": "VM Instance",
                    "threshold_value": "0.9", "condition": sent["incident"]["condition"],
                },
            })
        );
    }

    #[test]
    fn a_closed_incident_ends_what_it_began() {
        let (open, closed) =
            (alert(include_str!("../payloads/open.json")), alert(include_str!("../payloads/closed.json")));
        assert_eq!(
            (&closed["status"], &closed["ends_at"]),
            (&json!("resolved"), &json!("2026-01-01T00:31:30Z"))
        );
        for same in ["dedup_key", "starts_at"] {
            assert_eq!(closed[same], open[same], "{same}");
        }
    }

    #[test]
    fn the_test_of_a_channel_is_an_alert() {
        let test = alert(include_str!("../payloads/test-of-a-channel.json"));
        assert_eq!((&test["status"], test.get("dedup_key")), (&json!("firing"), None));
        assert_eq!(test["momentary"], true);
        assert_eq!((test.get("starts_at"), test.get("ends_at")), (None, None));
    }

    #[test]
    fn an_acknowledgement_makes_no_alert() {
        let settings = Settings::of("gcp-monitoring", "Google Cloud Monitoring", "infrastructure");
        let body = serde_json::from_str(include_str!("../payloads/acknowledged.json")).unwrap();
        let sheet = decode(&body, &settings).unwrap();
        assert!(sheet.alerts.is_empty(), "{:?}", sheet.alerts);
        assert_eq!(sheet.warnings, ["incident.state: \"acknowledged\" is not acted on: no alert"]);
    }

    #[test]
    fn what_is_odd_costs_itself() {
        let (alert, warnings) = read(&serde_json::from_str(include_str!("../payloads/odd.json")).unwrap());
        assert_eq!((&alert["title"], &alert["dedup_key"]), (&json!("7"), &json!("42")));
        assert_eq!((&alert["starts_at"], alert.get("ends_at")), (&json!("2026-01-01T00:00:00Z"), None));
        assert_eq!((&alert["severity"], &alert["metrics"]), (&json!("medium"), &json!({"value": "high"})));
        assert_eq!(
            warnings,
            [
                "incident.state: \"opened\" is not open or closed: open was taken",
                "incident.summary: {\"text\":\"x\"} is not a text: left out",
                "incident.ended_at: \"later\" is no time: left out",
                "incident.severity: \"Severe\" is no known severity: medium was taken",
            ]
        );
        let (bare, warnings) = read(&json!({"incident": {"state": "open"}}));
        assert_eq!(bare["title"], "Google Cloud Monitoring: alert without a title");
        assert_eq!(warnings, ["incident.incident_id: is missing: no end will find the alert"]);
    }

    #[test]
    fn a_body_of_another_shape_is_refused() {
        let settings = Settings::of("gcp-monitoring", "Google Cloud Monitoring", "infrastructure");
        for body in [include_str!("../payloads/invalid-pubsub.json"), "[]", "7", r#"{"incident": "open"}"#] {
            let failure = decode(&serde_json::from_str(body).unwrap(), &settings).unwrap_err();
            assert_eq!(failure.code, "invalid-payload");
        }
    }
}
