//! A status of a deployment: a failure fires, and the next success in that environment ends it.

use campanile_guest::source::{Draft, Settings, Sheet};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::repository::Repository;

/// The status as an alert, if the deployment failed or succeeded.
pub(crate) fn read(payload: &Value, settings: &Settings, sheet: &mut Sheet) {
    let state = &payload["deployment_status"];
    let Some((status, verb)) = outcome(state, sheet) else { return };
    let repository = Repository::of(payload, sheet);
    let environment =
        sheet.first("", payload, &["/deployment_status/environment", "/deployment/environment"]);
    let shown = environment.as_deref().unwrap_or("an environment");
    let title = format!("Deployment of {} to {shown} {verb}", repository.shown());
    let draft = Draft::new("deployment_status", settings, status, Some(&title))
        .context("environment", environment.as_deref())
        .label("environment", &environment.as_deref().into());
    let draft = repository.locate(described(draft, payload, sheet));
    let draft = match status {
        Status::Firing => draft,
        Status::Resolved => draft.ends_at("created_at", &state["created_at"]),
    };
    let task = sheet.text("", payload, "/deployment/task");
    let parts = [
        ("deployment.environment", environment.as_deref()),
        ("deployment.task", task.as_deref().or(Some("deploy"))),
    ];
    let draft = repository.identify(draft, "deployment", &parts, sheet);
    sheet.add(draft);
}

/// What the state makes of the alert, and how people say it. The others are on the way, or of a deployment that was replaced.
fn outcome(state: &Value, sheet: &mut Sheet) -> Option<(Status, &'static str)> {
    match state["state"].as_str() {
        Some("failure") => Some((Status::Firing, "failed")),
        Some("error") => Some((Status::Firing, "ended in an error")),
        Some("success") => Some((Status::Resolved, "succeeded")),
        _ => {
            let what = "is neither a failure nor a success: no alert";
            sheet.odd("deployment_status.state", &state["state"], what);
            None
        }
    }
}

/// The payload of the deployment stays with GitHub: teams put anything into it.
fn described(draft: Draft, payload: &Value, sheet: &mut Sheet) -> Draft {
    let what = sheet.first("", payload, &["/deployment_status/description", "/deployment/description"]);
    let log = sheet.first("", payload, &["/deployment_status/log_url", "/deployment_status/target_url"]);
    let (state, deployment) = (&payload["deployment_status"], &payload["deployment"]);
    draft
        .description(what.as_deref())
        .link("Log", log.as_deref())
        .link("Environment", state["environment_url"].as_str())
        .label("ref", &deployment["ref"])
        .label("task", &deployment["task"])
        .label("production", &deployment["production_environment"])
        .label("actor", &state["creator"]["login"])
        .data("state", &state["state"])
        .data("deployment_id", &deployment["id"])
        .data("sha", &deployment["sha"])
        .data("created_at", &state["created_at"])
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, found, none, with};
    use serde_json::json;

    const FAILED: &str = include_str!("../payloads/deployment-failed.json");

    #[test]
    fn a_failed_deployment_keeps_what_people_and_routes_need() {
        assert_eq!(
            alert(FAILED),
            json!({
                "title": "Deployment of acme/shop to production failed",
                "description": "Three of four instances did not become healthy",
                "type": "application", "severity": "medium", "source": {"name": "GitHub", "type": "github"},
                "status": "firing", "dedup_key": "deployment/300029405/production/deploy",
                "context": {"environment": "production", "service": "shop"},
                "labels": {
                    "repository": "acme/shop", "environment": "production", "ref": "main", "task": "deploy",
                    "production": "true", "actor": "deploy-bot[bot]",
                },
                "links": [
                    {"href": "https://github.com/acme/shop/actions/runs/9120101133/job/4", "text": "Log"},
                    {"href": "https://shop.example.com/", "text": "Environment"},
                ],
                "data": {
                    "state": "failure", "deployment_id": 1_530_022_417, "created_at": "2026-03-02T09:40:12Z",
                    "sha": "6b1f0d6f0a4c4b1e8f4b7d1f1f6f2ad9a4d0c7e3",
                },
            })
        );
    }

    #[test]
    fn the_next_success_in_the_environment_ends_the_failure() {
        let (failed, succeeded) =
            (alert(FAILED), alert(include_str!("../payloads/deployment-succeeded.json")));
        assert_eq!(
            (&succeeded["status"], &succeeded["dedup_key"]),
            (&json!("resolved"), &failed["dedup_key"])
        );
        assert_eq!(
            (&succeeded["ends_at"], succeeded.get("starts_at")),
            (&json!("2026-03-02T10:11:48Z"), None)
        );
    }

    #[test]
    fn a_deployment_on_its_way_makes_no_alert() {
        for state in ["pending", "queued", "in_progress", "waiting", "inactive"] {
            let body = with(FAILED, &[("/deployment_status/state", json!(state))]);
            assert_eq!(
                none("deployment_status", &body),
                [format!("deployment_status.state: {state:?} is neither a failure nor a success: no alert")]
            );
        }
        let error = with(FAILED, &[("/deployment_status/state", json!("error"))]);
        assert_eq!(alert(&error)["status"], "firing");
    }

    #[test]
    fn what_is_missing_costs_itself() {
        let bare = r#"{"deployment_status": {"state": "failure"}, "repository": {"full_name": "acme/shop"}}"#;
        let (alerts, warnings) = found(None, bare, false);
        assert_eq!(alerts[0]["title"], "Deployment of acme/shop to an environment failed");
        assert_eq!(alerts[0].get("dedup_key"), None);
        assert_eq!(warnings, ["deployment.environment: is missing: no end will find the alert"]);
    }
}
