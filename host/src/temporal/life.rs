//! The life of an alert as the store has it: whom it reached, and whether it is acknowledged or resolved by now.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use campanile_store::{DeadLetterState, Disposition, Reached, Standing};
use jiff::Timestamp;

use super::activities::{ACKNOWLEDGED, DISCARDED, Notification, OVER, RESOLVED_SINCE};
use crate::alert::{AlertItem, Status};
use crate::ledger::{Acknowledgement, Activity, Ledger, Step, StepResult};
use crate::plan::{Earlier, Told};
use crate::records::{RecordError, Records};

/// How long a resolve waits at first for the notifications of its life that are under way, and how often it looks.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);
/// How long it waits after that before it asks again.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// How many ledgers of a life, the newest, are read for the updaters that heard of it.
const LEDGERS: usize = 8;

/// What came before an alert in its life.
pub(super) enum Before {
    /// Nothing that matters to it.
    Nothing,
    /// It is a resolve, and notifications of its life are under way.
    Pending,
    /// It ends this life.
    Resolved(Life),
    /// It fires again while the resolve of this life was held back.
    Fired(Life),
}

/// What is known of a life.
pub(super) struct Life {
    /// The id of its first notification.
    pub(super) thread_id: String,
    /// How often it fired again while its resolve was held back.
    pub(super) flaps: u32,
    /// The receivers that have it, or may have it yet.
    pub(super) told: Vec<Told>,
    /// The updaters that heard of it.
    pub(super) updaters: BTreeSet<String>,
}

/// What came before this alert. A resolve waits so long for the notifications of its life that are under way; without `patience`, it
/// does not ask for them.
///
/// # Errors
///
/// The store does not answer.
pub(super) async fn before(
    records: &Records,
    item: &AlertItem,
    patience: Option<Duration>,
) -> Result<Before, RecordError> {
    if !matches!(item.disposition, Disposition::Resolves | Disposition::Flapped) {
        return Ok(Before::Nothing);
    }
    let (store, began) = (records.store()?, Instant::now());
    let standing = loop {
        let Some(standing) = store.standing(&item.id).await? else { return Ok(Before::Nothing) };
        let Some(patience) = patience else { break standing };
        if item.disposition == Disposition::Flapped || standing.pending == 0 {
            break standing;
        }
        if began.elapsed() >= patience {
            return Ok(Before::Pending);
        }
        tokio::time::sleep(LOOK).await;
    };
    let mut updaters = BTreeSet::new();
    for ledger in store.ledgers(&item.id, LEDGERS).await? {
        let ledger: Ledger = records.read(&ledger)?;
        updaters.extend(ledger.updaters().into_iter().map(str::to_owned));
    }
    let told = standing.reached.iter().map(|reached| records.read(&reached.receipt));
    let life = Life {
        flaps: u32::try_from(standing.flaps).unwrap_or(u32::MAX),
        told: told.collect::<Result<_, _>>()?,
        updaters,
        thread_id: standing.thread_id,
    };
    Ok(match item.disposition {
        Disposition::Resolves => Before::Resolved(life),
        _ => Before::Fired(life),
    })
}

/// The code and the reason if another attempt to notify of this alert is not wanted any more. An attempt is made where the store does
/// not say.
pub(super) async fn not_wanted(
    records: &Records,
    call: &Notification,
    delivery_id: &str,
) -> Option<(&'static str, String)> {
    let Notification { item, is_late, .. } = call;
    if *is_late && is_discarded(records, &item.id, delivery_id).await {
        return Some((DISCARDED, "an operator discarded it".to_owned()));
    }
    if item.alert.status == Status::Resolved {
        return None;
    }
    let over = || (RESOLVED_SINCE, OVER.to_owned());
    let Some(standing) = records.store().ok()?.standing(&item.id).await.ok()? else {
        // Its life is over for so long that the store has forgotten it.
        return is_late.then(over);
    };
    // An acknowledgement from before it became worse is not of this.
    let is_of_this = standing.acknowledged_at.is_some_and(|at| at >= standing.accepted_at);
    if let Some(one) = acknowledgement(records, &standing).filter(|_| is_of_this) {
        return Some((ACKNOWLEDGED, format!("{} has taken the alert over", one.by)));
    }
    standing.is_resolved.then(over)
}

