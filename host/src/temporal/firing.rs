//! What became of the firing that a resolve ends: those who were told of it are told of its end, and nobody else.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::activities::{ACKNOWLEDGED, OVER, RESOLVED_SINCE};
use super::afterwards;
use super::deliveries::DeliveryEnd;
use super::link::Link;
use super::list;
use super::lookup::{self, Found, FoundAlert, LookupError, State};
use super::parked::Unparked;
use crate::alert::{AlertItem, Status, firing_id, resolve_id};
use crate::ledger::{Activity, Ledger, Outcome, Step, StepResult};
use crate::plan::{Earlier, Told};

/// How long a resolve waits before it asks again how its firing stands.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// How long the firing of a resolve may be on its way.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// How far clocks may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// How often an alert may have come and gone until it is no longer followed.
pub(super) const MOST_LIVES: usize = 20;

/// The firing of a resolve.
pub(super) enum Firing {
    /// The alert is no resolve, or its firing is not known, or no longer.
    Unknown,
    /// It is not at its end.
    Runs,
    /// It is; this is its story.
    Done(Box<Ledger>),
}

/// The firing that this alert ends, as it stands now.
///
/// # Errors
///
/// Temporal does not tell.
pub(super) async fn of(link: &Link, item: &AlertItem) -> Result<Firing, String> {
    if item.alert.status != Status::Resolved || item.alert.identity().is_none() {
        return Ok(Firing::Unknown);
    }
    let found = match lookup::lookup(link, firing_id(&item.id)).await {
        Err(LookupError::Unavailable(cause)) => return Err(cause.to_string()),
        Err(LookupError::NotFound(_)) if may_come(link, item).await => return Ok(Firing::Runs),
        Err(_) => return Ok(Firing::Unknown),
        Ok(found) => found,
    };
    if found.state == State::Running {
        return Ok(Firing::Runs);
    }
    let Some(mut ledger) = found.alerts.into_iter().find_map(|alert| alert.ledger) else {
        return Ok(Firing::Unknown);
    };
    add_unparked(link, &mut ledger).await;
    Ok(Firing::Done(Box::new(ledger)))
}

/// Adds to a story what became of deliveries that were parked.
pub(super) async fn add_unparked(link: &Link, ledger: &mut Ledger) {
    let Some(client) = link.client() else { return };
    for step in &mut ledger.steps {
        let Some(id) = &step.parked else { continue };
        match lookup::parked_end(&client, id).await {
            Some((_, Some(Unparked { step: made, delivered: true, .. }))) => {
                *step = Step { instead_of: step.instead_of.clone(), ..made };
            }
            Some((state, ended)) => step.ended = Some(DeliveryEnd::of(state, ended).to_string()),
            None => {}
        }
    }
}

/// Whether a firing that is not there may be on its way: in a batch that still runs.
async fn may_come(link: &Link, item: &AlertItem) -> bool {
    let is_new = Timestamp::now().duration_since(item.origin.received_at) < ON_ITS_WAY;
    let Some(client) = link.client().filter(|_| is_new) else { return false };
    // Temporal's clock may be another.
    list::is_batch_running(&client, &link.task_queue, item.origin.received_at + SKEW).await
}

/// The code and the reason if it is too late to tell a receiver of an alert.
pub(super) async fn too_late(
    link: &Link,
    item: &AlertItem,
    receiver: &str,
) -> Option<(&'static str, String)> {
    if let Some(by) = taken_over_by(link, &item.id).await {
        return Some((ACKNOWLEDGED, format!("{by} has taken the alert over")));
    }
    is_over(link, item, receiver).await.then(|| (RESOLVED_SINCE, OVER.to_owned()))
}

async fn taken_over_by(link: &Link, id: &str) -> Option<String> {
    let mut ledger = story(link, id).await?.1.ledger?;
    afterwards::complete(link, &mut ledger).await;
    ledger.acknowledged.map(|acknowledged| acknowledged.by)
}

/// Whether its end was told, or is being told, or the receiver was told of an alert that goes on with this one.
async fn is_over(link: &Link, item: &AlertItem, receiver: &str) -> bool {
    if item.alert.status != Status::Firing || item.alert.identity().is_none() {
        return false;
    }
    let mut id = item.id.clone();
    for _ in 0..MOST_LIVES {
        let Some((state, end)) = story(link, &resolve_id(&id)).await else { return false };
        let Some(again) = end.ledger.as_ref().and_then(|ledger| ledger.taken_back_by.clone()) else {
            let is_told = end.steps.iter().any(|step| step.activity == Activity::SendNotification);
            return match state {
                State::Running => is_told || !end.decisions.is_empty() && !end.is_held,
                State::Completed => end.outcome != Some(Outcome::Dropped),
                _ => false,
            };
        };
        let told = story(link, &again).await.and_then(|(_, next)| next.ledger);
        if told.is_some_and(|ledger| told_or_parked(&ledger, receiver)) {
            return true;
        }
        id = again;
    }
    false
}

