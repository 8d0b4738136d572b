//! What the alerting policy says of an incident: its names, documentation, links and severity.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Severity, Sheet};
use serde_json::Value;

/// The subject that the policy's author wrote, else the names of policy and condition.
pub(crate) fn title(incident: &Value, sheet: &mut Sheet) -> Option<String> {
    let mut text = |at| sheet.text("incident", incident, at);
    if let Some(subject) = text("/documentation/subject") {
        return Some(subject.into_owned());
    }
    match (text("/policy_name"), text("/condition_name")) {
        (Some(policy), Some(condition)) if policy != condition => Some(format!("{policy}: {condition}")),
        (policy, condition) => policy.or(condition).map(Cow::into_owned),
    }
}

/// What happened, and below it what the policy's author advises.
pub(crate) fn description(incident: &Value, sheet: &mut Sheet) -> Option<String> {
    // Older channels have the content alone.
    let content = match &incident["documentation"] {
        Value::String(content) => Some(Cow::Borrowed(content.trim())),
        _ => sheet.text("incident", incident, "/documentation/content"),
    };
    let parts = [sheet.text("incident", incident, "/summary"), content];
    let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    Some(parts.join("\n\n")).filter(|text| !text.is_empty())
}

/// Adds the links of the documentation.
pub(crate) fn link(draft: Draft, incident: &Value) -> Draft {
    let links = incident["documentation"]["links"].as_array();
    links.into_iter().flatten().fold(draft, |draft, link| {
        draft.link(link["displayName"].as_str().unwrap_or("Link"), link["url"].as_str())
    })
}

/// The policy's severity, else its label `severity`.
pub(crate) fn grade(draft: Draft, incident: &Value) -> Draft {
    let (given, label) = (&incident["severity"], &incident["policy_user_labels"]["severity"]);
    let is_known = given.as_str().and_then(Severity::named).is_some();
    if is_known || !is_none(given) && label.is_null() {
        return draft.severity("severity", given);
    }
    draft.severity("policy_user_labels.severity", label)
}

/// Google writes `No severity` for a policy without one.
fn is_none(severity: &Value) -> bool {
    let is_blank = |word: &str| word.trim().is_empty() || word.eq_ignore_ascii_case("no severity");
    severity.is_null() || severity.as_str().is_some_and(is_blank)
}

#[cfg(test)]
mod tests {
    use crate::incident::tests::{alert, read};
    use serde_json::json;

    #[test]
    fn without_a_subject_the_names_are_the_title() {
        let title = |policy: &str, condition: &str| {
            let incident = json!({
                "incident_id": "i", "state": "open", "policy_name": policy, "condition_name": condition,
            });
            read(&json!({ "incident": incident })).0["title"].clone()
        };
        assert_eq!(title("Disk", "Disk is full"), "Disk: Disk is full");
        assert_eq!(title("Disk", "Disk"), "Disk");
        assert_eq!(title("", "Disk is full"), "Disk is full");
    }

    #[test]
    fn the_severity_is_the_policys_else_that_of_its_label() {
        for (severity, label, expected, count) in [
            (json!("Critical"), json!("low"), "critical", 0),
            (json!("Error"), json!(null), "high", 0),
            (json!("WARNING"), json!(null), "medium", 0),
            (json!("No severity"), json!("p1"), "critical", 0),
            (json!(null), json!("p5"), "low", 0),
            (json!(null), json!(null), "medium", 0),
            (json!("Severe"), json!(null), "medium", 1),
            (json!("Severe"), json!("high"), "high", 0),
        ] {
            let incident = json!({
                "incident_id": "i", "state": "open", "severity": severity, "policy_user_labels": {"severity": label},
            });
            let (alert, warnings) = read(&json!({ "incident": incident }));
            assert_eq!(
                (&alert["severity"], warnings.len()),
                (&json!(expected), count),
                "{severity} {label}: {warnings:?}"
            );
        }
    }

    #[test]
    fn an_uptime_check_of_an_older_channel_is_read() {
        let check = alert(include_str!("../payloads/uptime-check.json"));
        assert_eq!(check["title"], "api - uptime: Uptime Health Check on api");
        assert_eq!(
            check["description"],
            "An uptime check on Uptime Check URL labels {host=api.example.com} is failing.\n\nIs the certificate valid?"
        );
        assert_eq!(check["labels"]["host"], "api.example.com");
    }
}
