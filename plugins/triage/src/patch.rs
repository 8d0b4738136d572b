//! What triage adds to an alert, as a JSON Merge Patch (RFC 7396).

use campanile_guest::types::{Alert, Status};
use campanile_guest::{Document, cut};
use serde_json::{Value, json};

use crate::{labels, score};

/// The most that a patch may be, in bytes.
const LIMIT: usize = 16 * 1024;

/// The most of one tag, in characters.
const TAG_LIMIT: usize = 64;

/// `data.triage` with score, priority and tags, and the labels that have to change.
pub(crate) fn patch(alert: &Alert, document: &Document) -> String {
    let verdict = json!({ "data": { "triage": triage(alert, document) } });
    // What is too much for a patch anyway is not worth the time.
    let changes = labels::changes(&alert.labels, LIMIT).unwrap_or_default();
    if changes.is_empty() {
        return verdict.to_string();
    }
    let mut full = verdict.clone();
    full["labels"] = json!(changes);
    let full = full.to_string();
    // The priority matters more than the spelling of labels: too many of those do not cost the verdict.
    if full.len() > LIMIT { verdict.to_string() } else { full }
}

fn triage(alert: &Alert, document: &Document) -> Value {
    let environment = document.text("/context/environment");
    let score = score::score(alert.severity, environment, document.kind(), alert.status);
    json!({ "score": score, "priority": score::priority(score), "tags": tags(alert, document) })
}

/// What an alert can be grouped by, such as `["security", "env:production", "service:login", "source:aws"]`.
fn tags(alert: &Alert, document: &Document) -> Vec<String> {
    let prefixed = |prefix: &str, pointer| {
        document.text(pointer).map(|text| format!("{prefix}:{}", labels::normalised(text)))
    };
    let tags = [
        Some(document.kind().to_owned()),
        prefixed("env", "/context/environment"),
        prefixed("service", "/context/service"),
        prefixed("source", "/source/type"),
        (alert.status == Status::Resolved).then(|| "resolved".to_owned()),
    ];
    tags.into_iter().flatten().map(|tag| cut(&tag, TAG_LIMIT)).collect()
}

#[cfg(test)]
mod tests {
    use campanile_guest::types::Severity;

    use super::*;

    fn patched(labels: Vec<(String, String)>, document: Value) -> Value {
        let alert = Alert {
            id: "alert-1".to_owned(),
            title: "Suspicious Login Attempt".to_owned(),
            severity: Severity::High,
            status: Status::Firing,
            labels,
            document: document.to_string(),
            metadata: "{}".to_owned(),
        };
        let text = patch(&alert, &Document::parse(&alert.document).unwrap());
        assert!(text.len() <= LIMIT, "{} bytes", text.len());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_verdict_and_the_labels_are_patched() {
        let document = json!({
            "type": "security",
            "source": { "name": "Security Monitoring", "type": "security" },
            "context": { "environment": "production", "service": "User Authentication" },
        });
        let tags = ["security", "env:production", "service:user_authentication", "source:security"];
        let triage = json!({ "score": 85, "priority": "P1", "tags": tags });
        assert_eq!(
            patched(vec![("Team".to_owned(), "iam".to_owned())], document),
            json!({ "data": { "triage": triage }, "labels": { "Team": null, "team": "iam" } })
        );
    }

    #[test]
    fn tidy_labels_are_not_mentioned() {
        let patch = patched(vec![("team".to_owned(), "iam".to_owned())], json!({}));
        assert!(patch.get("labels").is_none());
    }

    #[test]
    fn a_patch_that_would_be_too_big_keeps_the_verdict() {
        let labels = (0..2000).map(|n| (format!("Label {n}"), "value".to_owned())).collect();
        let long = "x".repeat(100_000);
        let patch = patched(labels, json!({ "context": { "service": long } }));
        assert_eq!(patch["data"]["triage"]["priority"], "P2");
        assert!(patch.get("labels").is_none());
    }
}
