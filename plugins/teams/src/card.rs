//! The message: an Adaptive Card with a headline in the colour of the severity, what happened, facts, and links as buttons.
//!
//! Sources: learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using, "Send Adaptive Cards
//! using an Incoming Webhook" (the envelope, which workflows take, too), and adaptivecards.io/explorer (the elements).

use campanile_guest::fit::{Room, fit_facts, more_links, within};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::{self, plain};
use campanile_guest::types::{Alert, Severity, Status};
use campanile_guest::{Delivery, Document, facts, one_line};
use serde_json::{Value, json};

use crate::fit;
use crate::settings::Settings;
use crate::text::{escaped, markdown};

/// How the room is shared, in characters: one may take four bytes.
const TITLE: usize = 300;
const TEXT: usize = 4000;
const NAME: usize = 50;
const VALUE: usize = 200;

/// Links, each with a text and an address.
const LINKS: usize = 5;
const LABEL: usize = 40;
const ADDRESS: usize = 1000;

/// What is kept free for saying that there are more links and more facts, in bytes.
const NOTES: usize = 200;

const HEADLINE: Template = Template {
    key: "title",
    default: "{{ emoji }} {{ title | one_line }}",
    limit: TITLE,
    required: true,
    escape: markdown,
};

const BODY: Template =
    Template { key: "text", default: "{{ description }}", limit: TEXT, required: false, escape: markdown };

/// The message, within what Teams takes.
pub(crate) fn message(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Value {
    let title = texts.render(&HEADLINE, settings.title.as_deref());
    let text = texts.render(&BODY, settings.text.as_deref());
    let mut body = vec![headline(&delivery.alert, &title)];
    if !text.is_empty() {
        body.push(json!({ "type": "TextBlock", "text": text, "wrap": true }));
    }
    let mut actions = Vec::new();
    if settings.facts {
        let id = footer(&delivery.alert.id);
        let bare = envelope(json!([body, id, { "type": "FactSet", "facts": [] }]), json!([]));
        let room = fit::MESSAGE.saturating_sub(fit::size(&bare));
        actions = within(links(document), Room::size(room.saturating_sub(NOTES)), fit::size);
        let more = more_links(document, actions.len()).map(|more| fact(("Links", &more)));
        let taken: usize = actions.iter().chain(&more).map(fit::size).sum();
        let known = facts(&delivery.alert, document);
        let mut facts = fit_facts(known, Room::size(room.saturating_sub(taken)), fit::size, fact);
        facts.extend(more);
        body.extend([json!({ "type": "FactSet", "facts": facts }), id]);
    }
    envelope(body.into(), actions.into())
}

fn envelope(body: Value, actions: Value) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": body,
                "actions": actions,
            },
        }],
    })
}

fn headline(alert: &Alert, title: &str) -> Value {
    let title =
        json!({ "type": "TextBlock", "text": title, "wrap": true, "size": "Large", "weight": "Bolder" });
    json!({ "type": "Container", "style": style(alert), "bleed": true, "items": [title] })
}

/// The colours that a card has for a container.
fn style(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "good",
        (Status::Firing, Severity::Critical | Severity::High) => "attention",
        (Status::Firing, Severity::Medium) => "warning",
        (Status::Firing, Severity::Low) => "accent",
    }
}

fn footer(id: &str) -> Value {
    json!({ "type": "TextBlock", "text": escaped(id, VALUE), "wrap": true, "size": "Small", "isSubtle": true })
}

fn fact((name, value): (&str, &str)) -> Value {
    json!({ "title": escaped(name, NAME), "value": escaped(value, VALUE) })
}

/// The first links, as buttons; their texts are plain.
fn links(document: &Document) -> impl Iterator<Item = Value> {
    let links = document.links().into_iter().filter(|(href, _)| href.len() <= ADDRESS).take(LINKS);
    links.map(|(href, label)| json!({ "type": "Action.OpenUrl", "title": plainly(label), "url": href }))
}

fn plainly(label: &str) -> String {
    text::escaped(&one_line(label), LABEL, plain)
}
