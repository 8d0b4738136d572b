//! A notification of Uptime Kuma: the beat of a monitor that went down or up, or a message without one.

use campanile_guest::failure::permanent;
use campanile_guest::source::{Settings, Sheet};
use campanile_guest::types::{Failure, Status};
use serde_json::Value;

use crate::{message, monitor};

/// What a body looks like, for those who sent another.
const EXAMPLE: &str = r#"{"heartbeat": {"monitorID": 7, "status": 0}, "monitor": {"name": "Shop"}, "msg": "[Shop] [🔴 Down] timeout"}"#;

/// The alert in a notification.
pub(crate) fn decode(body: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::default();
    if body["heartbeat"].is_object() {
        if let Some(status) = status(body, &mut sheet) {
            monitor::read(body, status, settings, &mut sheet);
        }
        return Ok(sheet);
    }
    let Some(text) = sheet.text("", body, "/msg") else {
        let message =
            "the body is no notification of Uptime Kuma: choose the request body Preset - application/json";
        return Err(permanent("invalid-payload", format!("{message}, as in {EXAMPLE}")));
    };
    message::read(&text, settings, &mut sheet);
    Ok(sheet)
}

/// What the beat says, else what the message says. Beats that are pending or in maintenance are no news.
fn status(body: &Value, sheet: &mut Sheet) -> Option<Status> {
    let given = &body["heartbeat"]["status"];
    match sheet.text("", body, "/heartbeat/status").as_deref() {
        Some("0") => Some(Status::Firing),
        Some("1") => Some(Status::Resolved),
        Some("2" | "3") => {
            sheet.odd("heartbeat.status", given, "is pending or maintenance: no alert");
            None
        }
        _ => {
            let is_up = body["msg"].as_str().is_some_and(|text| text.contains("[✅ Up]"));
            let taken = if is_up { "up" } else { "down" };
            sheet.odd("heartbeat.status", given, &format!("is no known status: {taken} was taken"));
            Some(if is_up { Status::Resolved } else { Status::Firing })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn found(body: &Value) -> (Vec<Value>, Vec<String>) {
        let sheet = decode(body, &Settings::of("uptime-kuma", "Uptime Kuma", "availability")).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
    }

    /// The one alert of a payload at which nothing is odd.
    pub(crate) fn alert(body: &str) -> Value {
        let (mut alerts, warnings) = found(&serde_json::from_str(body).unwrap());
        assert_eq!((alerts.len(), warnings.len()), (1, 0), "{warnings:?}");
        alerts.remove(0)
    }

    #[test]
    fn beats_that_are_neither_down_nor_up_make_no_alert() {
        let (alerts, warnings) =
            found(&serde_json::from_str(include_str!("../payloads/maintenance.json")).unwrap());
        assert!(alerts.is_empty(), "{alerts:?}");
        assert_eq!(warnings, ["heartbeat.status: 3 is pending or maintenance: no alert"]);
    }

    #[test]
    fn without_a_known_status_the_message_decides() {
        for (status, msg, expected, count) in [
            (json!("0"), "", "firing", 0),
            (json!("1"), "", "resolved", 0),
            (json!(9), "[Shop] [✅ Up] 200 - OK", "resolved", 1),
            (json!(null), "[Shop] [🔴 Down] timeout", "firing", 1),
        ] {
            let (alerts, warnings) =
                found(&json!({"heartbeat": {"monitorID": 7, "status": status}, "msg": msg}));
            assert_eq!(
                (&alerts[0]["status"], warnings.len()),
                (&json!(expected), count),
                "{status}: {warnings:?}"
            );
        }
    }

    #[test]
    fn a_body_of_another_shape_is_refused_with_what_to_choose() {
        let settings = Settings::of("uptime-kuma", "Uptime Kuma", "availability");
        for body in [include_str!("../payloads/invalid-custom-body.json"), "[]", "7", r#"{"msg": " "}"#] {
            let failure = decode(&serde_json::from_str(body).unwrap(), &settings).unwrap_err();
            assert_eq!(failure.code, "invalid-payload");
            assert!(failure.message.contains("Preset - application/json"), "{failure:?}");
        }
    }
}
