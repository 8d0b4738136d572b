//! The message: a headline, what happened, the facts, the links; a bar in the colour of the severity beside it.

use campanile_guest::types::{Alert, Severity, Status};
use campanile_guest::{Document, one_line};
use serde_json::{Value, json};

use crate::text::{escaped, link};

/// Slack's limits: characters of a header, of a section, of a field, of the fallback text; fields of a section.
const HEADER: usize = 150;
const SECTION: usize = 3000;
const FIELD: usize = 2000;
const FALLBACK: usize = 300;
const FIELDS: usize = 10;

/// The body of the request to the incoming webhook.
pub(crate) fn message(alert: &Alert, document: &Document) -> Value {
    let look = look(alert);
    let title = one_line(&alert.title);
    let headline = format!("{} {title}", look.emoji);
    let fallback = format!("{} {}: {title}", look.emoji, look.word);
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "emoji": true, "text": escaped(&headline, HEADER) },
    })];
    blocks.extend(section(&escaped(document.description(), SECTION)));
    blocks.push(json!({ "type": "section", "fields": fields(alert, document, look.word) }));
    blocks.extend(section(&links(document)));
    blocks.push(json!({ "type": "context", "elements": [mrkdwn(&escaped(&alert.id, FIELD))] }));
    json!({
        "text": escaped(&fallback, FALLBACK),
        "attachments": [{ "color": look.colour, "blocks": blocks }],
    })
}

struct Look {
    emoji: &'static str,
    word: &'static str,
    colour: &'static str,
}

fn look(alert: &Alert) -> Look {
    let (emoji, word, colour) = match (alert.status, alert.severity) {
        (Status::Resolved, _) => ("✅", "Resolved", "#2EB67D"),
        (Status::Firing, Severity::Critical) => ("🔴", "Critical", "#D00000"),
        (Status::Firing, Severity::High) => ("🟠", "High", "#F2730C"),
        (Status::Firing, Severity::Medium) => ("🟡", "Medium", "#ECB22E"),
        (Status::Firing, Severity::Low) => ("🔵", "Low", "#36A2D9"),
    };
    Look { emoji, word, colour }
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

/// A section, unless there is nothing to say: Slack refuses an empty one.
fn section(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({ "type": "section", "text": mrkdwn(text) }))
}

/// What is known about the alert first, then labels, as many as Slack takes.
fn fields(alert: &Alert, document: &Document, word: &str) -> Vec<Value> {
    let known = [
        ("Severity", Some(word)),
        ("Priority", document.priority()),
        ("Type", Some(document.kind())),
        ("Source", Some(document.source())),
        ("Environment", document.text("/context/environment")),
        ("Service", document.text("/context/service")),
        ("Since", document.text("/starts_at")),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let labels = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    known.chain(labels).take(FIELDS).map(|(name, value)| field(name, value)).collect()
}

fn field(name: &str, value: &str) -> Value {
    let name = escaped(name, 100);
    let value = escaped(value, FIELD - name.chars().count() - 3);
    mrkdwn(&format!("*{name}*\n{value}"))
}

/// As many links as fit into one section.
fn links(document: &Document) -> String {
    let mut text = String::new();
    for (href, label) in document.links() {
        let link = link(href, label);
        let separator = if text.is_empty() { "" } else { " · " };
        if text.chars().count() + separator.chars().count() + link.chars().count() <= SECTION {
            text = text + separator + &link;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(title: &str, status: Status, labels: usize, document: Value) -> Value {
        let alert = Alert {
            id: "alert-1".to_owned(),
            title: title.to_owned(),
            severity: Severity::Critical,
            status,
            labels: (0..labels).map(|n| (format!("label-{n:02}"), "v".to_owned())).collect(),
            document: document.to_string(),
            metadata: "{}".to_owned(),
        };
        message(&alert, &Document::parse(&alert.document).unwrap())
    }

    fn blocks(message: &Value) -> &Vec<Value> {
        message["attachments"][0]["blocks"].as_array().unwrap()
    }

    fn length(text: &Value) -> usize {
        text.as_str().unwrap().chars().count()
    }

    #[test]
    fn a_whole_alert_is_shown() {
        let document = json!({
            "type": "database", "description": "All connections <in use>",
            "source": { "name": "Database Monitoring", "type": "custom" },
            "context": { "environment": "production", "service": "payments" },
            "data": { "triage": { "priority": "P1" } },
            "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
        });
        let message = composed("Pool & exhausted", Status::Firing, 1, document);
        let blocks = blocks(&message);
        assert_eq!(message["text"], "🔴 Critical: Pool &amp; exhausted");
        assert_eq!(message["attachments"][0]["color"], "#D00000");
        assert_eq!(blocks[0]["text"]["text"], "🔴 Pool &amp; exhausted");
        assert_eq!(blocks[1]["text"]["text"], "All connections &lt;in use&gt;");
        let fields: Vec<_> = blocks[2]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["text"].as_str().unwrap())
            .collect();
        assert_eq!(
            fields,
            [
                "*Severity*\nCritical",
                "*Priority*\nP1",
                "*Type*\ndatabase",
                "*Source*\nDatabase Monitoring",
                "*Environment*\nproduction",
                "*Service*\npayments",
                "*label-00*\nv",
            ]
        );
        assert_eq!(blocks[3]["text"]["text"], "<https://run.example/db|Runbook>");
        assert_eq!(blocks[4]["elements"][0]["text"], "alert-1");
    }

    #[test]
    fn what_is_resolved_looks_different() {
        let message = composed("Pool exhausted", Status::Resolved, 0, json!({}));
        assert_eq!(message["text"], "✅ Resolved: Pool exhausted");
        assert_eq!(message["attachments"][0]["color"], "#2EB67D");
    }

    #[test]
    fn slacks_limits_hold_for_the_largest_alert() {
        let long = "&".repeat(70_000);
        let links: Vec<_> = (0..500).map(|n| format!("https://run.example/{n}")).collect();
        let document = json!({
            "type": long, "description": long, "source": { "name": long, "type": long },
            "context": { "environment": long, "service": long }, "links": links,
        });
        let message = composed(&long, Status::Firing, 50, document);
        assert!(length(&message["text"]) <= FALLBACK);
        for block in blocks(&message) {
            let limit = if block["type"] == "header" { HEADER } else { SECTION };
            assert!(block.get("text").is_none_or(|text| length(&text["text"]) <= limit), "{block}");
            let fields = block["fields"].as_array().cloned().unwrap_or_default();
            assert!(
                fields.len() <= FIELDS && fields.iter().all(|field| length(&field["text"]) <= FIELD),
                "{block}"
            );
        }
    }

    #[test]
    fn nothing_to_say_leaves_no_empty_block() {
        let message = composed("t", Status::Firing, 0, json!({ "description": " " }));
        let kinds: Vec<_> = blocks(&message).iter().map(|block| block["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["header", "section", "context"]);
    }

    #[test]
    fn the_configuration_schema_is_json_and_names_the_default() {
        let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
        assert_eq!(schema["properties"]["url"]["default"], crate::URL);
    }
}
