//! What became of the firing that a resolve ends: those who were told of it are told of its end, and nobody else.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::link::Link;
use super::list;
use super::lookup::{self, Found, LookupError, State};
use crate::alert::{AlertItem, Status, firing_id, resolve_id};
use crate::ledger::{Activity, Ledger, Outcome, Step, StepResult};
use crate::plan::{Earlier, Told};

/// How long a resolve waits before it asks again how its firing stands.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// How long the firing of a resolve may be on its way.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

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

/// Whether a firing that is not there may be on its way: in a batch that came before its end and still runs.
async fn may_come(link: &Link, item: &AlertItem) -> bool {
    let received = item.origin.received_at;
    let is_new = Timestamp::now().duration_since(received) < ON_ITS_WAY;
    let Some(client) = link.client().filter(|_| is_new) else { return false };
    list::is_batch_running(&client, &link.task_queue, received).await
}

/// Whether an alert has been resolved, and its end told, or on its way to be.
pub(super) async fn is_over(link: &Link, item: &AlertItem) -> bool {
    if item.alert.status != Status::Firing || item.alert.identity().is_none() {
        return false;
    }
    match lookup::lookup(link, &resolve_id(&item.id)).await {
        Ok(Found { state: State::Completed, alerts, .. }) => {
            !alerts.iter().any(|alert| alert.outcome == Some(Outcome::Dropped))
        }
        _ => false,
    }
}

/// Those who were told, each with what it answered, and those who may yet be, since it is parked; those who could not be told,
/// if nobody could. Whoever was told of an alert before, which this one goes on with, is among them.
pub(super) fn told(firing: &Ledger) -> Vec<Told> {
    let notified = || firing.steps.iter().filter(|step| step.activity == Activity::SendNotification);
    let has_it = |step: &&Step| step.result == StepResult::Ok || step.parked.is_some();
    let mut told: Vec<Told> = notified().filter(has_it).map(|step| by(firing, step)).collect();
    let missing =
        firing.shown.iter().filter(|shown| !told.iter().any(|told| told.receiver == shown.receiver));
    let missing: Vec<Told> = missing.cloned().collect();
    told.extend(missing);
    match told.is_empty() {
        true => notified().map(|step| by(firing, step)).collect(),
        false => told,
    }
}

fn by(firing: &Ledger, step: &Step) -> Told {
    let receiver = step.name().to_owned();
    let earlier = (step.result == StepResult::Ok).then(|| Earlier {
        id: step.receipt_id.clone(),
        message: step.message.clone().unwrap_or_default(),
        thread: Some(thread_id(&firing.id, &receiver)),
    });
    Told { receiver, earlier }
}

/// Under which a receiver gets all that belongs to an alert.
pub(super) fn thread_id(alert: &str, receiver: &str) -> String {
    format!("{}/{receiver}", firing_id(alert))
}
