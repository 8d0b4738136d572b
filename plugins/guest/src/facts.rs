//! What is known about an alert, by name, for services that show such a list. Services refuse a blank name or value, so
//! a blank fact is left out.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::document::Document;
use crate::look::Look;
use crate::text::{is_blank, short_line};
use crate::types::Alert;

/// The most of a text of `data` or `metrics`, in characters.
const VALUE: usize = 200;

/// A name and its value.
pub type Fact<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A fact of two texts.
pub fn fact<'a>(name: &'a str, value: &'a str) -> Fact<'a> {
    (name.into(), value.into())
}

/// All that is known: what every alert has, then what it has of its own.
pub fn facts<'a>(alert: &'a Alert, document: &'a Document) -> impl Iterator<Item = Fact<'a>> {
    known_facts(alert, document).chain(own_facts(alert, document))
}

/// What is known of every alert, in the order in which it is asked for.
pub fn known_facts<'a>(alert: &'a Alert, document: &'a Document) -> impl Iterator<Item = Fact<'a>> {
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
    known.into_iter().filter_map(|(name, value)| Some(fact(name, value?)))
}

/// What the alert has of its own: labels, then metrics, then the texts, numbers and booleans of `data`, each in the order
/// of their names.
pub fn own_facts<'a>(alert: &'a Alert, document: &'a Document) -> impl Iterator<Item = Fact<'a>> {
    let labels: Vec<_> = alert.labels.iter().map(|(name, value)| fact(name, value)).collect();
    let known: BTreeSet<_> = labels.iter().cloned().collect();
    let scalars = ["metrics", "data"].into_iter().flat_map(|field| scalars(document, field));
    let scalars = scalars.filter(move |fact| !known.contains(fact));
    labels.into_iter().chain(scalars).filter(|(name, value)| !is_blank(name) && !is_blank(value))
}

fn scalars<'a>(document: &'a Document, field: &str) -> impl Iterator<Item = Fact<'a>> {
    let entries = document.value()[field].as_object().into_iter().flatten();
    let facts: BTreeSet<Fact<'a>> =
        entries.filter_map(|(name, value)| Some((name.into(), scalar(value)?.into()))).collect();
    facts.into_iter()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(short_line(text, VALUE)),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{BLANKS, blank, firing};

    fn listed(document: &Value) -> Vec<(String, String)> {
        let delivery = firing(document);
        let document = Document::parse(&delivery.alert.document).unwrap();
        facts(&delivery.alert, &document)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    fn pairs(facts: &[(&str, &str)]) -> Vec<(String, String)> {
        facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_absent_is_left_out_and_labels_come_last() {
        assert_eq!(
            listed(
                &json!({ "type": "database", "context": { "service": "payments" }, "labels": { "host": "db-1" } })
            ),
            pairs(&[
                ("Severity", "Critical"),
                ("Type", "database"),
                ("Source", "unknown source"),
                ("Service", "payments"),
                ("host", "db-1"),
            ])
        );
    }

    #[test]
    fn metrics_and_the_scalars_of_data_follow_the_labels() {
        let document = json!({
            "labels": { "host": "db-1" }, "metrics": { "cpu": 95.2, "load": [1], "state": "NaN" },
            "data": {
                "host": "db-1", "paged": true, "runs": 3, "triage": { "priority": "P1" }, "none": null,
                "note": format!("two\nlines{}", "x".repeat(500)),
            },
        });
        let note = format!("two lines{}…", "x".repeat(VALUE - 10));
        let own = [
            ("host", "db-1"),
            ("cpu", "95.2"),
            ("state", "NaN"),
            ("note", note.as_str()),
            ("paged", "true"),
            ("runs", "3"),
        ];
        assert_eq!(listed(&document)[4..], pairs(&own));
    }

    #[test]
    fn a_blank_fact_is_left_out() {
        for text in BLANKS {
            let facts = listed(&blank(text));
            assert!(facts.iter().all(|(name, value)| !is_blank(name) && !is_blank(value)), "{facts:?}");
            assert!(facts.contains(&("host".to_owned(), "db-1".to_owned())), "{facts:?}");
        }
    }
}
