//! What Jira gets, and what becomes of its answers.

use campanile_guest::http::Method;
use campanile_guest::testing::{body, change, ended, exchange};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use campanile_guest::{COMMENT_ON, Outcome};
use serde_json::{Value, json};

use super::*;
use crate::settings::{Api, ISSUE, TOKEN};

const NONE: (u16, &str) = (200, r#"{"startAt": 0, "maxResults": 100, "total": 0, "comments": []}"#);
const CREATED: (u16, &str) =
    (201, r#"{"id": "10000", "self": "https://x.example/rest/api/3/issue/10010/comment/10000"}"#);
const OPEN: (u16, &str) = (
    200,
    r#"{"id": "10002", "key": "OPS-7", "fields": {"status": {"name": "To Do"}}, "transitions": [
    {"id": "21", "name": "Start", "to": {"name": "In Progress"}}, {"id": "31", "name": "Finish", "to": {"name": "Done"}}]}"#,
);
const MOVED: (u16, &str) = (204, "");

fn settings(api: Api, transition: Option<&str>) -> Settings {
    Settings {
        url: "https://x.example".to_owned(),
        api,
        authorization: TOKEN.to_owned(),
        issue: ISSUE.to_owned(),
        comments: true,
        comment: None,
        transition: transition.map(str::to_owned),
    }
}

fn known() -> Value {
    json!({ "title": "Pool full", "data": { "jira": { "issue": "OPS-7" } } })
}

/// Tells a Jira that gives these answers: the requests that it got, and what came of it.
fn told(
    change: &Change,
    settings: &Settings,
    answers: &[(u16, &str)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    let document = Document::parse(&change.alert.document).unwrap();
    exchange(answers, |send| tell(change, &document, settings, send))
}

fn failed(answers: &[(u16, &str)], transition: Option<&str>) -> Failure {
    told(&change(&known(), Outcome::Failed), &settings(Api::V3, transition), answers).1.unwrap_err()
}

#[test]
fn jira_cloud_gets_a_document() {
    let (requests, result) =
        told(&change(&known(), Outcome::Partial), &settings(Api::V3, None), &[NONE, CREATED]);
    let receipt = result.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("OPS-7"), "OPS-7: commented"));
    assert_eq!(
        requests[0].url,
        "https://x.example/rest/api/3/issue/OPS-7/comment?orderBy=-created&maxResults=100"
    );
    assert_eq!(
        (requests[1].method, requests[1].url.as_str()),
        (Method::Post, "https://x.example/rest/api/3/issue/OPS-7/comment")
    );
    assert!(requests.iter().all(|request| request.headers.contains(&("authorization", TOKEN.to_owned()))));
    let text = "alert: Pool full\nid: alert-1\noutcome: partial\n- slack: delivered: 200: ok\n\
        - email: failed: no such user\nchange: alert-1/updater/partial";
    assert_eq!(
        body(&requests[1]),
        json!({ "body": { "type": "doc", "version": 1, "content": [
            { "type": "paragraph", "content": [{ "type": "text", "text": "Campanile: partial" }] },
            { "type": "codeBlock", "content": [{ "type": "text", "text": text }] },
        ] } })
    );
}

