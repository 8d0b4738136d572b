//! The message: one embed, with the severity's colour beside it.
//!
//! Limits: docs.discord.com/developers/resources/message, "Embed Limits".

use campanile_guest::fit::{Room, fit, joined, more_facts};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::{self, width};
use campanile_guest::types::Status;
use campanile_guest::{Delivery, Document, Fact, Look, is_blank, known_facts, own_facts};
use serde_json::{Value, json};

use crate::markdown::{escaped, link, markdown};
use crate::settings::Settings;

/// Discord's limits: characters of a title, and of all texts of an embed together; fields.
pub(crate) const TITLE: usize = 256;
pub(crate) const TOTAL: usize = 6000;
pub(crate) const FIELDS: usize = 25;

/// How the total is shared: the description may have 4,096 for itself, a field's name 256, its value 1,024.
const DESCRIPTION: usize = 3000;
const NAME: usize = 100;
const VALUE: usize = 300;
const LINKS: usize = 1000;
const FOOTER: usize = 200;

const HEADLINE: Template = Template {
    key: "title",
    default: "{{ emoji }} {{ title | one_line }}",
    limit: TITLE,
    required: true,
    escape: markdown,
};

const TEXT: Template = Template {
    key: "text",
    default: "{{ description }}",
    limit: DESCRIPTION,
    required: false,
    escape: markdown,
};

/// The embed.
pub(crate) fn embed(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Value {
    let look = Look::of(&delivery.alert);
    let title = texts.render(&HEADLINE, settings.title.as_deref());
    let said = texts.render(&TEXT, settings.text.as_deref());
    let mut embed = json!({ "title": title, "description": said, "color": look.colour });
    if settings.facts {
        let footer = text::escaped(&delivery.alert.id, FOOTER, text::plain);
        let room = TOTAL - width(&title) - width(&said) - width(&footer);
        embed["fields"] = fields(delivery, document, room).into();
        embed["footer"] = json!({ "text": footer });
    }
    embed
}

/// The request that posts it. Only what the operator wrote as `mention` can call somebody, and only for what fires.
pub(crate) fn post(delivery: &Delivery, settings: &Settings, embed: Value) -> Value {
    let mention = settings.mention.as_deref().filter(|_| delivery.alert.status == Status::Firing);
    let called: &[&str] = if mention.is_some() { &["everyone", "roles", "users"] } else { &[] };
    json!({ "content": mention.unwrap_or_default(), "embeds": [embed], "allowed_mentions": { "parse": called } })
}

/// The request that puts it in the place of an earlier one.
pub(crate) fn edit(embed: Value) -> Value {
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

/// What is known about the alert first, then links, then what it has of its own, as many as there is room for.
fn fields(delivery: &Delivery, document: &Document, room: usize) -> Vec<Value> {
    let written = |(name, value): Fact| (escaped(&name, NAME), escaped(&value, VALUE));
    let links = Some(links(document)).filter(|links| !is_blank(links));
    let known = known_facts(&delivery.alert, document).map(written);
    let links = links.map(|links| ("Links".to_owned(), links));
    let all = known.chain(links).chain(own_facts(&delivery.alert, document).map(written));
    let room = Room { entries: FIELDS, size: room };
    let fitting = fit(all, room, |(name, value)| width(name) + width(value), more_facts);
    let field = |(name, value)| json!({ "name": name, "value": value, "inline": name != "Links" });
    fitting.into_iter().map(field).collect()
}

/// As many links as fit into one field.
fn links(document: &Document) -> String {
    joined(document.links().into_iter().filter_map(|(href, label)| link(href, label)), " · ", LINKS)
}