async fn story(link: &Link, id: &str) -> Option<(State, FoundAlert)> {
    let Found { state, alerts, .. } = lookup::lookup(link, id).await.ok()?;
    Some((state, alerts.into_iter().next()?))
}

fn told_or_parked(ledger: &Ledger, receiver: &str) -> bool {
    let notified = ledger.steps.iter().filter(|step| step.activity == Activity::SendNotification);
    notified
        .filter(|step| step.name() == receiver)
        .any(|step| step.result == StepResult::Ok || step.parked.is_some())
}

/// Those who were told, each with what it answered, and those who may yet be, since it is parked; those who could not be told,
/// if nobody could. Whoever was told of an alert before, which this one goes on with, is among them.
pub(super) fn told(firing: &Ledger) -> Vec<Told> {
    let notified = || firing.steps.iter().filter(|step| step.activity == Activity::SendNotification);
    let mut told = Vec::new();
    let has_it = |shown: &&Told| shown.earlier.is_some();
    notified().filter(|step| step.result == StepResult::Ok).for_each(|step| add(&mut told, by(firing, step)));
    firing.shown.iter().filter(has_it).for_each(|shown| add(&mut told, shown.clone()));
    notified().filter(|step| step.parked.is_some()).for_each(|step| add(&mut told, by(firing, step)));
    firing.shown.iter().for_each(|shown| add(&mut told, shown.clone()));
    if told.is_empty() {
        notified().for_each(|step| add(&mut told, by(firing, step)));
    }
    told
}

/// Adds a receiver that is not there yet.
fn add(told: &mut Vec<Told>, one: Told) {
    if !told.iter().any(|known| known.receiver == one.receiver) {
        told.push(one);
    }
}

fn by(firing: &Ledger, step: &Step) -> Told {
    let receiver = step.name().to_owned();
    let earlier = (step.result == StepResult::Ok)
        .then(|| Earlier { id: step.receipt_id.clone(), message: step.message.clone().unwrap_or_default() });
    // One that went on with another was told in the same thread.
    let shown = firing.shown.iter().find(|shown| shown.receiver == receiver);
    let thread = shown.and_then(Told::thread).unwrap_or_else(|| thread_id(&firing.id, &receiver));
    Told::new(receiver, earlier, thread)
}

/// Under which a receiver gets all that belongs to an alert.
pub(super) fn thread_id(alert: &str, receiver: &str) -> String {
    format!("{}/{receiver}", firing_id(alert))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ledger(steps: Value, shown: Value) -> Ledger {
        let ledger = json!({
            "id": "alert-2", "outcome": "delivered", "received_at": "2026-01-01T00:00:00Z", "decisions": [],
            "alert": {
                "title": "t", "description": "d", "type": "custom", "severity": "low",
                "source": {"name": "n", "type": "t"},
            },
            "steps": steps, "shown": shown,
        });
        serde_json::from_value(ledger).unwrap()
    }

    fn step(receiver: &str, result: &str, more: Value) -> Value {
        let mut step = json!({
            "activity": "send_notification", "plugin": receiver, "attempts": 1, "duration_ms": 1.0, "result": result,
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    }

    fn names(ledger: &Ledger) -> Vec<(String, bool, Option<String>)> {
        let told = told(ledger).into_iter();
        told.map(|one| (one.receiver.clone(), one.earlier.is_some(), one.thread())).collect()
    }

    #[test]
    fn who_was_told_is_told_of_the_end_once() {
        let steps = json!([
            step("chat", "failed", json!({})),
            step("phone", "ok", json!({"instead_of": "chat", "receipt_id": "7"})),
            step("mail", "failed", json!({"parked": "alert-2/mail"})),
            step("phone", "ok", json!({"instead_of": "mail"})),
        ]);
        let own = |name: &str, has_it| (name.to_owned(), has_it, Some(format!("alert-2/{name}")));
        assert_eq!(names(&ledger(steps, json!([]))), [own("phone", true), own("mail", false)]);
        let nobody = json!([step("chat", "failed", json!({}))]);
        assert_eq!(names(&ledger(nobody, json!([]))), [own("chat", false)]);
    }

    #[test]
    fn who_was_told_of_the_one_before_is_told_in_its_thread() {
        let shown = json!([
            {"receiver": "chat", "earlier": {"id": "1", "message": "m"}, "thread": "alert-1/chat"},
            {"receiver": "mail", "thread": "alert-1/mail"},
        ]);
        let steps =
            json!([step("chat", "failed", json!({"parked": "alert-2/chat"})), step("mail", "ok", json!({}))]);
        let of = |name: &str| (name.to_owned(), true, Some(format!("alert-1/{name}")));
        assert_eq!(names(&ledger(steps, shown)), [of("mail"), of("chat")]);
    }
}