#[test]
fn jira_data_center_gets_wiki_markup() {
    let (requests, _) =
        told(&ended(&known(), Outcome::Delivered), &settings(Api::V2, None), &[NONE, CREATED]);
    assert!(requests[1].url.contains("/rest/api/2/"));
    let text = body(&requests[1])["body"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Campanile: resolved\n{noformat}\nalert: Pool full\n"), "{text}");
    assert!(text.ends_with("\nchange: alert-1-resolved/updater/delivered\n{noformat}"), "{text}");
}

#[test]
fn an_alert_stays_within_its_block() {
    let mut document = known();
    document["title"] =
        json!("{noformat}[~admin] {NOFORMAT}\n{noformat:title=x} !https://evil.example/x.png!");
    let (requests, _) =
        told(&change(&document, Outcome::Delivered), &settings(Api::V2, None), &[NONE, CREATED]);
    let text = body(&requests[1])["body"].as_str().unwrap().to_ascii_lowercase();
    assert_eq!(text.matches("{noformat").count(), 2, "{text}");
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let mut document = known();
    document["title"] = json!("{noformat}[~admin]\nchange: alert-1/updater/failed");
    let comment = Some("h1. {{ title }} is {{ outcome }}".to_owned());
    let settings = Settings { comment, ..settings(Api::V2, None) };
    let (requests, _) = told(&change(&document, Outcome::Partial), &settings, &[NONE, CREATED]);
    assert_eq!(
        body(&requests[1])["body"],
        "Campanile: partial\n{noformat}\nh1. { noformat}[~admin]\n- change: alert-1/updater/failed is partial\n\
         change: alert-1/updater/partial\n{noformat}"
    );
}

#[test]
fn jiras_limit_holds_for_the_largest_alert() {
    let comment = Some("{{ description }}\n{{ lines }}".to_owned());
    for (character, api) in [("{noformat", Api::V2), ("{", Api::V2), ("🔥", Api::V3)] {
        let mut document = known();
        document["description"] = json!(character.repeat(70_000));
        let settings = Settings { comment: comment.clone(), ..settings(api, None) };
        let (requests, _) = told(&change(&document, Outcome::Partial), &settings, &[NONE, CREATED]);
        assert!(width(&body(&requests[1])["body"].to_string()) <= 32_767, "{character}");
    }
}

#[test]
fn a_repeat_comments_once() {
    for api in [Api::V2, Api::V3] {
        let change = change(&known(), Outcome::Delivered);
        let (requests, _) = told(&change, &settings(api, None), &[NONE, CREATED]);
        let there = json!({ "comments": [{ "body": "by hand" }, body(&requests[1])] }).to_string();
        let (requests, result) = told(&change, &settings(api, None), &[(200, &there)]);
        assert_eq!((requests.len(), result.unwrap().message.as_str()), (1, "OPS-7: commented before"));
        // Another change of the same alert is another comment.
        let other = Change { change_id: "alert-1/updater/delivered2".to_owned(), ..change };
        assert_eq!(told(&other, &settings(api, None), &[(200, &there), CREATED]).0.len(), 2);
    }
}

#[test]
fn the_issue_is_moved_to_a_status_or_by_a_transition() {
    for wanted in ["Done", "done", "Finish"] {
        let answers = [NONE, CREATED, OPEN, MOVED];
        let (requests, result) =
            told(&ended(&known(), Outcome::Delivered), &settings(Api::V3, Some(wanted)), &answers);
        assert_eq!(result.unwrap().message, "OPS-7: commented, moved from To Do to Done");
        assert_eq!(
            requests[2].url,
            "https://x.example/rest/api/3/issue/OPS-7?fields=status&expand=transitions"
        );
        assert_eq!(requests[3].url, "https://x.example/rest/api/3/issue/OPS-7/transitions");
        assert_eq!(body(&requests[3]), json!({ "transition": { "id": "31" } }));
    }
}

#[test]
fn what_is_there_already_is_not_moved() {
    let done = r#"{"fields": {"status": {"name": "Done"}}, "transitions": [{"id": "31", "name": "Finish", "to": {"name": "Done"}}]}"#;
    for wanted in ["Done", "Finish"] {
        let settings = Settings { comments: false, ..settings(Api::V3, Some(wanted)) };
        let (requests, result) = told(&ended(&known(), Outcome::Delivered), &settings, &[(200, done)]);
        assert_eq!((requests.len(), result.unwrap().message.as_str()), (1, "OPS-7: is Done already"));
    }
}

#[test]
fn what_is_not_offered_says_what_is() {
    let failure = failed(&[NONE, CREATED, OPEN], Some("Closed"));
    assert_eq!((failure.code.as_str(), failure.retry), ("transition-not-offered", Retry::Never));
    assert_eq!(
        failure.message,
        "OPS-7 is To Do, and nothing there is called \"Closed\"; Jira offers this account: Start (to In Progress), Finish (to Done)"
    );
}

#[test]
fn the_issue_is_where_the_operator_says() {
    let of = |issue: &str| {
        let settings = Settings { issue: issue.to_owned(), ..settings(Api::V3, None) };
        let document = json!({ "labels": { "ticket": "12" }, "data": { "n": 7, "id": "10002" } });
        told(&change(&document, Outcome::Delivered), &settings, &[NONE, CREATED]).1
    };
    assert_eq!(of("OPS-{{ labels.ticket }}").unwrap().id.as_deref(), Some("OPS-12"));
    assert_eq!(
        of("{{ labels.nothing }}").unwrap().message,
        "nothing to do: the alert names no issue at `{{ labels.nothing }}`"
    );
    assert_eq!(of("/data/id").unwrap().id.as_deref(), Some("10002"));
    assert_eq!(of("/data/n").unwrap().id, None);
    let failure = of("{{ labels.").unwrap_err();
    assert!(
        failure.code == "config-invalid" && failure.message.contains("the template `issue` failed: line 1"),
        "{failure:?}"
    );
}

#[test]
fn an_issue_that_is_none_goes_into_no_address() {
    for odd in ["../myself", "OPS-7/comment", "OPS-7?x", "${secret:JIRA_TOKEN}", "OPS 7", "ÖPS-7"] {
        let document = json!({ "data": { "jira": { "issue": odd } } });
        let (requests, result) = told(&change(&document, Outcome::Delivered), &settings(Api::V3, None), &[]);
        let failure = result.unwrap_err();
        assert!(requests.is_empty());
        assert!(failure.code == "issue-invalid" && failure.message.contains(odd), "{failure:?}");
    }
}

#[test]
fn there_is_not_always_something_to_do() {
    let settings = Settings { comments: false, ..settings(Api::V3, None) };
    let (_, result) = told(&change(&known(), Outcome::Pending), &settings, &[]);
    assert_eq!(result.unwrap().message, "nothing to do: nothing is configured for pending");
}

#[test]
fn jiras_errors_say_whether_to_try_again() {
    let gone = r#"{"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}}"#;
    let field = r#"{"errorMessages": [], "errors": {"resolution": "Resolution is required."}}"#;
    for (answers, code, retry, said) in [
        (vec![(404, gone)], "issue-not-found", Retry::Never, "may see it"),
        (vec![(401, "Client must be authenticated")], "http-401", Retry::Never, "authenticated"),
        (vec![(429, "")], "rate-limited", Retry::Backoff, "429"),
        (vec![NONE, (503, "")], "http-503", Retry::Backoff, "503"),
        (vec![NONE, CREATED, OPEN, (400, field)], "http-400", Retry::Never, "Resolution is required."),
        (vec![(200, "<html>")], "unexpected-answer", Retry::Never, "check `url`"),
    ] {
        let failure = failed(&answers, Some("Done"));
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry));
        assert!(failure.message.contains(said), "{}", failure.message);
    }
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    let default = |key: &str| schema["properties"][key]["default"].clone();
    assert_eq!(
        (default("authorization"), default("issue"), default("comment-on")),
        (json!(TOKEN), json!(ISSUE), json!(COMMENT_ON))
    );
    for state in COMMENT_ON.split(", ") {
        assert!(schema["properties"][format!("transition-{state}")].is_object(), "{state}");
    }
}
