//! One request to the Events API v2: what it asks for, and PagerDuty's answer to it.

use campanile_guest::failure::permanent;
use campanile_guest::source::{Settings, Sheet, read};
use campanile_guest::types::{Failure, Status};
use serde_json::{Value, json};

use crate::alert::alert;

/// The sheet, and what PagerDuty would answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sheet: Sheet,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Takes one request. `random` makes the key of an event that came without one.
pub(crate) fn take(
    path: &str,
    body: &[u8],
    settings: &Settings,
    random: impl FnOnce() -> String,
) -> Result<Answer, Failure> {
    let place = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    let event = || read("", body).map_err(|error| format!("The body is not JSON: {error}"));
    let taken = match place {
        "" | "/v2/enqueue" => event().and_then(|event| enqueue(&event, settings, random)),
        "/v2/change/enqueue" => event().and_then(|event| change(&event)),
        _ => return Err(unknown(place)),
    };
    Ok(taken.unwrap_or_else(invalid))
}

fn unknown(place: &str) -> Failure {
    let message = format!(
        "there is nothing at {place}: events are posted to /webhook/pagerduty-events/v2/enqueue, as PagerDuty's \
         clients do if their address is that of this host with /webhook/pagerduty-events; versions 1 are not taken"
    );
    permanent("unknown-path", message)
}

/// An alert event.
fn enqueue(event: &Value, settings: &Settings, random: impl FnOnce() -> String) -> Result<Answer, String> {
    let mut sheet = Sheet::default();
    let (key, action) = (key(event, &mut sheet), event["event_action"].as_str().unwrap_or_default());
    let key = match action {
        "trigger" if !event["payload"].is_object() => return Err("'payload' is missing or blank".to_owned()),
        "trigger" => key.unwrap_or_else(random),
        "acknowledge" | "resolve" => key.ok_or("'dedup_key' is missing or blank")?,
        _ => return Err("'event_action' must be one of trigger, acknowledge, resolve".to_owned()),
    };
    match action {
        "trigger" => alert(event, &key, settings, Status::Firing, &mut sheet),
        "resolve" => alert(event, &key, settings, Status::Resolved, &mut sheet),
        _ => sheet.odd("dedup_key", &json!(key), "was acknowledged: acknowledgements are not acted on"),
    }
    Ok(success(sheet, "Event processed", Some(&key)))
}

/// The key as the client gave it: it gets it back.
fn key(event: &Value, sheet: &mut Sheet) -> Option<String> {
    match &event["dedup_key"] {
        Value::String(key) => Some(key.clone()).filter(|key| !key.trim().is_empty()),
        key @ (Value::Number(_) | Value::Bool(_)) => Some(key.to_string()),
        Value::Null => None,
        other => {
            sheet.odd(
                "dedup_key",
                other,
                "is not a text: a new one was made, by which no resolve will find the alert",
            );
            None
        }
    }
}

/// A change event: something was done, nothing is wrong.
fn change(event: &Value) -> Result<Answer, String> {
    if !event["payload"].is_object() {
        return Err("'payload' is missing or blank".to_owned());
    }
    let mut sheet = Sheet::default();
    sheet.odd("payload.summary", &event["payload"]["summary"], "is a change, not an alert: left out");
    Ok(success(sheet, "Change event processed", None))
}

fn success(sheet: Sheet, message: &str, key: Option<&str>) -> Answer {
    let mut body = json!({ "status": "success", "message": message });
    if let Some(key) = key {
        body["dedup_key"] = json!(key);
    }
    Answer { sheet, status: 202, body }
}

