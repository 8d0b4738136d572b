//! Why a receiver was, or was not, told of an alert: line by line, out of the alert's story and the routes.

use jiff::Timestamp;
use serde_json::Value;

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
) -> Vec<String> {
    let step = notified(found).filter(|step| step.name() == receiver).last();
    let own = format!("{}/{receiver}", found.id);
    let waits = pending.iter().find(|one| one.id == own || one.id.starts_with(&format!("{own}-for-")));
    let mut says = match (step, waits) {
        (step, Some(pending)) => of_pending(receiver, Some(pending), step),
        (Some(step), None) if goes_on(found, pending, step) => of_pending(receiver, None, Some(step)),
        (Some(step), None) => of_step(found, router, receiver, step),
        (None, None) => of_nobody(found, router, receiver),
    };
    if let Some(other) = step.and_then(|step| step.instead_of.as_ref()) {
        says.push(format!("It stood in for {other}, which was given up."));
    }
    says
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

fn of_step(found: &FoundAlert, router: Option<&Router>, receiver: &str, step: &Step) -> Vec<String> {
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
    says.extend(chosen(found, router));
    let stand_ins = notified(found).filter(|other| other.instead_of.as_deref() == Some(receiver));
    says.extend(stand_ins.map(|other| match other.result {
        StepResult::Ok => format!("{} was told in its place.", other.name()),
        StepResult::Failed => format!("{} was to stand in for it and was given up, too.", other.name()),
    }));
    says.extend(step.dead_letter.as_ref().map(|id| dead_letter(id, step.ended.as_deref())));
    says
}

/// What can be done for a dead letter, or how it ended.
fn dead_letter(id: &str, ended: Option<&str>) -> String {
    match ended {
        None => format!("The delivery is a dead letter: campanile deliveries retry {id} tries it again."),
        Some(how) => format!("The delivery {id} is not tried again: {how}."),
    }
}

/// What chose those who are told, a line for each route and mute.
fn chosen(found: &FoundAlert, router: Option<&Router>) -> Vec<String> {
    explained(found, router, decisions(found).iter().filter(|line| is_choice(line)))
}

/// Decisions, with what a route's condition read where the route is still the same.
fn explained<'a>(
    found: &FoundAlert,
    router: Option<&Router>,
    lines: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let alert = document(found);
    let visits = router.map(|router| router.route(&alert, Timestamp::now()).1).unwrap_or_default();
    let explained = |line: &String| {
        let visit = visits.iter().find(|visit| visit.to_string() == *line);
        visit.map_or_else(|| line.clone(), |visit| visit.explained(&alert))
    };
    lines.map(explained).collect()
}

fn is_choice(line: &str) -> bool {
    const BEGINS: [&str; 5] = ["route ", "no receiver took", "goes to those", "mute until ", "muted until "];
    BEGINS.iter().any(|begin| line.starts_with(begin))
}

/// The alert as routes see it. It came from JSON, so it goes back into JSON.
fn document(found: &FoundAlert) -> Value {
    serde_json::to_value(&found.alert).unwrap_or_default()
}

