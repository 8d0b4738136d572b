//! Jira Cloud: issues of the notifier's own. Its answers: developer.atlassian.com/cloud/jira/platform/rest/v3 (issue search,
//! issues, comments, transitions) and …/cloud/jira/platform/rate-limiting (of a 429 it shows no body).

use serde_json::{Value, json};

use super::alerts::{SINCE, UNTIL};
use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, receipt};

/// `campanile@example.com` and the token, as HTTP wants them.
pub(super) const BASIC: &str = "Basic Y2FtcGFuaWxlQGV4YW1wbGUuY29tOkFUQVRUM3hGZkdGMC1odXNo";
pub(super) const TOKEN: (&str, &str, &str) =
    ("JIRA_TOKEN", "ATATT3xFfGF0-hush", "kind = \"basic\"\nusername = \"campanile@example.com\"");

pub(super) const JIRA: Service = Service {
    plugin: "jira",
    home: "https://example.atlassian.net",
    config: "resolve-transition = \"Done\"",
    grants: "http = [\"POST {home}/rest/api/3/search/jql\", \"POST {home}/rest/api/3/issue\",\n\
             \"POST {home}/rest/api/3/issue/*/comment\", \"GET,POST {home}/rest/api/3/issue/*/transitions\"]",
    secrets: &[TOKEN],
    answers: &[
        ("POST /rest/api/3/search/jql", 200, r#"{"issues": [], "isLast": true}"#),
        (
            "POST /rest/api/3/issue",
            201,
            r#"{"id": "10000", "key": "OPS-24",
                "self": "https://example.atlassian.net/rest/api/3/issue/10000"}"#,
        ),
        (
            "GET /rest/api/3/issue/OPS-24/transitions",
            200,
            r#"{"transitions": [{"id": "5", "name": "In progress", "to": {"name": "In Progress"}},
                {"id": "2", "name": "Close Issue", "to": {"name": "Done"}}]}"#,
        ),
        ("POST /rest/api/3/issue/OPS-24/transitions", 204, ""),
        (
            "POST /rest/api/3/issue/OPS-24/comment",
            201,
            r#"{"id": "10001", "self": "https://example.atlassian.net/rest/api/3/issue/10000/comment/10001"}"#,
        ),
    ],
    pause: Pause { status: 429, retry_after: Some("1"), body: "", seconds: 1 },
    refusal: Refusal {
        at: "POST /rest/api/3/issue",
        status: 400,
        body: r#"{"errorMessages": [], "errors": {"project": "valid project is required"}}"#,
        code: "invalid-project",
        words: "project: valid project is required",
    },
};

/// Text in the Atlassian Document Format.
fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// What is known, line by line.
fn facts(facts: &[(&str, &str)]) -> Vec<Value> {
    let strong = |name: &str| json!({"type": "text", "text": name, "marks": [{"type": "strong"}]});
    let lines = facts.iter().map(|(name, value)| vec![strong(name), text(&format!(": {value}"))]);
    lines.collect::<Vec<_>>().join(&json!({"type": "hardBreak"}))
}

/// A document of these paragraphs.
fn document(paragraphs: &[Vec<Value>]) -> Value {
    let paragraph = |content| json!({"type": "paragraph", "content": content});
    json!({"type": "doc", "version": 1, "content": paragraphs.iter().map(paragraph).collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_gets_an_issue_that_the_end_moves_and_comments_on() {
    let stage = Stage::of(&[JIRA]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "jira"), receipt(&ended, "jira")], [Some("OPS-24"); 2]);
    let requests = stage.requests("jira");
    let [search, create, _, transition, comment] = &requests;
    assert_eq!(
        requests.each_ref().map(|request| request.line()),
        [
            "POST /rest/api/3/search/jql",
            "POST /rest/api/3/issue",
            "GET /rest/api/3/issue/OPS-24/transitions",
            "POST /rest/api/3/issue/OPS-24/transitions",
            "POST /rest/api/3/issue/OPS-24/comment",
        ]
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), BASIC);
        assert_eq!(request.header("accept"), "application/json");
    }
    let created = create.json();
    let label = created["fields"]["labels"][0].as_str().expect("a label");
    let known = [
        ("Alert", fired["id"].as_str().expect("an id")),
        ("Severity", "Critical"),
        ("Type", "database"),
        ("Source", "Monitoring"),
        ("Environment", "production"),
        ("Service", "payments"),
        ("Since", SINCE),
        ("team", "db"),
    ];
    let link = json!({"type": "link", "attrs": {"href": "https://run.example/db"}});
    let links = vec![json!({"type": "text", "text": "Runbook", "marks": [link]})];
    assert_eq!(
        created,
        json!({"fields": {
            "project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "priority": {"name": "Highest"},
            "summary": "Pool \"db\" is full (production/payments)", "labels": [label],
            "description": document(&[vec![text("All connections in use")], facts(&known), links]),
        }})
    );
    assert_eq!(
        search.json(),
        json!({
            "jql": format!("project = \"OPS\" AND labels = \"{label}\" ORDER BY created ASC"),
            "fields": ["summary"], "maxResults": 1,
        })
    );
    assert_eq!(transition.json(), json!({"transition": {"id": "2"}}));
    let said = format!("✅ Resolved: Pool \"db\" is full ({UNTIL})");
    assert_eq!(comment.json(), json!({"body": document(&[vec![text(&said)]])}));
    assert!(!stage.host.log().has(|event| event.to_string().contains(&BASIC[6..])));
}
