//! What PagerDuty gets, and what becomes of its answers.

use campanile_guest::Outcome;
use campanile_guest::testing::{body, change, ended, exchange};
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;

const ACCEPTED: &str = r#"{"status": "success", "message": "Event processed", "dedup_key": "pool"}"#;

fn settings() -> Settings {
    Settings {
        url: ENQUEUE.to_owned(),
        routing_key: "${secret:KEY.mark}".to_owned(),
        key: key(None, None).unwrap(),
    }
}

fn taken() -> Value {
    json!({ "id": "a-1", "dedup_key": "pool", "acknowledgement": { "by": "ana", "note": "", "at": "2026-01-01T00:00:00Z" } })
}

/// What was sent, if anything, and what came of it.
fn told(
    change: &Change,
    settings: &Settings,
    answer: (u16, &str),
) -> (Option<Request>, Result<Receipt, Failure>) {
    let (requests, result) = exchange(&[answer], |send| tell(change, settings, send));
    (requests.into_iter().next(), result)
}

fn event(change: &Change, settings: &Settings) -> Value {
    let (request, result) = told(change, settings, (202, ACCEPTED));
    assert_eq!(result.unwrap().id.as_deref(), Some("pool"));
    body(&request.unwrap())
}

fn dedup_key(change: &Change, settings: &Settings) -> Value {
    event(change, settings)["dedup_key"].clone()
}

#[test]
fn what_is_taken_over_is_acknowledged_and_what_has_ended_is_resolved() {
    let expected =
        |action| json!({ "routing_key": "${secret:KEY.mark}", "event_action": action, "dedup_key": "pool" });
    assert_eq!(event(&change(&taken(), Outcome::Delivered), &settings()), expected("acknowledge"));
    assert_eq!(event(&ended(&taken(), Outcome::Failed), &settings()), expected("resolve"));
    let (request, _) = told(&change(&taken(), Outcome::Pending), &settings(), (202, ACCEPTED));
    assert_eq!(request.unwrap().url, "https://events.pagerduty.com/v2/enqueue");
}

#[test]
fn the_key_is_where_the_operator_says() {
    let key = |document: Value, pointer: Option<&str>| {
        let settings = Settings { key: key(pointer.map(str::to_owned), None).unwrap(), ..settings() };
        dedup_key(&ended(&document, Outcome::Delivered), &settings)
    };
    assert_eq!(key(json!({ "id": "a-1" }), None), "a-1");
    let document = json!({ "id": "a-1", "dedup_key": "pool", "data": { "pd": "PD1", "dedup_key": "PD2" } });
    assert_eq!(key(document.clone(), Some("/data/pd")), "PD1");
    assert_eq!(key(document, None), "PD2", "as the source pagerduty-events has it");
}

#[test]
fn the_key_of_a_receiver_is_the_one_of_its_thread() {
    let settings = Settings { key: key(None, Some("pagerduty".to_owned())).unwrap(), ..settings() };
    let of = |thread: &str| {
        let mut document = taken();
        document["thread_id"] = thread.into();
        [change(&document, Outcome::Delivered), ended(&document, Outcome::Delivered)]
    };
    assert!(of("alert-0").iter().all(|change| dedup_key(change, &settings) == "alert-0/pagerduty"));
    let long = "x".repeat(300);
    let key_of_long = campanile_guest::key(&format!("{long}/pagerduty"), 255);
    assert!(of(&long).iter().all(|change| dedup_key(change, &settings) == key_of_long));
    let both = key(Some("/id".to_owned()), Some("pagerduty".to_owned())).err().unwrap();
    assert!(both.message.contains("`dedup-key` and `receiver`"), "{}", both.message);
}

#[test]
fn there_is_not_always_something_to_tell() {
    let fired = change(&json!({ "dedup_key": "pool" }), Outcome::Delivered);
    let keyless = ended(&json!({}), Outcome::Delivered);
    let long = ended(&json!({ "id": "x".repeat(256) }), Outcome::Delivered);
    for (change, why) in [
        (fired, "neither acknowledged nor resolved"),
        (keyless, "no text at /data/dedup_key or /dedup_key or /id"),
        (long, "256 characters"),
    ] {
        let (request, result) = told(&change, &settings(), (500, ""));
        assert!(request.is_none());
        let message = result.unwrap().message;
        assert!(message.starts_with("nothing to tell PagerDuty: ") && message.contains(why), "{message}");
    }
}

#[test]
fn a_repeat_is_the_same_event() {
    let change = change(&taken(), Outcome::Delivered);
    let again = Change { attempt: 2, ..change.clone() };
    assert_eq!(told(&change, &settings(), (202, ACCEPTED)).0, told(&again, &settings(), (202, ACCEPTED)).0);
}

#[test]
fn a_secret_cannot_be_asked_for_by_an_alert() {
    // The host fills only the mark of this call in, so what an alert writes stays text.
    let document = json!({ "dedup_key": "${secret:KEY}\", \"routing_key\": \"x" });
    let event = event(&ended(&document, Outcome::Delivered), &settings());
    assert_eq!(event["dedup_key"], document["dedup_key"]);
    assert_eq!(event["routing_key"], "${secret:KEY.mark}");
}

#[test]
fn pagerdutys_errors_say_whether_to_try_again() {
    let invalid = r#"{"status": "invalid event", "message": "Event object is invalid", "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#;
    for (answer, code, retry) in [
        ((400, invalid), "invalid-routing-key", Retry::Never),
        ((400, "{}"), "http-400", Retry::Never),
        ((429, ""), "rate-limited", Retry::Backoff),
        ((500, ""), "http-500", Retry::Backoff),
    ] {
        let failure = told(&ended(&taken(), Outcome::Delivered), &settings(), answer).1.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry));
    }
    let failure = told(&ended(&taken(), Outcome::Delivered), &settings(), (400, invalid)).1.unwrap_err();
    assert!(failure.message.contains("Event object is invalid: Length of"), "{}", failure.message);
}

#[test]
fn the_configuration_schema_names_the_default() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["url"]["default"], ENQUEUE);
}
