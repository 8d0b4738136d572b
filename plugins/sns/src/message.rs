//! The request to publish, as a form.
//!
//! Source: docs.aws.amazon.com/sns/latest/api/API_Publish.html ("Request Parameters"), and
//! …/sns/latest/dg/sns-message-attributes.html.

use campanile_guest::template::{Template, Texts};
use campanile_guest::text::plain;
use campanile_guest::types::{Alert, Severity, Status};
use campanile_guest::{Delivery, Document, cut, digest, one_line};

use crate::settings::Settings;

/// "Less than 100 characters", of ASCII.
pub(crate) const SUBJECT: usize = 99;

/// At three bytes each, this stays below 256 KB with what is beside it.
const MESSAGE: usize = 80_000;

const HEADLINE: Template = Template {
    key: "subject",
    default: "[{{ state }}] {{ title | one_line }}",
    limit: SUBJECT - 2, // `…` becomes `...`
    required: true,
    escape: plain,
};

const TEXT: Template = Template {
    key: "text",
    default: "{{ emoji }} {{ state }}: {{ title | one_line }}\n\n{{ description }}\n\n\
              {% if place %}Where: {{ place }}\n{% endif %}\
              {% if source.name %}Source: {{ source.name }}\n{% endif %}\
              {% if labels %}Labels: {{ labels | pairs }}\n{% endif %}\
              {% for link in links %}{{ link.text }}: {{ link.href }}\n{% endfor %}\
              Alert: {{ id }}",
    limit: MESSAGE,
    required: true,
    escape: text,
};

/// Subscribers cannot be handed control characters; they show as nothing.
fn text(character: char, out: &mut String) {
    if !character.is_control() || matches!(character, '\n' | '\t') {
        out.push(character);
    }
}

/// The fields of the form.
pub(crate) fn form(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Vec<(String, String)> {
    let mut form = vec![
        ("Action".to_owned(), "Publish".to_owned()),
        ("Version".to_owned(), "2010-03-31".to_owned()),
        ("TopicArn".to_owned(), settings.topic_arn.clone()),
        ("Subject".to_owned(), subject(&texts.render(&HEADLINE, settings.subject.as_deref()))),
        ("Message".to_owned(), texts.render(&TEXT, settings.text.as_deref())),
    ];
    form.extend(attributes(&delivery.alert, document));
    if settings.topic_arn.ends_with(".fifo") {
        form.push(("MessageGroupId".to_owned(), digest(&delivery.thread_id)));
        form.push(("MessageDeduplicationId".to_owned(), digest(&delivery.delivery_id)));
    }
    form
}

/// As a subject must be: ASCII, on one line, beginning with a letter, number or punctuation mark.
fn subject(text: &str) -> String {
    let ascii = one_line(text).replace('…', "...");
    ascii.chars().map(|c| if c.is_ascii() { c } else { '?' }).take(SUBJECT).collect()
}

/// What subscriptions can filter by.
fn attributes(alert: &Alert, document: &Document) -> Vec<(String, String)> {
    let attributes = [
        ("severity", severity(alert.severity).to_owned()),
        ("status", status(alert.status).to_owned()),
        ("type", cut(&one_line(document.kind()), 100)),
    ];
    let attributes = attributes.into_iter().zip(1..);
    attributes.flat_map(|((name, value), place)| attribute(place, name, value)).collect()
}

fn attribute(place: usize, name: &str, value: String) -> [(String, String); 3] {
    let entry = format!("MessageAttributes.entry.{place}");
    [
        (format!("{entry}.Name"), name.to_owned()),
        (format!("{entry}.Value.DataType"), "String".to_owned()),
        (format!("{entry}.Value.StringValue"), value),
    ]
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}