async fn is_discarded(records: &Records, alert_id: &str, delivery_id: &str) -> bool {
    let Ok(store) = records.store() else { return false };
    let letters = store.dead_letters_of(alert_id).await.unwrap_or_default();
    let own = letters.iter().map(|kept| &kept.dead_letter).find(|letter| letter.delivery_id == delivery_id);
    own.is_some_and(|letter| letter.state == DeadLetterState::Discarded)
}

fn acknowledgement(records: &Records, standing: &Standing) -> Option<Acknowledgement> {
    records.read(standing.acknowledgement.as_ref()?).ok()
}

/// Whom an alert reached, as the store keeps it; nothing of a resolve, which ends the life.
///
/// # Errors
///
/// It cannot be encrypted.
pub(super) fn reached(records: &Records, ledger: &Ledger, thread: &str) -> Result<Vec<Reached>, RecordError> {
    if ledger.alert.status == Status::Resolved {
        return Ok(Vec::new());
    }
    let reached = told(ledger, thread).into_iter().map(|told| {
        let receipt = records.write(&told)?;
        Ok(Reached { has_it: told.earlier.is_some(), receiver: told.receiver, receipt })
    });
    reached.collect()
}

/// The receivers that have the alert, each with what it answered, and those that may have it yet, since their delivery is a dead letter; those
/// that could not be notified, if none could.
fn told(ledger: &Ledger, thread: &str) -> Vec<Told> {
    let notified = || ledger.steps.iter().filter(|step| step.activity == Activity::SendNotification);
    let mut told = Vec::new();
    let mut add = |step: &Step| {
        let one = told_by(step, thread);
        if !told.iter().any(|known: &Told| known.receiver == one.receiver) {
            told.push(one);
        }
    };
    notified().filter(|step| step.result == StepResult::Ok).for_each(&mut add);
    notified().filter(|step| step.dead_letter.is_some()).for_each(&mut add);
    if told.is_empty() {
        notified().for_each(|step| told.push(told_by(step, thread)));
    }
    told
}

/// A receiver by the step that was made for it.
pub(super) fn told_by(step: &Step, thread: &str) -> Told {
    let receiver = step.name().to_owned();
    let earlier = (step.result == StepResult::Ok)
        .then(|| Earlier { id: step.receipt_id.clone(), message: step.message.clone().unwrap_or_default() });
    let thread = thread_id(thread, &receiver);
    Told::new(receiver, earlier, thread)
}

/// Under which a receiver gets all that belongs to a life.
pub(super) fn thread_id(life: &str, receiver: &str) -> String {
    format!("{life}/{receiver}")
}

/// When a time in the store was.
pub(super) fn time(at: campanile_store::Micros) -> Timestamp {
    Timestamp::from_microsecond(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ledger(steps: Value) -> Ledger {
        let ledger = json!({
            "id": "alert-2", "outcome": "delivered", "received_at": "2026-01-01T00:00:00Z", "decisions": [],
            "alert": {
                "title": "t", "description": "d", "type": "custom", "severity": "low",
                "source": {"name": "n", "type": "t"},
            },
            "steps": steps,
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

    #[test]
    fn receivers_that_have_the_alert_come_first_and_once() {
        let names = |steps: Value| {
            let told = told(&ledger(steps), "alert-1").into_iter();
            told.map(|one| (one.receiver.clone(), one.earlier.is_some(), one.thread())).collect::<Vec<_>>()
        };
        let own = |name: &str, has_it| (name.to_owned(), has_it, Some(format!("alert-1/{name}")));
        let steps = json!([
            step("chat", "failed", json!({})),
            step("phone", "ok", json!({"instead_of": "chat", "receipt_id": "7"})),
            step("mail", "failed", json!({"dead_letter": "alert-2/mail"})),
            step("phone", "ok", json!({"instead_of": "mail"})),
        ]);
        assert_eq!(names(steps), [own("phone", true), own("mail", false)]);
        assert_eq!(names(json!([step("chat", "failed", json!({}))])), [own("chat", false)]);
    }
}
