//! What is known about an alert, by name, for services that show such a list.

use crate::document::Document;
use crate::look::Look;
use crate::types::Alert;

/// What is known, in the order in which it is asked for; the labels follow.
pub fn facts<'a>(alert: &'a Alert, document: &'a Document) -> impl Iterator<Item = (&'a str, &'a str)> {
    let known = [
        ("Severity", Some(Look::of(alert).word)),
        ("Priority", document.priority()),
        ("Type", Some(document.kind())),
        ("Source", Some(document.source())),
        ("Environment", document.text("/context/environment")),
        ("Service", document.text("/context/service")),
        ("Since", document.text("/starts_at")),
        ("Until", document.text("/ends_at")),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.chain(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::firing;

    #[test]
    fn what_is_absent_is_left_out_and_labels_come_last() {
        let delivery = firing(
            &json!({ "type": "database", "context": { "service": "payments" }, "labels": { "host": "db-1" } }),
        );
        let document = Document::parse(&delivery.alert.document).unwrap();
        let facts: Vec<_> = facts(&delivery.alert, &document).collect();
        assert_eq!(
            facts,
            [
                ("Severity", "Critical"),
                ("Type", "database"),
                ("Source", "unknown source"),
                ("Service", "payments"),
                ("host", "db-1"),
            ]
        );
    }
}
