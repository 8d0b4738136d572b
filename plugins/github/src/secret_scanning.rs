//! An alert of secret scanning: a secret that was pushed, until it is revoked or the alert is closed. The secret itself, which
//! GitHub may send, is read nowhere.

use campanile_guest::source::{Draft, Settings, Severity, Sheet};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::repository::Repository;

/// Facts that are kept.
const FACTS: [&str; 4] = ["number", "created_at", "resolution", "push_protection_bypassed"];

/// The alert as an alert of ours.
pub(crate) fn read(payload: &Value, settings: &Settings, sheet: &mut Sheet) {
    let alert = &payload["alert"];
    let status = match payload["action"].as_str() {
        Some("created" | "reopened" | "publicly_leaked") => Status::Firing,
        Some("resolved" | "revoked") => Status::Resolved,
        Some("validated") if is_active(alert) => Status::Firing,
        _ => {
            let what = "of a secret scanning alert is nothing to alert about: no alert";
            return sheet.odd("action", &payload["action"], what);
        }
    };
    let repository = Repository::of(payload, sheet);
    let kind = sheet.first("alert", alert, &["/secret_type_display_name", "/secret_type"]);
    let title =
        format!("Secret in {}: {}", repository.shown(), kind.as_deref().unwrap_or("of an unknown type"));
    let draft = Draft::new("alert", settings, status, Some(&title))
        .known_severity(severity(payload))
        .level(level(payload))
        .link("Secret scanning", alert["html_url"].as_str())
        .label("secret_type", &alert["secret_type"])
        .label("validity", &alert["validity"])
        .label("publicly_leaked", &alert["publicly_leaked"])
        .data("resolved_by", &alert["resolved_by"]["login"]);
    let draft = FACTS.into_iter().fold(draft, |draft, name| draft.data(name, &alert[name]));
    let draft = match status {
        Status::Firing => draft,
        Status::Resolved => draft.ends_at("resolved_at", &alert["resolved_at"]),
    };
    let number = sheet.text("alert", alert, "/number");
    // No `starts_at`: an alert that is reopened has the `created_at` of its first time.
    let parts = [("alert.number", number.as_deref())];
    let draft = repository.identify(repository.locate(draft), "secret-scanning", &parts, sheet);
    sheet.add(draft);
}

/// Whether GitHub found, later than the secret, that it works. An alert that is closed stays so.
fn is_active(alert: &Value) -> bool {
    alert["validity"] == "active" && alert["resolution"].is_null()
}

/// Critical if GitHub knows that the secret works, or that it is public.
fn severity(payload: &Value) -> Severity {
    if level(payload) > 0 { Severity::Critical } else { Severity::High }
}

/// One that works is worse than one of which that is not known, a public one is worse still, and both together are the worst.
fn level(payload: &Value) -> i64 {
    let alert = &payload["alert"];
    let is_public = alert["publicly_leaked"] == true || payload["action"] == "publicly_leaked";
    2 * i64::from(is_public) + i64::from(alert["validity"] == "active")
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, found, none, with};
    use serde_json::json;

    const CREATED: &str = include_str!("../payloads/secret-scanning-created.json");

    #[test]
    fn a_secret_is_told_and_not_shown() {
        assert!(CREATED.contains("\"secret\": \"aio_NotARealKey\""));
        let created = alert(CREATED);
        assert!(!created.to_string().contains("aio_NotARealKey"), "{created}");
        assert_eq!(
            created,
            json!({
                "title": "Secret in acme/shop: Adafruit IO Key", "description": "", "type": "security",
                "severity": "high", "source": {"name": "GitHub", "type": "github"}, "status": "firing",
                "vendor_level": 0, "dedup_key": "secret-scanning/300029405/191", "context": {"service": "shop"},
                "labels": {
                    "repository": "acme/shop", "secret_type": "adafruit_io_key", "validity": "unknown",
                    "publicly_leaked": "false",
                },
                "links": [{
                    "href": "https://github.com/acme/shop/security/secret-scanning/191", "text": "Secret scanning",
                }],
                "data": {"number": 191, "created_at": "2026-03-02T07:30:00Z", "push_protection_bypassed": false},
            })
        );
    }

    #[test]
    fn a_closed_alert_ends_what_it_began() {
        let (created, resolved) =
            (alert(CREATED), alert(include_str!("../payloads/secret-scanning-resolved.json")));
        assert_eq!(
            (&resolved["status"], &resolved["dedup_key"]),
            (&json!("resolved"), &created["dedup_key"])
        );
        assert_eq!((&resolved["ends_at"], resolved.get("starts_at")), (&json!("2026-03-02T08:05:10Z"), None));
        assert_eq!(resolved["data"]["resolution"], "revoked");
    }

    #[test]
    fn a_secret_that_works_or_is_public_is_critical() {
        for values in [
            [("/alert/validity", json!("active"))],
            [("/alert/publicly_leaked", json!(true))],
            [("/action", json!("publicly_leaked"))],
        ] {
            assert_eq!(alert(&with(CREATED, &values))["severity"], "critical", "{values:?}");
        }
    }

    #[test]
    fn a_secret_that_works_and_becomes_public_is_worse() {
        let level =
            |values: &[(&str, serde_json::Value)]| alert(&with(CREATED, values))["vendor_level"].clone();
        let (active, public) =
            (("/alert/validity", json!("active")), ("/alert/publicly_leaked", json!(true)));
        assert_eq!(level(std::slice::from_ref(&active)), 1);
        assert_eq!(level(std::slice::from_ref(&public)), 2);
        assert_eq!(level(&[active, public]), 3);
    }

    #[test]
    fn a_secret_that_turns_out_to_work_fires_again() {
        let action = ("/action", json!("validated"));
        let validated = |values: &[(&str, serde_json::Value)]| {
            with(CREATED, &[std::slice::from_ref(&action), values].concat())
        };
        let active = ("/alert/validity", json!("active"));
        let works = alert(&validated(std::slice::from_ref(&active)));
        assert_eq!((&works["status"], &works["severity"]), (&json!("firing"), &json!("critical")));
        assert_eq!(works["dedup_key"], alert(CREATED)["dedup_key"]);
        for values in [
            vec![("/alert/validity", json!("inactive"))],
            vec![active, ("/alert/resolution", json!("false_positive"))],
        ] {
            assert_eq!(none("secret_scanning_alert", &validated(&values)).len(), 1, "{values:?}");
        }
    }

    #[test]
    fn what_changes_neither_makes_no_alert() {
        for action in ["validated", "assigned", "unassigned"] {
            let body = with(CREATED, &[("/action", json!(action))]);
            assert_eq!(none("secret_scanning_alert", &body).len(), 1, "{action}");
        }
    }

    #[test]
    fn without_a_number_no_end_finds_the_alert() {
        let (alerts, warnings) = found(None, &with(CREATED, &[("/alert/number", json!({}))]), false);
        assert_eq!(alerts[0].get("dedup_key"), None);
        assert_eq!(
            warnings,
            [
                "alert.number: {} is not a text: left out",
                "alert.number: is missing: no end will find the alert"
            ]
        );
    }
}
