//! A run of a workflow that is over: a failure fires, and the next success of that workflow on that branch ends it.

use campanile_guest::source::{Draft, Settings, Sheet};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::repository::Repository;

/// Facts of the run that are kept.
const FACTS: [&str; 6] = ["id", "run_number", "run_attempt", "run_started_at", "updated_at", "head_sha"];

/// What a fork is called that was deleted.
const DELETED: &str = "deleted fork";

/// The run as an alert, if it is over, failed or succeeded, and on a branch that counts.
pub(crate) fn read(payload: &Value, all_branches: bool, settings: &Settings, sheet: &mut Sheet) {
    let run = &payload["workflow_run"];
    if payload["action"].as_str().is_some_and(|action| action != "completed") {
        return sheet.odd(
            "action",
            &payload["action"],
            "of a workflow run is nothing to alert about: no alert",
        );
    }
    let Some((status, verb)) = outcome(run, sheet) else { return };
    let repository = Repository::of(payload, sheet);
    let branch = branch(run, &repository, sheet);
    let is_other =
        branch.is_some() && repository.default_branch.is_some() && branch != repository.default_branch;
    if !all_branches && is_other {
        let what = "is not the default branch: no alert, since `branches` is not \"all\"";
        return sheet.odd("workflow_run.head_branch", &run["head_branch"], what);
    }
    // The workflow's name, or its file.
    let name = ["/workflow/name", "/workflow_run/name", "/workflow/path", "/workflow_run/path"];
    let name = sheet.first("", payload, &name);
    let title = title(name.as_deref(), verb, branch.as_deref(), &repository);
    let draft = Draft::new("workflow_run", settings, status, Some(&title));
    let draft = repository.locate(described(draft, run, sheet)).label("workflow", &name.as_deref().into());
    let draft = draft.label("branch", &branch.as_deref().into());
    let draft = match status {
        Status::Firing => draft,
        Status::Resolved => draft.ends_at("updated_at", &run["updated_at"]),
    };
    let id = sheet.text("workflow_run", run, "/workflow_id");
    let parts =
        [("workflow_run.workflow_id", id.as_deref()), ("workflow_run.head_branch", branch.as_deref())];
    let draft = repository.identify(draft, "workflow", &parts, sheet);
    sheet.add(draft);
}

/// What the conclusion makes of the alert, and how people say it. Other runs neither failed nor succeeded.
fn outcome(run: &Value, sheet: &mut Sheet) -> Option<(Status, &'static str)> {
    match run["conclusion"].as_str() {
        Some("failure") => Some((Status::Firing, "failed")),
        Some("timed_out") => Some((Status::Firing, "timed out")),
        Some("startup_failure") => Some((Status::Firing, "did not start")),
        Some("success") => Some((Status::Resolved, "succeeded")),
        _ => {
            let what = "is neither a failure nor a success: no alert";
            sheet.odd("workflow_run.conclusion", &run["conclusion"], what);
            None
        }
    }
}

/// The branch; that of a fork with the fork's name, so that its `main` is not the repository's. A fork that was deleted has
/// no name left.
fn branch(run: &Value, repository: &Repository, sheet: &mut Sheet) -> Option<String> {
    let branch = sheet.text("workflow_run", run, "/head_branch")?;
    let head = sheet.text("workflow_run", run, "/head_repository/full_name");
    let is_deleted = run.get("head_repository").is_some_and(Value::is_null);
    Some(match head {
        None if is_deleted => format!("{DELETED}:{branch}"),
        Some(fork) if Some(fork.as_ref()) != repository.full_name.as_deref() => format!("{fork}:{branch}"),
        _ => branch.into_owned(),
    })
}

fn title(name: Option<&str>, verb: &str, branch: Option<&str>, repository: &Repository) -> String {
    let name = name.unwrap_or("A workflow");
    let on = branch.map(|branch| format!(" on {branch}")).unwrap_or_default();
    format!("{name} {verb}{on} in {}", repository.shown())
}

