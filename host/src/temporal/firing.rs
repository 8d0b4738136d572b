//! What became of the firing that a resolve ends: those who were told of it are told of its end, and nobody else.

use std::time::Duration;

use super::link::Link;
use super::lookup::{self, LookupError, State};
use crate::alert::{AlertItem, Status, firing_id};
use crate::ledger::{Activity, Ledger, StepResult};
use crate::plan::Earlier;

/// How long a resolve waits before it asks again how its firing stands.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

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
        Err(_) => return Ok(Firing::Unknown),
        Ok(found) => found,
    };
    if found.state == State::Running {
        return Ok(Firing::Runs);
    }
    let ledger = found.alerts.into_iter().find_map(|alert| alert.ledger);
    Ok(ledger.map_or(Firing::Unknown, |ledger| Firing::Done(Box::new(ledger))))
}

/// Those who were told, each with what it answered, and those who may yet be, since it is parked; those who could not be told,
/// if nobody could.
pub(super) fn told(firing: &Ledger) -> Vec<(String, Option<Earlier>)> {
    let notified = || firing.steps.iter().filter(|step| step.activity == Activity::SendNotification);
    let delivered: Vec<_> = notified()
        .filter(|step| step.result == StepResult::Ok || step.parked.is_some())
        .map(|step| {
            if step.result == StepResult::Failed {
                return (step.name().to_owned(), None);
            }
            let message = step.message.clone().unwrap_or_default();
            (step.name().to_owned(), Some(Earlier { id: step.receipt_id.clone(), message }))
        })
        .collect();
    match delivered.is_empty() {
        true => notified().map(|step| (step.name().to_owned(), None)).collect(),
        false => delivered,
    }
}
