//! What creates an alert, and what closes it.
//!
//! Source: docs.opsgenie.com/docs/alert-api, "Create Alert" (fields and their limits) and "Close Alert".

use campanile_guest::fit::{fit_object, joined};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::width;
use campanile_guest::types::Severity;
use campanile_guest::{Delivery, Document, Fact, fact, facts, is_blank};
use serde_json::{Map, Value, json};

use crate::settings::Settings;
use crate::text::{shown, tagless};

/// Opsgenie's limits, in characters; of all details together; of each tag, and how many there are.
pub(crate) const MESSAGE: usize = 130;
pub(crate) const DESCRIPTION: usize = 15_000;
pub(crate) const DETAILS: usize = 8000;
pub(crate) const ENTITY: usize = 512;
pub(crate) const SOURCE: usize = 100;
pub(crate) const TAG: usize = 50;
pub(crate) const TAGS: usize = 20;

/// The most of the description that links take.
const LINKS: usize = 3000;

/// The most of one detail, so that a long one does not cost the others.
const NAME: usize = 100;
const VALUE: usize = 1000;

const HEADLINE: Template = Template {
    key: "message",
    default: "{{ title | one_line }}",
    limit: MESSAGE,
    required: true,
    escape: tagless,
};

const TEXT: Template = Template {
    key: "description",
    default: "{{ description }}",
    limit: DESCRIPTION - LINKS,
    required: false,
    escape: tagless,
};

/// The request that creates the alert; while one with this alias is open, it is counted again.
pub(crate) fn create(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    alias: &str,
    texts: &mut Texts,
) -> Value {
    let mut alert = json!({
        "message": texts.render(&HEADLINE, settings.message.as_deref()),
        "alias": alias,
        "description": texts.render(&TEXT, settings.description.as_deref()) + &links(document),
        "tags": tags(document, &settings.tags),
        "details": details(delivery, document),
        "source": shown(document.source(), SOURCE),
        "priority": priority(delivery.alert.severity, document),
    });
    if let Some(place) = document.place() {
        alert["entity"] = json!(shown(&place, ENTITY));
    }
    if !settings.responders.is_empty() {
        alert["responders"] = json!(settings.responders);
    }
    alert
}

/// The request that closes it.
pub(crate) fn close(delivery: &Delivery, document: &Document) -> Value {
    let note = shown(&format!("Resolved: {}", delivery.alert.title), VALUE);
    json!({ "user": "Campanile", "source": shown(document.source(), SOURCE), "note": note })
}

/// What triage found, else by severity.
fn priority(severity: Severity, document: &Document) -> &str {
    let found = document.priority().filter(|found| ["P1", "P2", "P3", "P4", "P5"].contains(found));
    found.unwrap_or(match severity {
        Severity::Critical => "P1",
        Severity::High => "P2",
        Severity::Medium => "P3",
        Severity::Low => "P4",
    })
}

/// The operator's tags, then those of triage.
fn tags(document: &Document, own: &[String]) -> Vec<String> {
    let found = document.value().pointer("/data/triage/tags").and_then(Value::as_array);
    let found = found.into_iter().flatten().filter_map(Value::as_str);
    let tags = own.iter().map(String::as_str).chain(found).filter(|tag| !is_blank(tag));
    tags.take(TAGS).map(|tag| shown(tag, TAG)).collect()
}

/// Facts, labels and the alert's id, as many as there is room for.
fn details(delivery: &Delivery, document: &Document) -> Map<String, Value> {
    let known = [fact("Alert", &delivery.alert.id)].into_iter().chain(facts(&delivery.alert, document));
    let known = known.map(|(name, value): Fact| (shown(&name, NAME), shown(&value, VALUE)));
    fit_object(known, DETAILS, |name, value| width(name) + width(value))
}

/// As many links as there is room for, one to a line, as text: an address becomes a link by itself.
fn links(document: &Document) -> String {
    let lines = document.links().into_iter().map(|(href, label)| {
        let label = if href == label { String::new() } else { format!("{}: ", shown(label, NAME)) };
        format!("{label}{}", href.replace('<', "%3C").replace('>', "%3E"))
    });
    let text = joined(lines, "\n", LINKS - 2);
    if text.is_empty() { text } else { format!("\n\n{text}") }
}
