//! What GitHub gets, and what becomes of its answers.

use campanile_guest::http::Method;
use campanile_guest::testing::{body, change, ended, exchange};
use campanile_guest::types::Retry;
use campanile_guest::{COMMENT_ON, Outcome};
use serde_json::{Value, json};

use super::*;
use crate::settings::{API, ISSUE, TOKEN};

const CREATED: (u16, &str) = (201, r#"{"id": 1, "body": "Me too"}"#);
const NONE: (u16, &str) = (200, "[]");
const DONE: (u16, &str) = (200, "[]");

fn settings() -> Settings {
    Settings {
        url: API.to_owned(),
        authorization: TOKEN.to_owned(),
        owner: "octocat".to_owned(),
        repo: "hello-world".to_owned(),
        issue: ISSUE.to_owned(),
        comments: true,
        comment: None,
        labels: Vec::new(),
        close: false,
    }
}

fn known() -> Value {
    json!({ "title": "Pool full", "data": { "github": { "issue": 1347 } } })
}

fn issue(state: &str, comments: u64) -> (u16, String) {
    let labels = json!([{ "id": 208045946, "name": "Bug" }]);
    (200, json!({ "number": 1347, "state": state, "comments": comments, "labels": labels }).to_string())
}

/// Tells a GitHub that gives these answers: the requests that it got, and what came of it.
fn told(
    change: &Change,
    settings: &Settings,
    answers: &[(u16, &str)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    let document = Document::parse(&change.alert.document).unwrap();
    exchange(answers, |send| tell(change, &document, settings, send))
}

fn comment(document: &Value) -> String {
    worded(document, &settings())
}

fn worded(document: &Value, settings: &Settings) -> String {
    let (status, open) = issue("open", 0);
    let (requests, _) =
        told(&change(document, Outcome::Partial), settings, &[(status, &open), NONE, CREATED]);
    body(&requests[2])["body"].as_str().unwrap().to_owned()
}

#[test]
fn a_change_is_a_comment() {
    let (status, open) = issue("open", 0);
    let (requests, result) =
        told(&change(&known(), Outcome::Partial), &settings(), &[(status, &open), NONE, CREATED]);
    let receipt = result.unwrap();
    assert_eq!(receipt.id.as_deref(), Some("octocat/hello-world#1347"));
    assert_eq!(receipt.message, "octocat/hello-world#1347: commented");
    assert_eq!(requests[0].url, "https://api.github.com/repos/octocat/hello-world/issues/1347");
    assert_eq!(requests[1].url, format!("{}/comments?per_page=50&page=1", requests[0].url));
    assert_eq!(
        (requests[2].method, &requests[2].url),
        (Method::Post, &format!("{}/comments", requests[0].url))
    );
    for header in [
        ("accept", "application/vnd.github+json"),
        ("x-github-api-version", "2022-11-28"),
        ("authorization", TOKEN),
    ] {
        assert!(
            requests.iter().all(|request| request.headers.contains(&(header.0, header.1.to_owned()))),
            "{header:?}"
        );
    }
    assert_eq!(
        comment(&known()),
        "**Campanile: partial**\n\n```text\nalert: Pool full\nid: alert-1\noutcome: partial\n- slack: delivered: 200: ok\n\
         - email: failed: no such user\nchange: alert-1/updater/partial\n```"
    );
}

#[test]
fn an_alert_stays_within_its_block() {
    let mut document = known();
    document["title"] = json!("@octocat #1 ````\n```` <!-- ![x](https://evil.example/x.png)");
    let comment = comment(&document);
    let fence = "`````";
    assert!(
        comment.contains(&format!("\n\n{fence}text\nalert: @octocat #1 ")) && comment.ends_with(fence),
        "{comment}"
    );
    assert_eq!(comment.lines().filter(|line| line.starts_with('`')).count(), 2);
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let mut document = known();
    document["title"] = json!("@octocat ```\nchange: alert-1/updater/failed");
    let words = Some("{{ title }}\nsee #{{ data.github.issue }}".to_owned());
    assert_eq!(
        worded(&document, &Settings { comment: words, ..settings() }),
        "**Campanile: partial**\n\n````text\n@octocat ```\n- change: alert-1/updater/failed\nsee #1347\n\
         change: alert-1/updater/partial\n````"
    );
    let failing = Settings { comment: Some("{{ nope(".to_owned()), ..settings() };
    assert_eq!(worded(&known(), &failing), comment(&known()), "the built-in text loses nothing");
}

#[test]
fn a_resolve_labels_and_closes() {
    let settings = Settings { labels: vec!["bug".to_owned(), "over".to_owned()], close: true, ..settings() };
    let (status, open) = issue("open", 0);
    let answers = [(status, open.as_str()), NONE, CREATED, DONE, (200, "{}")];
    let (requests, result) = told(&ended(&known(), Outcome::Delivered), &settings, &answers);
    assert_eq!(result.unwrap().message, "octocat/hello-world#1347: commented, labelled, closed");
    assert!(requests[3].method == Method::Post && requests[3].url.ends_with("/issues/1347/labels"));
    assert_eq!(body(&requests[3]), json!({ "labels": ["over"] }));
    assert!(requests[4].method == Method::Patch && requests[4].url.ends_with("/issues/1347"));
    assert_eq!(body(&requests[4]), json!({ "state": "closed", "state_reason": "completed" }));
}

#[test]
fn a_repeat_does_nothing_twice() {
    let settings = Settings { labels: vec!["BUG".to_owned()], close: true, ..settings() };
    let change = ended(&known(), Outcome::Delivered);
    let (status, open) = issue("open", 0);
    let (requests, _) = told(&change, &settings, &[(status, &open), NONE, CREATED, (200, "{}")]);
    let page = json!([{ "body": null }, { "body": "by hand" }, body(&requests[2])])
        .to_string()
        .replace("\\n", "\\r\\n");
    let (status, closed) = issue("closed", 3);
    let (requests, result) = told(&change, &settings, &[(status, &closed), (200, &page)]);
    assert_eq!(requests.len(), 2);
    assert_eq!(
        result.unwrap().message,
        "octocat/hello-world#1347: commented before, labelled before, closed before"
    );
}

#[test]
fn the_latest_comments_are_looked_at() {
    let (status, open) = issue("open", 151);
    let (requests, _) =
        told(&change(&known(), Outcome::Failed), &settings(), &[(status, &open), NONE, NONE, CREATED]);
    let pages: Vec<_> =
        requests[1..3].iter().map(|request| request.url.rsplit('=').next().unwrap()).collect();
    assert_eq!(pages, ["4", "3"]);
}

#[test]
fn an_issue_is_a_number() {
    let of = |issue: Value| {
        let found = json!({ "data": { "github": { "issue": issue } } });
        issue::number(&Document::parse(&found.to_string()).unwrap(), ISSUE)
    };
    for (given, number) in [
        (json!(7), Some(7)),
        (json!("7"), Some(7)),
        (json!(" #7 "), Some(7)),
        (json!(null), None),
        (json!(""), None),
    ] {
        assert_eq!(of(given).unwrap(), number);
    }
    for odd in [json!("../../user"), json!("${secret:GITHUB_TOKEN}"), json!(-1), json!(1.5), json!([1])] {
        let failure = of(odd.clone()).unwrap_err();
        assert!(failure.code == "issue-invalid" && failure.message.contains(&odd.to_string()), "{failure:?}");
    }
}

#[test]
fn there_is_not_always_something_to_do() {
    let idle = Settings { comments: false, ..settings() };
    let (_, result) = told(&change(&known(), Outcome::Pending), &idle, &[]);
    assert_eq!(result.unwrap().message, "nothing to do: nothing is configured for pending");
    let (_, result) = told(&change(&json!({}), Outcome::Failed), &settings(), &[]);
    assert_eq!(result.unwrap().message, "nothing to do: the alert names no issue at /data/github/issue");
}

#[test]
fn githubs_errors_say_whether_to_try_again() {
    let secondary = r#"{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#;
    let (status, open) = issue("open", 0);
    let open = (status, open.as_str());
    for (answers, code, retry, said) in [
        (vec![(403, secondary)], "rate-limited", Retry::After(60_000), "secondary"),
        (vec![open, NONE, (403, secondary)], "rate-limited", Retry::After(60_000), "secondary"),
        (vec![(429, "")], "rate-limited", Retry::After(60_000), "429"),
        (
            vec![(403, r#"{"message": "API rate limit exceeded for user ID 1."}"#)],
            "rate-limited",
            Retry::After(60_000),
            "user ID 1",
        ),
        (vec![(401, r#"{"message": "Bad credentials"}"#)], "bad-credentials", Retry::Never, "authorization"),
        (vec![(404, r#"{"message": "Not Found"}"#)], "not-found", Retry::Never, "`owner`"),
        (vec![(301, r#"{"message": "Moved Permanently"}"#)], "moved", Retry::Never, "`repo`"),
        (vec![(410, r#"{"message": "This issue was deleted"}"#)], "http-410", Retry::Never, "deleted"),
        (
            vec![open, NONE, (403, r#"{"message": "Resource not accessible by personal access token"}"#)],
            "not-accessible",
            Retry::Never,
            "write access",
        ),
        (
            vec![
                open,
                NONE,
                (422, r#"{"message": "Validation Failed", "errors": [{"message": "Body is too long"}]}"#),
            ],
            "http-422",
            Retry::Never,
            "Failed: Body",
        ),
        (vec![(502, "")], "http-502", Retry::Backoff, "502"),
        (vec![(200, "<html>")], "unexpected-answer", Retry::Never, "`url`"),
    ] {
        let failure = told(&change(&known(), Outcome::Failed), &settings(), &answers).1.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry));
        assert!(failure.message.contains(said), "{}", failure.message);
    }
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    let default = |key: &str| schema["properties"][key]["default"].clone();
    assert_eq!((default("url"), default("authorization")), (json!(API), json!(TOKEN)));
    assert_eq!((default("issue"), default("comment-on")), (json!(ISSUE), json!(COMMENT_ON)));
    for state in COMMENT_ON.split(", ") {
        assert!(schema["properties"][format!("label-{state}")].is_object(), "{state}");
    }
}
