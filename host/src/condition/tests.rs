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

/// A number that 64 bits do not hold is a text in an alert.
#[test]
fn a_number_that_no_alert_has_is_refused_with_what_to_write() {
    let text = |number: &str| {
        format!(
            "has a number that 64 bits do not hold; an alert has such a number as a text, with its digits, so compare with \
             \"{number}\", in quotes, instead of {number} at character 18"
        )
    };
    for number in ["12345678901234567890123", "-12345678901234567890123", "1e999"] {
        let refused = Condition::parse(&format!("alert.data.id == {number}")).err().unwrap_or_default();
        let at_the_digits = if number.starts_with('-') { "19" } else { "18" };
        assert_eq!(refused, text(number).replace("18", at_the_digits), "{number}");
    }
    assert_eq!(
        Condition::parse("alert.data.id == 18446744073709551616u").err(),
        Some(text("18446744073709551616"))
    );
    let refused = Condition::parse("alert.data.id == 9223372036854775808").err().unwrap_or_default();
    assert!(
        refused.ends_with(
            "takes a u behind it, 9223372036854775808u, instead of 9223372036854775808 at character 18"
        ),
        "{refused}"
    );
    for text in
        ["alert.data.x == -9223372036854775808", "alert.data.x != 9223372036854775808u && 0xffu == 255u"]
    {
        assert_eq!(Condition::parse(text).err(), None, "{text}");
    }
    let long = Condition::parse(&format!("alert.data.id == {}", "9".repeat(5_000))).err().unwrap_or_default();
    assert!(long.len() < 400, "{long}");
}
