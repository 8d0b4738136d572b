//! The message as ntfy takes it in JSON.
//!
//! Sources: docs.ntfy.sh/publish, "Publish as JSON", "Action buttons" (three at most), "Updating + deleting
//! notifications" and "Limitations" (a message of 4,096 bytes and more becomes an attachment); server/server.go in
//! github.com/binwiederhier/ntfy, which reads twice as many bytes of JSON, and no more.

use campanile_guest::fit::more_links;
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::plain;
use campanile_guest::types::{Alert, Severity, Status};
use campanile_guest::{Delivery, Document, Look, cut, digest, one_line};
use serde_json::{Value, json};

use crate::fit::fit;
use crate::settings::Settings;

/// The most bytes of a message, as it is and in the JSON, of which ntfy reads 8,192 bytes in all.
pub(crate) const MESSAGE: usize = 4000;
const MESSAGE_IN_JSON: usize = 4600;

/// The longest address of a link, in bytes; a longer one is left out. How many become buttons.
const LINK: usize = 300;
const BUTTONS: usize = 3;

const TITLE: Template = Template {
    key: "title",
    default: "{{ emoji }} {{ title | one_line }}",
    limit: 200,
    required: true,
    escape: plain,
};

const TEXT: Template = Template {
    key: "text",
    default: "{{ description }}\n\n{{ state }}{% if place %} · {{ place }}{% endif %}\
              {% if source.name %} · {{ source.name }}{% endif %}\n\n{{ labels | pairs }}",
    limit: MESSAGE,
    required: true,
    escape: plain,
};

/// The request's body.
pub(crate) fn message(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Value {
    let links = document.links().into_iter().filter(|(href, _)| href.len() <= LINK);
    let links: Vec<_> = links.take(BUTTONS).collect();
    let more = more_links(document, links.len()).map(|more| format!("\nLinks: {more}")).unwrap_or_default();
    let text = texts.render(&TEXT, settings.text.as_deref());
    // In JSON, a line break takes two bytes.
    let text = fit(&text, MESSAGE - more.len(), MESSAGE_IN_JSON - more.len() - 1);
    let mut body = json!({
        "topic": settings.topic,
        "title": fit(&one_line(&texts.render(&TITLE, settings.title.as_deref())), 600, 600),
        "message": text + &more,
        "priority": priority(&delivery.alert),
        "tags": tags(&delivery.alert, document),
    });
    if let Some((href, _)) = links.first() {
        body["click"] = json!(href);
        body["actions"] = links.iter().map(button).collect();
    }
    if settings.replace {
        body["sequence_id"] = json!(digest(&delivery.thread_id));
    }
    body
}

/// From 1, which is shown only to who looks, to 5, which rings.
fn priority(alert: &Alert) -> u8 {
    match (alert.status, alert.severity) {
        (Status::Firing, Severity::Critical) => 5,
        (Status::Firing, Severity::High) => 4,
        (Status::Firing, Severity::Medium) | (Status::Resolved, _) => 3,
        (Status::Firing, Severity::Low) => 2,
    }
}

/// What can be filtered by: such as `critical` or `resolved`, and the type.
fn tags(alert: &Alert, document: &Document) -> [String; 2] {
    [Look::of(alert).word.to_lowercase(), fit(&cut(&one_line(document.kind()), 40), 120, 120)]
}

fn button((href, text): &(&str, &str)) -> Value {
    json!({ "action": "view", "label": cut(&one_line(text), 40), "url": href })
}
