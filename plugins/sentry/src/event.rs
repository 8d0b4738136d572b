//! An event of Sentry: the one that set off an alert rule, or an error as it comes in. Sentry never says that it ended.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Settings, Sheet, text};
use campanile_guest::types::Status;
use serde_json::Value;

/// Facts of the event that are kept. What tells of people (`user`, `request`) and the stack trace stay with Sentry.
const FACTS: [&str; 8] =
    ["event_id", "issue_id", "culprit", "location", "platform", "release", "environment", "metadata"];

/// The event as an alert; `data` is what the hook says around it.
pub(crate) fn read(at: &str, event: &Value, data: &Value, settings: &Settings, sheet: &mut Sheet) {
    let title =
        sheet.first(at, event, &["/title", "/message"]).or(sheet.text("data", data, "/triggered_rule"));
    let project = project(event);
    let mut draft = Draft::new(at, settings, Status::Firing, title.as_deref())
        .description(sheet.first(at, event, &["/message", "/culprit"]).as_deref())
        .severity("level", &event["level"])
        .dedup_key(&key(at, event, data, sheet))
        .momentary()
        .starts_at("datetime", began(event))
        .context("service", project.as_deref())
        .link("Sentry", sheet.first(at, event, &["/web_url", "/issue_url"]).as_deref())
        .label("project", &project.as_deref().map_or_else(|| event["project"].clone(), Value::from))
        .rest("triggered_rule", &data["triggered_rule"])
        .data("settings", &data["issue_alert"]["settings"]);
    for name in FACTS {
        draft = draft.rest(name, &event[name]);
    }
    let draft = tagged(draft, at, &event["tags"], sheet);
    sheet.add(draft);
}

/// One key per event and rule: another rule about the same event notifies others. Empty if the event has no id.
fn key(at: &str, event: &Value, data: &Value, sheet: &mut Sheet) -> String {
    let Some(id) = sheet.text(at, event, "/event_id") else { return String::new() };
    match sheet.first("data", data, &["/triggered_rule", "/issue_alert/title"]) {
        Some(rule) => format!("{id}/{rule}"),
        None => id.into_owned(),
    }
}

/// The same in every hook about the event.
fn began(event: &Value) -> &Value {
    if event["datetime"].is_null() { &event["timestamp"] } else { &event["datetime"] }
}

/// The project's name, which an event has only in its address: `…/projects/ORGANISATION/PROJECT/events/…`.
fn project(event: &Value) -> Option<String> {
    let address = text(event, "/url")?;
    let (_, path) = address.split_once("/projects/")?;
    path.split('/').nth(1).filter(|project| !project.is_empty()).map(str::to_owned)
}

fn tagged(mut draft: Draft, at: &str, tags: &Value, sheet: &mut Sheet) -> Draft {
    for (index, tag) in sheet.list(&format!("{at}.tags"), tags).iter().enumerate() {
        let Some((name, value)) = pair(tag) else {
            sheet.odd(&format!("{at}.tags[{index}]"), tag, "is no pair of name and value: left out");
            continue;
        };
        if name == "environment" {
            draft = draft.context("environment", text(value, "").as_deref());
        }
        draft = draft.label(&name, value);
    }
    draft
}

