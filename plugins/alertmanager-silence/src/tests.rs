//! What the Alertmanager gets, and what becomes of its answers.

use campanile_guest::Outcome;
use campanile_guest::http::Method;
use campanile_guest::testing::{body, change, ended, exchange};
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::settings::duration;

const CREATED: &str = r#"{"silenceID": "5947eba9-c472-42c4-88fe-ad9b8cd781b0"}"#;
const MARK: &str = "campanile: alert=alert-1 at=2026-01-01T10:00:00Z change=alert-1/updater/delivered";

fn settings(labels: Option<&str>) -> Settings {
    Settings {
        url: "https://am.example".to_owned(),
        labels: labels.map(|names| names.split(',').map(str::to_owned).collect()),
        duration: duration("2h").unwrap(),
        authorization: "${secret:AM}".to_owned(),
    }
}

fn taken() -> Value {
    json!({
        "title": "Pool full", "labels": { "alertname": "Pool \"a\"", "severity": "critical" },
        "acknowledgement": { "by": "ana", "note": "on it", "at": "2026-01-01T10:00:00Z" },
    })
}

fn listed(comment: &str, state: &str) -> Value {
    json!({ "id": "abc-1", "status": { "state": state }, "comment": comment, "createdBy": "ana", "matchers": [] })
}

/// Tells an Alertmanager that gives these answers: the requests that it got, and what came of it.
fn told(
    change: &Change,
    settings: &Settings,
    answers: &[(u16, String)],
) -> (Vec<Request>, Result<Receipt, Failure>) {
    let now = "2026-01-01T10:00:05.042287192Z".parse().unwrap();
    let answers: Vec<_> = answers.iter().map(|(status, text)| (*status, text.as_str())).collect();
    exchange(&answers, |send| tell(change, settings, now, send))
}

fn list(silences: &[Value]) -> (u16, String) {
    (200, json!(silences).to_string())
}

/// The silence that is created for this alert.
fn created(document: &Value, settings: &Settings) -> Value {
    let change = change(document, Outcome::Delivered);
    let (requests, result) = told(&change, settings, &[list(&[]), (200, CREATED.to_owned())]);
    assert_eq!(result.unwrap().id.as_deref(), Some("5947eba9-c472-42c4-88fe-ad9b8cd781b0"));
    body(&requests[1])
}

#[test]
fn no_alert_asks_for_a_secret() {
    let mut document = taken();
    document["labels"]["alertname"] = json!("${secret:AM}");
    let change = change(&document, Outcome::Delivered);
    let (requests, _) = told(&change, &settings(None), &[list(&[]), (200, CREATED.to_owned())]);
    assert!(requests[0].url.ends_with("%22%24%7B%73ecret%3AAM%7D%22"), "{}", requests[0].url);
}

#[test]
fn what_is_taken_over_is_silenced() {
    let change = change(&taken(), Outcome::Delivered);
    let (requests, result) = told(&change, &settings(None), &[list(&[]), (200, CREATED.to_owned())]);
    assert_eq!(result.unwrap().message, "silenced until 2026-01-01T12:00:05Z");
    assert_eq!(requests[0].method, Method::Get);
    assert_eq!(
        requests[0].url,
        "https://am.example/api/v2/silences?filter=alertname%3D%22Pool%20%5C%22a%5C%22%22"
    );
    assert_eq!(
        (requests[1].method, requests[1].url.as_str()),
        (Method::Post, "https://am.example/api/v2/silences")
    );
    assert!(
        requests
            .iter()
            .all(|request| request.headers.contains(&("authorization", "${secret:AM}".to_owned())))
    );
    assert_eq!(
        serde_json::from_str::<Value>(&requests[1].body).unwrap(),
        json!({
            "matchers": [
                { "name": "alertname", "value": "Pool \"a\"", "isRegex": false, "isEqual": true },
                { "name": "severity", "value": "critical", "isRegex": false, "isEqual": true },
            ],
            "startsAt": "2026-01-01T10:00:05Z", "endsAt": "2026-01-01T12:00:05Z", "createdBy": "ana",
            "comment": format!("Acknowledged by ana: on it\n{MARK}"),
        })
    );
}

#[test]
fn a_label_that_is_listed_and_missing_keeps_the_silence_narrow() {
    let silence = created(&taken(), &settings(Some("severity,instance")));
    assert_eq!(silence["matchers"][0]["name"], "severity");
    assert_eq!(
        silence["matchers"][1],
        json!({ "name": "instance", "value": "", "isRegex": false, "isEqual": true })
    );
    assert_eq!(silence["matchers"].as_array().unwrap().len(), 2);
}

#[test]
fn nothing_is_ever_silenced_as_a_whole() {
    let unlabelled = json!({ "acknowledgement": { "by": "ana" } });
    for (document, labels) in [(unlabelled, None), (taken(), Some("instance"))] {
        let (requests, result) = told(&change(&document, Outcome::Delivered), &settings(labels), &[]);
        assert!(requests.is_empty());
        assert_eq!(result.unwrap_err().code, "no-labels");
    }
}

#[test]
fn a_repeat_finds_its_silence_whatever_became_of_it() {
    for state in ["active", "pending", "expired"] {
        let there = list(&[listed("maintenance", "active"), listed(&format!("x\n{MARK}"), state)]);
        let (requests, result) = told(&change(&taken(), Outcome::Delivered), &settings(None), &[there]);
        let receipt = result.unwrap();
        assert_eq!((requests.len(), receipt.id.as_deref()), (1, Some("abc-1")));
        assert!(receipt.message.ends_with(state), "{}", receipt.message);
    }
}

