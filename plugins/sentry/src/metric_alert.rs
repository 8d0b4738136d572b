//! A metric alert of Sentry: one incident from its first threshold to its end.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Settings, Sheet, fact_time, text};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::hook::installation;

/// Where the metric alert stands in the hook.
const AT: &str = "data.metric_alert";

/// The alert as an alert of ours.
pub(crate) fn read(body: &Value, settings: &Settings, sheet: &mut Sheet) {
    let (data, alert) = (&body["data"], &body["data"]["metric_alert"]);
    let rule = &alert["alert_rule"];
    let action = text(body, "/action");
    let status = if action.as_deref() == Some("resolved") { Status::Resolved } else { Status::Firing };
    let title = sheet.text("data", data, "/description_title").or(sheet.text(AT, alert, "/title"));
    let projects = projects(&alert["projects"], sheet);
    let mut draft = Draft::new(AT, settings, status, title.as_deref())
        .description(sheet.text("data", data, "/description_text").as_deref())
        .context("environment", sheet.text(AT, alert, "/alert_rule/environment").as_deref())
        .context("service", if let [only] = &*projects { Some(only.as_ref()) } else { None })
        .label("alert_rule", &rule["name"])
        .label("projects", &joined(&projects))
        .link("Sentry", sheet.text("data", data, "/web_url").as_deref())
        // No `starts_at`: what goes from warning to critical is told again, and an occurrence with a start is told once.
        .data("started_at", &fact_time(&alert["date_started"]).into())
        .data("identifier", &alert["identifier"])
        .rest("alert_rule", rule);
    match action.as_deref() {
        Some("critical" | "warning") => draft = draft.severity("action", &body["action"]),
        Some("resolved") => draft = draft.ends_at("date_closed", &alert["date_closed"]),
        _ => sheet.odd("action", &body["action"], "is not critical, warning or resolved: firing was taken"),
    }
    if let Some(id) = sheet.text(AT, alert, "/id") {
        draft = draft.dedup_key(&format!("metric-alert-{id}")).within(installation(body, sheet).as_deref());
    }
    sheet.add(draft);
}

fn projects<'a>(projects: &'a Value, sheet: &mut Sheet) -> Vec<Cow<'a, str>> {
    let at = format!("{AT}.projects");
    let projects = sheet.list(&at, projects).iter().enumerate();
    projects.filter_map(|(index, project)| sheet.text(&format!("{at}[{index}]"), project, "")).collect()
}

fn joined(projects: &[Cow<'_, str>]) -> Value {
    if projects.is_empty() { Value::Null } else { projects.join(", ").into() }
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, decoded};
    use serde_json::json;

    #[test]
    fn a_metric_alert_ends_what_it_began() {
        let critical = alert(include_str!("../payloads/metric-alert-critical.json"));
        assert_eq!((&critical["severity"], &critical["status"]), (&json!("critical"), &json!("firing")));
        assert_eq!(
            (&critical["dedup_key"], &critical["title"]),
            (
                &json!("metric-alert-4/a8e5d37a-696c-4c54-adb5-b3f28d64c7de"),
                &json!("Critical: Too many errors")
            )
        );
        assert_eq!(critical["data"]["started_at"], "2020-09-13T12:26:40.000000Z");
        assert_eq!(
            (&critical["context"]["service"], &critical["labels"]["alert_rule"]),
            (&json!("bar"), &json!("Too many errors"))
        );

        let warning = alert(include_str!("../payloads/metric-alert-warning.json"));
        assert_eq!((&warning["severity"], &warning["dedup_key"]), (&json!("medium"), &critical["dedup_key"]));

        let resolved = alert(include_str!("../payloads/metric-alert-resolved.json"));
        assert_eq!(resolved["status"], "resolved");
        assert_eq!(resolved["dedup_key"], critical["dedup_key"]);
    }

    #[test]
    fn one_bad_field_costs_itself() {
        let hook = json!({"action": "critical", "data": {"description_title": 503, "description_text": ["x"],
            "metric_alert": {"id": "4", "projects": [7, {}], "alert_rule": {"name": 1, "environment": false}}}});
        let (alerts, warnings) = decoded(None, &hook.to_string());
        assert_eq!((&alerts[0]["title"], &alerts[0]["labels"]["projects"]), (&json!("503"), &json!("7")));
        assert_eq!(alerts[0]["context"], json!({"environment": "false", "service": "7"}));
        assert_eq!(
            warnings,
            [
                "data.metric_alert.projects[1]: {} is not a text: left out",
                "data.description_text: [\"x\"] is not a text: left out",
            ]
        );
    }

    #[test]
    fn an_unknown_action_of_a_metric_alert_fires() {
        let hook = json!({"action": "panic", "data": {"metric_alert": {"id": 4, "title": "Marmot"}}});
        let (alerts, warnings) = decoded(None, &hook.to_string());
        assert_eq!(
            (&alerts[0]["status"], &alerts[0]["dedup_key"]),
            (&json!("firing"), &json!("metric-alert-4"))
        );
        assert_eq!(warnings, ["action: \"panic\" is not critical, warning or resolved: firing was taken"]);
    }
}