fn described(draft: Draft, run: &Value, sheet: &mut Sheet) -> Draft {
    let what = sheet.first("workflow_run", run, &["/display_title", "/head_commit/message"]);
    let draft = draft
        .description(what.as_deref())
        .link("Run", run["html_url"].as_str())
        .label("event", &run["event"])
        .label("conclusion", &run["conclusion"])
        .label("actor", &run["actor"]["login"]);
    FACTS.into_iter().fold(draft, |draft, name| draft.data(name, &run[name]))
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, found, none, with};
    use serde_json::json;

    const FAILED: &str = include_str!("../payloads/workflow-run-failed.json");
    const SUCCEEDED: &str = include_str!("../payloads/workflow-run-succeeded.json");

    #[test]
    fn a_failed_run_keeps_what_people_and_routes_need() {
        assert_eq!(
            alert(FAILED),
            json!({
                "title": "Build and test failed on main in acme/shop",
                "description": "Take the tax of the country that the basket goes to",
                "type": "application", "severity": "medium", "source": {"name": "GitHub", "type": "github"},
                "status": "firing", "dedup_key": "workflow/300029405/61400237/main",
                "context": {"service": "shop"},
                "labels": {
                    "repository": "acme/shop", "workflow": "Build and test", "branch": "main", "event": "push",
                    "conclusion": "failure", "actor": "ada",
                },
                "links": [{"href": "https://github.com/acme/shop/actions/runs/9120044711", "text": "Run"}],
                "data": {
                    "id": 9_120_044_711_u64, "run_number": 1_482, "run_attempt": 1,
                    "run_started_at": "2026-03-02T09:14:07Z", "updated_at": "2026-03-02T09:21:50Z",
                    "head_sha": "6b1f0d6f0a4c4b1e8f4b7d1f1f6f2ad9a4d0c7e3",
                },
            })
        );
    }

    #[test]
    fn the_next_success_ends_the_failure() {
        let (failed, succeeded) = (alert(FAILED), alert(SUCCEEDED));
        assert_eq!(
            (&succeeded["status"], &succeeded["dedup_key"]),
            (&json!("resolved"), &failed["dedup_key"])
        );
        assert_eq!((succeeded.get("starts_at"), failed.get("starts_at")), (None, None));
        assert_eq!(succeeded["ends_at"], "2026-03-02T10:02:31Z");
        assert_ne!(succeeded["data"]["id"], failed["data"]["id"]);
    }

    #[test]
    fn every_conclusion_is_known() {
        for (conclusion, status) in [
            ("failure", Some("firing")),
            ("timed_out", Some("firing")),
            ("startup_failure", Some("firing")),
            ("success", Some("resolved")),
            ("cancelled", None),
            ("skipped", None),
            ("neutral", None),
            ("stale", None),
            ("action_required", None),
        ] {
            let body = with(FAILED, &[("/workflow_run/conclusion", json!(conclusion))]);
            let (alerts, warnings) = found(Some("workflow_run"), &body, false);
            assert_eq!(
                alerts.first().map(|alert| alert["status"].clone()),
                status.map(|status| json!(status))
            );
            assert_eq!(warnings.len(), usize::from(status.is_none()), "{conclusion}: {warnings:?}");
        }
    }

    #[test]
    fn a_run_that_is_not_over_makes_no_alert() {
        assert_eq!(
            none("workflow_run", include_str!("../payloads/workflow-run-requested.json")),
            ["action: \"requested\" of a workflow run is nothing to alert about: no alert"]
        );
    }

    #[test]
    fn other_branches_count_if_the_operator_says_so() {
        let body = include_str!("../payloads/workflow-run-of-a-fork.json");
        assert_eq!(
            none("workflow_run", body),
            [
                "workflow_run.head_branch: \"main\" is not the default branch: no alert, since `branches` is not \
                 \"all\""
            ]
        );
        let (alerts, warnings) = found(None, body, true);
        assert_eq!(alerts[0]["dedup_key"], "workflow/300029405/61400237/grace/shop:main");
        assert_eq!((&alerts[0]["labels"]["branch"], warnings.len()), (&json!("grace/shop:main"), 0));
    }

    #[test]
    fn a_branch_of_a_deleted_fork_is_not_the_repositorys() {
        let body = with(
            include_str!("../payloads/workflow-run-of-a-fork.json"),
            &[("/workflow_run/head_repository", json!(null))],
        );
        assert!(none("workflow_run", &body)[0].contains("is not the default branch: no alert"));
        let (alerts, _) = found(None, &body, true);
        assert_eq!(alerts[0]["labels"]["branch"], "deleted fork:main");
    }

    #[test]
    fn a_run_without_a_branch_is_an_alert() {
        for (branch, count) in [(json!(null), 1), (json!(["main"]), 2), (json!(""), 1)] {
            let body = with(FAILED, &[("/workflow_run/head_branch", branch.clone())]);
            let (alerts, warnings) = found(None, &body, false);
            assert_eq!((alerts.len(), warnings.len()), (1, count), "{branch}: {warnings:?}");
            assert_eq!(alerts[0]["title"], "Build and test failed in acme/shop");
            assert!(
                warnings
                    .contains(&"workflow_run.head_branch: is missing: no end will find the alert".to_owned())
            );
        }
    }

    #[test]
    fn what_is_missing_or_odd_costs_itself() {
        let body = with(
            FAILED,
            &[
                ("/workflow_run/workflow_id", json!("61400237")),
                ("/workflow_run/run_number", json!("1482")),
                ("/workflow/name", json!(["Build"])),
                ("/workflow_run/head_commit", json!(7)),
                ("/workflow_run/display_title", json!(null)),
                ("/repository/default_branch", json!(null)),
            ],
        );
        let (alerts, warnings) = found(None, &body, false);
        assert_eq!(alerts[0]["title"], "Build and test failed on main in acme/shop");
        assert_eq!(alerts[0]["dedup_key"], "workflow/300029405/61400237/main");
        assert_eq!(warnings, ["workflow.name: [\"Build\"] is not a text: left out"]);

        let bare = r#"{"workflow_run": {"conclusion": "failure"}}"#;
        let (alerts, warnings) = found(None, bare, false);
        assert_eq!(
            (&alerts[0]["title"], alerts[0].get("dedup_key")),
            (&json!("A workflow failed in a repository"), None)
        );
        assert_eq!(warnings, ["repository.full_name: is missing: no end will find the alert"]);
    }
}
