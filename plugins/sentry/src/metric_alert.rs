//! A metric alert of Sentry: one incident from its first threshold to its end.

use campanile_guest::source::{Draft, Settings, Sheet, rfc3339, text};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::hook;

/// The alert as an alert of ours.
pub(crate) fn read(body: &Value, settings: &Settings, sheet: &mut Sheet) {
    let (data, alert) = (&body["data"], &body["data"]["metric_alert"]);
    let rule = &alert["alert_rule"];
    let action = text(body, "/action");
    let status = if action == Some("resolved") { Status::Resolved } else { Status::Firing };
    let title = text(data, "/description_title").or(text(alert, "/title"));
    let mut draft = Draft::new("data.metric_alert", settings, status, title)
        .description(text(data, "/description_text"))
        .context("environment", text(rule, "/environment"))
        .context("service", only(&alert["projects"]))
        .label("alert_rule", &rule["name"])
        .label("projects", &joined(&alert["projects"]))
        .link("Sentry", text(data, "/web_url"))
        // No `starts_at`: what goes from warning to critical is told again, and an occurrence with a start is told once.
        .data("started_at", &rfc3339(&alert["date_started"]).into())
        .data("identifier", &alert["identifier"])
        .data("alert_rule", rule);
    match action {
        Some("critical" | "warning") => draft = draft.severity("action", &body["action"]),
        Some("resolved") => draft = draft.ends_at("date_closed", &alert["date_closed"]),
        _ => sheet.odd("action", &body["action"], "is not critical, warning or resolved: firing was taken"),
    }
    if let Some(id) = hook::id(&alert["id"]) {
        draft = draft.dedup_key(&format!("metric-alert-{id}"));
    }
    sheet.add(draft);
}

/// The one project of a list of one.
fn only(projects: &Value) -> Option<&str> {
    match projects.as_array()?.as_slice() {
        [Value::String(project)] => Some(project),
        _ => None,
    }
}

fn joined(projects: &Value) -> Value {
    let projects: Vec<&str> = projects.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
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
            (&json!("metric-alert-4"), &json!("Critical: Too many errors"))
        );
        assert_eq!(critical["data"]["started_at"], "2020-09-13T12:26:40Z");
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
