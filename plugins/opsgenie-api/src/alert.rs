//! The alert of a request that creates or closes one. The key of the request is read nowhere.

use campanile_guest::source::{Draft, Settings, Sheet};
use campanile_guest::types::Status;
use serde_json::Value;

/// Facts that are kept.
const FACTS: [&str; 7] = ["tags", "responders", "teams", "visibleTo", "actions", "user", "note"];

/// Opsgenie's priorities, in ascending order.
const PRIORITIES: [&str; 5] = ["P5", "P4", "P3", "P2", "P1"];

/// Adds a new alert, or one more of those with its alias.
pub(crate) fn create(body: &Value, settings: &Settings, sheet: &mut Sheet) {
    let title = sheet.text("", body, "/message");
    let description = sheet.first("", body, &["/description", "/note"]);
    let draft = Draft::new("", settings, Status::Firing, title.as_deref())
        .description(description.as_deref())
        .label("entity", &body["entity"])
        .label("source", &body["source"]);
    let draft = FACTS.into_iter().fold(draft, |draft, name| draft.rest(name, &body[name]));
    let draft = detailed(graded(draft, &body["priority"], sheet), &body["details"], sheet);
    match sheet.text("", body, "/alias") {
        Some(alias) => sheet.add(draft.dedup_key(&alias)),
        None => {
            sheet.warnings.push("alias: is missing: no close will find the alert".to_owned());
            sheet.add(draft.single());
        }
    }
}

/// Adds the end of the alert with this alias, of which a close says little more.
pub(crate) fn close(alias: &str, body: &Value, settings: &Settings, sheet: &mut Sheet) {
    let note = sheet.text("", body, "/note");
    let draft = Draft::new("", settings, Status::Resolved, Some(alias))
        .description(note.as_deref())
        .label("source", &body["source"])
        .data("user", &body["user"])
        .dedup_key(alias.trim());
    sheet.add(draft);
}

/// `P1` to `P5`; what else Opsgenie would refuse is the default, with a warning.
fn graded(draft: Draft, priority: &Value, sheet: &mut Sheet) -> Draft {
    match priority {
        Value::Null => draft,
        other => {
            match other.as_str().and_then(|word| PRIORITIES.iter().position(|known| *known == word.trim())) {
                Some(level) => draft.severity("priority", priority).level(level as i64),
                None => {
                    sheet.odd("priority", other, "should be one of P1, P2, P3, P4, P5: left out");
                    draft
                }
            }
        }
    }
}

