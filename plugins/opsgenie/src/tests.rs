//! What Opsgenie gets, and what becomes of its answers.

use campanile_guest::testing::{BLANKS, blank, blank_texts, body, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::alert::{DESCRIPTION, DETAILS, ENTITY, MESSAGE, SOURCE, TAG, TAGS};
use crate::settings::{KEY, URL};

/// The answer that Opsgenie documents.
const TAKEN: &str = r#"{"result": "Request will be processed", "took": 0.302,
    "requestId": "43a29c5c-3dbf-4fa4-9c26-f4f71023e120"}"#;

fn settings() -> Settings {
    Settings {
        url: URL.to_owned(),
        key: KEY.to_owned(),
        responders: Vec::new(),
        tags: Vec::new(),
        message: None,
        description: None,
    }
}

fn told(
    delivery: &Delivery,
    settings: &Settings,
    answer: (u16, &str),
) -> (Request, Result<Receipt, Failure>) {
    let (mut requests, result) = exchange(&[answer], |send| deliver(delivery, settings, send));
    (requests.remove(0), result)
}

fn created(document: &Value) -> Value {
    body(&told(&firing(document), &settings(), (202, TAKEN)).0)
}

fn failed(status: u16, text: &str) -> Failure {
    told(&firing(&json!({})), &settings(), (status, text)).1.unwrap_err()
}

/// The documented example, as far as an alert says such things.
#[test]
fn an_alert_is_created_as_documented() {
    let delivery = firing(&json!({
        "title": "An example alert message", "description": "Every alert needs a description",
        "source": { "name": "The source" }, "context": { "service": "An example entity" },
        "labels": { "key1": "value1", "key2": "value2" },
        "data": { "triage": { "priority": "P1", "tags": ["Critical"] } },
    }));
    let settings = Settings {
        responders: responders::parse(&["team:NOC", "user:trinity@opsgenie.com"].map(str::to_owned)).unwrap(),
        tags: vec!["OverwriteQuietHours".to_owned()],
        ..settings()
    };
    let (request, result) = told(&delivery, &settings, (202, TAKEN));
    assert_eq!(request.url, "https://api.opsgenie.com/v2/alerts");
    assert!(request.headers.contains(&("authorization", "GenieKey ${secret:OPSGENIE_KEY}".to_owned())));
    assert!(request.headers.contains(&("content-type", "application/json".to_owned())));
    assert_eq!(
        body(&request),
        json!({
            "message": "An example alert message",
            "alias": "85091be385977ceb6bd3c24da8ce57e4",
            "description": "Every alert needs a description",
            "responders": [
                { "name": "NOC", "type": "team" },
                { "username": "trinity@opsgenie.com", "type": "user" },
            ],
            "tags": ["OverwriteQuietHours", "Critical"],
            "details": {
                "Alert": "alert-1", "Severity": "Critical", "Priority": "P1", "Type": "custom",
                "Source": "The source", "Service": "An example entity", "key1": "value1", "key2": "value2",
            },
            "entity": "An example entity",
            "source": "The source",
            "priority": "P1",
        })
    );
    let receipt = result.unwrap();
    assert_eq!(receipt.id.as_deref(), Some("43a29c5c-3dbf-4fa4-9c26-f4f71023e120"));
    assert_eq!(receipt.message, "202");
}

#[test]
fn a_resolve_closes_it_by_its_alias() {
    let alias = created(&json!({}))["alias"].as_str().unwrap().to_owned();
    let document = json!({ "title": "Down", "source": { "name": "Zabbix" } });
    for earlier in [None, Some("43a29c5c")] {
        let (request, result) = told(&resolved(&document, earlier), &settings(), (202, TAKEN));
        assert!(result.is_ok());
        assert_eq!(request.url, format!("{URL}/{alias}/close?identifierType=alias"));
        assert!(request.headers.contains(&("authorization", "GenieKey ${secret:OPSGENIE_KEY}".to_owned())));
        assert_eq!(
            body(&request),
            json!({ "user": "Campanile", "source": "Zabbix", "note": "Resolved: Down" })
        );
    }
}

#[test]
fn an_account_in_the_eu_has_its_own_address() {
    for url in ["https://api.eu.opsgenie.com/v2/alerts", "https://api.eu.opsgenie.com/v2/alerts/"] {
        let settings = Settings { url: url.to_owned(), ..settings() };
        let (request, _) = told(&resolved(&json!({}), None), &settings, (202, TAKEN));
        assert!(request.url.starts_with("https://api.eu.opsgenie.com/v2/alerts/85091be3"), "{request:?}");
    }
}

#[test]
fn the_priority_is_that_of_triage_else_of_the_severity() {
    for (severity, priority) in [("critical", "P1"), ("high", "P2"), ("medium", "P3"), ("low", "P4")] {
        assert_eq!(created(&json!({ "severity": severity }))["priority"], priority);
        let odd = json!({ "severity": severity, "data": { "triage": { "priority": "urgent" } } });
        assert_eq!(created(&odd)["priority"], priority);
    }
    let found = json!({ "severity": "low", "data": { "triage": { "priority": "P2" } } });
    assert_eq!(created(&found)["priority"], "P2");
}

