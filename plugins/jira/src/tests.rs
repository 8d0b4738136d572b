//! What Jira gets, and what becomes of its answers.

use campanile_guest::http::Method;
use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::message::SUMMARY;
use crate::settings::{Api, ISSUE_TYPE, PRIORITIES, TOKEN, priorities};

mod answers;

const NONE: (u16, &str) = (200, r#"{"issues":[],"isLast":true}"#);
const FOUND: (u16, &str) =
    (200, r#"{"issues":[{"id":"10000","key":"OPS-24","fields":{"summary":"t"}}],"isLast":true}"#);
const CREATED: (u16, &str) = (
    201,
    r#"{"id":"10000","key":"OPS-24","self":"https://your-domain.atlassian.net/rest/api/3/issue/10000"}"#,
);
const COMMENTED: (u16, &str) = (201, r#"{"id":"10001"}"#);
const OFFERED: (u16, &str) = (
    200,
    r#"{"transitions":[
        {"id":"2","name":"Close Issue","to":{"name":"Done"}},
        {"id":"711","name":"QA Review","to":{"name":"In review"}}
    ]}"#,
);
const LABEL: &str = "campanile-85091be385977ceb6bd3c24da8ce57e4";

fn settings(api: Api) -> Settings {
    Settings {
        url: "https://example.atlassian.net".to_owned(),
        api,
        token: TOKEN.to_owned(),
        project: "OPS".to_owned(),
        issue_type: ISSUE_TYPE.to_owned(),
        priorities: priorities(&PRIORITIES.map(str::to_owned)).unwrap(),
        labels: Vec::new(),
        summary: None,
        text: None,
        comment: None,
        resolve_transition: None,
    }
}

fn told(
    settings: &Settings,
    delivery: &Delivery,
    answers: &[(u16, &str)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    exchange(answers, |send| deliver(delivery, settings, send))
}

/// The fields of the issue that an alert becomes.
fn fields(settings: &Settings, document: &Value) -> Value {
    let (requests, receipt) = told(settings, &firing(document), &[NONE, CREATED]);
    assert_eq!(receipt.unwrap().id.as_deref(), Some("OPS-24"));
    body(&requests[1])["fields"].clone()
}

fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.url.split_once("/rest/api/").unwrap().1).collect()
}

fn closing() -> Settings {
    Settings { resolve_transition: Some("Done".to_owned()), ..settings(Api::V3) }
}

fn alert() -> Value {
    json!({
        "title": "Pool exhausted", "type": "database", "description": "All [in] use\nsince noon",
        "severity": "high", "source": { "name": "Monitoring" },
        "context": { "environment": "production", "service": "payments" },
        "labels": { "host": "db-1" }, "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
    })
}

#[test]
fn the_requests_to_jira_cloud_are_the_documented_ones() {
    let settings = Settings { labels: vec!["alert".to_owned()], ..settings(Api::V3) };
    let (requests, receipt) = told(&settings, &firing(&alert()), &[NONE, CREATED]);
    assert_eq!(requests[0].url, "https://example.atlassian.net/rest/api/3/search/jql");
    assert_eq!(
        body(&requests[0]),
        json!({
            "jql": format!("project = \"OPS\" AND labels = \"{LABEL}\" ORDER BY created ASC"),
            "fields": ["summary"], "maxResults": 1,
        })
    );
    let text = |text: &str| json!({ "type": "text", "text": text });
    let name = |name: &str| json!({ "type": "text", "text": name, "marks": [{ "type": "strong" }] });
    let line = json!({ "type": "hardBreak" });
    assert_eq!(requests[1].url, "https://example.atlassian.net/rest/api/3/issue");
    assert!(requests[1].headers.contains(&("authorization", "${secret:JIRA_TOKEN}".to_owned())));
    assert_eq!(
        body(&requests[1]),
        json!({ "fields": {
            "project": { "key": "OPS" }, "issuetype": { "name": "Task" }, "priority": { "name": "High" },
            "summary": "Pool exhausted (production/payments)", "labels": ["alert", LABEL],
            "description": { "type": "doc", "version": 1, "content": [
                { "type": "paragraph", "content": [text("All [in] use"), line, text("since noon")] },
                { "type": "paragraph", "content": [
                    name("Alert"), text(": alert-1"), line, name("Severity"), text(": High"), line,
                    name("Type"), text(": database"), line, name("Source"), text(": Monitoring"), line,
                    name("Environment"), text(": production"), line, name("Service"), text(": payments"), line,
                    name("host"), text(": db-1"),
                ] },
                { "type": "paragraph", "content": [{ "type": "text", "text": "Runbook", "marks": [
                    { "type": "link", "attrs": { "href": "https://run.example/db" } },
                ] }] },
            ] },
        } })
    );
    let receipt = receipt.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("OPS-24"), "201"));
}

