//! The alert of one event. The routing key is another system's credential: no more than a hash of it is made.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Settings, Sheet, fact_time, text};
use campanile_guest::types::Status;
use serde_json::{Value, json};

/// The longest title that the host takes, and the longest summary that PagerDuty does.
const TITLE: usize = 1_024;
/// What an event says of where it belongs, under names that routes can use.
const LABELS: [&str; 4] = ["source", "component", "group", "class"];

/// Adds the alert of a trigger or a resolve. A resolve mostly has nothing but its key.
pub(crate) fn alert(event: &Value, key: &str, settings: &Settings, status: Status, sheet: &mut Sheet) {
    let payload = &event["payload"];
    if let Status::Firing = status {
        complete(payload, settings, sheet);
    }
    let summary = sheet.text("payload", payload, "/summary");
    let title = match status {
        Status::Firing => summary.as_deref(),
        Status::Resolved => summary.as_deref().or(Some(key)),
    };
    let draft = Draft::new("", settings, status, title)
        .description(description(payload, summary.as_deref()).as_deref())
        .severity("payload.severity", &payload["severity"])
        .dedup_key(key)
        .within_secret(&text(event, "/routing_key").unwrap_or_default())
        // As PagerDuty knows it.
        .data("dedup_key", &json!(key))
        .data("timestamp", &timestamp(&payload["timestamp"], sheet))
        .data("client", &event["client"])
        .rest("custom_details", &payload["custom_details"]);
    let draft = LABELS.into_iter().fold(draft, |draft, name| draft.label(name, &payload[name]));
    let draft = linked(draft, event, sheet);
    sheet.add(draft);
}

/// Says what PagerDuty would miss in a trigger.
fn complete(payload: &Value, settings: &Settings, sheet: &mut Sheet) {
    for name in ["summary", "source", "severity"] {
        if payload[name].is_null() || payload[name].as_str().is_some_and(|text| text.trim().is_empty()) {
            let made = match name {
                "severity" => format!("is missing: {} was taken", settings.severity.as_str()),
                _ => "is missing, which PagerDuty would refuse".to_owned(),
            };
            sheet.warnings.push(format!("payload.{name}: {made}"));
        }
    }
}

/// The whole summary if the title cannot hold it; else the details, if they are a text.
fn description<'a>(payload: &'a Value, summary: Option<&'a str>) -> Option<Cow<'a, str>> {
    let long = summary.filter(|summary| summary.chars().count() > TITLE);
    long.map(Cow::Borrowed).or_else(|| text(payload, "/custom_details"))
}

/// When it was seen. No part of the identity: a second trigger of the same incident has another.
fn timestamp(given: &Value, sheet: &mut Sheet) -> Value {
    if let Some(read) = fact_time(given) {
        return json!(read);
    }
    if !given.is_null() && given != "" {
        sheet.odd("payload.timestamp", given, "is no time: kept as it is");
    }
    given.clone()
}

/// Links, images and the client's own page.
fn linked(draft: Draft, event: &Value, sheet: &mut Sheet) -> Draft {
    let draft = listed(draft, event, sheet, "links", ["/href", "/text"], None);
    let draft = listed(draft, event, sheet, "images", ["/src", "/alt"], Some("Image"));
    let client = sheet.text("", event, "/client");
    draft.link(client.as_deref().unwrap_or("Client"), sheet.text("", event, "/client_url").as_deref())
}

