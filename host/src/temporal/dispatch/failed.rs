//! The end of an alert that no workflow brings to its end: it failed, and each receiver that was to have it gets a dead letter, which
//! an operator can retry.

use std::sync::Arc;

use campanile_store::{Claimed, Disposition, End};

use super::Shared;
use crate::alert::AlertItem;
use crate::ledger::{Activity, Ledger, Outcome, Retry, Step, StepError};
use crate::plan::Planned;
use crate::records::RecordError;
use crate::temporal::dead_letters::dead_letter;
use crate::temporal::late_delivery::Undelivered;
use crate::temporal::life::{self, Before};

/// The code of a delivery whose workflow never came to an attempt, or whose attempts are lost.
const NOT_MADE: &str = "not-made";

impl Shared {
    /// Such an end, for this reason.
    pub(super) async fn failed_end(&self, claimed: &Claimed, why: &str) -> Result<End, RecordError> {
        let item = Arc::new(self.item(claimed)?);
        let undelivered = self.undelivered(&item, why).await?;
        let reason = format!("no receiver is known to be notified: {why}");
        let mut ledger = Ledger::undelivered(AlertItem::clone(&item), Outcome::Failed, reason);
        ledger.steps =
            undelivered.iter().map(|one| Step { dead_letter: Some(one.id()), ..one.step.clone() }).collect();
        let letters = undelivered.iter().map(|one| dead_letter(&self.records, one));
        Ok(End {
            id: claimed.id.clone(),
            outcome: campanile_store::Outcome::Failed,
            ledger: self.records.write(&ledger)?,
            reached: life::reached(&self.records, &ledger, &claimed.thread_id)?,
            dead_letters: letters.collect::<Result<_, _>>()?,
        })
    }

    /// The deliveries that were to be made, by the routes that are in force now.
    async fn undelivered(&self, item: &Arc<AlertItem>, why: &str) -> Result<Vec<Undelivered>, RecordError> {
        let receivers = match item.disposition {
            Disposition::Resolves => self.receivers_of_resolve(item).await?,
            _ => {
                let document = serde_json::to_value(&item.alert).unwrap_or_default();
                let (plan, _) = self.receivers.plan(&document, &self.activities);
                if plan.dropped { Vec::new() } else { plan.receivers }
            }
        };
        let error = StepError { code: NOT_MADE.to_owned(), message: why.to_owned(), retry: Retry::Never };
        let undelivered = receivers.into_iter().map(|planned| {
            let step = Step::untried(Activity::SendNotification, &planned.name);
            Undelivered {
                item: item.clone(),
                target: planned.target(self.activities.send_notification),
                step: Step { error: Some(error.clone()), ..step },
            }
        });
        Ok(undelivered.collect())
    }

    async fn receivers_of_resolve(&self, item: &AlertItem) -> Result<Vec<Planned>, RecordError> {
        match life::before(&self.records, item, None).await? {
            Before::Resolved(life) => Ok(self.receivers.plan_resolve(life.told, &self.activities)),
            _ => Ok(Vec::new()),
        }
    }
}
