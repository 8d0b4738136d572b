//! A group of alerts as Alertmanager posts it (`notify/webhook/webhook.go`, message version 4).

use campanile_guest::source::{Settings, Sheet, entries, firing, labelled};
use campanile_guest::types::Failure;
use serde_json::Value;

/// What a body looks like, for those who sent another.
const EXAMPLE: &str =
    r#"{"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "HighCpu"}}]}"#;

/// The alerts of a group.
pub(crate) fn decode(group: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::default();
    let alertmanager = sheet.text("", group, "/externalURL");
    for (index, entry) in entries(group, "alerts", EXAMPLE)?.iter().enumerate() {
        let at = format!("alerts[{index}]");
        let Value::Object(fields) = entry else {
            sheet.odd(&at, entry, "is no alert: left out");
            continue;
        };
        let status = firing(&at, entry, &mut sheet);
        let draft = labelled(&at, fields, settings, status, &mut sheet)
            .shared_link("Alertmanager", alertmanager.as_deref())
            .shared("group_key", &group["groupKey"])
            .shared("receiver", &group["receiver"])
            .shared("notification_reason", &group["notification_reason"]);
        sheet.add(draft);
    }
    if let Some(more) = group["truncatedAlerts"].as_u64().filter(|more| *more > 0) {
        sheet.warnings.push(format!(
            "truncatedAlerts: Alertmanager left out {more} alerts of this group: raise max_alerts of its webhook_config"
        ));
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Settings {
        Settings::of("alertmanager", "Alertmanager", "infrastructure")
    }

    fn decoded(payload: &str) -> (Vec<Value>, Vec<String>) {
        let sheet = decode(&serde_json::from_str(payload).unwrap(), &settings()).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
    }

    #[test]
    fn a_firing_alert_keeps_what_people_and_routes_need() {
        let (alerts, warnings) = decoded(include_str!("../payloads/firing.json"));
        assert_eq!(
            alerts,
            [json!({
                "title": "CPU of p1 is high", "description": "95 %", "type": "infrastructure",
                "severity": "medium", "source": {"name": "Alertmanager", "type": "alertmanager"},
                "status": "firing", "starts_at": "2026-01-22T11:47:17.11Z", "dedup_key": "8a07086b74f3ba78",
                "context": {"service": "node"},
                "labels": {"alertname": "HighCpu", "instance": "p1", "severity": "warning", "job": "node"},
                "links": [
                    {"href": "https://run/cpu", "text": "Runbook"},
                    {"href": "http://prom/graph?g0.expr=up", "text": "Source"},
                    {"href": "http://am:9093", "text": "Alertmanager"},
                ],
                "data": {
                    "annotations": { "runbook_url": "https://run/cpu" },
                    "group_key": "{}:{alertname=\"HighCpu\"}", "receiver": "web",
                },
            })]
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_resolved_alert_has_the_identity_of_its_firing() {
        let (alerts, _) = decoded(include_str!("../payloads/resolved.json"));
        let alert = &alerts[0];
        assert_eq!(
            (&alert["status"], &alert["ends_at"]),
            (&json!("resolved"), &json!("2026-01-22T12:00:00Z"))
        );
        assert_eq!(alert["starts_at"], "2026-01-22T11:47:17.11Z");
        assert_eq!(alert["dedup_key"], "8a07086b74f3ba78");
    }

    #[test]
    fn what_is_odd_is_said_and_loses_nothing_else() {
        let (alerts, warnings) = decoded(include_str!("../payloads/odd.json"));
        assert_eq!(alerts.len(), 2);
        assert_eq!(alerts[1]["title"], "Alertmanager: alert without a title");
        assert_eq!(alerts[1].get("starts_at"), None);
        assert_eq!(
            warnings,
            [
                "alerts[1]: 7 is no alert: left out",
                "alerts[2].status: \"pending\" is not firing or resolved: firing was taken",
                "alerts[2].labels.severity: \"bogus\" is no known severity: medium was taken",
                "alerts[2].startsAt: 3 is no time: left out",
                "truncatedAlerts: Alertmanager left out 7 alerts of this group: raise max_alerts of its webhook_config",
            ]
        );
    }

    #[test]
    fn one_bad_alert_costs_itself() {
        let group = json!({ "externalURL": 1, "groupKey": ["g"], "receiver": 7, "alerts": [
            { "status": ["firing"], "labels": [1], "annotations": "none" }, null, [],
            { "status": true, "labels": { "alertname": "Whole" } },
        ]});
        let (alerts, warnings) = decoded(&group.to_string());
        assert_eq!((alerts.len(), &alerts[1]["title"]), (2, &json!("Whole")));
        assert_eq!(alerts[0]["data"], json!({ "annotations": "none", "receiver": 7 }));
        assert_eq!(
            warnings,
            [
                "alerts[0].status: [\"firing\"] is not firing or resolved: firing was taken",
                "alerts[0].labels: [1] is not an object: left out",
                "alerts[1]: null is no alert: left out",
                "alerts[2]: [] is no alert: left out",
                "alerts[3].status: true is not firing or resolved: firing was taken",
            ]
        );
    }

    #[test]
    fn a_body_of_another_shape_is_refused_with_an_example() {
        let batch = include_str!("../payloads/invalid-batch-of-prometheus.json");
        let failure = decode(&serde_json::from_str(batch).unwrap(), &settings()).unwrap_err();
        assert!(
            failure.message.starts_with("the body has no list `alerts`, as in {\"version\""),
            "{failure:?}"
        );
    }
}