/// The links of a list, each with its text, else with this one, else with its address.
fn listed(
    mut draft: Draft,
    event: &Value,
    sheet: &mut Sheet,
    list: &str,
    [href, text]: [&str; 2],
    name: Option<&str>,
) -> Draft {
    for (index, entry) in sheet.list(list, &event[list]).iter().enumerate() {
        let at = format!("{list}[{index}]");
        let address = sheet.text(&at, entry, href);
        if address.is_none() {
            sheet.odd(&at, entry, "has no address: left out");
        }
        let text = sheet.text(&at, entry, text);
        draft = draft
            .link(text.as_deref().or(name).or(address.as_deref()).unwrap_or_default(), address.as_deref());
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(payload: &str, status: Status) -> (Value, Vec<String>) {
        let settings = Settings::of("pagerduty-events", "PagerDuty Events", "custom");
        let mut sheet = Sheet::default();
        alert(&serde_json::from_str(payload).unwrap(), "samplekeyhere", &settings, status, &mut sheet);
        (serde_json::from_str(&sheet.alerts[0]).unwrap(), sheet.warnings)
    }

    #[test]
    fn a_trigger_keeps_everything_but_the_routing_key() {
        let (alert, warnings) = taken(include_str!("../payloads/trigger.json"), Status::Firing);
        assert_eq!(
            alert,
            json!({
                "title": "Example alert on host1.example.com", "description": "", "type": "custom",
                "severity": "low", "source": {"name": "PagerDuty Events", "type": "pagerduty-events"},
                "status": "firing", "dedup_key": "samplekeyhere", "secret_scope": alert["secret_scope"],
                "labels": {
                    "source": "monitoringtool:cloudvendor:central-region-dc-01:852559987:cluster/api-stats-prod-003",
                    "component": "postgres", "group": "prod-datapipe", "class": "deploy",
                },
                "links": [
                    {"href": "https://example.com/", "text": "Link text"},
                    {
                        "href": "https://www.pagerduty.com/wp-content/uploads/2016/05/pagerduty-logo-green.png",
                        "text": "Example text",
                    },
                    {"href": "https://monitoring.example.com", "text": "Sample Monitoring Service"},
                ],
                "data": {
                    "dedup_key": "samplekeyhere", "timestamp": "2015-07-17T08:42:58.315000Z", "client": "Sample Monitoring Service",
                    "custom_details": {"ping time": "1500ms", "load avg": 0.75},
                },
            })
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn the_key_counts_within_a_hash_of_the_routing_key() {
        let scope = |event: Value| {
            let (alert, _) = taken(&event.to_string(), Status::Resolved);
            assert!(!alert.to_string().contains("R0TEAM"), "{alert}");
            alert["secret_scope"].as_str().unwrap().to_owned()
        };
        let (a, b) = (json!({"routing_key": "R0TEAMA"}), json!({"routing_key": "R0TEAMB"}));
        assert_eq!(scope(a.clone()), scope(a.clone()));
        assert_ne!(scope(a.clone()), scope(b));
        assert_ne!(scope(a), scope(json!({})));
    }

    #[test]
    fn a_resolve_is_named_by_its_key() {
        let (alert, warnings) = taken(include_str!("../payloads/resolve.json"), Status::Resolved);
        assert_eq!((&alert["status"], &alert["title"]), (&json!("resolved"), &json!("samplekeyhere")));
        assert_eq!((&alert["dedup_key"], alert.get("starts_at")), (&json!("samplekeyhere"), None));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_alertmanager_sends_is_read() {
        let (alert, warnings) = taken(include_str!("../payloads/alertmanager.json"), Status::Firing);
        assert_eq!(alert["severity"], "high");
        assert_eq!(
            alert["links"],
            json!([{"href": "http://alertmanager:9093/#/alerts?receiver=campanile", "text": "Alertmanager"}])
        );
        assert_eq!(alert["data"]["custom_details"]["num_firing"], "1");
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_pagerduty_would_refuse_is_said_and_taken() {
        let (alert, warnings) = taken(include_str!("../payloads/odd.json"), Status::Firing);
        assert!(alert["title"].as_str().unwrap().ends_with("… (cut, 101 bytes more)"), "{}", alert["title"]);
        assert_eq!(alert["description"].as_str().unwrap().chars().count(), 1_100);
        assert_eq!((&alert["severity"], &alert["data"]["timestamp"]), (&json!("medium"), &json!("17 July")));
        assert_eq!(alert["labels"], json!({"component": "7"}));
        assert_eq!(
            warnings,
            [
                "payload.source: is missing, which PagerDuty would refuse",
                "payload.timestamp: \"17 July\" is no time: kept as it is",
                "links[0]: {\"text\":\"a link without an address\"} has no address: left out",
                "links[1]: \"https://example.com/\" has no address: left out",
                "title: was cut to 1024 characters",
                "payload.severity: \"sev-1\" is no known severity: medium was taken",
            ]
        );
        let (bare, warnings) = taken(r#"{"payload": {"custom_details": "all of it"}}"#, Status::Firing);
        assert_eq!(
            (&bare["title"], &bare["description"]),
            (&json!("PagerDuty Events: alert without a title"), &json!("all of it"))
        );
        assert_eq!((warnings.len(), &bare["data"]), (3, &json!({"dedup_key": "samplekeyhere"})));
    }

    #[test]
    fn numbers_and_booleans_are_texts() {
        let (alert, warnings) = taken(
            r#"{"client": 7, "client_url": "https://client.example", "links": [{"href": "https://a.example", "text": 1}],
                "payload": {"summary": 503, "source": 1, "severity": "critical", "component": true, "custom_details": 0.5}}"#,
            Status::Firing,
        );
        assert_eq!((&alert["title"], &alert["description"]), (&json!("503"), &json!("0.5")));
        assert_eq!(alert["labels"], json!({"source": "1", "component": "true"}));
        assert_eq!(
            alert["links"],
            json!([{"href": "https://a.example", "text": "1"}, {"href": "https://client.example", "text": "7"}])
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_is_of_an_unusable_kind_is_left_out_with_its_path() {
        let (alert, warnings) = taken(
            r#"{"client_url": [], "links": {"href": "https://a.example"}, "images": [{"src": {}}, 7],
                "payload": {"summary": ["a"], "source": {"host": "a"}, "severity": {}}}"#,
            Status::Firing,
        );
        assert_eq!(alert["title"], "PagerDuty Events: alert without a title");
        assert_eq!(alert["labels"], json!({"source": "{\"host\":\"a\"}"}));
        assert_eq!(
            warnings,
            [
                "payload.summary: [\"a\"] is not a text: left out",
                "links: {\"href\":\"https://a.example\"} is not a list: left out",
                "images[0].src: {} is not a text: left out",
                "images[0]: {\"src\":{}} has no address: left out",
                "images[1]: 7 has no address: left out",
                "client_url: [] is not a text: left out",
                "payload.severity: {} is no known severity: medium was taken",
            ]
        );
    }

    /// The host takes 512 KiB. PagerDuty takes 512 KB, and what an alert has beside the details is less than an event has.
    #[test]
    fn an_event_as_large_as_pagerduty_takes_is_taken_whole() {
        let long = "Z".repeat(498_000);
        for details in [json!(long), json!({"log": long})] {
            let event = json!({"payload": {"summary": "s", "source": "s", "severity": "info", "custom_details": details}});
            let settings = Settings::of("pagerduty-events", "PagerDuty Events", "custom");
            let mut sheet = Sheet::default();
            alert(&event, "key", &settings, Status::Firing, &mut sheet);
            assert!(sheet.alerts[0].len() < 512 << 10, "{}", sheet.alerts[0].len());
            // In one piece or two.
            assert_eq!(sheet.alerts[0].matches('Z').count(), long.len());
            assert_eq!(sheet.warnings, [""; 0]);
        }
    }
}
