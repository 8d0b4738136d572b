//! The mail: the same facts as plain text and as HTML.

use campanile_guest::types::Alert;
use campanile_guest::{Document, Look, cut, facts, one_line};

/// The most of a subject, in characters.
const SUBJECT: usize = 200;

/// A composed mail.
pub(crate) struct Composed {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Composes subject, text and HTML.
pub(crate) fn compose(alert: &Alert, document: &Document) -> Composed {
    let facts = known(alert, document);
    Composed {
        subject: subject(alert, document),
        text: text(alert, document, &facts),
        html: html(alert, document, &facts),
    }
}

/// Such as `[CRITICAL] Connection Pool Exhausted (production/payments)`.
fn subject(alert: &Alert, document: &Document) -> String {
    let place = document.place().map(|place| format!(" ({place})")).unwrap_or_default();
    let mark = Look::of(alert).word.to_uppercase();
    cut(&one_line(&format!("[{mark}] {}{place}", alert.title)), SUBJECT)
}

/// What is known, by name, each on one line.
fn known(alert: &Alert, document: &Document) -> Vec<(String, String)> {
    let all = facts(alert, document).chain([("Alert", alert.id.as_str())]);
    all.map(|(name, value)| (one_line(name), one_line(value))).collect()
}

fn text(alert: &Alert, document: &Document, facts: &[(String, String)]) -> String {
    let facts: Vec<_> = facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let links: Vec<_> = document.links().into_iter().map(|(href, text)| plain_link(href, text)).collect();
    let parts =
        [one_line(&alert.title), document.description().to_owned(), facts.join("\n"), links.join("\n")];
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join("\n\n") + "\n"
}

fn plain_link(href: &str, text: &str) -> String {
    if href == text { href.to_owned() } else { format!("{}: {href}", one_line(text)) }
}

fn html(alert: &Alert, document: &Document, facts: &[(String, String)]) -> String {
    let colour = format!("#{:06X}", Look::of(alert).colour);
    let title = escaped(&one_line(&alert.title));
    let description = escaped(document.description()).replace('\n', "<br>\n");
    let rows: String = facts.iter().map(|(name, value)| row(name, value)).collect();
    let links: String = document.links().into_iter().map(|(href, text)| html_link(href, text)).collect();
    format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif\">\n\
         <h2 style=\"border-left:6px solid {colour};padding-left:10px\">{title}</h2>\n\
         <p>{description}</p>\n<table>\n{rows}</table>\n{links}</body></html>\n"
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
    use campanile_guest::types::{Severity, Status};

    use super::*;

    const DOCUMENT: &str = r#"{
        "type": "database", "description": "All connections <in use>\nsince noon",
        "source": {"name": "Database Monitoring", "type": "custom"},
        "context": {"environment": "production", "service": "payments"},
        "data": {"triage": {"priority": "P1"}},
        "links": ["https://a.example/?x=1&y=\"2\"", {"href": "https://run.example", "text": "Runbook"}]
    }"#;

    fn composed(title: &str, status: Status, document: &str) -> Composed {
        let alert = Alert {
            id: "alert-1".to_owned(),
            title: title.to_owned(),
            severity: Severity::Critical,
            status,
            labels: vec![("team".to_owned(), "<db>".to_owned())],
            document: document.to_owned(),
            metadata: "{}".to_owned(),
        };
        compose(&alert, &Document::parse(document).unwrap())
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
    fn the_html_is_escaped_everywhere() {
        let html = composed("<script>x</script>", Status::Firing, DOCUMENT).html;
        assert!(!html.contains("<script>") && !html.contains("<db>") && !html.contains("<in use>"), "{html}");
        assert!(html.contains("All connections &lt;in use&gt;<br>\nsince noon"), "{html}");
        assert!(html.contains("href=\"https://a.example/?x=1&amp;y=&quot;2&quot;\""), "{html}");
    }

    #[test]
    fn the_configuration_schema_is_json() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["to"]));
    }
}
