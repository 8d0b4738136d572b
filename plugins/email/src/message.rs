//! The mail: the same words and facts as plain text and as HTML.

use campanile_guest::fit::{Room, fit_facts};
use campanile_guest::template::{Template, Texts};
use campanile_guest::text::plain;
use campanile_guest::types::Alert;
use campanile_guest::{Document, Look, facts, one_line};

use crate::settings::Settings;

/// The most of a subject, in UTF-16 code units.
const SUBJECT: usize = 200;

/// How many facts there are at most.
const FACTS: usize = 100;

/// Such as `[CRITICAL] Connection Pool Exhausted (production/payments)`.
const HEADLINE: Template = Template {
    key: "subject",
    default: "[{{ state | upper }}] {{ title | one_line }}{% if place %} ({{ place | one_line }}){% endif %}",
    limit: SUBJECT,
    required: true,
    escape: plain,
};

/// As long as an alert may be: a mail has room for all of it.
const TEXT: Template =
    Template { key: "text", default: "{{ description }}", limit: 512 * 1024, required: false, escape: plain };

/// A composed mail.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Composes subject, text and HTML.
pub(crate) fn compose(
    alert: &Alert,
    document: &Document,
    settings: &Settings,
    texts: &mut Texts,
) -> Composed {
    let subject = one_line(&texts.render(&HEADLINE, settings.subject.as_deref()));
    let said = texts.render(&TEXT, settings.text.as_deref());
    let known = if settings.facts { Known::of(alert, document) } else { Known::default() };
    Composed { subject, text: text(alert, &said, &known), html: html(alert, &said, &known) }
}

/// What is known beside that: facts by name, each on one line, and links as address and text.
#[derive(Default)]
struct Known<'a> {
    facts: Vec<(String, String)>,
    links: Vec<(&'a str, &'a str)>,
}

impl<'a> Known<'a> {
    fn of(alert: &Alert, document: &'a Document) -> Self {
        let line = |(name, value): (&str, &str)| (one_line(name), one_line(value));
        let mut facts = fit_facts(facts(alert, document), Room::entries(FACTS), |_| 0, line);
        facts.push(line(("Alert", &alert.id)));
        Self { facts, links: document.links() }
    }
}

fn text(alert: &Alert, said: &str, known: &Known) -> String {
    let facts: Vec<_> = known.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let links: Vec<_> = known.links.iter().map(|(href, text)| plain_link(href, text)).collect();
    let parts = [one_line(&alert.title), said.to_owned(), facts.join("\n"), links.join("\n")];
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join("\n\n") + "\n"
}

fn plain_link(href: &str, text: &str) -> String {
    if href == text { href.to_owned() } else { format!("{}: {href}", one_line(text)) }
}

fn html(alert: &Alert, said: &str, known: &Known) -> String {
    let colour = format!("#{:06X}", Look::of(alert).colour);
    let title = escaped(&one_line(&alert.title));
    let said = escaped(said).replace('\n', "<br>\n");
    let rows: String = known.facts.iter().map(|(name, value)| row(name, value)).collect();
    let links: String = known.links.iter().map(|(href, text)| html_link(href, text)).collect();
    format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif\">\n\
         <h2 style=\"border-left:6px solid {colour};padding-left:10px\">{title}</h2>\n\
         <p>{said}</p>\n<table>\n{rows}</table>\n{links}</body></html>\n"
    )
}

fn row(name: &str, value: &str) -> String {
    let (name, value) = (escaped(name), escaped(value));
    format!("<tr><td style=\"color:#666;padding-right:12px\">{name}</td><td>{value}</td></tr>\n")
}

