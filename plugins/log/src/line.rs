//! The line that an alert becomes.

use campanile_guest::types::{Alert, Severity, Status};
use campanile_guest::{Document, one_line};

/// Such as `CRITICAL infrastructure · Connection Pool Exhausted · Database Monitoring (production/payments) · P1`.
pub(crate) fn line(alert: &Alert, document: &Document) -> String {
    let headline = format!("{} {}", urgency(alert), document.kind());
    let origin = match document.place() {
        Some(place) => format!("{} ({place})", document.source()),
        None => document.source().to_owned(),
    };
    let mut parts = vec![headline, alert.title.clone(), origin];
    parts.extend(document.priority().map(str::to_owned));
    one_line(&parts.join(" · "))
}

/// The word that the eye looks for: the severity of what holds, `RESOLVED` for what has ended.
fn urgency(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "RESOLVED",
        (Status::Firing, Severity::Low) => "LOW",
        (Status::Firing, Severity::Medium) => "MEDIUM",
        (Status::Firing, Severity::High) => "HIGH",
        (Status::Firing, Severity::Critical) => "CRITICAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(title: &str, status: Status, document: &str) -> String {
        let alert = Alert {
            id: "alert-1".to_owned(),
            title: title.to_owned(),
            severity: Severity::Critical,
            status,
            labels: Vec::new(),
            document: document.to_owned(),
            metadata: "{}".to_owned(),
        };
        line(&alert, &Document::parse(document).unwrap())
    }

    #[test]
    fn everything_known_is_on_the_line() {
        let document = r#"{"type": "infrastructure", "source": {"name": "Database Monitoring", "type": "custom"},
            "context": {"environment": "production", "service": "payments"}, "data": {"triage": {"priority": "P1"}}}"#;
        assert_eq!(
            logged("Connection Pool Exhausted", Status::Firing, document),
            "CRITICAL infrastructure · Connection Pool Exhausted · Database Monitoring (production/payments) · P1"
        );
    }

    #[test]
    fn what_is_unknown_leaves_no_trace() {
        let document = r#"{"type": "network", "source": {"name": "Probe", "type": "custom"}}"#;
        assert_eq!(logged("Link down", Status::Firing, document), "CRITICAL network · Link down · Probe");
    }

    #[test]
    fn what_has_ended_says_so_first() {
        let document = r#"{"type": "network", "source": {"name": "Probe", "type": "custom"}}"#;
        assert_eq!(logged("Link down", Status::Resolved, document), "RESOLVED network · Link down · Probe");
    }

    #[test]
    fn a_title_cannot_forge_a_second_line() {
        let document = r#"{"type": "network", "source": {"name": "Probe", "type": "custom"}}"#;
        let line = logged("a\nCRITICAL forged", Status::Firing, document);
        assert_eq!(line, "CRITICAL network · a CRITICAL forged · Probe");
    }
}
