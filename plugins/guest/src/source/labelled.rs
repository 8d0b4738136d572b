//! Alerts as Prometheus, Alertmanager and Grafana write them: labels, annotations, `startsAt`, `endsAt`.

use serde_json::{Map, Value};

use super::draft::label_text;
use super::{Draft, Settings, Sheet, text};
use crate::types::Status;

/// Annotations and labels that become links, in this order, and how the links are called.
const LINKS: [(&str, &str); 7] = [
    ("/annotations/runbook_url", "Runbook"),
    ("/annotations/runbook", "Runbook"),
    ("/annotations/dashboard", "Dashboard"),
    ("/dashboardURL", "Dashboard"),
    ("/panelURL", "Panel"),
    ("/silenceURL", "Silence"),
    ("/generatorURL", "Source"),
];

/// One entry as an alert in the making.
pub fn labelled(
    at: &str,
    entry: &Map<String, Value>,
    settings: &Settings,
    status: Status,
    sheet: &mut Sheet,
) -> Draft {
    let document = Value::Object(entry.clone());
    let title =
        sheet.first(at, &document, &["/annotations/summary", "/annotations/title", "/labels/alertname"]);
    let description = sheet.first(at, &document, &["/annotations/description", "/annotations/message"]);
    // A label that is not a text is one of JSON.
    let label = |names: [&str; 2]| names.into_iter().find_map(|name| text(&document["labels"], name));
    let null = Value::Null;
    let draft = Draft::new(at, settings, status, title.as_deref())
        .description(description.as_deref())
        .severity("labels.severity", document.pointer("/labels/severity").unwrap_or(&null))
        .starts_at("startsAt", &document["startsAt"])
        .ends_at("endsAt", &document["endsAt"])
        .context("environment", label(["/environment", "/env"]).as_deref())
        .context("service", label(["/service", "/job"]).as_deref())
        .rest("annotations", &document["annotations"])
        .labels(sheet.fields(&format!("{at}.labels"), &document["labels"]));
    let link =
        |draft: Draft, (pointer, name)| draft.link(name, sheet.text(at, &document, pointer).as_deref());
    let draft = LINKS.into_iter().fold(draft, link);
    match sheet.text(at, &document, "/fingerprint") {
        Some(given) => draft.dedup_key(&given),
        None => draft.dedup_key(&fingerprint(&document["labels"])),
    }
}

/// What Alertmanager identifies a set of labels by: FNV-1a over names and values in ascending order of the names, each
/// followed by the byte 255 (`LabelSet.Fingerprint` in prometheus/common); empty if there are none.
pub fn fingerprint(labels: &Value) -> String {
    let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else { return String::new() };
    let mut labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), label_text(value))).collect();
    labels.sort_unstable();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for text in labels.iter().flat_map(|(name, value)| [*name, &**value]) {
        text.bytes().for_each(&mut add);
        add(0xff);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fingerprint_is_that_of_alertmanager() {
        // `TestLabelSet_Fingerprint` of prometheus/common: the empty set, which is no key here, and what a running
        // Alertmanager gives.
        assert_eq!(fingerprint(&json!({})), "");
        let one = fingerprint(&json!({"a": "1", "b": "2"}));
        assert_eq!(one, fingerprint(&json!({"b": "2", "a": "1"})));
        assert_ne!(one, fingerprint(&json!({"a": "12", "b": ""})));
        assert_eq!(one, fingerprint(&json!({"a": 1, "b": "2"})), "a number is its text");
    }

    #[test]
    fn one_bad_field_costs_itself() {
        let entry = json!({
            "labels": { "alertname": 503, "env": ["prod"], "job": true, "severity": 7 },
            "annotations": { "summary": { "a": 1 }, "title": 503, "description": "503 of lb-1", "runbook_url": 1 },
            "fingerprint": 77, "generatorURL": ["x"], "startsAt": "soon",
        });
        let settings = Settings::of("vendor", "Vendor", "custom");
        let mut sheet = Sheet::default();
        let draft = labelled("alerts[2]", entry.as_object().unwrap(), &settings, Status::Firing, &mut sheet);
        sheet.add(draft);
        let alert: Value = serde_json::from_str(&sheet.alerts[0]).unwrap();
        assert_eq!((&alert["title"], &alert["dedup_key"]), (&json!("503"), &json!("77")));
        assert_eq!(alert["context"], json!({ "service": "true" }));
        assert_eq!(alert["labels"]["env"], "[\"prod\"]");
        let annotations = json!({ "summary": { "a": 1 }, "title": 503, "runbook_url": 1 });
        assert_eq!(alert["data"], json!({ "annotations": annotations }), "the description is not kept twice");
        assert_eq!(
            sheet.warnings,
            [
                "alerts[2].annotations.summary: {\"a\":1} is not a text: left out",
                "alerts[2].generatorURL: [\"x\"] is not a text: left out",
                "alerts[2].labels.severity: 7 is no known severity: medium was taken",
                "alerts[2].startsAt: \"soon\" is no time: left out",
            ]
        );
    }
}
