//! What became of an alert and of each of its receivers, by the steps that were made for them. Pure.

use sha2::{Digest, Sha256};

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

/// How much of a digest tells the changes of one alert apart, in bytes.
const DIGEST: usize = 8;

/// A digest of the receivers and their states: the outcome alone stays `partial` while these change.
pub(super) fn digest(results: &[DeliveryResult]) -> String {
    let states: Vec<_> = results.iter().map(|result| (&result.receiver, result.state)).collect();
    // Texts, which go into JSON.
    let states = serde_json::to_vec(&states).unwrap_or_default();
    hex::encode(&Sha256::digest(states)[..DIGEST])
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeliveryState::{Delivered, Failed, Pending};

    fn result(receiver: &str, state: DeliveryState, message: &str) -> DeliveryResult {
        DeliveryResult { receiver: receiver.to_owned(), state, message: message.to_owned() }
    }

    #[test]
    fn a_digest_changes_with_the_states_and_not_with_the_words() {
        let chat = result("chat", Delivered, "ok");
        let with_mail = |state, words| digest(&[chat.clone(), result("mail", state, words)]);
        assert_eq!(with_mail(Pending, "503"), with_mail(Pending, "504"));
        let all = [
            with_mail(Pending, ""),
            with_mail(Failed, ""),
            with_mail(Delivered, ""),
            digest(std::slice::from_ref(&chat)),
        ];
        assert!(all.iter().enumerate().all(|(index, one)| !all[..index].contains(one)), "{all:?}");
    }
}
