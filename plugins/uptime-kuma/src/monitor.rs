//! A monitor that went down or up. What it is set up with (passwords, headers, tokens) stays with Uptime Kuma.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Settings, Severity, Sheet, fact_time};
use campanile_guest::types::Status;
use serde_json::{Value, json};

use crate::address::{bare, bare_in};

/// Facts of the monitor that are kept.
const FACTS: [&str; 4] = ["hostname", "port", "description", "interval"];

/// Adds the alert of a beat.
pub(crate) fn read(body: &Value, status: Status, settings: &Settings, sheet: &mut Sheet) {
    let (beat, monitor) = (&body["heartbeat"], &body["monitor"]);
    let name = sheet.text("", body, "/monitor/name");
    let title = name.as_deref().map(|name| match status {
        Status::Firing => format!("{name} is down"),
        Status::Resolved => format!("{name} is up"),
    });
    let message = sheet.text("", body, "/msg");
    let what = sheet.text("", body, "/heartbeat/msg");
    let heading = message.as_deref().map(bare_in);
    let draft = Draft::new("heartbeat", settings, status, title.as_deref().or(heading.as_deref()))
        .description(what.as_deref().or(message.as_deref()).map(bare_in).as_deref())
        .label("monitor", &name.as_deref().into())
        .metric("ping", &beat["ping"]);
    let draft = tagged(told(draft, monitor), monitor, sheet);
    let draft = timed(draft, beat, status);
    let id = sheet.first("", body, &["/heartbeat/monitorID", "/monitor/id"]);
    let draft = match id {
        Some(id) => draft.dedup_key(&format!("monitor-{id}")),
        None => {
            sheet.warnings.push("heartbeat.monitorID: is missing: no end will find the alert".to_owned());
            draft
        }
    };
    sheet.add(draft);
}

fn told(draft: Draft, monitor: &Value) -> Draft {
    let url = address(monitor);
    let draft = draft
        .label("type", &monitor["type"])
        .label("path", &monitor["pathName"])
        .link("Monitored", url.as_deref())
        .data("url", &url.as_deref().into());
    FACTS.into_iter().fold(draft, |draft, name| draft.rest(name, &monitor[name]))
}

/// The address that is monitored. Monitors of hosts have `https://` alone.
fn address(monitor: &Value) -> Option<String> {
    monitor["url"].as_str().map(str::trim).filter(|url| !url.ends_with("://")).map(bare)
}

/// The tags as labels, of which `severity`, `environment` (or `env`) and `service` say more.
fn tagged(draft: Draft, monitor: &Value, sheet: &mut Sheet) -> Draft {
    let mut draft = draft;
    for (index, tag) in sheet.list("monitor.tags", &monitor["tags"]).iter().enumerate() {
        let at = format!("monitor.tags[{index}]");
        let Some(name) = sheet.text(&at, tag, "/name") else {
            sheet.odd(&at, tag, "is no tag: left out");
            continue;
        };
        let value = sheet.text(&at, tag, "/value").unwrap_or(Cow::Borrowed("true"));
        draft = match name.as_ref() {
            "severity" => graded(draft, &at, &value, sheet),
            "environment" | "env" => draft.context("environment", Some(&value)),
            "service" => draft.context("service", Some(&value)),
            _ => draft,
        };
        draft = draft.label(&name, &json!(value));
    }
    draft
}

fn graded(draft: Draft, at: &str, word: &str, sheet: &mut Sheet) -> Draft {
    match Severity::named(word) {
        Some(severity) => draft.known_severity(severity),
        None => {
            sheet.odd(&format!("{at}.value"), &json!(word), "is no known severity: left out");
            draft
        }
    }
}

/// When it was seen. No part of the identity: the beat that ends it has another time.
fn timed(draft: Draft, beat: &Value, status: Status) -> Draft {
    let time = utc(&beat["time"]);
    match status {
        Status::Firing => draft.data("time", &time),
        Status::Resolved => draft.ends_at("time", &time).data("duration", &beat["duration"]),
    }
}

/// Uptime Kuma writes `2026-03-02 23:51:35.527`, which is UTC.
fn utc(time: &Value) -> Value {
    let read = fact_time(time).or_else(|| fact_time(&json!(format!("{}Z", time.as_str()?.trim()))));
    read.map_or_else(|| time.clone(), Value::from)
}