#[test]
fn opsgenies_limits_hold_for_the_largest_alert() {
    for character in ['x', '<', '🔥'] {
        let mut document = largest(character);
        document["data"]["triage"]["tags"] = json!(vec![character.to_string().repeat(100); 30]);
        let alert = created(&document);
        for (name, limit) in
            [("message", MESSAGE), ("description", DESCRIPTION), ("entity", ENTITY), ("source", SOURCE)]
        {
            assert!(width(alert[name].as_str().unwrap()) <= limit, "{name}");
        }
        let tags = alert["tags"].as_array().unwrap();
        assert!(tags.len() == TAGS && tags.iter().all(|tag| width(tag.as_str().unwrap()) <= TAG));
        let details = alert["details"].as_object().unwrap();
        let size: usize =
            details.iter().map(|(name, value)| width(name) + width(value.as_str().unwrap())).sum();
        assert!(size <= DETAILS && details.len() > 6, "{size}");
    }
}

#[test]
fn no_text_of_the_alert_is_blank() {
    for text in BLANKS {
        let alert = created(&blank(text));
        assert!(blank_texts(&alert).is_empty(), "{text:?}: {alert}");
        assert_eq!((&alert["message"], &alert["tags"]), (&json!("alert-1"), &json!([])));
    }
}

#[test]
fn jira_service_management_has_an_address_of_its_own() {
    let url = "https://api.atlassian.com/jsm/ops/integration/v2/alerts".to_owned();
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    let pattern = schema["properties"]["url"]["pattern"].as_str().unwrap();
    assert_eq!(pattern, "^https?://[^/?#]+/[^?#]*$", "which the address fits");
    let settings = Settings { url, ..settings() };
    let (create, _) = told(&firing(&json!({})), &settings, (202, TAKEN));
    assert_eq!(create.url, "https://api.atlassian.com/jsm/ops/integration/v2/alerts");
    let (close, _) = told(&resolved(&json!({}), None), &settings, (202, TAKEN));
    assert_eq!(
        close.url,
        "https://api.atlassian.com/jsm/ops/integration/v2/alerts/85091be385977ceb6bd3c24da8ce57e4/close?identifierType=alias"
    );
    assert!(
        failed(401, r#"{"message": "Could not authenticate"}"#)
            .message
            .contains("/jsm/ops/integration/v2/alerts")
    );
}

#[test]
fn what_is_left_out_is_told() {
    let alert = created(&largest('x'));
    let details = alert["details"].as_object().unwrap();
    assert_eq!(details["…"], format!("and {} more", 57 - details.len()));
    let description = alert["description"].as_str().unwrap();
    let shown = description.matches("\nhttps:").count();
    assert!(description.ends_with(&format!("\n… and {} more", 500 - shown)), "{description}");
}

#[test]
fn links_follow_the_description() {
    let document = json!({
        "description": "Down", "links": ["https://a.example/<b>", { "href": "https://run.example", "text": "Run" }],
    });
    assert_eq!(
        created(&document)["description"],
        "Down\n\nhttps://a.example/%3Cb%3E\nRun: https://run.example"
    );
}

#[test]
fn an_alert_writes_no_html_and_names_no_other_address() {
    let text = "<a href=\"https://evil.example\">here</a>";
    let document =
        json!({ "title": text, "description": text, "labels": { "<b>": text }, "source": { "name": text } });
    let alert = created(&document);
    assert!(!alert.to_string().contains(['<', '>']), "{alert}");
    let mut delivery = resolved(&document, None);
    delivery.thread_id = "../../v2/users/${secret:OPSGENIE_KEY}?x#y%2F/receiver".to_owned();
    let (request, _) = told(&delivery, &settings(), (202, TAKEN));
    let alias =
        request.url.strip_prefix(URL).and_then(|rest| rest.strip_suffix("/close?identifierType=alias"));
    assert!(!alias.unwrap()[1..].contains(['/', '?', '#', '%', '$', '{', '.']), "{}", request.url);
    assert!(!request.body.contains(['<', '>']), "{}", request.body);
}

#[test]
fn an_operator_words_it() {
    let settings = Settings {
        message: Some("{{ state }}: {{ title }}".to_owned()),
        description: Some("<b>{{ description }}</b>".to_owned()),
        ..settings()
    };
    let delivery = firing(&json!({ "title": "Down", "description": "<i>x</i>" }));
    let alert = body(&told(&delivery, &settings, (202, TAKEN)).0);
    assert_eq!(
        (&alert["message"], &alert["description"]),
        (&json!("Critical: Down"), &json!("<b>‹i›x‹/i›</b>"))
    );
}

#[test]
fn opsgenies_answers_say_whether_to_try_again() {
    let said = |message: &str| json!({ "message": message, "took": 0.0, "requestId": "1" }).to_string();
    for (status, text, code, retry) in [
        (401, said("Could not authenticate"), "invalid-key", Retry::Never),
        (422, said("Key format is not valid!"), "invalid-key", Retry::Never),
        (
            403,
            said("To perform this action, use an API key from an API integration."),
            "invalid-key",
            Retry::Never,
        ),
        (402, String::new(), "http-402", Retry::Never),
        (422, said("Request body is not processable. Please check the errors."), "http-422", Retry::Never),
        (429, String::new(), "rate-limited", Retry::Backoff),
        (500, String::new(), "http-500", Retry::Backoff),
        (503, String::new(), "http-503", Retry::Backoff),
    ] {
        let failure = failed(status, &text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{status} {text}");
    }
    let text = r#"{"message": "Request body is not processable. Please check the errors.", "errors": {"message": "why"}}"#;
    assert!(failed(422, text).message.ends_with("Please check the errors.: why"));
    assert!(failed(401, &said("Could not authenticate")).message.contains("api.eu.opsgenie.com"));
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], URL);
    assert_eq!(schema["properties"]["key"]["default"], KEY);
}
