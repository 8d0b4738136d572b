//! Alerts as Prometheus, Alertmanager and Grafana write them: labels, annotations, `startsAt`, `endsAt`.

use serde_json::{Map, Value};

use super::{Draft, Settings, text};
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
pub fn labelled(at: &str, entry: &Map<String, Value>, settings: &Settings, status: Status) -> Draft {
    let document = Value::Object(entry.clone());
    let given = |pointers: &[&str]| pointers.iter().find_map(|pointer| text(&document, pointer));
    let title = given(&["/annotations/summary", "/annotations/title", "/labels/alertname"]);
    let description = given(&["/annotations/description", "/annotations/message"]);
    let null = Value::Null;
    let draft = Draft::new(at, settings, status, title)
        .description(description)
        .severity("labels.severity", document.pointer("/labels/severity").unwrap_or(&null))
        .starts_at("startsAt", &document["startsAt"])
        .ends_at("endsAt", &document["endsAt"])
        .context("environment", given(&["/labels/environment", "/labels/env"]))
        .context("service", given(&["/labels/service", "/labels/job"]))
        .data("annotations", &document["annotations"])
        .labels(document["labels"].as_object().into_iter().flatten());
    let link = |draft: Draft, (pointer, name)| draft.link(name, text(&document, pointer));
    let draft = LINKS.into_iter().fold(draft, link);
    match text(&document, "/fingerprint") {
        Some(given) => draft.dedup_key(given),
        None => draft.dedup_key(&fingerprint(&document["labels"])),
    }
}

/// What Alertmanager identifies a set of labels by: FNV-1a over names and values in ascending order of the names, each
/// followed by the byte 255 (`LabelSet.Fingerprint` in prometheus/common); empty if there are none.
pub fn fingerprint(labels: &Value) -> String {
    let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else { return String::new() };
    let mut labels: Vec<(&str, &str)> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect();
    labels.sort_unstable();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for text in labels.into_iter().flat_map(|(name, value)| [name, value]) {
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
    }
}
