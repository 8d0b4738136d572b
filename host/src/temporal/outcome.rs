//! What became of an alert and of each of its receivers, by the steps that were made for them. Pure.

use crate::ledger::{DeliveryResult, DeliveryState, Outcome, Step, StepResult};
use crate::plan::Plan;

/// How a receiver, or its fallback, ended.
pub(super) fn reached(steps: &[Step]) -> DeliveryResult {
    let fallback = steps.iter().skip(1).find(|step| step.result == StepResult::Ok);
    let own = DeliveryResult::from(&steps[0]);
    match fallback {
        None => own,
        Some(step) => DeliveryResult {
            state: DeliveryState::Delivered,
            message: format!(
                "{} has it in its place: {}",
                step.name(),
                step.message.as_deref().unwrap_or_default()
            ),
            ..own
        },
    }
}

/// What became of the alert, `None` while no receiver has it and retries are under way.
pub(super) fn outcome(plan: &Plan, results: &[DeliveryResult]) -> Option<Outcome> {
    match plan {
        Plan { dropped: true, .. } => Some(Outcome::Dropped),
        Plan { unrouted: true, .. } => Some(Outcome::Unrouted),
        _ => of_results(results),
    }
}

/// The same of an alert that has receivers.
pub(super) fn of_results(results: &[DeliveryResult]) -> Option<Outcome> {
    let count = |state| results.iter().filter(|result| result.state == state).count();
    let (delivered, pending) = (count(DeliveryState::Delivered), count(DeliveryState::Pending));
    if delivered == results.len() {
        Some(Outcome::Delivered)
    } else if delivered > 0 {
        Some(Outcome::Partial)
    } else if pending > 0 {
        None
    } else {
        Some(Outcome::Failed)
    }
}