#[test]
fn data_center_gets_version_2_and_wiki_markup() {
    let (requests, _) = told(&settings(Api::V2), &firing(&alert()), &[NONE, CREATED]);
    assert_eq!(paths(&requests), ["2/search", "2/issue"]);
    assert_eq!(
        body(&requests[1])["fields"]["description"],
        "All \\[in\\] use\nsince noon\n\n*Alert*: alert\\-1\n*Severity*: High\n*Type*: database\n\
         *Source*: Monitoring\n*Environment*: production\n*Service*: payments\n*host*: db\\-1\n\n[Runbook|https://run.example/db]"
    );
}

#[test]
fn a_repeat_finds_its_issue() {
    let (requests, receipt) = told(&settings(Api::V3), &firing(&json!({})), &[FOUND]);
    let receipt = receipt.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (receipt.id.as_deref(), receipt.message.as_str()),
        (Some("OPS-24"), "OPS-24 was there already")
    );
}

#[test]
fn a_resolve_moves_the_issue_and_comments_on_it() {
    let over = resolved(&json!({ "title": "Down", "ends_at": "2026-01-02T03:04:05Z" }), Some("OPS-24"));
    let (requests, receipt) = told(&closing(), &over, &[OFFERED, (204, ""), COMMENTED]);
    assert_eq!(
        paths(&requests),
        ["3/issue/OPS-24/transitions", "3/issue/OPS-24/transitions", "3/issue/OPS-24/comment"]
    );
    assert_eq!((requests[0].method, requests[0].body.as_str()), (Method::Get, ""));
    assert_eq!(body(&requests[1]), json!({ "transition": { "id": "2" } }));
    let said = "✅ Resolved: Down (2026-01-02T03:04:05Z)";
    assert_eq!(body(&requests[2])["body"]["content"][0]["content"][0]["text"], said);
    let receipt = receipt.unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("OPS-24"), "201"));

    let (requests, _) = told(&settings(Api::V2), &over, &[COMMENTED]);
    assert_eq!(body(&requests[0]), json!({ "body": "✅ Resolved: Down (2026\\-01\\-02T03:04:05Z)" }));
}

#[test]
fn a_resolve_finds_its_issue_by_the_label_or_has_nothing_to_do() {
    for earlier in [None, Some("../../2/serverInfo"), Some("OPS-"), Some("OPS-1?x")] {
        let over = resolved(&json!({}), earlier);
        let (requests, _) = told(&settings(Api::V3), &over, &[FOUND, COMMENTED]);
        assert_eq!(paths(&requests), ["3/search/jql", "3/issue/OPS-24/comment"]);
        assert!(body(&requests[0])["jql"].as_str().unwrap().contains(LABEL));
        let (_, receipt) = told(&settings(Api::V3), &over, &[NONE]);
        assert_eq!(receipt.unwrap().message, "the firing has no issue, so there is none to close");
    }
}

