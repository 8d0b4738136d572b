//! Jira Cloud: issues that alerts belong to. Its answers: developer.atlassian.com/cloud/jira/platform/rest/v3 (issue comments,
//! issues, transitions) and …/cloud/jira/platform/rate-limiting.

use serde_json::{Value, json};

use super::alerts::{ended, lines_of_end, lines_of_taking, tracked};
use super::jira::{BASIC, TOKEN};
use super::service::{Pause, Refusal, Service};
use super::slack::SLACK;
use super::stage::{Stage, receipt};

pub(super) const JIRA_STATUS: Service = Service {
    plugin: "jira-status",
    home: "https://example.atlassian.net",
    config: "",
    grants: "",
    secrets: &[TOKEN],
    answers: &[
        (
            "GET /rest/api/3/issue/OPS-7/comment",
            200,
            r#"{"startAt": 0, "maxResults": 100, "total": 0, "comments": []}"#,
        ),
        (
            "POST /rest/api/3/issue/OPS-7/comment",
            201,
            r#"{"id": "10000", "self": "https://example.atlassian.net/rest/api/3/issue/10010/comment/10000"}"#,
        ),
        (
            "GET /rest/api/3/issue/OPS-7",
            200,
            r#"{"id": "10010", "key": "OPS-7", "fields": {"status": {"name": "To Do"}}, "transitions": [
                {"id": "21", "name": "Start", "to": {"name": "In Progress"}},
                {"id": "31", "name": "Finish", "to": {"name": "Done"}}]}"#,
        ),
        ("POST /rest/api/3/issue/OPS-7/transitions", 204, ""),
    ],
    pause: Pause { status: 429, retry_after: Some("1"), body: "", seconds: 1 },
    refusal: Refusal {
        at: "GET /rest/api/3/issue/OPS-7/comment",
        status: 404,
        body: r#"{"errorMessages": ["Issue does not exist or you do not have permission to see it."],
            "errors": {}}"#,
        code: "issue-not-found",
        words: "Issue does not exist or you do not have permission to see it.",
    },
};

/// A comment in the Atlassian Document Format: a headline, and a block of lines in which nothing is markup.
fn comment(state: &str, lines: &str) -> Value {
    let text = |text: String| json!([{"type": "text", "text": text}]);
    json!({"body": {"type": "doc", "version": 1, "content": [
        {"type": "paragraph", "content": text(format!("Campanile: {state}"))},
        {"type": "codeBlock", "content": text(lines.to_owned())},
    ]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_hears_who_took_the_alert_of_its_issue_over_and_that_it_ended() {
    let stage = Stage::of(&[SLACK, JIRA_STATUS]).await;
    let alert = tracked();
    let taken = stage.taken_over(alert.clone(), &SLACK).await;
    let over = stage.ledger(ended(alert)).await;
    assert_eq!([receipt(&taken, "jira-status"), receipt(&over, "jira-status")], [Some("OPS-7"); 2]);
    let requests = stage.requests::<8>("jira-status");
    let asked = [
        "GET /rest/api/3/issue/OPS-7/comment?orderBy=-created&maxResults=100",
        "POST /rest/api/3/issue/OPS-7/comment",
        "GET /rest/api/3/issue/OPS-7?fields=status&expand=transitions",
        "POST /rest/api/3/issue/OPS-7/transitions",
    ];
    assert_eq!(requests.each_ref().map(|request| request.line())[..], [asked, asked].concat());
    for request in &requests {
        assert_eq!(request.header("authorization"), BASIC);
        assert_eq!(request.header("accept"), "application/json");
    }
    let [_, first, _, start, _, second, _, finish] = &requests;
    let id = taken["id"].as_str().expect("an id");
    assert_eq!(first.json(), comment("acknowledged", &lines_of_taking(id, "jira-status", &first.json())));
    assert_eq!(start.json(), json!({"transition": {"id": "21"}}));
    assert_eq!(second.json(), comment("resolved", &lines_of_end(id, "jira-status", &second.json())));
    assert_eq!(finish.json(), json!({"transition": {"id": "31"}}));
}
