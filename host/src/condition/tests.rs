//! What conditions mean, and what is refused.

use super::*;

mod bounds;
mod budget;
mod oracle;
mod random;

fn holds(text: &str) -> Result<bool, String> {
    let alert = json!({
        "severity": "high", "labels": {"team": "shop"}, "data": {"x": 2}, "metrics": {"cpu": 95.5, "n": 3},
    });
    Condition::parse(text)?.holds(&Facts::of(&alert))
}

#[test]
fn conditions_are_over_the_whole_alert() {
    assert_eq!(holds("alert.severity in ['high', 'critical']"), Ok(true));
    assert_eq!(holds("alert.labels.team == 'search'"), Ok(false));
    assert_eq!(holds("has(alert.data) && alert.data.x == 1"), Ok(false));
    assert_eq!(holds("alert.metrics.cpu > 90.0 && alert.metrics.n == 3"), Ok(true));
    assert_eq!(holds("has(alert.context.service)"), Ok(false));
    assert_eq!(holds("has(alert.labels.squad) && alert.labels.squad == 'a'"), Ok(false));
    assert!(holds("alert.labels.nothing == 'a'").unwrap_err().contains("nothing"));
}

#[test]
fn what_depends_on_values_is_left_to_alerts() {
    for text in [
        "alert.id.startsWith('1') && int(alert.id) > 100",
        "alert.severity == 'low' || timestamp(alert.title) < timestamp(alert.starts_at)",
        "size(alert.links) > 0 && 10 / size(alert.links) > 2",
        "alert.severity == 'low' ? true : alert.links[0].href.startsWith('https')",
    ] {
        assert_eq!(Condition::parse(text).err(), None, "{text}");
    }
}

#[test]
fn a_field_that_no_alert_has_is_told() {
    let unknown = |text: &str| Condition::parse(text).unwrap().unknown_fields.join(" ");
    assert_eq!(unknown("alert.severty == 'high' || alert.labels.team in ['a', alert.tem]"), "severty tem");
    assert_eq!(unknown("has(alert.ticket) && alert.ticket.id == 't'"), "");
    assert_eq!(unknown("alert.links.exists(link, link.url == alert.ur)"), "ur");
}

#[test]
fn what_cannot_work_is_told_before_there_is_an_alert() {
    for (text, part) in [
        ("alert.severity ==", "is not a CEL expression"),
        ("alert.severity", "gives string, not true or false"),
        ("severity == 'high'", "cannot work: Undeclared reference to 'severity'"),
        ("alert.severity > 3", "cannot work: "),
        ("alert.title.beginsWith('a')", "cannot work: "),
        ("alert.severity == 'critical' && alert.title.matches('(')", "cannot work: regex parse error"),
        ("alert.severity == 'critical' && alert.title > 3", "cannot work: "),
        ("alert.severity == 'low' || critical", "cannot work: Undeclared reference to 'critical'"),
        ("!(alert.severity == 'low' && alert.title)", "gives string, not true or false"),
    ] {
        let refused = Condition::parse(text).err().unwrap_or_default();
        assert!(refused.contains(part), "{text}: {refused}");
    }
}
