//! The message: a headline, what happened, the facts, the links; a bar in the colour of the severity beside it.
//!
//! Limits: docs.slack.dev/reference/block-kit/blocks (header, section, context).

use campanile_guest::fit::{Room, fit_facts, joined};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::width;
use campanile_guest::{Delivery, Document, Look, facts, one_line};
use serde_json::{Value, json};

use crate::settings::Settings;
use crate::text::{escaped, link, mrkdwn};

/// Slack's limits: characters of a header, of a section, of a field; fields of a section.
pub(crate) const HEADER: usize = 150;
pub(crate) const SECTION: usize = 3000;
pub(crate) const FIELD: usize = 2000;
pub(crate) const FIELDS: usize = 10;

/// The most of all facts, ten to a section, and of one of them.
pub(crate) const FACTS: Room = Room { entries: 3 * FIELDS, size: 20_000 };
const NAME: usize = 100;
const VALUE: usize = 500;

/// The most of the text that notifications show.
pub(crate) const FALLBACK: usize = 300;

const TITLE: Template = Template {
    key: "title",
    default: "{{ emoji }} {{ title | one_line }}",
    limit: HEADER,
    required: true,
    escape: mrkdwn,
};

const TEXT: Template =
    Template { key: "text", default: "{{ description }}", limit: SECTION, required: false, escape: mrkdwn };

/// The message, whichever way it goes.
pub(crate) fn message(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Value {
    let (alert, look) = (&delivery.alert, Look::of(&delivery.alert));
    let fallback = format!("{} {}: {}", look.emoji, look.word, one_line(&alert.title));
    let title = texts.render(&TITLE, settings.title.as_deref());
    let mut blocks =
        vec![json!({ "type": "header", "text": { "type": "plain_text", "emoji": true, "text": title } })];
    blocks.extend(section(&texts.render(&TEXT, settings.text.as_deref())));
    if settings.facts {
        let fields = fit_facts(facts(alert, document), FACTS, size, field);
        blocks.extend(fields.chunks(FIELDS).map(|fields| json!({ "type": "section", "fields": fields })));
        let links = document.links().into_iter().map(|(href, label)| link(href, label));
        blocks.extend(section(&joined(links, " · ", SECTION)));
        blocks.push(json!({ "type": "context", "elements": [text(&escaped(&alert.id, FIELD))] }));
    }
    json!({
        "text": escaped(&fallback, FALLBACK),
        "attachments": [{ "color": format!("#{:06X}", look.colour), "blocks": blocks }],
    })
}

fn text(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

/// A section, unless there is nothing to say: Slack refuses an empty one.
fn section(said: &str) -> Option<Value> {
    (!said.is_empty()).then(|| json!({ "type": "section", "text": text(said) }))
}

fn field((name, value): (&str, &str)) -> Value {
    text(&format!("*{}*\n{}", escaped(name, NAME), escaped(value, VALUE)))
}

fn size(field: &Value) -> usize {
    field["text"].as_str().map_or(0, width)
}
