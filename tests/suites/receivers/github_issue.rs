//! GitHub: issues that alerts belong to. Its answers: docs.github.com/en/rest, "REST API endpoints for issues", "… for issue
//! comments", "… for labels", and "Rate limits for the REST API".

use serde_json::json;

use super::alerts::{ended, lines_of_end, lines_of_taking, tracked};
use super::service::{Pause, Refusal, Service};
use super::slack::SLACK;
use super::stage::{Stage, receipt};

const TOKEN: &str = "github_pat_11AAAAAAA0hush";
const ISSUE: &str = r#"{"id": 1, "number": 1347, "state": "open", "title": "Pool", "comments": 0,
    "labels": [{"id": 208045946, "name": "bug"}]}"#;

pub(super) const GITHUB_ISSUE: Service = Service {
    plugin: "github-issue",
    home: "https://api.github.com",
    config: "url = \"{home}\"",
    grants: "",
    secrets: &[("GITHUB_TOKEN", TOKEN, "kind = \"bearer\"")],
    answers: &[
        ("GET /repos/example/operations/issues/1347", 200, ISSUE),
        ("GET /repos/example/operations/issues/1347/comments", 200, "[]"),
        ("POST /repos/example/operations/issues/1347/comments", 201, r#"{"id": 1, "body": "…"}"#),
        (
            "POST /repos/example/operations/issues/1347/labels",
            200,
            r#"[{"id": 208045946, "name": "bug"}, {"id": 208045947, "name": "in progress"}]"#,
        ),
        ("PATCH /repos/example/operations/issues/1347", 200, ISSUE),
    ],
    pause: Pause {
        status: 403,
        retry_after: Some("1"),
        body: r#"{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"}"#,
        seconds: 1,
    },
    refusal: Refusal {
        at: "GET /repos/example/operations/issues/1347",
        status: 401,
        body: r#"{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}"#,
        code: "bad-credentials",
        words: "Bad credentials",
    },
};

/// A comment: a headline, and a block of lines in which nothing is markup.
fn comment(state: &str, lines: &str) -> serde_json::Value {
    json!({"body": format!("**Campanile: {state}**\n\n```text\n{lines}\n```")})
}

#[tokio::test(flavor = "multi_thread")]
async fn github_hears_who_took_the_alert_of_its_issue_over_and_that_it_ended() {
    let stage = Stage::of(&[SLACK, GITHUB_ISSUE]).await;
    let alert = tracked();
    let taken = stage.taken_over(alert.clone(), &SLACK).await;
    let over = stage.ledger(ended(alert)).await;
    for ledger in [&taken, &over] {
        assert_eq!(receipt(ledger, "github-issue"), Some("example/operations#1347"));
    }
    let requests = stage.requests::<8>("github-issue");
    let at = "/repos/example/operations/issues/1347";
    assert_eq!(
        requests.each_ref().map(|request| request.line()),
        [
            format!("GET {at}"),
            format!("GET {at}/comments?per_page=50&page=1"),
            format!("POST {at}/comments"),
            format!("POST {at}/labels"),
            format!("GET {at}"),
            format!("GET {at}/comments?per_page=50&page=1"),
            format!("POST {at}/comments"),
            format!("PATCH {at}"),
        ]
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), format!("Bearer {TOKEN}"));
        assert_eq!(request.header("accept"), "application/vnd.github+json");
        assert_eq!(request.header("x-github-api-version"), "2022-11-28");
    }
    let [_, _, first, label, _, _, second, close] = &requests;
    let id = taken["id"].as_str().expect("an id");
    assert_eq!(first.json(), comment("acknowledged", &lines_of_taking(id, "github-issue", &first.json())));
    assert_eq!(label.json(), json!({"labels": ["in progress"]}));
    assert_eq!(second.json(), comment("resolved", &lines_of_end(id, "github-issue", &second.json())));
    assert_eq!(close.json(), json!({"state": "closed", "state_reason": "completed"}));
}
