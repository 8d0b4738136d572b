//! Mappings as operators write them, and what becomes of bodies.

use std::collections::BTreeMap;

use campanile_guest::source::{Settings, Sheet};
use campanile_guest::types::Failure;
use serde_json::{Value, json};

use crate::mapping::Mapping;

type Table = BTreeMap<String, String>;

fn table(pairs: &[(&str, &str)]) -> Table {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tried(pairs: &[(&str, &str)], body: &Value) -> Result<Sheet, Failure> {
    Mapping::new("acme", table(pairs)).decode(body, Settings::of("json", "JSON", "custom"))
}

/// The alerts, without a warning.
fn alerts(pairs: &[(&str, &str)], body: &Value) -> Vec<Value> {
    let sheet = tried(pairs, body).unwrap();
    assert!(sheet.warnings.is_empty(), "{:?}", sheet.warnings);
    sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect()
}

#[test]
fn pointers_and_templates_fill_every_field() {
    let mapping = [
        ("list", "/events"),
        ("name", "Acme Cloud"),
        ("title", "{{ entry.host }} is {{ entry.state | lower }}"),
        ("description", "/message"),
        ("key", "/id"),
        ("severity", "/level"),
        ("severities.5", "critical"),
        ("status", "/state"),
        ("starts-at", "/since"),
        ("environment", "{{ body.env }}"),
        ("service", "/service"),
        ("link", "https://acme.example/e/{{ entry.id }}"),
        ("labels.team", "/owner/team"),
        ("labels.none", "/nothing"),
        ("data.owner", "/owner"),
        ("metrics.load", "/load"),
    ];
    let body = json!({"env": "production", "events": [
        {"id": 7, "host": "db-1", "state": "DOWN", "level": 5, "message": "no answer", "service": "pay",
         "since": 1_780_000_000, "owner": {"team": "storage"}, "load": "0.75"},
        {"id": 7, "host": "db-1", "state": "OK", "level": "warn"},
    ]});
    let found = alerts(&mapping, &body);
    assert_eq!(
        found[0],
        json!({
            "title": "db-1 is down", "description": "no answer", "type": "custom", "severity": "critical",
            "source": {"name": "Acme Cloud", "type": "json"}, "status": "firing", "dedup_key": "acme/7",
            "starts_at": found[0]["starts_at"], "context": {"environment": "production", "service": "pay"},
            "links": [{"href": "https://acme.example/e/7", "text": "Source"}], "labels": {"team": "storage"},
            "data": {"owner": {"team": "storage"}}, "metrics": {"load": 0.75},
        })
    );
    assert!(found[0]["starts_at"].as_str().unwrap().starts_with("2026-05-28T20:26:40"), "{}", found[0]);
    let ended = &found[1];
    assert_eq!((&ended["status"], &ended["severity"]), (&json!("resolved"), &json!("medium")));
    assert_eq!(ended["dedup_key"], found[0]["dedup_key"]);
}

#[test]
fn a_body_without_a_list_is_one_alert_or_many() {
    let mapping = [("title", "/name")];
    assert_eq!(alerts(&mapping, &json!({"name": "one"})).len(), 1);
    assert_eq!(alerts(&mapping, &json!([{"name": "one"}, {"name": "two"}])).len(), 2);
    let refused = tried(&[("title", "/name"), ("list", "/items")], &json!({"name": "one"})).unwrap_err();
    assert_eq!(
        refused.message,
        "the mapping acme reads a list or an object at \"/items\" (`list`), and the body has none there"
    );
}

#[test]
fn the_words_that_end_an_alert_can_be_set() {
    let status = |words: &[(&str, &str)], value: Value| {
        let mapping = [&[("title", "/t"), ("status", "/s")], words].concat();
        alerts(&mapping, &json!({"t": "t", "s": value}))[0]["status"].clone()
    };
    assert_eq!(status(&[], json!("Recovered")), "resolved");
    assert_eq!(status(&[], json!("false")), "firing");
    assert_eq!(status(&[("resolved", "Done, false")], json!(false)), "resolved");
    assert_eq!(status(&[("resolved", "Done, false")], json!("recovered")), "firing");
}

#[test]
fn an_entry_without_a_status_has_not_ended() {
    for resolved in ["ok, up,", ",ok", " ", ",", ""] {
        let bare = [("title", "/t"), ("resolved", resolved)];
        let with_status = [&bare[..], &[("status", "/s")]].concat();
        assert_eq!(alerts(&bare, &json!({"t": "t"}))[0]["status"], "firing", "{resolved:?}");
        for entry in [json!({"t": "t"}), json!({"t": "t", "s": " "})] {
            let sheet = tried(&with_status, &entry).unwrap();
            assert!(sheet.alerts[0].contains(r#""status":"firing""#), "{resolved:?}: {:?}", sheet.alerts);
        }
    }
}

#[test]
fn a_key_of_which_a_part_is_absent_is_none() {
    for (key, of_the_second) in [
        ("{{ entry.host }}/{{ entry.check }}", None),
        ("{{ entry.host | lower }}/{{ entry.check }}", None),
        ("{{ entry.host ~ '/' ~ entry.check }}", None),
        ("{{ [entry.host, entry.check] | join('/') }}", None),
        ("{{ entry.where.host }}/{{ entry.check }}", None),
        ("{{ entry.host | default('any') }}/{{ entry.check }}", Some("acme/any/cpu")),
        ("{% if entry.host %}{{ entry.host }}/{% endif %}{{ entry.check }}", Some("acme/cpu")),
        ("{{ entry.host or 'any' }}/{{ entry.check }}", Some("acme/any/cpu")),
    ] {
        let entry = |host: Value| json!({"host": host, "check": "cpu", "where": {"host": host}});
        let body = json!([entry(json!("db-1")), entry(Value::Null)]);
        let sheet = tried(&[("title", "{{ entry.none }}t"), ("key", key)], &body).unwrap();
        let keys = sheet.alerts.iter().map(|alert| {
            serde_json::from_str::<Value>(alert).unwrap()["dedup_key"].as_str().map(str::to_owned)
        });
        let some = |key: &str| Some(key.to_owned());
        assert_eq!(keys.collect::<Vec<_>>(), [some("acme/db-1/cpu"), of_the_second.and_then(some)], "{key}");
        let warnings = sheet.warnings.join("\n");
        assert_eq!(
            warnings.contains("has no `key`: its template failed"),
            of_the_second.is_none(),
            "{warnings}"
        );
        assert!(warnings.is_empty() || warnings.contains("undefined value"), "{warnings}");
    }
}

#[test]
fn a_measured_value_keeps_its_digits() {
    let mapping = [("title", "/t"), ("metrics.m", "/m")];
    for (given, kept) in [
        (json!("9007199254740993"), json!(9_007_199_254_740_993_u64)),
        (json!("18446744073709551616"), json!("18446744073709551616")),
        (json!(" 0.75 "), json!(0.75)),
        (json!("1e3"), json!(1000.0)),
        (json!("many"), json!("many")),
    ] {
        assert_eq!(alerts(&mapping, &json!({"t": "t", "m": given}))[0]["metrics"]["m"], kept, "{given}");
    }
}

#[test]
fn a_field_that_cannot_be_had_costs_itself() {
    let mapping = [("title", "{{ entry.name"), ("severity", "/level"), ("key", "/id"), ("starts-at", "/at")];
    let sheet = tried(&mapping, &json!([{"name": "a", "id": "k", "level": "odd", "at": "soon"}])).unwrap();
    let alert: Value = serde_json::from_str(&sheet.alerts[0]).unwrap();
    assert_eq!(
        (&alert["title"], &alert["dedup_key"]),
        (&json!("acme: alert without a title"), &json!("acme/k"))
    );
    for (warning, part) in sheet.warnings.iter().zip([
        "has no `title`: its template failed: line 1",
        "has no `title` by this mapping",
        "/0.starts-at: \"soon\" is no time",
        "/0.severity: \"odd\" is no known severity",
    ]) {
        assert!(warning.contains(part), "{part:?} is missing in {warning:?}");
    }
    assert_eq!(sheet.warnings.len(), 4);
}

#[test]
fn a_mapping_that_finds_nothing_says_so() {
    let mapping =
        [("title", "/name"), ("key", "/id"), ("status", "/state"), ("severity", "/level"), ("service", "/s")];
    let sheet = tried(
        &mapping,
        &json!([7, { "name": "a" }, { "name": "b", "id": "k", "state": "x", "level": "low" }]),
    )
    .unwrap();
    assert_eq!(sheet.alerts.len(), 2);
    let warnings: Vec<_> = sheet.warnings.iter().map(|warning| warning.split(": ").next().unwrap()).collect();
    assert_eq!(warnings, ["/0", "/1", "/1", "/1"]);
    assert!(sheet.warnings[0].ends_with("7 is not an object: left out"), "{:?}", sheet.warnings);
    for (warning, name) in sheet.warnings[1..].iter().zip(["key", "status", "severity"]) {
        assert!(warning.ends_with(&format!("has no `{name}` by this mapping")), "{warning}");
    }
}

#[test]
fn the_path_chooses_the_mapping() {
    let mappings = |names: &[&str]| -> BTreeMap<String, Table> {
        names.iter().map(|name| ((*name).to_owned(), table(&[("title", "/t")]))).collect()
    };
    let chosen = |path: &str, names: &[&str]| Mapping::choose(path, mappings(names)).map(|found| found.name);
    assert_eq!(chosen("/b?x=1", &["a", "b"]).unwrap(), "b");
    assert_eq!(chosen("/", &["a"]).unwrap(), "a");
    assert!(chosen("/", &[]).unwrap_err().message.contains("add one, such as [config.mappings.acme]"));
    let refused = chosen("/c", &["a", "b"]).unwrap_err().message;
    assert!(
        refused.contains("\"/c\"") && refused.contains("a, b") && refused.contains("[config.mappings.c]"),
        "{refused}"
    );
}

#[test]
fn a_scale_of_the_systems_own_becomes_the_level() {
    let mapping = [("title", "t"), ("vendor-level", "/level")];
    let found = alerts(&mapping, &json!([{"level": 3}, {"level": "4"}, {"level": -1}, {}]));
    let levels: Vec<_> = found.iter().map(|alert| alert["vendor_level"].clone()).collect();
    assert_eq!(levels, [json!(3), json!(4), json!(-1), json!(null)]);
    let sheet = tried(&mapping, &json!({"level": 1.5})).unwrap();
    assert_eq!(sheet.warnings, [": 1.5 is not an integer for `vendor-level`, such as 2: left out"]);
}

#[test]
fn the_alerts_of_a_mapping_may_have_no_end() {
    let mapping = |momentary| [("title", "t"), ("key", "/id"), ("momentary", momentary)];
    assert_eq!(alerts(&mapping("true"), &json!({"id": 7}))[0]["momentary"], true);
    assert_eq!(alerts(&mapping("false"), &json!({"id": 7}))[0].get("momentary"), None);
}