fn of_nobody(found: &FoundAlert, router: Option<&Router>, receiver: &str) -> Vec<String> {
    let lines = decisions(found);
    let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{receiver}: ")));
    let own: Vec<String> = own.map(str::to_owned).collect();
    if found.ledger.is_none() && notified(found).next().is_none() && lines.is_empty() {
        return vec![format!(
            "{receiver} is not told yet, as far as is known: the alert is still under way."
        )];
    }
    let because = |head: String, lines: Vec<String>| [vec![head], lines].concat();
    if found.is_held {
        let all = explained(found, router, lines.iter());
        return because(format!("{receiver} is not told of the end yet:"), all);
    }
    if found.outcome == Some(Outcome::Dropped) {
        let all = explained(found, router, lines.iter());
        return because(format!("{receiver} was not told, and nobody was:"), all);
    }
    if !own.is_empty() {
        return because(format!("{receiver} was not told:"), own);
    }
    if router.is_some_and(|router| !router.has_routes()) && !lines.iter().any(|line| is_choice(line)) {
        return vec![format!(
            "{receiver} was not notified: there are no routes, so each enabled plugin gets what its `when` takes, and none of this \
             name was loaded when the alert came."
        )];
    }
    let head = format!("{receiver} was not told: nothing that took the alert names it.");
    let mut says = because(head, chosen(found, router));
    if let Some(router) = router {
        says.push("By the configuration as it is now:".to_owned());
        says.extend(router.about(receiver, &document(found), Timestamp::now()));
    }
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
    use serde_json::json;

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
        FoundAlert {
            id: ledger.id.clone(),
            outcome: Some(ledger.outcome),
            alert: ledger.alert.clone(),
            came: None,
            ledger: Some(ledger),
            is_held: false,
            decisions: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn step(receiver: &str, more: Value) -> Value {
        let mut step = json!({
            "activity": "send_notification", "plugin": receiver, "attempts": 1, "duration_ms": 12.4,
            "at": "2026-01-01T00:00:01Z", "result": "ok", "message": "posted",
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    }

    fn asked(ledger: Value, receiver: &str) -> Vec<String> {
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
            [
                "slack was told, in attempt 2 at 2026-01-01T00:00:01.000000Z (12 ms): posted.",
                "Its receipt is 17.2.",
                "Attempt 1 at 2026-01-01T00:00:00.000000Z (3 ms) failed: http-503: busy.",
                "route ops: takes it",
            ]
        );
    }

    #[test]
    fn who_was_given_up_is_said_with_who_has_it_and_its_dead_letter() {
        let error = json!({"code": "http-404", "message": "no such hook", "retry": "never"});
        let failed = json!({"result": "failed", "error": error, "dead_letter": "alert-1/slack"});
        let steps = [step("slack", failed), step("mail", json!({"instead_of": "slack"}))];
        let ledger = json!({"steps": steps});
        let text = asked(ledger.clone(), "slack").join("\n");
        for part in [
            "was given up, in attempt 1",
            "http-404: no such hook",
            "mail was told in its place",
            "alert-1/slack",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(asked(ledger, "mail").ends_with(&["It stood in for slack, which was given up.".to_owned()]));
    }

    #[test]
    fn a_discarded_delivery_is_no_dead_letter() {
        let error = json!({"code": "http-404", "message": "no such hook", "retry": "never"});
        let ended = "discarded: an operator discarded it";
        let failed =
            json!({"result": "failed", "error": error, "dead_letter": "alert-1/slack", "ended": ended});
        let says = asked(json!({"steps": [step("slack", failed)]}), "slack");
        let last = "The delivery alert-1/slack is not tried again: discarded: an operator discarded it.";
        assert_eq!(says.last().map(String::as_str), Some(last));
        assert!(!says.join("\n").contains("deliveries retry"), "{says:?}");
    }

    #[test]
    fn who_was_not_meant_is_told_what_decided() {
        let left = json!({"steps": [step("mail", json!({}))], "decisions": ["slack: left out: its `when` is false"]});
        assert_eq!(asked(left, "slack"), ["slack was not told:", "left out: its `when` is false"]);
        let muted = json!({"outcome": "dropped", "decisions": ["muted until tomorrow: the move"]});
        assert_eq!(
            asked(muted, "slack"),
            ["slack was not told, and nobody was:", "muted until tomorrow: the move"]
        );
        let other = json!({"steps": [step("mail", json!({}))], "decisions": ["route ops: takes it"]});
        let lines = asked(other, "slack");
        assert_eq!(
            lines[1..],
            ["route ops: takes it", "By the configuration as it is now:", "no route names it"]
        );
    }

    #[test]
    fn without_routes_a_plugin_that_was_not_loaded_is_named_as_that() {
        let says = asked(json!({"steps": [step("mail", json!({}))]}), "slack");
        assert!(says.len() == 1 && says[0].contains("there are no routes"), "{says:?}");
    }

    #[test]
    fn what_decided_is_listed_with_the_values_that_decided() {
        let toml = "[[routes]]\nname = 'night'\nwhen = \"alert.severity == 'critical'\"\nreceivers = ['slack']\n\
                    [[routes]]\nname = 'rest'\nwhen = \"alert.labels['team'] != 'x' || alert.type == 'custom'\"\nreceivers = ['mail']";
        let config = toml::from_str(toml).unwrap();
        let (router, _) = Router::load(&config, &|_: &str| true, true, Timestamp::now()).ok().unwrap();
        let ledger = json!({"steps": [step("mail", json!({}))], "decisions": ["mute until z (a move): fails", "route rest: takes it"]});
        let asked = |receiver| why(&found(ledger.clone()), &[], Some(&router), receiver);
        let rest = "route rest: takes it (alert.labels.team is absent, alert.type is \"custom\")";
        assert_eq!(asked("mail")[1..], ["mute until z (a move): fails", rest]);
        let night =
            "route night: leaves it: alert.severity == 'critical' is false (alert.severity is \"low\")";
        assert_eq!(asked("slack")[3..], ["By the configuration as it is now:", night, rest]);
    }
}