/// PagerDuty's answer to an event that it cannot take.
fn invalid(error: String) -> Answer {
    let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [error] });
    let mut sheet = Sheet::default();
    sheet.warnings.push(error);
    Answer { sheet, status: 400, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(path: &str, body: &str) -> Answer {
        let settings = Settings::of("pagerduty-events", "PagerDuty Events", "custom");
        take(path, body.as_bytes(), &settings, || "5eed".to_owned()).unwrap()
    }

    fn success_with(key: &str) -> Value {
        json!({ "status": "success", "message": "Event processed", "dedup_key": key })
    }

    #[test]
    fn a_trigger_is_answered_as_by_pagerduty() {
        for path in ["/v2/enqueue", "/v2/enqueue/", "/", "", "/v2/enqueue?a=b"] {
            let answer = answer(path, include_str!("../payloads/trigger.json"));
            assert_eq!((answer.status, answer.body), (202, success_with("samplekeyhere")));
            assert_eq!((answer.sheet.alerts.len(), answer.sheet.warnings.len()), (1, 0), "{path}");
        }
    }

    #[test]
    fn an_event_without_a_key_gets_one() {
        let answer = answer("/v2/enqueue", include_str!("../payloads/trigger-without-key.json"));
        assert_eq!(answer.body, success_with("5eed"));
        assert!(answer.sheet.alerts[0].contains(r#""dedup_key":"5eed""#), "{:?}", answer.sheet);
    }

    #[test]
    fn a_resolve_needs_its_key_and_nothing_else() {
        let resolve = answer("/v2/enqueue", include_str!("../payloads/resolve.json"));
        assert_eq!((resolve.status, resolve.body), (202, success_with("dedupkeyhere")));
        assert_eq!((resolve.sheet.alerts.len(), resolve.sheet.warnings.len()), (1, 0));
        let without = answer("/v2/enqueue", include_str!("../payloads/invalid-resolve.json"));
        assert_eq!((without.status, without.sheet.alerts.len()), (400, 0));
    }

    #[test]
    fn an_acknowledgement_makes_no_alert() {
        let answer = answer("/v2/enqueue", include_str!("../payloads/acknowledge.json"));
        assert_eq!((answer.status, answer.body), (202, success_with("dedupkeyhere")));
        assert!(answer.sheet.alerts.is_empty());
        assert_eq!(
            answer.sheet.warnings,
            ["dedup_key: \"dedupkeyhere\" was acknowledged: acknowledgements are not acted on"]
        );
    }

    #[test]
    fn a_change_makes_no_alert() {
        let event = json!({
            "routing_key": "samplekeyhere",
            "payload": {
                "summary": "Build Success: Increase snapshot create timeout to 30 seconds",
                "timestamp": "2020-07-17T08:42:58.315+0000",
                "source": "acme-build-pipeline-tool-default-i-9999",
                "custom_details": {"build_state": "passed", "build_number": "2", "run_time": "1236s"},
            },
            "links": [{"href": "https://acme.pagerduty.dev/build/2", "text": "View more details in Acme!"}],
        });
        let answer = answer("/v2/change/enqueue", &event.to_string());
        assert_eq!(answer.body, json!({"status": "success", "message": "Change event processed"}));
        assert_eq!((answer.status, answer.sheet.alerts.len()), (202, 0));
        assert!(
            answer.sheet.warnings[0].ends_with("is a change, not an alert: left out"),
            "{:?}",
            answer.sheet
        );
    }

    #[test]
    fn what_is_invalid_is_answered_as_by_pagerduty() {
        for (body, error) in [
            (
                include_str!("../payloads/invalid-action.json"),
                "'event_action' must be one of trigger, acknowledge, resolve",
            ),
            (r#"{"event_action": "trigger", "dedup_key": "k"}"#, "'payload' is missing or blank"),
            (r#"{"event_action": "resolve", "dedup_key": " "}"#, "'dedup_key' is missing or blank"),
            ("[]", "'event_action' must be one of trigger, acknowledge, resolve"),
            ("{", "The body is not JSON: EOF while parsing an object at line 1 column 1"),
        ] {
            let answer = answer("/v2/enqueue", body);
            let expected =
                json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [error] });
            assert_eq!((answer.status, answer.body), (400, expected));
            assert_eq!((answer.sheet.alerts.len(), answer.sheet.warnings), (0, vec![error.to_owned()]));
        }
    }

    #[test]
    fn other_paths_are_refused_with_the_right_one() {
        let settings = Settings::of("pagerduty-events", "PagerDuty Events", "custom");
        let failure =
            take("/generic/2010-04-15/create_event.json", b"{}", &settings, String::new).unwrap_err();
        assert_eq!(failure.code, "unknown-path");
        assert!(failure.message.contains("/webhook/pagerduty-events/v2/enqueue"), "{failure:?}");
    }
}
