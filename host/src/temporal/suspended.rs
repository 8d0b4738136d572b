//! Suspended alerts: those of a restored store that are old, and those that Temporal lost too many of at once. An operator has them go
//! on, or ends them.

use campanile_store::{Claimed, End};
use futures::future::try_join_all;

use super::dispatch::Dispatch;
use super::lookup::LookupError;
use crate::alert::AlertItem;
use crate::ledger::{Ledger, Outcome};
use crate::records::{RecordError, Records};

/// How many are changed in one transaction.
const STRIDE: usize = 200;
/// What the ledger of one says that an operator ended.
const DISCARDED: &str = "no receiver is notified: an operator discarded the alert while it was suspended";

/// What is to become of suspended alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// They go on.
    Resume,
    /// They end, and no receiver is notified.
    Discard,
}

/// Resumes or discards one suspended alert, or all. Returns their ids.
///
/// # Errors
///
/// The store does not answer: then some may have been changed.
pub async fn resume(
    records: &Records,
    dispatch: Option<&Dispatch>,
    id: Option<String>,
    resumption: Resumption,
) -> Result<Vec<String>, LookupError> {
    let store = records.store()?;
    let ids = id.map(|id| vec![id]);
    let (mut changed, mut after) = (Vec::new(), i64::MIN);
    loop {
        let claims = store.suspended(ids.as_deref(), after, STRIDE).await?;
        let mut found: Vec<Claimed> = claims.into_iter().flat_map(|claim| claim.notifications).collect();
        let Some(last) = found.iter().map(|one| one.number).max() else { return Ok(changed) };
        after = last;
        match resumption {
            Resumption::Resume => {
                let numbers: Vec<i64> = found.iter().map(|one| one.number).collect();
                store.resume(&numbers).await?;
                dispatch.inspect(|dispatch| dispatch.wake());
            }
            Resumption::Discard => {
                let mut ends = Vec::new();
                found.retain(|claimed| match discarded(records, claimed) {
                    Ok(end) => {
                        ends.push(end);
                        true
                    }
                    Err(error) => {
                        tracing::warn!(alert = claimed.id, %error, "not discarded: it cannot be read");
                        false
                    }
                });
                try_join_all(ends.into_iter().map(|end| store.end(end))).await?;
            }
        }
        changed.extend(found.into_iter().map(|one| one.id));
    }
}

fn discarded(records: &Records, claimed: &Claimed) -> Result<End, RecordError> {
    let item = AlertItem {
        id: claimed.id.clone(),
        thread_id: claimed.thread_id.clone(),
        disposition: claimed.disposition,
        is_worse: claimed.is_worse,
        acknowledged: None,
        alert: records.read(&claimed.document)?,
        origin: records.read(&claimed.origin)?,
    };
    let ledger = Ledger::undelivered(item, Outcome::Dropped, DISCARDED.to_owned());
    Ok(End {
        id: claimed.id.clone(),
        outcome: campanile_store::Outcome::Dropped,
        ledger: records.write(&ledger)?,
        reached: Vec::new(),
        dead_letters: Vec::new(),
    })
}
