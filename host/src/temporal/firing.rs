//! What became of the firing that a resolve ends: those who were told of it are told of its end, and nobody else.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::link::Link;
use super::list;
use super::lookup::{self, Found, LookupError, State};
use crate::alert::{AlertItem, Status, firing_id, resolve_id};
use crate::ledger::{Activity, Ledger, Step, StepResult};
use crate::plan::{Earlier, Told};

/// How long a resolve waits before it asks again how its firing stands.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// How long the firing of a resolve may be on its way.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// How often an alert may have come and gone until it is no longer followed.
const MOST_LIVES: usize = 20;

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
        Err(LookupError::Unavailable(error)) => return Err(error),
        Err(LookupError::NotFound(_)) if may_come(link, item).await => return Ok(Firing::Runs),
        Err(_) => return Ok(Firing::Unknown),
        Ok(found) => found,
    };
    if found.state == State::Running {
        return Ok(Firing::Runs);
    }
    let ledger = found.alerts.into_iter().find_map(|alert| alert.ledger);
    Ok(ledger.map_or(Firing::Unknown, |ledger| Firing::Done(Box::new(ledger))))
}

/// Whether a firing that is not there may be on its way: in a batch that still runs.
async fn may_come(link: &Link, item: &AlertItem) -> bool {
    let is_new = Timestamp::now().duration_since(item.origin.received_at) < ON_ITS_WAY;
    let Some(client) = link.client().filter(|_| is_new) else { return false };
    list::is_batch_running(&client, &link.task_queue).await
}

/// Whether an alert has been resolved, and its end told, or is being told: also the end of those that it went on as.
pub(super) async fn is_over(link: &Link, item: &AlertItem) -> bool {
    if item.alert.status != Status::Firing || item.alert.identity().is_none() {
        return false;
    }
    let mut id = item.id.clone();
    for _ in 0..MOST_LIVES {
        let Ok(Found { state, alerts, .. }) = lookup::lookup(link, &resolve_id(&id)).await else {
            return false;
        };
        let Some(end) = alerts.into_iter().next() else { return false };
        match (state, end.ledger.and_then(|ledger| ledger.taken_back_by)) {
            (_, Some(again)) => id = again,
            (State::Running, None) => {
                return end.steps.iter().any(|step| step.activity == Activity::SendNotification);
            }
            (state, None) => return state == State::Completed,
        }
    }
    false
}

/// Those who were told, each with what it answered, and those who may yet be, since it is parked; those who could not be told,
/// if nobody could. Whoever was told of an alert before, which this one goes on with, is among them.
pub(super) fn told(firing: &Ledger) -> Vec<Told> {
    let notified = || firing.steps.iter().filter(|step| step.activity == Activity::SendNotification);
    let mut told = Vec::new();
    notified().filter(|step| step.result == StepResult::Ok).for_each(|step| add(&mut told, by(firing, step)));
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
    let thread = shown.map_or_else(|| thread_id(&firing.id, &receiver), |shown| shown.thread.clone());
    Told { receiver, earlier, thread }
}

/// Under which a receiver gets all that belongs to an alert.
pub(super) fn thread_id(alert: &str, receiver: &str) -> String {
    format!("{}/{receiver}", firing_id(alert))
}
