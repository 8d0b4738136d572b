//! An issue of Sentry: events that are one problem, from its first to the time somebody resolves it.

use campanile_guest::source::{Draft, Settings, Sheet, text};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::hook::installation;

/// Where the issue stands in the hook.
const AT: &str = "data.issue";

/// Sentry's levels, in ascending order.
const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "fatal"];

/// The issue as an alert.
pub(crate) fn read(body: &Value, settings: &Settings, sheet: &mut Sheet) {
    let issue = &body["data"]["issue"];
    let status = match text(body, "/action").as_deref() {
        Some("created" | "unresolved") => Status::Firing,
        Some("resolved") => Status::Resolved,
        _ => return sheet.odd("action", &body["action"], "of an issue is nothing to alert about: no alert"),
    };
    let title = sheet.first(AT, issue, &["/title", "/shortId"]);
    let project = sheet.first(AT, issue, &["/project/slug", "/project/name"]);
    let mut draft = Draft::new(AT, settings, status, title.as_deref())
        .description(sheet.text(AT, issue, "/culprit").as_deref())
        .severity("level", &issue["level"])
        .context("service", project.as_deref())
        .link("Sentry", sheet.first(AT, issue, &["/web_url", "/permalink"]).as_deref())
        .label("project", &project.as_deref().into())
        .data("issue_id", &issue["id"])
        .data("action", &body["action"]);
    for name in ["level", "platform", "substatus", "shortId"] {
        draft = draft.label(name, &issue[name]);
    }
    for name in ["statusDetails", "metadata", "count", "userCount", "firstSeen", "lastSeen"] {
        draft = draft.rest(name, &issue[name]);
    }
    let level = text(issue, "/level").and_then(|level| LEVELS.iter().position(|known| *known == level));
    if let Some(level) = level {
        draft = draft.level(level as i64);
    }
    // No `starts_at`: an issue that comes back has the `firstSeen` of its first time.
    if let Some(id) = sheet.text(AT, issue, "/id") {
        draft = draft.dedup_key(&format!("issue-{id}")).within(installation(body, sheet).as_deref());
    }
    sheet.add(draft);
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, decoded};
    use serde_json::json;

    #[test]
    fn an_issue_fires_and_ends_by_its_id() {
        let created = alert(include_str!("../payloads/issue-created.json"));
        assert_eq!(
            created,
            json!({
                "title": "ReferenceError: blooopy is not defined", "description": "?(runner)", "type": "application",
                "severity": "high", "source": {"name": "Sentry", "type": "sentry"}, "status": "firing",
                "dedup_key": "issue-1170820242/a8e5d37a-696c-4c54-adb5-b3f28d64c7de", "vendor_level": 3, "context": {"service": "front-end"},
                "labels": {
                    "project": "front-end", "level": "error", "platform": "javascript", "substatus": "new",
                    "shortId": "FRONT-END-9",
                },
                "data": {
                    "issue_id": "1170820242", "action": "created", "count": "1", "userCount": 1,
                    "firstSeen": "2019-08-19T20:58:37.391000Z", "lastSeen": "2019-08-19T20:58:37.391000Z",
                    "metadata": {"filename": "/runner", "type": "ReferenceError", "value": "blooopy is not defined"},
                },
            })
        );
        let unresolved = alert(include_str!("../payloads/issue-unresolved.json"));
        let resolved = alert(include_str!("../payloads/issue-resolved.json"));
        assert_eq!((&unresolved["status"], &resolved["status"]), (&json!("firing"), &json!("resolved")));
        for other in [unresolved, resolved] {
            assert_eq!((&other["dedup_key"], other.get("starts_at")), (&created["dedup_key"], None));
        }
    }

    #[test]
    fn one_bad_field_costs_itself() {
        let hook = json!({"action": "created", "data": {"issue": {
            "id": 7, "title": ["a"], "shortId": 9, "culprit": true, "project": {"slug": {}, "name": 3},
        }}});
        let (alerts, warnings) = decoded(None, &hook.to_string());
        assert_eq!((&alerts[0]["title"], &alerts[0]["description"]), (&json!("9"), &json!("true")));
        assert_eq!(
            (&alerts[0]["dedup_key"], &alerts[0]["context"]),
            (&json!("issue-7"), &json!({"service": "3"}))
        );
        assert_eq!(
            warnings,
            [
                "data.issue.title: [\"a\"] is not a text: left out",
                "data.issue.project.slug: {} is not a text: left out"
            ]
        );
    }
}
