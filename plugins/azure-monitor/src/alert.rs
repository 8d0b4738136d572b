//! The essentials of an alert in the common schema, which all services of Azure Monitor share.

use std::borrow::Cow;

use campanile_guest::failure::permanent;
use campanile_guest::source::{Draft, Settings, Sheet, text};
use campanile_guest::types::{Failure, Status};
use serde_json::Value;

use crate::context;

/// What a body looks like, for those who sent another.
const EXAMPLE: &str =
    r#"{"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"alertId": "…"}}}"#;

/// Where the essentials stand in the body.
const AT: &str = "data.essentials";

/// What to route by, in Azure's words.
const LABELS: [&str; 5] =
    ["alertRule", "signalType", "monitoringService", "targetResourceType", "targetResourceGroup"];

/// The alert in a request.
pub(crate) fn decode(body: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let essentials = &body["data"]["essentials"];
    if !essentials.is_object() {
        let message =
            "the body is not of the common alert schema: switch it on for the webhook in the action group";
        return Err(permanent("invalid-payload", format!("{message}, as in {EXAMPLE}")));
    }
    let mut sheet = Sheet::default();
    let draft = draft(&body["data"], settings, &mut sheet);
    sheet.add(draft);
    Ok(sheet)
}

fn draft(data: &Value, settings: &Settings, sheet: &mut Sheet) -> Draft {
    let (essentials, context) = (&data["essentials"], &data["alertContext"]);
    let status = status(essentials, sheet);
    let summary = context::summary(context);
    let description = sheet.text(AT, essentials, "/description").or(summary.map(Cow::Owned));
    let title = sheet.text(AT, essentials, "/alertRule").or(context::name(context));
    let draft = Draft::new(AT, settings, status, title.as_deref().or(description.as_deref()))
        .description(description.as_deref())
        .severity("severity", &essentials["severity"])
        .dedup_key(&sheet.first(AT, essentials, &["/alertId", "/originAlertId"]).unwrap_or_default())
        .starts_at("firedDateTime", &essentials["firedDateTime"])
        .ends_at("resolvedDateTime", &essentials["resolvedDateTime"])
        .link("Investigation", sheet.text(AT, essentials, "/investigationLink").as_deref())
        .data("alert_rule_id", &essentials["alertRuleId"])
        .data("targets", &essentials["alertTargetIDs"])
        .data("configuration_items", &essentials["configurationItems"]);
    let draft = labelled(context::tell(draft, context), data, sheet);
    let draft = match level(essentials) {
        Some(level) => draft.level(level),
        None => draft,
    };
    if is_momentary(essentials) { draft.momentary() } else { draft }
}

/// Whether Azure never says that it is over: of what happened to a resource or a service, and of budgets.
fn is_momentary(essentials: &Value) -> bool {
    essentials["signalType"] == "Activity Log" || essentials["monitoringService"] == "CostAlerts"
}

/// `Sev0` is the worst of five.
fn level(essentials: &Value) -> Option<i64> {
    let number: i64 = essentials["severity"].as_str()?.trim().strip_prefix("Sev")?.parse().ok()?;
    (0..=4).contains(&number).then_some(4 - number)
}

fn status(essentials: &Value, sheet: &mut Sheet) -> Status {
    match text(essentials, "/monitorCondition").as_deref() {
        Some("Resolved") => Status::Resolved,
        Some("Fired") => Status::Firing,
        _ => {
            let condition = &essentials["monitorCondition"];
            sheet.odd(
                "data.essentials.monitorCondition",
                condition,
                "is not Fired or Resolved: Fired was taken",
            );
            Status::Firing
        }
    }
}

