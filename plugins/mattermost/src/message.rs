//! The message: a headline, and an attachment with what happened, the facts and the links, with a bar in the colour of the
//! severity beside it.
//!
//! Sources: docs.mattermost.com/developers/integrate/reference/message-attachments, and github.com/mattermost/mattermost,
//! server/public/model/post.go (16,383 characters of a message, 800,000 of its attachments) and config.go (300 kB a request).

use campanile_guest::fit::{Room, fit_facts, joined};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::{self, plain};
use campanile_guest::{Delivery, Document, Look, facts, one_line};
use serde_json::{Value, json};

use crate::markdown::{escaped, link, markdown};
use crate::settings::Settings;

/// The most of a message. Attachments may be longer; nobody reads that.
pub(crate) const MESSAGE: usize = 16_383;

/// How much there is of what else is said.
const TITLE: usize = 1000;
const FIELDS: usize = 25;
const NAME: usize = 100;
const VALUE: usize = 500;
const LINKS: usize = 2000;
const LINE: usize = 300;

const HEADLINE: Template = Template {
    key: "title",
    default: "{{ emoji }} **{{ title | one_line }}**",
    limit: TITLE,
    required: true,
    escape: markdown,
};

const TEXT: Template =
    Template { key: "text", default: "{{ description }}", limit: MESSAGE, required: false, escape: markdown };

/// A message, whichever way it goes.
pub(crate) struct Message {
    text: String,
    attachment: Value,
    /// In one line, for the thread of the firing.
    pub(crate) line: String,
}

impl Message {
    /// What this delivery says.
    pub(crate) fn of(
        delivery: &Delivery,
        document: &Document,
        settings: &Settings,
        texts: &mut Texts,
    ) -> Self {
        let (alert, look) = (&delivery.alert, Look::of(&delivery.alert));
        let (state, title) = (format!("{} {}", look.emoji, look.word), one_line(&alert.title));
        let mut attachment = json!({
            "fallback": text::escaped(&format!("{state}: {title}"), LINE, plain),
            "color": format!("#{:06X}", look.colour),
            "text": texts.render(&TEXT, settings.text.as_deref()),
        });
        if settings.facts {
            attachment["fields"] = fields(delivery, document).into();
            attachment["footer"] = json!(text::escaped(&alert.id, LINE, plain));
        }
        Self {
            text: texts.render(&HEADLINE, settings.title.as_deref()),
            attachment,
            line: format!("{state}: {}", escaped(&title, LINE)),
        }
    }

    /// As an incoming webhook takes it.
    pub(crate) fn webhook(&self) -> Value {
        json!({ "text": self.text, "attachments": [self.attachment] })
    }

    /// As the REST API takes it.
    pub(crate) fn post(&self) -> Value {
        json!({ "message": self.text, "props": { "attachments": [self.attachment] } })
    }
}

/// What is known about the alert first, then labels, then links.
fn fields(delivery: &Delivery, document: &Document) -> Vec<Value> {
    let fact = |(name, value): (&str, &str)| (escaped(name, NAME), escaped(value, VALUE), true);
    let facts = fit_facts(facts(&delivery.alert, document), Room::entries(FIELDS), |_| 0, fact);
    let links = Some(links(document)).filter(|links| !links.is_empty());
    let links = links.map(|links| ("Links".to_owned(), links, false));
    facts
        .into_iter()
        .chain(links)
        .map(|(title, value, short)| json!({ "title": title, "value": value, "short": short }))
        .collect()
}

/// As many links as there is room for.
fn links(document: &Document) -> String {
    joined(document.links().into_iter().map(|(href, label)| link(href, label)), " · ", LINKS)
}
