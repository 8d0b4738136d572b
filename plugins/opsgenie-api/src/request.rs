//! One request to Opsgenie's Alert API, and Opsgenie's answer to it.

use std::time::Duration;

use campanile_guest::source::{Settings, Sheet, read};
use campanile_guest::types::Failure;
use serde_json::{Value, json};

use crate::alert;
use crate::path::{self, Asked};

/// The sheet, and what Opsgenie would answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sheet: Sheet,
    pub(crate) status: u16,
    body: Value,
}

impl Answer {
    /// The answer's body, with the id of the request and what it took in seconds.
    pub(crate) fn body(&self, id: &str, took: Duration) -> Value {
        let mut body = self.body.clone();
        body["took"] = json!(took.as_millis().max(1) as f64 / 1_000.0);
        body["requestId"] = json!(id);
        body
    }
}

/// Takes one request.
pub(crate) fn take(path: &str, body: &[u8], settings: &Settings) -> Result<Answer, Failure> {
    let asked = path::read(path)?;
    let body = match (&asked, read("", body)) {
        (_, Ok(body @ Value::Object(_))) => body,
        // What closes an alert or is not acted on may come without a body.
        (Asked::Create, Ok(_)) => return Ok(refused(400, "Body should be a JSON object", Value::Null)),
        (Asked::Create, Err(error)) => {
            return Ok(refused(400, &format!("The body is not JSON: {error}"), Value::Null));
        }
        _ => json!({}),
    };
    Ok(answer(&asked, &body, settings))
}

fn answer(asked: &Asked<'_>, body: &Value, settings: &Settings) -> Answer {
    let mut sheet = Sheet::default();
    match asked {
        Asked::Create if sheet.text("", body, "/message").is_none() => {
            return unprocessable("message", "Message can not be empty.");
        }
        Asked::Create => alert::create(body, settings, &mut sheet),
        Asked::Close(alias) if alias.trim().is_empty() => {
            return unprocessable("alias", "Alias can not be empty.");
        }
        Asked::Close(alias) => alert::close(alias, body, settings, &mut sheet),
        Asked::CloseById(id) => {
            let error = format!("{id} is no alias: close by the alias, with ?identifierType=alias");
            return unprocessable("identifierType", &error);
        }
        Asked::Other { action, alert } => {
            sheet.odd("identifier", &json!(alert), &format!("{action}: not acted on, no alert"));
        }
    }
    Answer { sheet, status: 202, body: json!({ "result": "Request will be processed" }) }
}

/// Opsgenie's answer to a body with a field that it cannot take.
fn unprocessable(field: &str, error: &str) -> Answer {
    refused(422, "Request body is not processable. Please check the errors.", json!({ field: error }))
}

fn refused(status: u16, message: &str, errors: Value) -> Answer {
    let mut body = json!({ "message": message });
    let mut sheet = Sheet::default();
    match errors {
        Value::Null => sheet.warnings.push(message.to_owned()),
        errors => {
            sheet.warnings.push(format!("{message} {errors}"));
            body["errors"] = errors;
        }
    }
    Answer { sheet, status, body }
}

/// A random id in the form of a UUID.
pub(crate) fn uuid(random: &[u8]) -> String {
    let mut digits: String = random.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    for at in [8, 13, 18, 23] {
        if at < digits.len() {
            digits.insert(at, '-');
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(path: &str, body: &str) -> Answer {
        let settings = Settings::of("opsgenie-api", "Opsgenie API", "custom");
        take(path, body.as_bytes(), &settings).unwrap()
    }

    #[test]
    fn what_is_taken_is_answered_as_by_opsgenie() {
        for (path, body, alerts) in [
            ("/v2/alerts", include_str!("../payloads/create.json"), 1),
            ("/v2/alerts/disk-web-1/close?identifierType=alias", include_str!("../payloads/close.json"), 1),
            ("/v2/alerts/disk-web-1/close?identifierType=alias", "", 1),
            ("/v2/alerts/disk-web-1/acknowledge?identifierType=alias", "", 0),
            ("/v2/alerts/8418d193/notes", include_str!("../payloads/note.json"), 0),
        ] {
            let answer = taken(path, body);
            assert_eq!((answer.status, answer.sheet.alerts.len()), (202, alerts), "{path}");
            assert_eq!(
                answer.body("43a29c5c", Duration::from_millis(107)),
                json!({"result": "Request will be processed", "took": 0.107, "requestId": "43a29c5c"})
            );
        }
    }

    #[test]
    fn a_body_that_json_does_not_have_is_mended() {
        for body in [
            "{\"message\": \"disk \\ud83d\", \"alias\": \"a\"}",
            "{\"message\": \"disk\nof web-1\", \"alias\": \"a\"}",
            "\u{feff}{\"message\": \"disk\", \"alias\": \"a\"}",
        ] {
            let answer = taken("/v2/alerts", body);
            assert_eq!((answer.status, answer.sheet.alerts.len()), (202, 1), "{body}");
            answer.sheet.complete().unwrap();
        }
    }

    #[test]
    fn an_alias_of_many_digits_is_the_one_that_is_closed() {
        let key = |path: &str, body: &str| {
            let sheet = taken(path, body).sheet.complete().unwrap();
            serde_json::from_str::<Value>(&sheet.alerts[0]).unwrap()["dedup_key"].clone()
        };
        let alias = "18446744073709551616";
        let created = key("/v2/alerts", &format!("{{\"message\": \"m\", \"alias\": {alias}}}"));
        assert_eq!(created, alias);
        assert_eq!(created, key(&format!("/v2/alerts/{alias}/close?identifierType=alias"), ""));
    }

    #[test]
    fn what_nothing_acts_on_is_said() {
        let answer = taken("/v2/alerts/disk-web-1/acknowledge?identifierType=alias", "{}");
        assert_eq!(answer.sheet.warnings, ["identifier: \"disk-web-1\" acknowledge: not acted on, no alert"]);
    }

    #[test]
    fn what_is_invalid_is_answered_as_by_opsgenie() {
        let unprocessable = "Request body is not processable. Please check the errors.";
        for (path, body, status, message, errors) in [
            ("/v2/alerts", "[]", 400, "Body should be a JSON object", json!(null)),
            (
                "/v2/alerts",
                "{",
                400,
                "The body is not JSON: EOF while parsing an object at line 1 column 1",
                json!(null),
            ),
            (
                "/v2/alerts",
                include_str!("../payloads/invalid-without-message.json"),
                422,
                unprocessable,
                json!({"message": "Message can not be empty."}),
            ),
            (
                "/v2/alerts/8418d193/close",
                "{}",
                422,
                unprocessable,
                json!({"identifierType": "8418d193 is no alias: close by the alias, with ?identifierType=alias"}),
            ),
            (
                "/v2/alerts/ /close?identifierType=alias",
                "{}",
                422,
                unprocessable,
                json!({"alias": "Alias can not be empty."}),
            ),
        ] {
            let answer = taken(path, body);
            let given = answer.body("id", Duration::ZERO);
            assert_eq!(
                (answer.status, &given["message"], &given["errors"]),
                (status, &json!(message), &errors)
            );
            assert_eq!((answer.sheet.alerts.len(), answer.sheet.warnings.len()), (0, 1), "{path}");
            assert_eq!((&given["took"], &given["requestId"]), (&json!(0.001), &json!("id")));
        }
    }

    #[test]
    fn an_id_has_the_form_of_a_uuid() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(uuid(&bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(uuid(&[0xff]), "ff");
    }
}