/// The rule's own properties first: what Azure says of the alert wins over them.
fn labelled(mut draft: Draft, data: &Value, sheet: &mut Sheet) -> Draft {
    draft = draft.labels(sheet.fields("data.customProperties", &data["customProperties"]));
    let items = sheet.list("data.essentials.configurationItems", &data["essentials"]["configurationItems"]);
    let items: Vec<_> = items.iter().filter_map(|item| text(item, "")).collect();
    if !items.is_empty() {
        draft = draft.label("configurationItems", &items.join(", ").into());
    }
    LABELS.into_iter().fold(draft, |draft, name| draft.label(name, &data["essentials"][name]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &str) -> (Value, Vec<String>) {
        let body = serde_json::from_str(body).unwrap();
        let sheet = decode(&body, &Settings::of("azure-monitor", "Azure Monitor", "infrastructure")).unwrap();
        assert_eq!(sheet.alerts.len(), 1);
        (serde_json::from_str(&sheet.alerts[0]).unwrap(), sheet.warnings)
    }

    fn alert(body: &str) -> Value {
        let (alert, warnings) = read(body);
        assert!(warnings.is_empty(), "{warnings:?}");
        alert
    }

    #[test]
    fn a_metric_alert_keeps_what_people_and_routes_need() {
        let body = include_str!("../payloads/metric-fired.json");
        let sent: Value = serde_json::from_str(body).unwrap();
        let essentials = &sent["data"]["essentials"];
        assert_eq!(
            alert(body),
            json!({
                "title": "WCUS-R2-Gen2", "description": "Average Percentage CPU is 31.1105 (GreaterThan 25 over PT5M)",
                "type": "infrastructure", "severity": "low",
                "source": {"name": "Azure Monitor", "type": "azure-monitor"}, "status": "firing",
                "vendor_level": 1, "dedup_key": essentials["alertId"], "starts_at": "2019-03-22T13:58:24.3713213Z",
                "labels": {
                    "alertRule": "WCUS-R2-Gen2", "signalType": "Metric", "monitoringService": "Platform",
                    "configurationItems": "wcus-r2-gen2", "Key1": "Value1", "Key2": "Value2",
                    "ResourceId": "b1b1b1b1-cccc-dddd-eeee-f2f2f2f2f2f2",
                },
                "metrics": {"Percentage CPU": 31.1105},
                "data": {
                    "alert_rule_id": essentials["alertRuleId"], "targets": essentials["alertTargetIDs"],
                    "configuration_items": ["wcus-r2-gen2"],
                    "condition": sent["data"]["alertContext"]["condition"]["allOf"],
                    "condition_type": "SingleResourceMultipleMetricCriteria", "window_size": "PT5M",
                },
            })
        );
    }

    #[test]
    fn a_resolved_alert_has_the_identity_of_its_firing() {
        let fired = alert(include_str!("../payloads/metric-fired.json"));
        let resolved = alert(include_str!("../payloads/metric-resolved.json"));
        assert_eq!(
            (&resolved["status"], &resolved["ends_at"]),
            (&json!("resolved"), &json!("2019-03-22T14:03:16.2246313Z"))
        );
        for same in ["dedup_key", "starts_at"] {
            assert_eq!(resolved[same], fired[same], "{same}");
        }
    }

    #[test]
    fn the_portals_test_and_an_alert_without_a_context_are_alerts() {
        let test = alert(include_str!("../payloads/test-action-group.json"));
        assert_eq!(
            (&test["title"], &test["description"]),
            (&json!("test-metricAlertRule"), &json!("Alert rule description"))
        );
        assert_eq!(
            (&test["labels"]["customKey1"], &test["metrics"]["Transactions"]),
            (&json!("value1"), &json!(100))
        );
        let bare = alert(include_str!("../payloads/null-context.json"));
        assert_eq!((&bare["severity"], bare.get("metrics")), (&json!("high"), None));
    }

    #[test]
    fn what_azure_never_resolves_has_no_end() {
        for body in [
            include_str!("../payloads/activity-log.json"),
            include_str!("../payloads/service-health.json"),
            include_str!("../payloads/budget.json"),
        ] {
            let alert = alert(body);
            assert_eq!((&alert["momentary"], alert["dedup_key"].is_string()), (&json!(true), true));
        }
        assert_eq!(alert(include_str!("../payloads/log-alert-v2.json")).get("momentary"), None);
    }

    #[test]
    fn sev3_and_sev4_are_two_levels_of_one_severity() {
        let fired = include_str!("../payloads/metric-fired.json");
        let (worse, better) = (alert(fired), alert(&fired.replace("Sev3", "Sev4")));
        assert_eq!((&worse["severity"], &better["severity"]), (&json!("low"), &json!("low")));
        assert_eq!((&worse["vendor_level"], &better["vendor_level"]), (&json!(1), &json!(0)));
    }

    #[test]
    fn a_budget_has_no_rule_and_no_severity() {
        let budget = alert(include_str!("../payloads/budget.json"));
        assert_eq!(
            (&budget["title"], &budget["severity"]),
            (&json!("Test_actual_cost_budget"), &json!("medium"))
        );
        assert!(budget["description"].as_str().unwrap().starts_with("Your spend for budget"));
    }

    #[test]
    fn what_is_odd_is_said() {
        let body = json!({"data": {"customProperties": 7, "essentials": {
            "originAlertId": 8, "description": ["x"], "configurationItems": "one", "severity": "Sev9", "monitorCondition": "Closed", "firedDateTime": "soon",
        }}});
        let (alert, warnings) = read(&body.to_string());
        assert_eq!(
            (&alert["title"], &alert["dedup_key"]),
            (&json!("Azure Monitor: alert without a title"), &json!("8"))
        );
        assert_eq!(
            warnings,
            [
                "data.essentials.monitorCondition: \"Closed\" is not Fired or Resolved: Fired was taken",
                "data.essentials.description: [\"x\"] is not a text: left out",
                "data.customProperties: 7 is not an object: left out",
                "data.essentials.configurationItems: \"one\" is not a list: left out",
                "data.essentials.severity: \"Sev9\" is no known severity: medium was taken",
                "data.essentials.firedDateTime: \"soon\" is no time: left out",
            ]
        );
    }

    #[test]
    fn another_schema_is_refused_with_what_to_switch_on() {
        let body = serde_json::from_str(include_str!("../payloads/invalid-non-common-schema.json")).unwrap();
        let settings = Settings::of("azure-monitor", "Azure Monitor", "infrastructure");
        let failure = decode(&body, &settings).unwrap_err();
        assert_eq!(failure.code, "invalid-payload");
        assert!(failure.message.contains("common alert schema: switch it on"), "{failure:?}");
    }
}
