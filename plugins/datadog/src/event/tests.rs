//! Payloads as Datadog fills in the template.

use super::*;

fn decoded(payload: &str) -> (Value, Vec<String>) {
    let settings = Settings::of("datadog", "Datadog", "custom");
    let sheet = decode(&serde_json::from_str(payload).unwrap(), &settings).unwrap();
    assert_eq!(sheet.alerts.len(), 1);
    (serde_json::from_str(&sheet.alerts[0]).unwrap(), sheet.warnings)
}

/// The alert of a triggered event in which some values are others.
fn with(values: &[(&str, &str)]) -> (Value, Vec<String>) {
    let mut event: Value = serde_json::from_str(include_str!("../../payloads/triggered.json")).unwrap();
    for (name, value) in values {
        event[*name] = json!(value);
    }
    decoded(&event.to_string())
}

#[test]
fn a_triggered_event_keeps_what_people_and_routes_need() {
    let (alert, warnings) = decoded(include_str!("../../payloads/triggered.json"));
    assert_eq!(
        alert,
        json!({
            "title": "[P2] [Triggered on {host:my-host}] System load is high",
            "description": "The load of **my-host** is above 5. @webhook-campanile\n\nThe monitor was last triggered at Tue Jul 29 2014 19:37:52 UTC.",
            "type": "custom", "severity": "high", "source": {"name": "Datadog", "type": "datadog"},
            "status": "firing", "dedup_key": "5a1e9b3fb2c04d7c9f63d0e8a7c41b22/11023", "vendor_level": 2,
            "context": {"environment": "production", "service": "checkout"},
            "labels": {
                "env": "production", "host": "my-host", "monitor": "true", "role": "computing-node", "service": "checkout",
            },
            "links": [{"href": "https://app.datadoghq.com/event/event?id=1234567", "text": "Datadog"}],
            "data": {
                "timestamp": "2014-07-29T19:37:52.000000Z", "cycle": "5a1e9b3fb2c04d7c9f63d0e8a7c41b22", "monitor_id": "1234", "transition": "Triggered", "type": "error",
                "metric": "system.load.1", "query": "avg(last_5m):avg:system.load.1{*} by {host} > 5",
                "scope": "host:my-host", "aggreg": "9bd4ac313a4d1e8fae2482df7b77628", "id": "1234567",
                "org": {"id": "11023", "name": "Example Inc."},
            },
        })
    );
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_recovery_has_the_identity_of_its_trigger_and_no_time_in_it() {
    let (fired, _) = decoded(include_str!("../../payloads/triggered.json"));
    let (recovered, warnings) = decoded(include_str!("../../payloads/recovered.json"));
    assert_eq!((&recovered["status"], &recovered["severity"]), (&json!("resolved"), &json!("high")));
    assert_eq!(recovered["dedup_key"], fired["dedup_key"]);
    assert_ne!(recovered["data"]["timestamp"], fired["data"]["timestamp"]);
    assert_eq!((recovered.get("starts_at"), recovered.get("ends_at")), (None, None));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn every_transition_is_known() {
    for (transition, status) in [
        ("Triggered", "firing"),
        ("Re-Triggered", "firing"),
        ("No Data", "firing"),
        ("Re-No Data", "firing"),
        ("Warn", "firing"),
        ("Re-Warn", "firing"),
        ("Renotify", "firing"),
        ("Recovered", "resolved"),
    ] {
        let (alert, warnings) = with(&[("transition", transition)]);
        assert_eq!((&alert["status"], warnings.len()), (&json!(status), 0), "{transition}");
    }
    let (alert, warnings) = with(&[("transition", "Null")]);
    assert_eq!(alert["status"], "firing");
    assert_eq!(warnings, ["transition: \"Null\" is no known transition: firing was taken"]);
}

#[test]
fn the_severity_is_the_priority_else_that_of_the_transition_else_that_of_the_type() {
    for (priority, transition, kind, severity) in [
        ("P1", "Warn", "warning", "critical"),
        ("", "Warn", "error", "medium"),
        ("", "Triggered", "error", "high"),
        ("$ALERT_PRIORITY", "Triggered", "warning", "medium"),
        ("P5", "Recovered", "success", "low"),
        ("", "Recovered", "success", "medium"),
    ] {
        let (alert, warnings) = with(&[("priority", priority), ("transition", transition), ("type", kind)]);
        assert_eq!(
            (&alert["severity"], warnings.len()),
            (&json!(severity), 0),
            "{priority} {transition} {kind}"
        );
    }
    let (alert, warnings) = with(&[("priority", "normal"), ("type", "user_update")]);
    assert_eq!(alert["severity"], "medium");
    assert_eq!(
        warnings,
        [
            "priority: \"normal\" is not P1 to P5: left out",
            "type: \"user_update\" is no known severity: medium was taken",
        ]
    );
}

#[test]
fn the_identity_is_the_first_that_datadog_knows() {
    let key = |values: &[(&str, &str)]| with(values).0["dedup_key"].clone();
    assert_eq!(key(&[("cycle", "$ALERT_CYCLE_KEY")]), "9bd4ac313a4d1e8fae2482df7b77628/11023");
    assert_eq!(key(&[("cycle", ""), ("aggreg", "")]), "1234/host:my-host/11023");
    let (alert, warnings) = with(&[("cycle", ""), ("aggreg", ""), ("monitor_id", ""), ("date", "today")]);
    assert_eq!(alert.get("dedup_key"), None);
    assert_eq!(
        warnings,
        [
            "date: \"today\" is no time: left out",
            "cycle: is missing, as are `aggreg` and `monitor_id`: no recovery will find the alert",
        ]
    );
}

#[test]
fn each_event_of_no_monitor_is_an_alert_of_its_own() {
    let other = [("cycle", ""), ("monitor_id", ""), ("transition", "$ALERT_TRANSITION")];
    let (alert, _) = with(&other);
    assert_eq!((&alert["momentary"], alert.get("dedup_key")), (&json!(true), None));
    let (monitored, _) = with(&[("cycle", ""), ("transition", "")]);
    assert_eq!(
        (monitored.get("momentary"), &monitored["dedup_key"]),
        (None, &json!("9bd4ac313a4d1e8fae2482df7b77628/11023"))
    );
}

#[test]
fn the_level_is_that_of_the_transition_else_of_the_type() {
    for (transition, kind, level) in [
        ("Triggered", "error", json!(2)),
        ("Re-Warn", "warning", json!(1)),
        ("No Data", "error", json!(0)),
        ("Renotify", "error", json!(2)),
        ("Renotify", "warning", json!(1)),
        ("Recovered", "success", json!(null)),
    ] {
        let (alert, _) = with(&[("transition", transition), ("type", kind)]);
        assert_eq!(alert["vendor_level"], level, "{transition} {kind}");
    }
}

#[test]
fn a_test_of_a_monitor_has_an_identity_of_its_own() {
    let (test, warnings) = decoded(include_str!("../../payloads/test.json"));
    assert_eq!(
        (&test["status"], &test["dedup_key"]),
        (&json!("resolved"), &json!("test-1234/host:my-host/11023"))
    );
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn other_payloads_of_datadog_are_read() {
    let (warn, warnings) = decoded(include_str!("../../payloads/warn.json"));
    assert_eq!((&warn["severity"], warnings.len()), (&json!("medium"), 0), "{warnings:?}");
    let (no_data, warnings) = decoded(include_str!("../../payloads/no-data.json"));
    assert_eq!((&no_data["status"], warnings.len()), (&json!("firing"), 0), "{warnings:?}");
    let (unfilled, warnings) = decoded(include_str!("../../payloads/unknown-variables.json"));
    assert_eq!(unfilled["data"], json!({"id": "7654321", "timestamp": "2014-07-29T19:37:52.000000Z"}));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn without_the_template_the_title_says_that_it_has_ended() {
    let (alert, warnings) = decoded(include_str!("../../payloads/without-template.json"));
    assert_eq!((&alert["status"], &alert["severity"]), (&json!("resolved"), &json!("medium")));
    assert_eq!(alert["data"]["org"], json!({"id": "11023", "name": "Example Inc."}));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_body_of_another_shape_is_refused() {
    let settings = Settings::of("datadog", "Datadog", "custom");
    for body in
        [include_str!("../../payloads/invalid-other.json"), include_str!("../../template.json"), "[]", "7"]
    {
        let failure = decode(&serde_json::from_str(body).unwrap(), &settings).unwrap_err();
        assert_eq!(failure.code, "invalid-payload");
    }
}

#[test]
fn a_repeat_has_the_same_delivery_id() {
    let event = serde_json::from_str(include_str!("../../payloads/triggered.json")).unwrap();
    assert_eq!(delivery_id(&event).as_deref(), Some("1234567"));
    assert_eq!(delivery_id(&json!({"id": "$ID"})), None);
}

#[test]
fn the_readme_shows_the_template() {
    assert!(include_str!("../../README.md").contains(include_str!("../../template.json")));
}

#[test]
fn more_tags_than_an_alert_may_have_are_left_out() {
    let most = "a,".repeat(MOST_TAGS / 2);
    let (alert, warnings) = with(&[("tags", &most)]);
    assert!(alert["labels"]["a"].as_str().unwrap().ends_with(" bytes more)"));
    assert!(warnings[0].starts_with("alerts[0].labels.a: the text was cut from 1310721 to "), "{warnings:?}");
    let (alert, warnings) = with(&[("tags", &format!("{most},"))]);
    assert_eq!(alert.get("labels"), None);
    assert_eq!(alert["title"], "[P2] [Triggered on {host:my-host}] System load is high");
    assert!(warnings[0].ends_with("has 524289 bytes, more than 524288: left out"), "{warnings:?}");
}
