//! What becomes of Jira's refusals.

use super::*;

/// The failure of an issue's creation.
fn failed(status: u16, text: &str) -> Failure {
    told(&settings(Api::V3), &firing(&json!({})), &[NONE, (status, text)]).1.unwrap_err()
}

#[test]
fn jiras_errors_say_whether_to_try_again() {
    for (status, text, code, retry) in [
        (400, r#"{"errors":{"project":"valid project is required"}}"#, "invalid-project", Retry::Never),
        (400, r#"{"errors":{"issuetype":"Specify a valid issue type"}}"#, "invalid-issue-type", Retry::Never),
        (
            400,
            r#"{"errors":{"priority":"Field 'priority' cannot be set."}}"#,
            "invalid-priority",
            Retry::Never,
        ),
        (400, r#"{"errors":{"labels":"Field 'labels' cannot be set."}}"#, "invalid-labels", Retry::Never),
        (400, r#"{"errors":{"customfield_10010":"Team is required."}}"#, "field-required", Retry::Never),
        (400, r#"{"errors":{"description":"It exceeds the allowed limit"}}"#, "too-long", Retry::Never),
        (401, "Client must be authenticated to access this resource.", "http-401", Retry::Never),
        (403, r#"{"errorMessages":["No permission"],"errors":{}}"#, "http-403", Retry::Never),
        (429, "", "rate-limited", Retry::Backoff),
        (503, "<html>", "http-503", Retry::Backoff),
    ] {
        let failure = failed(status, text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{text}");
    }
    assert!(failed(403, r#"{"errorMessages":["No"],"errors":{}}"#).message.ends_with("answered 403: No"));
}

#[test]
fn a_project_that_is_not_there_is_told_by_the_search() {
    let nowhere = r#"{"errorMessages":["The value 'OPS' does not exist for the field 'project'."]}"#;
    let failure = told(&settings(Api::V3), &firing(&json!({})), &[(400, nowhere)]).1.unwrap_err();
    assert_eq!(failure.code, "invalid-project");
    assert!(failure.message.contains("check `project`"));
}

#[test]
fn an_issue_that_is_gone_is_told() {
    let gone = (
        404,
        r#"{"errorMessages":["Issue does not exist or you do not have permission to see it."],"errors":{}}"#,
    );
    let over = resolved(&json!({}), Some("OPS-24"));
    let failure = told(&settings(Api::V3), &over, &[gone]).1.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("issue-gone", Retry::Never));
}