fn html_link(href: &str, text: &str) -> String {
    format!("<p><a href=\"{}\">{}</a></p>\n", escaped(href), escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use campanile_guest::testing::{BLANKS, blank, firing};
    use campanile_guest::types::Status;
    use campanile_guest::{Delivery, is_blank};

    use super::*;

    const DOCUMENT: &str = r#"{
        "type": "database", "description": "All connections <in use>\nsince noon",
        "source": {"name": "Database Monitoring", "type": "custom"},
        "context": {"environment": "production", "service": "payments"},
        "data": {"triage": {"priority": "P1"}},
        "links": ["https://a.example/?x=1&y=\"2\"", {"href": "https://run.example", "text": "Runbook"}]
    }"#;

    fn delivery(title: &str, status: Status, document: &str) -> Delivery {
        let mut delivery = firing(&serde_json::json!({}));
        delivery.alert.title = title.to_owned();
        delivery.alert.status = status;
        delivery.alert.labels = vec![("team".to_owned(), "<db>".to_owned())];
        delivery.alert.document = document.to_owned();
        delivery
    }

    fn worded(delivery: &Delivery, settings: &Settings) -> Composed {
        let document = Document::parse(&delivery.alert.document).unwrap();
        compose(&delivery.alert, &document, settings, &mut Texts::of(delivery, &document))
    }

    fn composed(title: &str, status: Status, document: &str) -> Composed {
        worded(&delivery(title, status, document), &Settings::of("ops@example.com"))
    }

    #[test]
    fn the_subject_tells_what_and_where() {
        assert_eq!(
            composed("Pool full", Status::Firing, DOCUMENT).subject,
            "[CRITICAL] Pool full (production/payments)"
        );
        assert_eq!(composed("Pool full", Status::Resolved, "{}").subject, "[RESOLVED] Pool full");
    }

    #[test]
    fn a_subject_is_one_short_line() {
        let subject =
            composed(&format!("a\r\nBcc: x@x.example {}", "y".repeat(500)), Status::Firing, "{}").subject;
        assert!(subject.starts_with("[CRITICAL] a Bcc: x@x.example y"), "{subject}");
        assert_eq!(subject.chars().count(), SUBJECT);
    }

    #[test]
    fn the_text_holds_every_fact() {
        let expected = "Pool full\n\nAll connections <in use>\nsince noon\n\nSeverity: Critical\nPriority: P1\n\
            Type: database\nSource: Database Monitoring\nEnvironment: production\nService: payments\nteam: <db>\nAlert: alert-1\n\n\
            https://a.example/?x=1&y=\"2\"\nRunbook: https://run.example\n";
        assert_eq!(composed("Pool full", Status::Firing, DOCUMENT).text, expected);
    }

    #[test]
    fn metrics_and_the_scalars_of_data_follow_the_labels_within_bounds() {
        let mut document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        document["metrics"] = serde_json::json!({ "cpu": 95.2 });
        document["data"]["note"] = "y".repeat(3000).into();
        let mail = composed("Pool full", Status::Firing, &document.to_string());
        let expected = format!("team: <db>\ncpu: 95.2\nnote: {}…\nAlert: alert-1\n", "y".repeat(199));
        assert!(mail.text.contains(&expected), "{}", mail.text);
        assert!(mail.html.contains("<td>95.2</td>"), "{}", mail.html);
        for n in 0..200 {
            document["data"][format!("n{n}")] = n.into();
        }
        let text = composed("Pool full", Status::Firing, &document.to_string()).text;
        assert!(text.contains("\n…: and 110 more\nAlert: alert-1\n"), "{text}");
    }

    #[test]
    fn no_subject_and_no_fact_is_blank() {
        for text in BLANKS {
            let delivery = firing(&blank(text));
            let mail = worded(&delivery, &Settings::of("ops@example.com"));
            assert!(
                mail.subject.starts_with("[CRITICAL]") && mail.text.contains("\nhost: db-1\n"),
                "{mail:?}"
            );
            assert!(!mail.html.contains("<td></td>") && !mail.text.contains(": \n"), "{text:?}: {mail:?}");
            let bare =
                Settings { subject: Some("{{ title }}".to_owned()), ..Settings::of("ops@example.com") };
            assert!(!is_blank(&worded(&delivery, &bare).subject), "{text:?}");
        }
    }

    #[test]
    fn the_html_is_escaped_everywhere() {
        let html = composed("<script>x</script>", Status::Firing, DOCUMENT).html;
        assert!(!html.contains("<script>") && !html.contains("<db>") && !html.contains("<in use>"), "{html}");
        assert!(html.contains("All connections &lt;in use&gt;<br>\nsince noon"), "{html}");
        assert!(html.contains("href=\"https://a.example/?x=1&amp;y=&quot;2&quot;\""), "{html}");
    }

    #[test]
    fn an_operator_words_it_and_an_alert_cannot() {
        let settings = Settings {
            subject: Some("{{ source.name }}:\n{{ title }}".to_owned()),
            text: Some("<b>Call {{ labels.team }}</b>: {{ description }}".to_owned()),
            facts: false,
            ..Settings::of("ops@example.com")
        };
        let mail = worded(&delivery("a\r\nBcc: x@x.example", Status::Firing, DOCUMENT), &settings);
        assert_eq!(mail.subject, "Database Monitoring: a Bcc: x@x.example");
        assert_eq!(
            mail.text,
            "a Bcc: x@x.example\n\n<b>Call <db></b>: All connections <in use>\nsince noon\n"
        );
        let shown =
            "<p>&lt;b&gt;Call &lt;db&gt;&lt;/b&gt;: All connections &lt;in use&gt;<br>\nsince noon</p>";
        assert!(mail.html.contains(shown) && !mail.html.contains("Runbook"), "{}", mail.html);
    }

    #[test]
    fn a_bad_template_loses_nothing() {
        let settings = Settings {
            subject: Some("{{ title".to_owned()),
            text: Some("{{ nope() }}".to_owned()),
            ..Settings::of("ops@example.com")
        };
        let delivery = delivery("Pool full", Status::Firing, DOCUMENT);
        let (mail, usual) = (worded(&delivery, &settings), composed("Pool full", Status::Firing, DOCUMENT));
        assert_eq!((mail.subject, mail.text, mail.html), (usual.subject, usual.text, usual.html));
    }

    #[test]
    fn a_long_text_is_sent_whole() {
        let long = "x".repeat(300_000);
        let document = serde_json::json!({ "description": long }).to_string();
        assert!(composed("Pool full", Status::Firing, &document).text.contains(&long));
    }

    #[test]
    fn the_configuration_schema_is_json() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["to"]));
    }
}
