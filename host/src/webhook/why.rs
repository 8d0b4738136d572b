//! Why a receiver was, or was not, told of an alert: one paragraph, out of the alert's story and the routes.

use jiff::Timestamp;

use crate::ledger::{Activity, Attempt, Outcome, Step, StepError, StepResult};
use crate::routing::Router;
use crate::temporal::{FoundAlert, Pending};
use crate::time;

/// The answer, for a person. `router` is what is in force now, where this process knows it; the alert may have been routed by
/// others.
pub(super) fn why(
    found: &FoundAlert,
    pending: &[Pending],
    router: Option<&Router>,
    receiver: &str,
) -> String {
    let step = notified(found).filter(|step| step.name() == receiver).last();
    let own = format!("{}/{receiver}", found.id);
    let waits = pending.iter().find(|one| one.id == own || one.id.starts_with(&format!("{own}-for-")));
    let mut says = match (step, waits) {
        (step, Some(pending)) => of_pending(receiver, Some(pending), step),
        (Some(step), None) if goes_on(found, pending, step) => of_pending(receiver, None, Some(step)),
        (Some(step), None) => of_step(found, receiver, step),
        (None, None) => of_nobody(found, router, receiver),
    };
    if let Some(other) = step.and_then(|step| step.instead_of.as_ref()) {
        says.push(format!("It stood in for {other}, which was given up."));
    }
    says.join(" ")
}

/// Whether another attempt is to come, as far as the history tells.
fn goes_on(found: &FoundAlert, pending: &[Pending], step: &Step) -> bool {
    let is_worthwhile = step.error.as_ref().is_some_and(|error| error.retry.is_worthwhile());
    let is_stood_in_for = pending.iter().any(|one| one.id.ends_with(&format!("-for-{}", step.name())));
    found.ledger.is_none() && step.result == StepResult::Failed && is_worthwhile && !is_stood_in_for
}

fn notified(found: &FoundAlert) -> impl Iterator<Item = &Step> {
    let steps = found.ledger.as_ref().map_or(&found.steps, |ledger| &ledger.steps);
    steps.iter().filter(|step| step.activity == Activity::SendNotification)
}

fn decisions(found: &FoundAlert) -> &[String] {
    found.ledger.as_ref().map_or(&found.decisions, |ledger| &ledger.decisions)
}

fn of_pending(receiver: &str, pending: Option<&Pending>, first: Option<&Step>) -> Vec<String> {
    let mut says = vec![format!("{receiver} is not told yet: the attempts go on.")];
    let first = first.and_then(Attempt::of);
    let more = pending.map_or(&[][..], |pending| &pending.before);
    says.extend(first.iter().chain(more).map(of_attempt));
    let next = pending.and_then(|pending| pending.next_attempt_at);
    says.extend(next.map(|at| format!("The next attempt is due at {}.", time::text(at))));
    says
}

fn of_step(found: &FoundAlert, receiver: &str, step: &Step) -> Vec<String> {
    let said = step.message.as_deref().unwrap_or_default();
    let mut says = vec![match (step.result, &step.error) {
        (StepResult::Ok, _) => format!("{receiver} was told, {}: {said}.", attempt(step)),
        (StepResult::Failed, Some(StepError { code, message, .. })) if code == "acknowledged" => {
            format!("{receiver} was not told: {message}.")
        }
        (StepResult::Failed, Some(StepError { code, message, .. })) => {
            format!("{receiver} was not told: it was given up, {}: {code}: {message}.", attempt(step))
        }
        (StepResult::Failed, None) => format!("{receiver} was not told: it was given up, {}.", attempt(step)),
    }];
    says.extend(step.receipt_id.as_ref().map(|id| format!("Its receipt is {id}.")));
    says.extend(step.warnings.iter().map(|warning| format!("Warning: {warning}.")));
    says.extend(step.before.iter().map(of_attempt));
    says.extend(chosen(found));
    let stand_ins = notified(found).filter(|other| other.instead_of.as_deref() == Some(receiver));
    says.extend(stand_ins.map(|other| match other.result {
        StepResult::Ok => format!("{} was told in its place.", other.name()),
        StepResult::Failed => format!("{} was to stand in for it and was given up, too.", other.name()),
    }));
    says.extend(
        step.parked
            .as_ref()
            .map(|id| format!("The delivery is parked: campanile deliveries retry {id} tries it again.")),
    );
    says
}

/// What chose those who are told.
fn chosen(found: &FoundAlert) -> Option<String> {
    let lines: Vec<&str> =
        decisions(found).iter().map(String::as_str).filter(|line| is_choice(line)).collect();
    (!lines.is_empty()).then(|| format!("What chose it: {}.", lines.join("; ")))
}

fn is_choice(line: &str) -> bool {
    line.starts_with("route ") || line.starts_with("no receiver took") || line.starts_with("goes to those")
}