/// The details as labels, and where the alert belongs by them.
fn detailed(draft: Draft, details: &Value, sheet: &mut Sheet) -> Draft {
    let label = |names: [&str; 2]| names.into_iter().find_map(|name| details[name].as_str());
    let draft = draft.context("environment", label(["environment", "env"]));
    draft.context("service", label(["service", "job"])).labels(sheet.fields("details", details))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(add: impl FnOnce(&Settings, &mut Sheet)) -> (Value, Vec<String>) {
        let mut sheet = Sheet::default();
        add(&Settings::of("opsgenie-api", "Opsgenie API", "custom"), &mut sheet);
        assert_eq!(sheet.alerts.len(), 1);
        (serde_json::from_str(&sheet.alerts[0]).unwrap(), sheet.warnings)
    }

    fn created(body: &str) -> (Value, Vec<String>) {
        let body = serde_json::from_str(body).unwrap();
        made(|settings, sheet| create(&body, settings, sheet))
    }

    #[test]
    fn a_new_alert_keeps_what_people_and_routes_need() {
        let (alert, warnings) = created(include_str!("../payloads/create.json"));
        assert_eq!(
            alert,
            json!({
                "title": "Disk of web-1 is full", "description": "No space is left on /var.", "type": "custom",
                "severity": "critical", "source": {"name": "Opsgenie API", "type": "opsgenie-api"},
                "status": "firing", "dedup_key": "disk-web-1", "vendor_level": 4,
                "context": {"environment": "production", "service": "shop"},
                "labels": {
                    "env": "production", "service": "shop", "mount": "/var", "entity": "web-1", "source": "nagios-eu",
                },
                "data": {
                    "tags": ["OverwriteQuietHours", "Critical"], "actions": ["Restart"],
                    "responders": [
                        {"id": "4513b7ea-3b91-438f-b7e4-e3e54af9147c", "type": "team"},
                        {"type": "user", "username": "ada@example.com"},
                    ],
                    "user": "Nagios", "note": "Second time this week",
                },
            })
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_note_that_is_the_description_is_kept_once() {
        let (alert, _) =
            created(r#"{"message": "m", "alias": "a", "note": "Second time", "user": "Nagios"}"#);
        assert_eq!(
            (&alert["description"], &alert["data"]),
            (&json!("Second time"), &json!({"user": "Nagios"}))
        );
    }

    #[test]
    fn a_close_ends_the_alert_with_the_alias() {
        let (created, _) = created(include_str!("../payloads/create.json"));
        let body = serde_json::from_str(include_str!("../payloads/close.json")).unwrap();
        let (closed, warnings) = made(|settings, sheet| close("disk-web-1", &body, settings, sheet));
        assert_eq!((&closed["status"], &closed["dedup_key"]), (&json!("resolved"), &created["dedup_key"]));
        assert_eq!((&closed["title"], &closed["description"]), (&json!("disk-web-1"), &json!("Cleaned up")));
        assert!(warnings.is_empty(), "{warnings:?}");
        let long = "x".repeat(300);
        let body = json!({"message": "m", "alias": long});
        let (created, _) = made(|settings, sheet| create(&body, settings, sheet));
        let (closed, _) = made(|settings, sheet| close(&long, &json!({}), settings, sheet));
        assert_eq!(closed["dedup_key"], created["dedup_key"]);
    }

    #[test]
    fn what_alertmanager_and_zabbix_send_is_read() {
        let (alert, warnings) = created(include_str!("../payloads/alertmanager.json"));
        assert_eq!(alert["context"], json!({"service": "node"}));
        assert_eq!((&alert["severity"], warnings.len()), (&json!("medium"), 0), "{warnings:?}");
        let (alert, warnings) = created(include_str!("../payloads/zabbix.json"));
        assert_eq!((&alert["severity"], &alert["dedup_key"]), (&json!("high"), &json!("5021944")));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn p4_and_p5_are_two_levels_of_one_severity() {
        let graded = |priority: &str| {
            let (alert, _) = made(|settings, sheet| {
                create(&json!({"message": "m", "alias": "a", "priority": priority}), settings, sheet)
            });
            (alert["severity"].clone(), alert["vendor_level"].clone())
        };
        assert_eq!((graded("P4"), graded("P5")), ((json!("low"), json!(1)), (json!("low"), json!(0))));
    }

    #[test]
    fn what_is_odd_costs_itself() {
        let (alert, warnings) = created(include_str!("../payloads/odd.json"));
        assert_eq!((&alert["title"], &alert["severity"]), (&json!("500"), &json!("medium")));
        assert_eq!((&alert["dedup_key"], &alert["labels"]), (&json!("42"), &json!({"entity": "7"})));
        assert_eq!(
            warnings,
            [
                "description: [\"No\",\"space\"] is not a text: left out",
                "priority: \"urgent\" should be one of P1, P2, P3, P4, P5: left out",
                "details: \"env=production\" is not an object: left out",
            ]
        );
        let (alert, _) = created(r#"{"message": "m", "note": "n"}"#);
        assert_eq!((&alert["description"], alert.get("data")), (&json!("n"), None));
        let (alert, warnings) = created(r#"{"message": "m"}"#);
        assert_eq!((alert.get("dedup_key"), &alert["severity"]), (None, &json!("medium")));
        assert_eq!(warnings, ["alias: is missing: no close will find the alert"]);
    }
}
