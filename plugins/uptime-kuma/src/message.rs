//! A message without a beat: a certificate or a domain that will expire, or the test of a notification.

use campanile_guest::source::{Draft, Settings, Severity, Sheet};
use campanile_guest::types::Status;
use serde_json::{Value, json};

use crate::address::bare_in;

/// What stands between the name of what expires and the days that are left.
const EXPIRES: &str = " will expire in ";
/// What the test of a notification ends with.
const TEST: &str = " Testing";

/// Adds the alert of a message. Nothing says when it is over.
pub(crate) fn read(text: &str, settings: &Settings, sheet: &mut Sheet) {
    let text = &*bare_in(text);
    let draft = Draft::new("msg", settings, Status::Firing, text.lines().next()).description(Some(text));
    let draft = match text.split_once(EXPIRES) {
        Some((what, left)) => {
            draft.dedup_key(&format!("expiry/{what}")).momentary().metric("days_remaining", &days(left))
        }
        None if text.ends_with(TEST) => draft.known_severity(Severity::Low).single(),
        None => draft.single(),
    };
    sheet.add(draft);
}

/// The number in `14 days`.
fn days(left: &str) -> Value {
    let number = left.split_whitespace().next().and_then(|word| word.parse::<i64>().ok());
    json!(number)
}

#[cfg(test)]
mod tests {
    use crate::notification::tests::{alert, found};
    use serde_json::json;

    #[test]
    fn a_certificate_that_expires_is_one_alert_whatever_is_left() {
        let body = include_str!("../payloads/certificate.json");
        let certificate = alert(body);
        assert_eq!(
            certificate,
            json!({
                "title": "[Shop][https://shop.example.com] server certificate shop.example.com will expire in 14 days",
                "description": "",
                "type": "availability", "severity": "medium",
                "source": {"name": "Uptime Kuma", "type": "uptime-kuma"}, "status": "firing", "momentary": true,
                "dedup_key": "expiry/[Shop][https://shop.example.com] server certificate shop.example.com",
                "metrics": {"days_remaining": 14},
            })
        );
        let later = alert(&body.replace("14 days", "7 days"));
        assert_eq!(later["dedup_key"], certificate["dedup_key"]);
        assert_eq!(later["metrics"], json!({"days_remaining": 7}));
        assert_eq!(alert(&body.replace("14 days", "soon")).get("metrics"), None);
    }

    #[test]
    fn an_address_in_a_message_keeps_no_secret() {
        let expiry = |address: &str| {
            let text = format!("[Shop][{address}] server certificate shop will expire in 14 days");
            let (alerts, warnings) = found(&json!({"heartbeat": null, "monitor": null, "msg": text}));
            assert!(warnings.is_empty(), "{warnings:?}");
            alerts[0].clone()
        };
        let secret = expiry("https://ada:hush@shop/?token=hush");
        assert!(!secret.to_string().contains("hush"), "{secret}");
        assert_eq!(secret, expiry("https://shop/"));
        assert_eq!(secret["dedup_key"], "expiry/[Shop][https://shop/] server certificate shop");
    }

    #[test]
    fn the_test_of_a_notification_is_an_alert_of_low_severity() {
        let test = alert(include_str!("../payloads/test.json"));
        assert_eq!((&test["title"], &test["severity"]), (&json!("campanile Testing"), &json!("low")));
        assert_eq!((test.get("dedup_key"), &test["momentary"]), (None, &json!(true)));
    }

    #[test]
    fn any_other_message_is_an_alert() {
        let (alerts, warnings) = found(&json!({"msg": 7}));
        assert_eq!((&alerts[0]["title"], warnings.len()), (&json!("7"), 0));
    }
}
