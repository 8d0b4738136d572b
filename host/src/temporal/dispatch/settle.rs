//! Settles what the store takes for started by how Temporal has its workflow.

use campanile_store::{Claim, Claimed, End};
use temporalio_client::Client;

use super::Shared;
use super::carrier::{Carrier, carrier};
use crate::ledger::Ledger;
use crate::records::RecordError;
use crate::temporal::life;

impl Shared {
    /// Starts notifications again whose workflow Temporal does not know, and ends those whose workflow is closed.
    pub(super) async fn settle(&self, client: &Client, claim: Claim, carrier: Carrier) -> Result<(), String> {
        match carrier {
            Carrier::Runs => Ok(()),
            Carrier::Unknown => {
                let numbers: Vec<_> = claim.notifications.iter().map(|one| one.number).collect();
                tracing::warn!(workflow = claim.workflow_id, "temporal does not know it: started again");
                self.records.store().map_err(text)?.restart(&numbers).await.map_err(text)
            }
            Carrier::Closed(ledgers, why) => self.end_closed(client, claim, ledgers, &why).await,
        }
    }

    async fn end_closed(
        &self,
        client: &Client,
        claim: Claim,
        mut ledgers: Vec<Ledger>,
        why: &str,
    ) -> Result<(), String> {
        for claimed in &claim.notifications {
            let own = ledgers.iter().position(|ledger| ledger.id == claimed.id);
            let end = match own {
                Some(place) => self.end_by(claimed, &ledgers.swap_remove(place)).map_err(text)?,
                // A batch may have had no room for it.
                None if claim.workflow_id != claimed.id => match carrier(client, &claimed.id).await? {
                    Carrier::Runs => continue,
                    Carrier::Closed(ledgers, _) if !ledgers.is_empty() => {
                        self.end_by(claimed, &ledgers[0]).map_err(text)?
                    }
                    _ => self.end_without_ledger(claimed, why).await?,
                },
                None => self.end_without_ledger(claimed, why).await?,
            };
            tracing::warn!(alert = claimed.id, outcome = ?end.outcome, "ended: {why}");
            self.records.store().map_err(text)?.end(end).await.map_err(text)?;
        }
        Ok(())
    }

    fn end_by(&self, claimed: &Claimed, ledger: &Ledger) -> Result<End, RecordError> {
        Ok(End {
            id: claimed.id.clone(),
            outcome: ledger.outcome.into(),
            ledger: self.records.write(ledger)?,
            reached: life::reached(&self.records, ledger, &claimed.thread_id)?,
            // Its workflow has written them, when they exhausted their retries.
            dead_letters: Vec::new(),
        })
    }

    async fn end_without_ledger(&self, claimed: &Claimed, why: &str) -> Result<End, String> {
        self.failed_end(claimed, &format!("its workflow ended without a ledger: {why}")).await.map_err(text)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