fn pair(tag: &Value) -> Option<(Cow<'_, str>, &Value)> {
    match tag.as_array()?.as_slice() {
        [name, value] => Some((text(name, "")?, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decoded(resource: &str, hook: &str) -> Value {
        let hook = serde_json::from_str(hook).unwrap();
        let settings = Settings::of("sentry", "Sentry", "application");
        let sheet = crate::hook::decode(Some(resource), &hook, &settings).unwrap();
        assert!(sheet.warnings.is_empty(), "{:?}", sheet.warnings);
        serde_json::from_str(&sheet.alerts[0]).unwrap()
    }

    #[test]
    fn an_event_that_set_off_a_rule_keeps_what_people_and_routes_need() {
        let web = "https://sentry.io/organizations/test-org/issues/1117540176/events/e4874d664c3540c1a32eab185f12c5ab/";
        assert_eq!(
            decoded("event_alert", include_str!("../payloads/event-alert.json")),
            json!({
                "title": "ReferenceError: heck is not defined", "description": "?(<anonymous>)",
                "type": "application", "severity": "high", "source": {"name": "Sentry", "type": "sentry"},
                "status": "firing", "momentary": true,
                "dedup_key": "e4874d664c3540c1a32eab185f12c5ab/Very Important Alert Rule!",
                "starts_at": "2019-08-19T21:06:17.677Z",
                "context": {"service": "front-end"},
                "labels": {
                    "project": "front-end", "browser": "Chrome 75.0.3770", "browser.name": "Chrome", "handled": "no",
                    "level": "error", "mechanism": "onerror", "os": "Mac OS X 10.14.0", "os.name": "Mac OS X",
                    "user": "ip:162.217.75.90", "url": "https://null.jsbin.com/runner",
                },
                "links": [{"href": web, "text": "Sentry"}],
                "data": {
                    "triggered_rule": "Very Important Alert Rule!",
                    "settings": [{"name": "channel", "value": "#general"}],
                    "event_id": "e4874d664c3540c1a32eab185f12c5ab", "issue_id": "1117540176",
                    "location": "<anonymous>", "platform": "javascript",
                    "metadata": {"filename": "<anonymous>", "type": "ReferenceError", "value": "heck is not defined"},
                },
            })
        );
    }

    #[test]
    fn each_rule_about_an_event_has_a_key_of_its_own() {
        let payload = include_str!("../payloads/event-alert.json");
        let other = decoded("event_alert", &payload.replace("Very Important Alert Rule!", "Page on call"));
        assert_eq!(other["dedup_key"], "e4874d664c3540c1a32eab185f12c5ab/Page on call");
        assert_eq!(other["momentary"], true);
    }

    #[test]
    fn an_error_is_an_event() {
        let alert = decoded("error", include_str!("../payloads/error-created.json"));
        assert_eq!(alert["dedup_key"], "bb78c1407cea4519aa397afc059c793d");
        assert_eq!(
            (&alert["starts_at"], &alert["severity"]),
            (&json!("2019-08-19T20:58:37.391Z"), &json!("high"))
        );
    }

    #[test]
    fn what_is_odd_is_said_and_loses_nothing_else() {
        let event = json!({"level": "sample", "timestamp": 1_566_248_777.677, "project": 1,
            "message": {"formatted": "x"}, "event_id": 7, "web_url": false,
            "tags": [["environment", "prod"], "release", ["a"], ["b", null], [404, true], [[], "c"]]});
        let mut sheet = Sheet::default();
        let settings = Settings::of("sentry", "Sentry", "application");
        read("data.event", &event, &json!({"triggered_rule": "Rule"}), &settings, &mut sheet);
        let alert: Value = serde_json::from_str(&sheet.alerts[0]).unwrap();
        assert_eq!((&alert["title"], &alert["dedup_key"]), (&json!("Rule"), &json!("7/Rule")));
        assert!(alert["starts_at"].as_str().unwrap().starts_with("2019-08-19T21:06:17.67"));
        assert_eq!(alert["labels"], json!({"404": "true", "environment": "prod", "project": "1"}));
        assert_eq!(alert["context"], json!({"environment": "prod"}));
        assert_eq!(alert["data"], json!({"event_id": 7}), "the rule is the title");
        assert_eq!(
            sheet.warnings,
            [
                "data.event.message: {\"formatted\":\"x\"} is not a text: left out",
                "data.event.tags[1]: \"release\" is no pair of name and value: left out",
                "data.event.tags[2]: [\"a\"] is no pair of name and value: left out",
                "data.event.tags[5]: [[],\"c\"] is no pair of name and value: left out",
                "data.event.level: \"sample\" is no known severity: medium was taken",
            ]
        );
    }
}
