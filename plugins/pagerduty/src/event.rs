//! The event. PagerDuty shows texts as they are: nothing in them is markup.
//!
//! Source: github.com/PagerDuty/developer-docs, docs/events-API-v2/02-Trigger-Events.md (fields, lengths of `dedup_key` and
//! `summary`) and 01-Overview.md (512 KB for the whole event).

use campanile_guest::fit::{Room, fit_object, more_links, within};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::{escaped, plain};
use campanile_guest::types::{Severity, Status};
use campanile_guest::{Delivery, Document, Fact, fact, facts};
use serde_json::{Value, json};

use crate::settings::Settings;

/// PagerDuty's limits: characters of a key and of a summary.
pub(crate) const KEY: usize = 255;
pub(crate) const SUMMARY: usize = 1024;

/// Of the other texts, which have no limit of their own. A character may take six bytes.
const FIELD: usize = 255;
const DESCRIPTION: usize = 20_000;
const DETAIL: usize = 2000;

/// Bytes of all details beside the description, of links, and of images: together less than an event may have.
const DETAILS: usize = 128 * 1024;
const LINKS: usize = 64 * 1024;

/// Links to such files are shown as images.
const IMAGES: [&str; 5] = [".png", ".jpg", ".jpeg", ".gif", ".webp"];

const HEADLINE: Template = Template {
    key: "summary",
    default: "{{ title | one_line }}",
    limit: SUMMARY,
    required: true,
    escape: plain,
};

const SOURCE: Template = Template {
    key: "source",
    default: "{{ labels.source or labels.instance or labels.host or place or source.name or 'unknown source' }}",
    limit: FIELD,
    required: true,
    escape: plain,
};

const COMPONENT: Template = Template {
    key: "component",
    default: "{{ labels.component or context.service }}",
    limit: FIELD,
    required: false,
    escape: plain,
};

const GROUP: Template = Template {
    key: "group",
    default: "{{ labels.group or context.environment }}",
    limit: FIELD,
    required: false,
    escape: plain,
};

const CLASS: Template = Template {
    key: "class",
    default: "{{ labels['class'] or type }}",
    limit: FIELD,
    required: false,
    escape: plain,
};

/// The key by which PagerDuty knows the alert: the one that the firing had, if it was told.
pub(crate) fn key(delivery: &Delivery) -> String {
    delivery.earlier_id().map_or_else(|| campanile_guest::key(&delivery.thread_id, KEY), str::to_owned)
}

/// The event that triggers the alert, or that resolves it, for which the key is enough.
pub(crate) fn event(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    key: &str,
    texts: &mut Texts,
) -> Value {
    let mut event = json!({ "routing_key": settings.routing_key, "dedup_key": key });
    match delivery.alert.status {
        Status::Resolved => event["event_action"] = json!("resolve"),
        Status::Firing => trigger(&mut event, delivery, document, settings, texts),
    }
    event
}

fn trigger(
    event: &mut Value,
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) {
    event["event_action"] = json!("trigger");
    event["client"] = json!("Campanile");
    if let Some(url) = &settings.client_url {
        event["client_url"] = json!(url);
    }
    let (images, links): (Vec<_>, Vec<_>) =
        document.links().into_iter().partition(|(href, _)| is_image(href));
    let links = links.into_iter().map(|(href, text)| json!({ "href": href, "text": short(text, FIELD) }));
    let images =
        images.into_iter().map(|(src, alt)| json!({ "src": src, "href": src, "alt": short(alt, FIELD) }));
    let links = within(links, Room::size(LINKS), size);
    let images = within(images, Room::size(LINKS), size);
    let more = more_links(document, links.len() + images.len());
    event["payload"] = payload(delivery, document, settings, texts);
    event["payload"]["custom_details"] = details(delivery, document, more.as_deref());
    event["links"] = links.into();
    event["images"] = images.into();
}

/// How many bytes of JSON a value takes in a list, with what stands between it and the next.
fn size(value: &Value) -> usize {
    value.to_string().len() + 2
}

/// Whether the link leads to an image that PagerDuty would show: it wants them by HTTPS.
fn is_image(href: &str) -> bool {
    let path = href.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    path.starts_with("https://") && IMAGES.iter().any(|kind| path.ends_with(kind))
}

fn payload(delivery: &Delivery, document: &Document, settings: &Settings, texts: &mut Texts) -> Value {
    let mut payload = json!({
        "summary": texts.render(&HEADLINE, settings.summary.as_deref()),
        "source": texts.render(&SOURCE, settings.source.as_deref()),
        "severity": severity(delivery.alert.severity),
    });
    let optional = [(&COMPONENT, &settings.component), (&GROUP, &settings.group), (&CLASS, &settings.class)];
    for (template, written) in optional {
        set(&mut payload, template.key, texts.render(template, written.as_deref()));
    }
    set(&mut payload, "timestamp", document.text("/starts_at").unwrap_or_default().to_owned());
    payload
}

fn set(payload: &mut Value, name: &str, text: String) {
    if !text.is_empty() {
        payload[name] = json!(text);
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}

/// The description, the alert's id, what else is known, and that there are more links.
fn details(delivery: &Delivery, document: &Document, more: Option<&str>) -> Value {
    let detail = |(name, value): Fact| (short(&name, FIELD), short(&value, DETAIL));
    let first = [fact("Alert", &delivery.alert.id)].into_iter().chain(more.map(|more| fact("Links", more)));
    let known = first.chain(facts(&delivery.alert, document)).map(detail);
    let mut details = fit_object(known, DETAILS, |name, value| size(&json!(name)) + size(&json!(value)));
    if !document.description().is_empty() {
        details.insert("Description".to_owned(), json!(short(document.description(), DESCRIPTION)));
    }
    details.into()
}

/// At most `limit` of the text.
fn short(text: &str, limit: usize) -> String {
    escaped(text, limit, plain)
}
