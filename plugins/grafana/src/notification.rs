//! A notification as Grafana posts it (`receivers/webhook` of grafana/alerting, message version 1): Alertmanager's
//! shape with Grafana's additions.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Settings, Sheet, entries, firing, labelled, text};
use campanile_guest::types::{Failure, Status};
use serde_json::{Map, Value, json};

/// What a body looks like, for those who sent another.
const EXAMPLE: &str = concat!(
    r#"{"version": "1", "alerts": [{"status": "firing", "labels": {"alertname": "HighCpu"}}]}"#,
    "; a contact point must have no custom payload"
);

/// The alerts by which Grafana says that it could not evaluate a rule.
const UNEVALUATED: [&str; 2] = ["DatasourceNoData", "DatasourceError"];

/// The alerts of a notification.
pub(crate) fn decode(notification: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::default();
    let grafana = sheet.text("", notification, "/externalURL");
    let organisation = sheet.text("", notification, "/orgId");
    for (index, entry) in entries(notification, "alerts", EXAMPLE)?.iter().enumerate() {
        let at = format!("alerts[{index}]");
        let Value::Object(fields) = entry else {
            sheet.odd(&at, entry, "is no alert: left out");
            continue;
        };
        let status = firing(&at, entry, &mut sheet);
        let draft = alert(&at, fields, settings, status, &mut sheet);
        let draft = measured(draft, sheet.fields(&format!("{at}.values"), &entry["values"]))
            .link("Image", sheet.text(&at, entry, "/imageURL").as_deref())
            .shared_link("Grafana", grafana.as_deref())
            .data("fingerprint", &entry["fingerprint"])
            .data("value_string", &entry["valueString"])
            .shared("org_id", &notification["orgId"])
            .shared("group_key", &notification["groupKey"])
            .shared("receiver", &notification["receiver"])
            .within(organisation.as_deref());
        sheet.add(if is_test(fields) { draft.single() } else { draft });
    }
    if let Some(more) = notification["truncatedAlerts"].as_u64().filter(|more| *more > 0) {
        sheet.warnings.push(format!(
            "truncatedAlerts: Grafana left out {more} alerts of this notification: raise Max Alerts of its contact point"
        ));
    }
    Ok(sheet)
}

/// One entry. Where Grafana could not evaluate the rule, the rule's summary would tell of what was not measured: the
/// title says instead what went wrong, and with which rule.
fn alert(
    at: &str,
    fields: &Map<String, Value>,
    settings: &Settings,
    status: Status,
    sheet: &mut Sheet,
) -> Draft {
    let Some((name, rule)) = unevaluated(fields) else {
        return labelled(at, fields, settings, status, sheet);
    };
    let mut retitled = fields.clone();
    if let Some(Value::Object(annotations)) = retitled.get_mut("annotations") {
        annotations.retain(|name, _| name != "summary" && name != "title");
    }
    if let Some(Value::Object(labels)) = retitled.get_mut("labels") {
        labels.insert("alertname".to_owned(), json!(format!("{name}: {rule}")));
    }
    labelled(at, &retitled, settings, status, sheet)
        .label("alertname", &json!(name))
        .rest("annotations", fields.get("annotations").unwrap_or(&Value::Null))
}

/// Whether this is the test of a contact point, which nothing resolves. Its name alone could be a rule's.
fn is_test(fields: &Map<String, Value>) -> bool {
    let label = |name: &str| text(fields.get("labels")?, name);
    label("/alertname").as_deref() == Some("TestAlert") && label("/instance").as_deref() == Some("Grafana")
}

/// What went wrong and with which rule, if Grafana could not evaluate one.
fn unevaluated(fields: &Map<String, Value>) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let label = |name: &str| text(fields.get("labels")?, &format!("/{name}"));
    Some((label("alertname").filter(|name| UNEVALUATED.contains(&name.as_ref()))?, label("rulename")?))
}

