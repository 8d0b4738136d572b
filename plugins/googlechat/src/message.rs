//! The message: a card with a headline, what happened, the facts, and the links as buttons.
//!
//! Sources: developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create (32,000 bytes, text and
//! cards included), …/v1/cards, and developers.google.com/workspace/chat/quickstart/webhooks ("Start or reply to a
//! message thread").

use campanile_guest::fit::{Room, fit_facts, more_links};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::{self, plain};
use campanile_guest::{Delivery, Document, Look, digest, facts, one_line};
use serde_json::{Value, json};

use crate::settings::Settings;

/// What each part may take, in UTF-16 code units. All of them together, at three bytes each, stay below 32,000 bytes.
const TITLE: usize = 200;
const TEXT: usize = 3500;
const NAME: usize = 80;
const VALUE: usize = 240;
const BUTTON: usize = 40;

/// The longest address of a link, in bytes; a longer one is left out.
const LINK: usize = 500;

/// How many facts and links are shown.
const FACTS: usize = 14;
const LINKS: usize = 5;

const HEADLINE: Template = Template {
    key: "title",
    default: "{{ emoji }} {{ title | one_line }}",
    limit: TITLE,
    required: true,
    escape: plain,
};

const BODY: Template =
    Template { key: "text", default: "{{ description }}", limit: TEXT, required: false, escape: html };

/// Cards read some HTML; control characters, of which each would take six bytes, show as nothing.
fn html(character: char, out: &mut String) {
    if !character.is_control() || character == '\n' {
        text::html(character, out);
    }
}

/// The request's body.
pub(crate) fn message(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Value {
    let look = Look::of(&delivery.alert);
    let title = one_line(&texts.render(&HEADLINE, settings.title.as_deref()));
    let header = json!({ "title": title, "subtitle": subtitle(document, look.word) });
    let mut widgets = Vec::new();
    widgets.extend(paragraph(&texts.render(&BODY, settings.text.as_deref())));
    if settings.facts {
        widgets.extend(known(delivery, document));
        widgets.extend(links(document));
    }
    let card = json!({ "header": header, "sections": [{ "widgets": widgets }] });
    let mut body = json!({
        "cardsV2": [{ "cardId": "alert", "card": without_empty(card) }],
        "fallbackText": title,
        "thread": { "threadKey": digest(&delivery.thread_id) },
    });
    if let Some(mention) = &settings.mention {
        body["text"] = json!(mention);
    }
    body
}

fn subtitle(document: &Document, word: &str) -> String {
    let parts = [Some(word.to_owned()), document.place(), Some(document.source().to_owned())];
    let subtitle: Vec<_> = parts.into_iter().flatten().map(|part| one_line(&part)).collect();
    text::escaped(&subtitle.join(" · "), TITLE, plain)
}

/// A section without widgets is refused.
fn without_empty(mut card: Value) -> Value {
    if card["sections"][0]["widgets"] == json!([]) {
        card["sections"] = json!([]);
    }
    card
}

fn paragraph(said: &str) -> Option<Value> {
    (!said.is_empty()).then(|| json!({ "textParagraph": { "text": said } }))
}

/// The alert's id, what is known about it, then what it has of its own.
fn known(delivery: &Delivery, document: &Document) -> Vec<Value> {
    let id = [campanile_guest::fact("Alert", &delivery.alert.id)].into_iter();
    fit_facts(id.chain(facts(&delivery.alert, document)), Room::entries(FACTS), |_| 0, fact)
}

fn fact((name, value): (&str, &str)) -> Value {
    let (name, value) = (text::escaped(&one_line(name), NAME, plain), text::escaped(value, VALUE, html));
    json!({ "decoratedText": { "topLabel": name, "text": value, "wrapText": true } })
}

/// The first links as buttons, and how many others there are.
fn links(document: &Document) -> impl Iterator<Item = Value> {
    let links = document.links().into_iter().filter(|(href, _)| href.len() <= LINK);
    let buttons: Vec<_> = links.take(LINKS).map(|(href, text)| button(href, text)).collect();
    let more = more_links(document, buttons.len()).map(|more| fact(("Links", &more)));
    let buttons = (!buttons.is_empty()).then(|| json!({ "buttonList": { "buttons": buttons } }));
    buttons.into_iter().chain(more)
}

fn button(href: &str, label: &str) -> Value {
    let label = text::escaped(&one_line(label), BUTTON, plain);
    json!({ "text": label, "onClick": { "openLink": { "url": href } } })
}