fn of_nobody(found: &FoundAlert, router: Option<&Router>, receiver: &str) -> Vec<String> {
    let lines = decisions(found);
    let own: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix(&format!("{receiver}: "))).collect();
    if found.ledger.is_none() && notified(found).next().is_none() && lines.is_empty() {
        return vec![format!(
            "{receiver} is not told yet, as far as is known: the alert is still under way."
        )];
    }
    if found.is_held {
        return vec![format!("{receiver} is not told of the end yet: {}.", lines.join("; "))];
    }
    if found.outcome == Some(Outcome::Dropped) {
        return vec![format!("{receiver} was not told, and nobody was: {}.", lines.join("; "))];
    }
    if !own.is_empty() {
        return vec![format!("{receiver} was not told: {}.", own.join("; "))];
    }
    let mut says = vec![format!("{receiver} was not told: nothing that took the alert names it.")];
    says.extend(chosen(found).map(|text| text.replace("What chose it", "What decided")));
    // An alert came from JSON, so it goes back into JSON.
    let alert = serde_json::to_value(&found.alert).unwrap_or_default();
    let now = router.map(|router| router.about(receiver, &alert, Timestamp::now()).join("; "));
    says.extend(now.map(|now| format!("By the configuration as it is now: {now}.")));
    says
}

fn attempt(step: &Step) -> String {
    let at = step.at.map(|at| format!(" at {}", time::text(at))).unwrap_or_default();
    match step.attempts {
        0 => "without an attempt".to_owned(),
        number => format!("in attempt {number}{at} ({:.0} ms)", step.duration_ms),
    }
}

fn of_attempt(attempt: &Attempt) -> String {
    let Attempt { number, at, duration_ms, code, message } = attempt;
    let at = time::text(*at);
    format!("Attempt {number} at {at} ({duration_ms:.0} ms) failed: {code}: {message}.")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(ledger: Value) -> FoundAlert {
        let mut whole = json!({
            "id": "alert-1", "outcome": "delivered", "received_at": "2026-01-01T00:00:00Z", "decisions": [], "steps": [],
            "alert": {
                "title": "t", "description": "d", "type": "custom", "severity": "low",
                "source": {"name": "n", "type": "t"},
            },
        });
        whole.as_object_mut().unwrap().extend(ledger.as_object().unwrap().clone());
        let ledger: crate::ledger::Ledger = serde_json::from_value(whole).unwrap();
        ledger.into()
    }

    fn step(receiver: &str, more: Value) -> Value {
        let mut step = json!({
            "activity": "send_notification", "plugin": receiver, "attempts": 1, "duration_ms": 12.4,
            "at": "2026-01-01T00:00:01Z", "result": "ok", "message": "posted",
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    }

    fn asked(ledger: Value, receiver: &str) -> String {
        why(&found(ledger), &[], Some(&Router::default()), receiver)
    }

    #[test]
    fn who_was_told_after_a_failure_is_said_with_both_attempts() {
        let before = json!([{
            "number": 1, "at": "2026-01-01T00:00:00Z", "duration_ms": 3.0, "code": "http-503", "message": "busy",
        }]);
        let steps = [step("slack", json!({"attempts": 2, "before": before, "receipt_id": "17.2"}))];
        let ledger = json!({"steps": steps, "decisions": ["route ops: takes it"]});
        assert_eq!(
            asked(ledger, "slack"),
            "slack was told, in attempt 2 at 2026-01-01T00:00:01.000000Z (12 ms): posted. Its receipt is 17.2. \
             Attempt 1 at 2026-01-01T00:00:00.000000Z (3 ms) failed: http-503: busy. What chose it: route ops: takes it."
        );
    }

    #[test]
    fn who_was_given_up_is_said_with_who_has_it_and_where_it_is_parked() {
        let error = json!({"code": "http-404", "message": "no such hook", "retry": "never"});
        let failed = json!({"result": "failed", "error": error, "parked": "alert-1/slack"});
        let steps = [step("slack", failed), step("mail", json!({"instead_of": "slack"}))];
        let ledger = json!({"steps": steps});
        let text = asked(ledger.clone(), "slack");
        for part in [
            "was given up, in attempt 1",
            "http-404: no such hook",
            "mail was told in its place",
            "alert-1/slack",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(asked(ledger, "mail").ends_with("It stood in for slack, which was given up."));
    }

    #[test]
    fn who_was_not_meant_is_told_what_decided() {
        let left = json!({"steps": [step("mail", json!({}))], "decisions": ["slack: left out: its `when` is false"]});
        assert_eq!(asked(left, "slack"), "slack was not told: left out: its `when` is false.");
        let muted = json!({"outcome": "dropped", "decisions": ["muted until tomorrow: the move"]});
        assert_eq!(
            asked(muted, "slack"),
            "slack was not told, and nobody was: muted until tomorrow: the move."
        );
        let other = json!({"steps": [step("mail", json!({}))], "decisions": ["route ops: takes it"]});
        let text = asked(other, "slack");
        assert!(text.contains("What decided: route ops: takes it."), "{text}");
        assert!(text.contains("no route names it"), "{text}");
    }
}