#[test]
fn what_cannot_be_moved_is_commented_on_all_the_same() {
    let over = resolved(&json!({}), Some("OPS-24"));
    let elsewhere = Settings { resolve_transition: Some("Closed".to_owned()), ..settings(Api::V3) };
    let (_, receipt) = told(&elsewhere, &over, &[OFFERED, COMMENTED]);
    let why = "201; OPS-24 was not moved: \"Closed\" is not offered, but \"Close Issue\", \"QA Review\"";
    assert_eq!(receipt.unwrap().message, why);
    let refused = (400, r#"{"errorMessages":[],"errors":{"resolution":"Resolution is required."}}"#);
    let (_, receipt) = told(&closing(), &over, &[OFFERED, refused, COMMENTED]);
    assert!(receipt.unwrap().message.contains("answered 400: resolution: Resolution is required."));
    let (requests, failure) = told(&closing(), &over, &[OFFERED, (503, "")]);
    assert_eq!((requests.len(), failure.unwrap_err().retry), (2, Retry::Backoff));
}

#[test]
fn severity_is_priority() {
    let priority = |settings: &Settings, severity: &str| {
        fields(settings, &json!({ "severity": severity })).get("priority").map(|found| found["name"].clone())
    };
    let found =
        ["critical", "high", "medium", "low"].map(|severity| priority(&settings(Api::V3), severity).unwrap());
    assert_eq!(found, ["Highest", "High", "Medium", "Low"]);
    let none = Settings { priorities: priorities(&[]).unwrap(), ..settings(Api::V3) };
    assert_eq!(priority(&none, "low"), None);
    assert!(
        priorities(&["High".to_owned(), "Low".to_owned()]).unwrap_err().message.contains("\"High, Low\"")
    );
}

#[test]
fn jiras_limits_hold_for_the_largest_alert() {
    for character in ['x', '"', '\\', '*', '\n', '\u{1}', '字', '🔥'] {
        let mut document = largest(character);
        let text = character.to_string().repeat(99);
        let link = |n| json!({ "href": format!("https://r.example/{n}{}", "\"".repeat(280)), "text": text });
        document["links"] = (0..9).map(link).collect();
        for api in [Api::V3, Api::V2] {
            let fields = fields(&settings(api), &document);
            assert!(width(fields["summary"].as_str().unwrap()) <= SUMMARY);
            assert!(!fields["summary"].as_str().unwrap().contains('\n'));
            let description = &fields["description"];
            let length = width(&description.to_string());
            assert!(length <= 32_767, "{character:?} {api:?}: {length}");
            assert!(!description.to_string().contains("\"text\":\"\""), "{character:?}: an empty text node");
        }
    }
}

#[test]
fn what_is_left_out_is_told() {
    let document = largest('x');
    let wiki = fields(&settings(Api::V2), &document)["description"].as_str().unwrap().to_owned();
    assert!(wiki.contains("\n*…*: and 41 more\n\n[") && wiki.ends_with("]\n… and 497 more"), "{wiki}");
    let adf = fields(&settings(Api::V3), &document)["description"]["content"].clone();
    let last =
        |paragraph: usize| adf[paragraph]["content"].as_array().unwrap().last().unwrap()["text"].clone();
    assert_eq!([last(1), last(2)], [": and 41 more", "… and 497 more"]);
}

#[test]
fn an_operator_words_it_and_an_alert_cannot() {
    let text = Some("h2. {{ title }}".to_owned());
    let document = json!({ "title": "{code}[~admin]", "labels": { "a|b": "*x*" } });
    let wiki = fields(&Settings { text, ..settings(Api::V2) }, &document);
    let wiki = wiki["description"].as_str().unwrap();
    assert!(wiki.starts_with("h2. \\{code\\}\\[\\~admin\\]\n\n*Alert*"), "{wiki}");
    assert!(wiki.ends_with("*a\\|b*: \\*x\\*"), "{wiki}");
    let odd = Settings { project: "OPS\" OR project = \"HR".to_owned(), ..settings(Api::V3) };
    let (requests, _) = told(&odd, &firing(&document), &[FOUND]);
    let jql = body(&requests[0])["jql"].as_str().unwrap().to_owned();
    assert!(jql.starts_with("project = \"OPS OR project = HR\" AND labels"), "{jql}");
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    let default = |key: &str| &schema["properties"][key]["default"];
    assert_eq!(
        [default("token"), default("issue-type"), default("priorities")],
        [TOKEN, ISSUE_TYPE, &PRIORITIES.join(", ")]
    );
    assert_eq!(
        schema["properties"]["api"],
        json!({
            "enum": ["3", "2"], "default": "3",
            "description": schema["properties"]["api"]["description"],
        })
    );
}

#[test]
fn no_text_of_the_issue_is_blank() {
    for text in BLANKS {
        for api in [Api::V2, Api::V3] {
            let fields = fields(&settings(api), &blank(text));
            assert!(blank_texts(&fields).is_empty(), "{text:?}: {fields}");
        }
    }
}
