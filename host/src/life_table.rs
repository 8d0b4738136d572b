//! The life table in words: why a post became what it became, and what one would become. `campanile_store::life` decides. No I/O.

use campanile_store::Disposition;
use campanile_store::life::Policy;
use jiff::SignedDuration;

use crate::alert::{Alert, Severity, Status};

/// Why a post with or without a key became this: the row of the table that applied.
pub fn reason(disposition: Disposition, has_key: bool) -> &'static str {
    match disposition {
        Disposition::New if has_key => "firing, and nothing was open under its key",
        Disposition::New => "without a key it is an alert of its own",
        Disposition::Duplicate => "firing, and known: what is open began no earlier, or was notified lately",
        Disposition::Escalated => "firing, and worse than all that was notified while it was open",
        Disposition::Renewed => "firing while open, and it began later or was notified long ago",
        Disposition::Flapped => "firing, and its resolve was held back",
        Disposition::Resolves => "resolve of what was open",
        Disposition::NothingOpen => "resolve, and nothing was open that it could end",
    }
}

/// A row of the table that could apply to an alert.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// What the post becomes.
    pub becomes: Disposition,
    /// In which case, such as `if nothing is open`.
    pub when: String,
}

/// The rows that could apply to an alert with a key, from top to bottom: the first that holds does.
pub fn rows(alert: &Alert, policy: Policy) -> Vec<Row> {
    let row = |becomes, when: String| Row { becomes, when };
    let hold = policy.replicas.max(policy.hold_down);
    let window = span(policy.repeat_window);
    if alert.momentary {
        return vec![
            row(Disposition::Duplicate, format!("if it was notified within the last {window}")),
            row(Disposition::New, "otherwise: it has no end and is never open".to_owned()),
        ];
    }
    if alert.status == Status::Resolved {
        let began = alert.ends_at.map(|end| format!(" and did not begin after {end}")).unwrap_or_default();
        let held = if hold > 0 { format!("; held back for {}", span(hold)) } else { String::new() };
        return vec![
            row(Disposition::Resolves, format!("if it is open{began}{held}")),
            row(Disposition::NothingOpen, "otherwise: no receiver is notified".to_owned()),
        ];
    }
    let mut rows = vec![row(Disposition::New, "if nothing is open".to_owned())];
    if hold > 0 {
        rows.push(row(Disposition::Flapped, "if its resolve is held back".to_owned()));
    }
    if alert.severity > Severity::Low || alert.vendor_level.is_some() {
        let level = alert.vendor_level.map(|level| format!(" with the vendor level {level}"));
        let level = level.unwrap_or_default();
        let when = format!("if it is open, and was notified as less than {}{level} so far", alert.severity);
        rows.push(row(Disposition::Escalated, when));
    }
    let known = match alert.starts_at {
        Some(start) if policy.replicas > 0 => {
            format!("if it is open and began after {start}, at the same time or less than 5m before")
        }
        Some(start) => format!("if it is open and began at {start} or later"),
        None => format!("if it is open and was notified within the last {window}"),
    };
    rows.push(row(Disposition::Duplicate, known));
    rows.push(row(Disposition::Renewed, "otherwise: notified again, unless it is acknowledged".to_owned()));
    rows
}

fn span(micros: i64) -> String {
    format!("{:#}", SignedDuration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use campanile_store::life::{self, Life, Post, State, decide};
    use serde_json::json;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn alert(status: &str, severity: &str, starts_at: Option<i64>) -> Alert {
        let time = |micros| jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
        serde_json::from_value(json!({
            "title": "t", "description": "", "type": "custom", "severity": severity, "status": status,
            "source": {"name": "n", "type": "t"}, "starts_at": starts_at.map(time),
        }))
        .unwrap()
    }

    /// What the store makes of an alert, whatever it knows of its key.
    fn decided(alert: &Alert, policy: Policy) -> BTreeSet<Disposition> {
        let now = 1_000 * MINUTE;
        let status =
            if alert.status == Status::Firing { life::Status::Firing } else { life::Status::Resolved };
        let severity = life::Severity { rank: alert.severity.rank(), vendor_level: None };
        let starts_at = alert.starts_at.map(|at| at.as_microsecond());
        let post = Post { status, severity, starts_at, ends_at: None, is_momentary: false };
        let mut found = BTreeSet::from([decide(None, post, policy, now).disposition]);
        for state in [State::Open, State::Ended] {
            for (rank, start) in (0..4).flat_map(|rank| [0, 10, 20].map(|start| (rank, start * MINUTE))) {
                for (notified_at, is_held) in [(now, false), (0, false), (now, true)] {
                    let held_until = (is_held && policy.hold_down > 0).then_some(now + 1);
                    let severity = life::Severity { rank, vendor_level: None };
                    let starts_at = starts_at.map(|_| start);
                    let life = Life { state, severity, starts_at, notified_at, held_until };
                    found.insert(decide(Some(life), post, policy, now).disposition);
                }
            }
        }
        found
    }

    #[test]
    fn rows_are_those_that_the_store_decides_by() {
        for hold_down in [0, MINUTE] {
            let policy = Policy { repeat_window: 10 * MINUTE, hold_down, replicas: 0 };
            for severity in ["low", "high"] {
                for (status, start) in [("firing", None), ("firing", Some(10 * MINUTE)), ("resolved", None)] {
                    let alert = alert(status, severity, start);
                    let rows = rows(&alert, policy);
                    let listed: BTreeSet<_> = rows.iter().map(|row| row.becomes).collect();
                    assert_eq!(listed, decided(&alert, policy), "{severity} {status} {policy:?}");
                    assert_eq!(listed.len(), rows.len(), "each once");
                }
            }
        }
    }

    #[test]
    fn what_has_no_end_is_new_or_a_duplicate() {
        let alert = Alert { momentary: true, ..alert("firing", "high", None) };
        let policy = Policy { repeat_window: 10 * MINUTE, hold_down: MINUTE, replicas: 0 };
        let listed: Vec<_> = rows(&alert, policy).iter().map(|row| row.becomes).collect();
        assert_eq!(listed, [Disposition::Duplicate, Disposition::New]);
    }

    #[test]
    fn a_low_alert_with_a_vendors_level_can_escalate() {
        let alert = Alert { vendor_level: Some(2), ..alert("firing", "low", None) };
        let rows = rows(&alert, Policy { repeat_window: 10 * MINUTE, hold_down: 0, replicas: 0 });
        let escalated = rows.iter().find(|row| row.becomes == Disposition::Escalated).unwrap();
        assert_eq!(
            escalated.when,
            "if it is open, and was notified as less than low with the vendor level 2 so far"
        );
    }

    #[test]
    fn each_disposition_has_a_reason_of_its_own() {
        let reasons: BTreeSet<_> = Disposition::ALL.map(|disposition| reason(disposition, true)).into();
        assert_eq!(reasons.len(), Disposition::ALL.len());
        assert_ne!(reason(Disposition::New, false), reason(Disposition::New, true));
    }
}