/// The values of the rule's expressions, by their names.
fn measured<'a>(draft: Draft, values: impl Iterator<Item = (&'a String, &'a Value)>) -> Draft {
    values.fold(draft, |draft, (name, value)| draft.metric(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(payload: &str) -> (Vec<Value>, Vec<String>) {
        let settings = Settings::of("grafana", "Grafana", "custom");
        let sheet = decode(&serde_json::from_str(payload).unwrap(), &settings).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
    }

    #[test]
    fn a_firing_alert_has_its_values_and_links() {
        let (alerts, warnings) = decoded(include_str!("../payloads/firing.json"));
        assert_eq!((alerts.len(), warnings.len()), (2, 0), "{warnings:?}");
        assert_eq!(
            alerts[0],
            json!({
                "title": "This alert was triggered for zone us-1",
                "description": "The system has high memory usage",
                "type": "custom", "severity": "medium", "source": {"name": "Grafana", "type": "grafana"},
                "status": "firing", "starts_at": "2021-10-12T07:51:03.157076Z", "dedup_key": "c6eadffa33fcdf37/1",
                "labels": {"alertname": "High memory usage", "team": "blue", "zone": "us-1"},
                "links": [
                    {"href": "https://myrunbook.com/runbook/1234", "text": "Runbook"},
                    {
                        "href": "https://play.grafana.org/alerting/silence/new?alertmanager=grafana&matchers=alertname%3DT2%2Cteam%3Dblue%2Czone%3Dus-1",
                        "text": "Silence",
                    },
                    {"href": "https://play.grafana.org/alerting/1afz29v7z/edit", "text": "Source"},
                    {"href": "https://play.grafana.org/", "text": "Grafana"},
                ],
                "metrics": {"B": 44.23943737541908, "C": 1},
                "data": {
                    "annotations": { "runbook_url": "https://myrunbook.com/runbook/1234" },
                    "fingerprint": "c6eadffa33fcdf37", "org_id": 1, "group_key": "{}:{}", "receiver": "My Super Webhook",
                },
            })
        );
    }

    #[test]
    fn a_resolved_alert_has_the_identity_of_its_firing() {
        let (firing, _) = decoded(include_str!("../payloads/firing.json"));
        let (resolved, warnings) = decoded(include_str!("../payloads/resolved.json"));
        let (firing, resolved) = (&firing[0], &resolved[0]);
        assert_eq!(resolved["status"], "resolved");
        assert_eq!(resolved["ends_at"], "2021-10-12T08:06:03.157Z");
        assert_eq!(resolved["dedup_key"], firing["dedup_key"]);
        assert_eq!(resolved["starts_at"], firing["starts_at"]);
        assert_eq!(resolved["links"][2]["text"], "Source");
        assert_eq!(
            resolved["links"][3],
            json!({"href": "https://images.example.com/cpu.png", "text": "Image"})
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn each_organisation_has_keys_of_its_own() {
        let firing = include_str!("../payloads/firing.json");
        let (one, _) = decoded(firing);
        let (other, _) = decoded(&firing.replacen("\"orgId\": 1", "\"orgId\": 2", 1));
        assert_eq!(
            (&one[0]["dedup_key"], &other[0]["dedup_key"]),
            (&json!("c6eadffa33fcdf37/1"), &json!("c6eadffa33fcdf37/2"))
        );
    }

    #[test]
    fn a_test_of_the_contact_point_is_an_alert() {
        let (alerts, warnings) = decoded(include_str!("../payloads/test.json"));
        assert_eq!(alerts[0]["title"], "Notification test");
        assert_eq!(alerts[0]["labels"], json!({"alertname": "TestAlert", "instance": "Grafana"}));
        assert_eq!((&alerts[0]["momentary"], alerts[0].get("dedup_key")), (&json!(true), None));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_rule_that_could_not_be_evaluated_is_told_as_such() {
        let (no_data, _) = decoded(include_str!("../payloads/no-data.json"));
        assert_eq!(no_data[0]["title"], "DatasourceNoData: High memory usage");
        assert_eq!(no_data[0]["labels"]["alertname"], "DatasourceNoData");
        assert_eq!(no_data[0]["data"]["annotations"]["summary"], "The memory of app-1 is nearly used up");
        assert_eq!(no_data[0]["severity"], "critical");

        let (error, warnings) = decoded(include_str!("../payloads/error.json"));
        assert_eq!(error[0]["title"], "DatasourceError: High memory usage");
        assert_eq!(
            error[0]["data"]["annotations"]["Error"],
            "[sse.dataQueryError] failed to execute query [A]: bad request"
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_is_odd_is_said_and_loses_nothing_else() {
        let (alerts, warnings) = decoded(include_str!("../payloads/odd.json"));
        assert_eq!(alerts.len(), 2);
        assert_eq!(alerts[0]["title"], "Grafana: alert without a title");
        assert_eq!(alerts[0].get("dedup_key"), None);
        assert_eq!(alerts[1]["metrics"], json!({"A": "NaN"}));
        assert_eq!(alerts[1]["dedup_key"].as_str().map(str::len), Some(18));
        assert_eq!(
            warnings,
            [
                "alerts[0].startsAt: \"yesterday\" is no time: left out",
                "alerts[1]: \"TestAlert\" is no alert: left out",
                "alerts[2].status: \"alerting\" is not firing or resolved: firing was taken",
                "alerts[2].labels.severity: \"S1\" is no known severity: medium was taken",
                "truncatedAlerts: Grafana left out 3 alerts of this notification: raise Max Alerts of its contact point",
            ]
        );
    }

    #[test]
    fn a_custom_payload_is_refused_with_an_example() {
        let payload = serde_json::from_str(include_str!("../payloads/invalid-custom-payload.json")).unwrap();
        let failure = decode(&payload, &Settings::of("grafana", "Grafana", "custom")).unwrap_err();
        assert_eq!(failure.code, "invalid-payload");
        assert!(failure.message.ends_with("a contact point must have no custom payload"), "{failure:?}");
    }
}
