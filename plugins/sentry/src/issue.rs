//! An issue of Sentry: events that are one problem, from its first to the time somebody resolves it.

use campanile_guest::source::{Draft, Settings, Sheet, text};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::hook;

/// The issue as an alert.
pub(crate) fn read(body: &Value, settings: &Settings, sheet: &mut Sheet) {
    let issue = &body["data"]["issue"];
    let status = match text(body, "/action") {
        Some("created" | "unresolved") => Status::Firing,
        Some("resolved") => Status::Resolved,
        _ => return sheet.odd("action", &body["action"], "of an issue is nothing to alert about: no alert"),
    };
    let title = text(issue, "/title").or(text(issue, "/shortId"));
    let project = text(issue, "/project/slug").or(text(issue, "/project/name"));
    let mut draft = Draft::new("data.issue", settings, status, title)
        .description(text(issue, "/culprit"))
        .severity("level", &issue["level"])
        .context("service", project)
        .link("Sentry", text(issue, "/web_url").or(text(issue, "/permalink")))
        .label("project", &project.into())
        .data("action", &body["action"]);
    for name in ["level", "platform", "substatus", "shortId"] {
        draft = draft.label(name, &issue[name]);
    }
    for name in ["statusDetails", "metadata", "count", "userCount", "firstSeen", "lastSeen"] {
        draft = draft.data(name, &issue[name]);
    }
    // No `starts_at`: an issue that comes back has the `firstSeen` of its first time.
    if let Some(id) = hook::id(&issue["id"]) {
        draft = draft.dedup_key(&format!("issue-{id}"));
    }
    sheet.add(draft);
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::alert;
    use serde_json::json;

    #[test]
    fn an_issue_fires_and_ends_by_its_id() {
        let created = alert(include_str!("../payloads/issue-created.json"));
        assert_eq!(
            created,
            json!({
                "title": "ReferenceError: blooopy is not defined", "description": "?(runner)", "type": "application",
                "severity": "high", "source": {"name": "Sentry", "type": "sentry"}, "status": "firing",
                "dedup_key": "issue-1170820242", "context": {"service": "front-end"},
                "labels": {
                    "project": "front-end", "level": "error", "platform": "javascript", "substatus": "new",
                    "shortId": "FRONT-END-9",
                },
                "data": {
                    "action": "created", "count": "1", "userCount": 1,
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
}
