//! Dead letters that are to be tried again: the host may have ended between the order and the start of the workflow, and an operator
//! may have ended the workflow.

use campanile_store::{KeptDeadLetter, life::Micros};

use super::{PAGE, Round, text};
use crate::temporal::dead_letters::start_again;
use crate::temporal::dispatch::carrier::{Carrier, carrier};

/// What was ordered later is left alone: its workflow is being started.
const YOUNGEST: Micros = 10 * 1_000_000;

impl Round<'_> {
    pub(super) async fn look_at_retried(&self) -> Result<(), String> {
        let mut after = String::new();
        loop {
            let page = self.store.retrying_dead_letters(YOUNGEST, &after, PAGE).await.map_err(text)?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.dead_letter.delivery_id);
            for kept in page {
                if let Err(why) = self.look_at_retry(&kept).await {
                    self.go_on_without(&kept.dead_letter.delivery_id, why)?;
                }
            }
        }
    }

    async fn look_at_retry(&self, KeptDeadLetter { dead_letter, .. }: &KeptDeadLetter) -> Result<(), String> {
        let id = &dead_letter.delivery_id;
        match carrier(&self.client, id).await? {
            Carrier::Runs => Ok(()),
            Carrier::Unknown => {
                tracing::warn!(delivery = id, "temporal does not know its retry: started again");
                let shared = &self.dispatch.0;
                start_again(&shared.records, &shared.link, &self.client, dead_letter).await
            }
            Carrier::Closed(_, why) => {
                tracing::warn!(delivery = id, "its retry ended without a result, it waits as before: {why}");
                self.store.exhaust_again(id).await.map_err(text)
            }
        }
    }
}