#[cfg(test)]
mod tests {
    use crate::notification::tests::{alert, found};
    use serde_json::json;

    #[test]
    fn a_monitor_that_is_down_keeps_what_people_and_routes_need() {
        let body = include_str!("../payloads/down.json");
        let down = alert(body);
        assert_eq!(
            down,
            json!({
                "title": "Shop is down", "description": "getaddrinfo ENOTFOUND shop.example.com",
                "type": "availability", "severity": "critical",
                "source": {"name": "Uptime Kuma", "type": "uptime-kuma"}, "status": "firing",
                "dedup_key": "monitor-29", "context": {"environment": "production"},
                "labels": {
                    "monitor": "Shop", "type": "http", "path": "Web / Shop", "severity": "p1", "env": "production",
                    "public": "true",
                },
                "links": [{"href": "https://shop.example.com/health", "text": "Monitored"}],
                "data": {
                    "url": "https://shop.example.com/health", "interval": 60, "time": "2026-03-02T23:51:35.527000Z",
                    "description": "The front page",
                },
            })
        );
        assert!(body.contains("not-a-real-password") && !down.to_string().contains("not-a-real-password"));
    }

    #[test]
    fn a_monitor_that_is_up_again_ends_the_alert() {
        let (down, up) =
            (alert(include_str!("../payloads/down.json")), alert(include_str!("../payloads/up.json")));
        assert_eq!((&up["status"], &up["dedup_key"]), (&json!("resolved"), &down["dedup_key"]));
        assert_eq!((&up["ends_at"], up.get("starts_at")), (&json!("2026-03-03T00:04:36.101Z"), None));
        assert_eq!((&up["title"], &up["metrics"]), (&json!("Shop is up"), &json!({"ping": 84})));
    }

    #[test]
    fn a_monitor_of_a_host_has_no_link() {
        let ping = alert(include_str!("../payloads/ping-down.json"));
        assert_eq!((ping.get("links"), &ping["data"]["hostname"]), (None, &json!("db-1.internal")));
    }

    #[test]
    fn an_address_is_kept_without_what_may_be_secret_in_it() {
        for name in [json!("Shop"), json!(null)] {
            let (alerts, _) = found(&json!({
                "heartbeat": {"monitorID": 7, "status": 0, "msg": "GET https://ada:hush@shop/ failed"},
                "monitor": {"name": name, "url": "https://ada:hush@shop/health?token=hush"},
                "msg": "[Shop] [🔴 Down] https://shop/?token=hush",
            }));
            assert!(!alerts[0].to_string().contains("hush"), "{alerts:?}");
            assert_eq!(alerts[0]["data"]["url"], "https://shop/health");
            assert_eq!(alerts[0]["links"][0]["href"], "https://shop/health");
            assert_eq!(alerts[0]["description"], "GET https://shop/ failed");
        }
    }

    #[test]
    fn what_is_odd_costs_itself() {
        let (alerts, warnings) = found(&serde_json::from_str(include_str!("../payloads/odd.json")).unwrap());
        assert_eq!(
            (&alerts[0]["title"], &alerts[0]["dedup_key"]),
            (&json!("404 is up"), &json!("monitor-12"))
        );
        assert_eq!((&alerts[0]["severity"], alerts[0].get("ends_at")), (&json!("medium"), None));
        assert_eq!(
            warnings,
            [
                "heartbeat.msg: [] is not a text: left out",
                "monitor.tags[0]: \"severity\" is no tag: left out",
                "monitor.tags[1].value: \"dreadful\" is no known severity: left out",
                "heartbeat.time: \"just now\" is no time: left out",
            ]
        );
        let (bare, warnings) = found(&json!({"heartbeat": {"status": 0}, "msg": "[Shop] [🔴 Down] timeout"}));
        assert_eq!((&bare[0]["title"], bare[0].get("dedup_key")), (&json!("[Shop] [🔴 Down] timeout"), None));
        assert_eq!(warnings, ["heartbeat.monitorID: is missing: no end will find the alert"]);
    }
}
