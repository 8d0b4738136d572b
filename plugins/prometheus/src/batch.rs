//! A batch of alerts as Prometheus posts it to an Alertmanager (`POST /api/v2/alerts`).

use campanile_guest::failure::permanent;
use campanile_guest::source::{Settings, Sheet, few, is_past, labelled, rfc3339};
use campanile_guest::types::{Failure, Status};
use serde_json::{Map, Value};

/// Where an Alertmanager takes alerts.
const PATH: &str = "/api/v2/alerts";
/// What a body looks like, for those who sent another.
const EXAMPLE: &str = r#"[{"labels": {"alertname": "HighCpu"}, "startsAt": "2026-01-22T11:47:17.11Z"}]"#;

/// Whether the request came to the address of alerts: Alertmanager's, or the source's own.
pub(crate) fn path(path: &str) -> Result<(), Failure> {
    let place = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    if place.is_empty() || place == PATH {
        return Ok(());
    }
    Err(permanent(
        "unknown-path",
        format!(
            "there is nothing at {place}: alerts are posted to /webhook/prometheus{PATH}, which Prometheus does with \
             `path_prefix: /webhook/prometheus` and `api_version: v2`"
        ),
    ))
}

/// The alerts of a batch.
pub(crate) fn decode(batch: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let entries = batch.as_array().ok_or_else(|| {
        permanent("invalid-payload", format!("the body is no list of alerts, as in {EXAMPLE}"))
    })?;
    let mut sheet = Sheet::default();
    for (index, entry) in few(entries).iter().enumerate() {
        let at = format!("[{index}]");
        let Value::Object(fields) = entry else {
            sheet.odd(&at, entry, "is no alert: left out");
            continue;
        };
        if entry["labels"].as_object().is_none_or(Map::is_empty) {
            sheet.odd(
                &format!("{at}.labels"),
                &entry["labels"],
                "are no labels: no resolve will find the alert",
            );
        }
        let (fields, status) = timed(fields);
        let draft = labelled(&at, &fields, settings, status, &mut sheet);
        sheet.add(draft);
    }
    Ok(sheet)
}

/// Whether the alert has ended. While it has not, `endsAt` says until when it holds if nothing more is heard: it moves
/// with every repeat and is no end that is expected, so that it is left out.
fn timed(fields: &Map<String, Value>) -> (Map<String, Value>, Status) {
    let mut fields = fields.clone();
    match fields.get("endsAt") {
        Some(end) if is_past(end) => return (fields, Status::Resolved),
        Some(end) if rfc3339(end).is_some() => fields.remove("endsAt"),
        _ => None,
    };
    (fields, Status::Firing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Settings {
        Settings::of("prometheus", "Prometheus", "infrastructure")
    }

    fn decoded(payload: &str) -> (Vec<Value>, Vec<String>) {
        let sheet = decode(&serde_json::from_str(payload).unwrap(), &settings()).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
    }

    #[test]
    fn a_firing_alert_has_no_end() {
        let (alerts, warnings) = decoded(include_str!("../payloads/firing.json"));
        assert_eq!(
            alerts,
            [json!({
                "title": "Instance p1:9100 is down",
                "description": "p1:9100 of job node has been down for more than 5 minutes.",
                "type": "infrastructure", "severity": "critical",
                "source": {"name": "Prometheus", "type": "prometheus"},
                "status": "firing", "starts_at": "2026-01-22T11:47:17.11Z", "dedup_key": "eab3713c0071cd24",
                "context": {"service": "node"},
                "labels": {
                    "alertname": "InstanceDown", "cluster": "eu-1", "instance": "p1:9100", "job": "node",
                    "severity": "page",
                },
                "links": [
                    {"href": "https://runbooks.example.com/InstanceDown", "text": "Runbook"},
                    {"href": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1", "text": "Source"},
                ],
                "data": { "annotations": { "runbook_url": "https://runbooks.example.com/InstanceDown" } },
            })]
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_repeat_is_the_same_alert() {
        let firing = include_str!("../payloads/firing.json");
        let repeat = firing.replace("2099-01-22T11:51:17.110Z", "2099-01-22T11:52:17.110Z");
        assert_ne!(firing, repeat);
        assert_eq!(decoded(firing), decoded(&repeat));
    }

    #[test]
    fn a_resolved_alert_has_the_identity_of_its_firing() {
        let (firing, _) = decoded(include_str!("../payloads/firing.json"));
        let (resolved, warnings) = decoded(include_str!("../payloads/resolved.json"));
        assert_eq!(resolved[0]["status"], "resolved");
        assert_eq!(resolved[0]["ends_at"], "2026-01-22T12:02:17.11Z");
        assert_eq!(resolved[0]["dedup_key"], firing[0]["dedup_key"]);
        assert_eq!(resolved[0]["starts_at"], firing[0]["starts_at"]);
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_batch_may_hold_both() {
        let (alerts, _) = decoded(include_str!("../payloads/batch.json"));
        let statuses: Vec<&Value> = alerts.iter().map(|alert| &alert["status"]).collect();
        assert_eq!(statuses, ["firing", "resolved"]);
        assert_ne!(alerts[0]["dedup_key"], alerts[1]["dedup_key"]);
    }

    #[test]
    fn times_may_be_absent() {
        let (alerts, warnings) = decoded(include_str!("../payloads/without-times.json"));
        assert_eq!((&alerts[0]["status"], &alerts[0]["title"]), (&json!("firing"), &json!("BackupFailed")));
        assert_eq!((alerts[0].get("starts_at"), alerts[0].get("ends_at")), (None, None));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_is_odd_is_said_and_loses_nothing_else() {
        let (alerts, warnings) = decoded(include_str!("../payloads/odd.json"));
        assert_eq!(alerts.len(), 2);
        assert_eq!(
            warnings,
            [
                "[0].labels: null are no labels: no resolve will find the alert",
                "[0].endsAt: \"soon\" is no time: left out",
                "[1]: null is no alert: left out",
                "[2].labels.severity: \"tea\" is no known severity: medium was taken",
            ]
        );
        assert_eq!(alerts[1].get("ends_at"), None);
    }

    #[test]
    fn a_notification_of_alertmanager_is_refused_with_an_example() {
        let payload = include_str!("../payloads/invalid-alertmanager-webhook.json");
        let failure = decode(&serde_json::from_str(payload).unwrap(), &settings()).unwrap_err();
        assert_eq!(failure.code, "invalid-payload");
        assert!(
            failure.message.starts_with("the body is no list of alerts, as in [{\"labels\""),
            "{failure:?}"
        );
    }

    #[test]
    fn other_paths_are_refused_with_the_right_one() {
        for known in ["/", "", "/api/v2/alerts", "/api/v2/alerts/", "/api/v2/alerts?a=b", "/?a=b"] {
            assert!(path(known).is_ok(), "{known}");
        }
        for other in ["/api/v1/alerts", "/api/v2/silences", "/alerts"] {
            let failure = path(other).unwrap_err();
            assert_eq!(failure.code, "unknown-path");
            assert!(failure.message.contains("/webhook/prometheus/api/v2/alerts"), "{failure:?}");
        }
    }
}