#[test]
fn another_acknowledgement_is_another_silence() {
    let earlier = listed("x\ncampanile: alert=alert-1 at=2025-12-31T10:00:00Z change=c", "active");
    let other = listed("x\ncampanile: alert=alert-10 at=2026-01-01T10:00:00Z change=c", "active");
    let answers = [list(&[earlier, other]), (200, CREATED.to_owned())];
    assert!(told(&change(&taken(), Outcome::Delivered), &settings(None), &answers).1.is_ok());
}

#[test]
fn nobody_forges_a_mark() {
    let mut document = taken();
    document["acknowledgement"]["note"] = json!("x\ncampanile: alert=alert-2 at=y change=z");
    document["acknowledgement"]["at"] = json!("y change=z\ncampanile: alert=alert-2 ");
    let comment = created(&document, &settings(None))["comment"].as_str().unwrap().to_owned();
    assert_eq!(comment.lines().count(), 2, "{comment}");
    assert!(silence::is_marked(&comment, "campanile: alert=alert-1 "));
    assert!(!silence::is_marked(&comment, "campanile: alert=alert-2 "));
}

#[test]
fn a_resolve_ends_what_the_firing_began() {
    let change = ended(&taken(), Outcome::Delivered);
    let silences = [
        listed(&format!("x\n{MARK}"), "active"),
        listed(&format!("x\n{MARK}"), "expired"),
        listed("by hand", "active"),
    ];
    let (requests, result) = told(&change, &settings(None), &[list(&silences), (200, String::new())]);
    assert_eq!(result.unwrap().message, "the silence was ended");
    assert_eq!(requests.len(), 2);
    assert_eq!(
        (requests[1].method, requests[1].url.as_str()),
        (Method::Delete, "https://am.example/api/v2/silence/abc-1")
    );
    assert!(requests[1].body.is_empty());
}

#[test]
fn what_has_ended_can_be_ended_again() {
    let answers =
        |last: (u16, &str)| [list(&[listed(&format!("x\n{MARK}"), "active")]), (last.0, last.1.to_owned())];
    for last in [(404, ""), (500, "\"silence abc-1 already expired\"")] {
        assert!(told(&ended(&taken(), Outcome::Delivered), &settings(None), &answers(last)).1.is_ok());
    }
    let failure = told(&ended(&taken(), Outcome::Delivered), &settings(None), &answers((500, "\"disk\"")))
        .1
        .unwrap_err();
    assert_eq!(failure.retry, Retry::Backoff);
}

#[test]
fn a_resolve_ends_only_as_many_as_a_call_can() {
    let silences = vec![listed(&format!("x\n{MARK}"), "active"); 12];
    let answers: Vec<_> = [list(&silences)].into_iter().chain(vec![(200, String::new()); MOST]).collect();
    let (requests, result) = told(&ended(&taken(), Outcome::Delivered), &settings(None), &answers);
    assert_eq!(requests.len(), 9);
    assert_eq!(result.unwrap().message, "8 of 12 silences were ended; the others end by themselves");
}

#[test]
fn there_is_not_always_something_to_do() {
    let fired = change(&json!({ "labels": { "a": "b" } }), Outcome::Delivered);
    let (requests, result) = told(&fired, &settings(None), &[]);
    assert!(requests.is_empty());
    assert_eq!(result.unwrap().message, "nothing to do: the alert is neither acknowledged nor resolved");
    let (_, result) = told(&ended(&taken(), Outcome::Delivered), &settings(None), &[list(&[])]);
    assert_eq!(result.unwrap().message, "nothing to do: the alert has no silence of ours");
    let (requests, result) = told(&ended(&json!({}), Outcome::Delivered), &settings(None), &[]);
    assert!(requests.is_empty() && result.is_ok());
}

#[test]
fn an_id_that_is_none_goes_into_no_address() {
    let mut odd = listed(&format!("x\n{MARK}"), "active");
    odd["id"] = json!("../alerts?${secret:AM}");
    let (requests, result) = told(&ended(&taken(), Outcome::Delivered), &settings(None), &[list(&[odd])]);
    assert!(requests.len() == 1 && result.is_ok());
}

#[test]
fn refusals_say_whether_to_try_again() {
    let invalid = r#""invalid silence: invalid label matcher 0: invalid label name \"a b\"""#;
    let unprocessable = r#"{"code": 602, "message": "matchers in body is required"}"#;
    for (answer, code, retry, said) in [
        ((400, invalid), "http-400", Retry::Never, "invalid label name"),
        ((422, unprocessable), "http-422", Retry::Never, "matchers in body"),
        ((401, "Unauthorized"), "http-401", Retry::Never, "Unauthorized"),
        ((503, ""), "http-503", Retry::Backoff, "503"),
    ] {
        let answers = [list(&[]), (answer.0, answer.1.to_owned())];
        let failure = told(&change(&taken(), Outcome::Delivered), &settings(None), &answers).1.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry));
        assert!(failure.message.contains(said), "{}", failure.message);
    }
    let page = [(200, "<html>".to_owned())];
    let failure = told(&change(&taken(), Outcome::Delivered), &settings(None), &page).1.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("unexpected-answer", Retry::Never));
}

#[test]
fn the_configuration_schema_names_the_default() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["duration"]["default"], settings::DURATION);
}
