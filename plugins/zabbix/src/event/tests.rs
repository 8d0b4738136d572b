//! Events as the media type posts them.

use super::*;

const MEDIA_TYPE: &str = include_str!("../../media_campanile.yaml");
const SCRIPT: &str = include_str!("../../campanile.js");
const PROBLEM: &str = include_str!("../../payloads/problem.json");

fn found(body: &str) -> (Vec<Value>, Vec<String>) {
    let settings = Settings::of("zabbix", "Zabbix", "infrastructure");
    let sheet = decode(&serde_json::from_str(body).unwrap(), &settings).unwrap();
    (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
}

/// The one alert of a payload at which nothing is odd.
fn alert(body: &str) -> Value {
    let (mut alerts, warnings) = found(body);
    assert_eq!((alerts.len(), warnings.len()), (1, 0), "{warnings:?}");
    alerts.remove(0)
}

/// A problem in which some values are others.
fn with(values: &[(&str, Value)]) -> String {
    let mut event: Value = serde_json::from_str(PROBLEM).unwrap();
    for (name, value) in values {
        event[*name] = value.clone();
    }
    event.to_string()
}

#[test]
fn operational_data_that_is_the_description_is_kept_once() {
    let event = alert(&with(&[("alert_message", json!("")), ("trigger_description", json!(""))]));
    assert_eq!(event["description"], "Load averages(1m 5m 15m): (9.1 8.2 4.0)");
    assert_eq!(event["data"].get("event_opdata"), None);
}

#[test]
fn a_problem_keeps_what_people_and_routes_need() {
    assert_eq!(
        alert(PROBLEM),
        json!({
            "title": "Load average is too high (per CPU load over 1.5 for 5m)",
            "description": "Problem started at 08:14:31 on 2026.03.02\r\nHost: db-1\r\nSeverity: High",
            "type": "infrastructure", "severity": "high", "source": {"name": "Zabbix", "type": "zabbix"},
            "status": "firing", "dedup_key": "5021944/https://zabbix.example.com", "vendor_level": 4,
            "context": {"environment": "production", "service": "checkout"},
            "labels": {
                "class": "os", "component": "cpu,load", "env": "production", "scope": "true", "service": "checkout",
                "host": "db-1.internal", "hostgroups": "Linux servers, Databases", "severity": "High",
            },
            "links": [
                {
                    "href": "https://zabbix.example.com/tr_events.php?triggerid=23101&eventid=5021944",
                    "text": "Zabbix",
                },
                {"href": "https://runbooks.example.com/load", "text": "Trigger"},
            ],
            "data": {
                "event_id": "5021944", "event_date": "2026.03.02", "event_time": "08:14:31", "event_opdata": "Load averages(1m 5m 15m): (9.1 8.2 4.0)",
                "host_ip": "10.0.0.12", "trigger_id": "23101",
            },
        })
    );
}

#[test]
fn a_recovery_ends_the_problem_by_its_event() {
    let (problem, recovery) = (alert(PROBLEM), alert(include_str!("../../payloads/recovery.json")));
    assert_eq!((&recovery["status"], &recovery["dedup_key"]), (&json!("resolved"), &problem["dedup_key"]));
    assert_eq!((&recovery["title"], recovery.get("starts_at")), (&problem["title"], None));
    assert_eq!(recovery["data"]["event_recovery_time"], "08:41:02");
}

#[test]
fn an_acknowledgement_makes_no_alert_and_another_severity_does() {
    let (alerts, warnings) = found(include_str!("../../payloads/acknowledged.json"));
    assert!(alerts.is_empty(), "{alerts:?}");
    assert_eq!(
        warnings,
        ["event_update_action: \"acknowledged and commented\" is an update that is not acted on: no alert"]
    );
    let worse = alert(include_str!("../../payloads/severity-changed.json"));
    assert_eq!(
        (&worse["status"], &worse["severity"], &worse["dedup_key"]),
        (&json!("firing"), &json!("critical"), &alert(PROBLEM)["dedup_key"])
    );
    let over = [("event_value", json!("0")), ("event_update_status", json!("1"))];
    assert!(found(&with(&over)).0.is_empty());
}

#[test]
fn the_severity_is_that_of_the_number() {
    for (number, name, severity, count) in [
        (json!("0"), "Not classified", "medium", 0),
        (json!("1"), "Information", "low", 0),
        (json!("2"), "Warning", "medium", 0),
        (json!("3"), "Average", "medium", 0),
        (json!(4), "Hoch", "high", 0),
        (json!("5"), "Disaster", "critical", 0),
        (json!("{EVENT.NSEVERITY}"), "Disaster", "critical", 0),
        (json!(null), "Fürchterlich", "medium", 1),
        (json!("9"), "High", "medium", 1),
    ] {
        let (alerts, warnings) =
            found(&with(&[("event_nseverity", number), ("event_severity", json!(name))]));
        assert_eq!(
            (&alerts[0]["severity"], warnings.len()),
            (&json!(severity), count),
            "{name}: {warnings:?}"
        );
    }
}

#[test]
fn what_is_of_one_severity_here_has_levels_of_zabbix() {
    let found = |number: &str| alert(&with(&[("event_nseverity", json!(number))]));
    let (warning, average) = (found("2"), found("3"));
    assert_eq!(warning["severity"], average["severity"]);
    assert_eq!((&warning["vendor_level"], &average["vendor_level"]), (&json!(2), &json!(3)));
}

#[test]
fn events_of_two_servers_with_one_number_are_two_alerts() {
    let key = |url: &str| alert(&with(&[("zabbix_url", json!(url))]))["dedup_key"].clone();
    assert_eq!(key("https://zabbix-eu.example/"), "5021944/https://zabbix-eu.example");
    assert_eq!(key("{$ZABBIX.URL}"), "5021944");
}

#[test]
fn a_service_has_its_own_name_and_the_severity_of_its_update() {
    let service = alert(include_str!("../../payloads/service.json"));
    assert_eq!(
        (&service["status"], &service["severity"], &service["context"]),
        (&json!("firing"), &json!("high"), &json!({"environment": "production", "service": "Checkout"}))
    );
    let updated = alert(include_str!("../../payloads/service-updated.json"));
    assert_eq!((&updated["status"], &updated["severity"]), (&json!("firing"), &json!("critical")));
    assert_eq!(updated["dedup_key"], service["dedup_key"]);
    assert_eq!(updated["labels"], json!({"env": "production", "severity": "Disaster"}));
}

#[test]
fn discovery_knows_no_recovery() {
    let discovered = alert(include_str!("../../payloads/discovery.json"));
    assert_eq!(
        (&discovered["status"], &discovered["title"]),
        (&json!("firing"), &json!("Discovery: UP 10.0.0.77"))
    );
    assert_eq!((discovered.get("labels"), discovered.get("links")), (None, None));
    assert_eq!(discovered["momentary"], true);
}

#[test]
fn what_is_odd_costs_itself() {
    let (alerts, warnings) = found(include_str!("../../payloads/odd.json"));
    assert_eq!(
        (&alerts[0]["title"], &alerts[0]["dedup_key"]),
        (&json!("Zabbix: alert without a title"), &json!("77"))
    );
    assert_eq!(alerts[0]["labels"], json!({"component": "cpu"}));
    assert_eq!(
        warnings,
        [
            "event_name: {\"text\":\"x\"} is not a text: left out",
            "event_value: \"maybe\" is not 1 (problem) or 0 (recovery): a problem was taken",
            "event_nseverity: \"9\" is not 0 to 5: left out",
            "event_tags[1]: \"scope\" is no tag: left out",
        ]
    );
    let (alerts, warnings) =
        found(&with(&[("event_id", json!("{EVENT.ID}")), ("event_tags", json!("[oops"))]));
    assert_eq!(alerts[0].get("dedup_key"), None);
    assert_eq!(
        warnings,
        [
            "event_tags: \"[oops\" is not a list: left out",
            "event_id: is missing: no recovery will find the alert",
        ]
    );
}

#[test]
fn operational_data_that_is_the_description_is_no_fact_besides() {
    let values = [("alert_message", json!("")), ("trigger_description", json!(""))];
    let alert = alert(&with(&values));
    assert_eq!(alert["description"], "Load averages(1m 5m 15m): (9.1 8.2 4.0)");
    assert_eq!(alert["data"].get("event_opdata"), None);
}

#[test]
fn the_test_of_the_media_type_shows_that_the_connection_works() {
    let all = MEDIA_TYPE.lines().filter_map(|line| line.strip_prefix("        - name: "));
    let values = MEDIA_TYPE.lines().filter_map(|line| line.strip_prefix("          value: "));
    let untouched: serde_json::Map<_, _> = all
        .filter(|name| *name != "http_proxy")
        .zip(values.map(|value| json!(value.trim_matches('\''))))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    assert_eq!(untouched["event_id"], "{EVENT.ID}");
    let (alerts, warnings) = found(&Value::Object(untouched).to_string());
    assert!(alerts.is_empty(), "{alerts:?}");
    let works = "event_id: \"{EVENT.ID}\" is a macro, as the test of a media type posts it: the connection works, no alert";
    assert_eq!(warnings, [works]);
}

#[test]
fn a_body_of_another_shape_is_refused_with_what_to_import() {
    let settings = Settings::of("zabbix", "Zabbix", "infrastructure");
    let unknown = r#"{"event_id": "*UNKNOWN*", "event_name": ""}"#;
    for body in [include_str!("../../payloads/invalid-other.json"), "[]", "7", unknown] {
        let failure = decode(&serde_json::from_str(body).unwrap(), &settings).unwrap_err();
        assert_eq!(failure.code, "invalid-payload");
        assert!(failure.message.contains("media_campanile.yaml"), "{failure:?}");
    }
}

#[test]
fn the_media_type_has_the_script_and_all_that_is_read() {
    let indented: String = SCRIPT
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("        {line}\n") })
        .collect();
    assert!(MEDIA_TYPE.contains(&format!("      script: |\n{indented}")), "{indented}");
    let others = [
        "event_id",
        "event_name",
        "event_source",
        "event_value",
        "event_update_status",
        "event_tags",
        "alert_subject",
        "alert_message",
        "trigger_description",
        "trigger_url",
        "zabbix_url",
        "host_name",
        "service_name",
    ];
    let labels = LABELS.into_iter().flat_map(|(_, names)| names);
    for name in FACTS.iter().chain(labels).chain(&NUMBERS).chain(&others) {
        assert!(MEDIA_TYPE.contains(&format!("        - name: {name}\n")), "{name}");
    }
}

#[test]
fn every_operation_of_a_trigger_or_a_service_has_a_message() {
    for source in ["TRIGGERS", "SERVICE"] {
        for operation in ["PROBLEM", "RECOVERY", "UPDATE"] {
            let template =
                format!("        - event_source: {source}\n          operation_mode: {operation}\n");
            assert!(MEDIA_TYPE.contains(&template), "{template}");
        }
    }
}

#[test]
fn the_payloads_are_what_the_media_type_posts() {
    let problem: Value = serde_json::from_str(PROBLEM).unwrap();
    let own = ["campanile_url", "campanile_key", "http_proxy"];
    let parameters = MEDIA_TYPE.lines().filter_map(|line| line.strip_prefix("        - name: "));
    let mut names: Vec<&str> = parameters.filter(|name| !own.contains(name)).collect();
    names.sort_unstable();
    assert_eq!(names, problem.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>());
}
