//! The message as a form.
//!
//! Source: pushover.net/api, "Limitations", "Message Priority" and "Supplementary URLs".

use campanile_guest::fit::more_links;
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::{escaped, html, plain, width};
use campanile_guest::types::{Severity, Status};
use campanile_guest::{Delivery, Document, one_line};

use crate::settings::Settings;

/// Pushover's limits, in characters: of title, message, address of the link, and its text.
pub(crate) const TITLE: usize = 250;
pub(crate) const MESSAGE: usize = 1024;
pub(crate) const URL: usize = 512;
pub(crate) const URL_TITLE: usize = 100;

const HEADLINE: Template = Template {
    key: "title",
    default: "{{ emoji }} {{ title | one_line }}",
    limit: TITLE,
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

/// The fields of the form.
pub(crate) fn form(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Vec<(&'static str, String)> {
    let link = link(document);
    let more =
        more_links(document, link.iter().len()).map(|more| format!("\n\nLinks: {more}")).unwrap_or_default();
    let escape = if settings.html { html } else { plain };
    let text = Template { limit: MESSAGE - width(&more), escape, ..TEXT };
    let mut form = vec![
        ("token", settings.token.clone()),
        ("user", settings.user.clone()),
        ("title", one_line(&texts.render(&HEADLINE, settings.title.as_deref()))),
        ("message", texts.render(&text, settings.text.as_deref()) + &more),
    ];
    if settings.html {
        form.push(("html", "1".to_owned()));
    }
    form.extend(urgency(delivery, settings));
    form.extend(link.into_iter().flatten());
    let chosen = [("device", &settings.device), ("sound", &settings.sound)];
    form.extend(chosen.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    form
}

/// The priority, from -2 to 2; 2, an emergency, says how often and how long it rings.
fn urgency(delivery: &Delivery, settings: &Settings) -> Vec<(&'static str, String)> {
    let priority = match (delivery.alert.status, delivery.alert.severity) {
        (Status::Firing, Severity::Critical) if settings.emergency => {
            let (retry, expire) = (settings.retry.clone(), settings.expire.clone());
            return vec![("priority", "2".to_owned()), ("retry", retry), ("expire", expire)];
        }
        (Status::Firing, Severity::Critical | Severity::High) => "1",
        (Status::Firing, Severity::Medium) | (Status::Resolved, _) => "0",
        (Status::Firing, Severity::Low) => "-1",
    };
    vec![("priority", priority.to_owned())]
}

/// The first link that is not too long.
fn link(document: &Document) -> Option<[(&'static str, String); 2]> {
    let link = document.links().into_iter().find(|(href, _)| width(href) <= URL);
    link.map(|(href, text)| {
        [("url", href.to_owned()), ("url_title", escaped(&one_line(text), URL_TITLE, plain))]
    })
}
