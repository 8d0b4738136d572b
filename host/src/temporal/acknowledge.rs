//! Somebody takes an alert over: the alert's workflow is told, if it still runs.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join_all;
use temporalio_client::errors::{WorkflowInteractionError, WorkflowUpdateError};
use temporalio_client::{Client, WorkflowExecuteUpdateOptions, WorkflowHandle, WorkflowSignalOptions};

use super::afterwards;
use super::json::Json;
use super::link::Link;
use super::lookup::{self, LookupError};
use super::workflows::{Acknowledged, AlertProcessingWorkflow};
use crate::ledger::{Acknowledgement, Ledger};
use crate::plan::RetryPolicy;
use crate::records::Records;

/// How long a worker may take to answer; after that the word is left for it. Longer than a workflow task may be open (10 s): a
/// signal in the middle of one would repeat the attempts in it.
const PATIENCE: Duration = Duration::from_secs(12);

/// How many ledgers of a life are read for its updaters.
const LEDGERS: usize = 8;

/// What came of it.
#[derive(Clone, Debug)]
pub struct TakenOver {
    /// It still ran, so that whoever was not told yet is not told any more; otherwise only the updaters are told.
    pub stopped: bool,
    /// The acknowledgement that counts, which is the first.
    pub acknowledgement: Acknowledgement,
}

/// Acknowledges an alert: the store keeps it, and the workflows of its life that are under way hear of it. If there are none, its
/// updaters do, as often as `retry` says.
///
/// # Errors
///
/// The alert is not known, or the store or Temporal does not answer.
pub async fn acknowledge(
    records: &Records,
    link: &Link,
    alert: &str,
    acknowledgement: Acknowledgement,
    retry: RetryPolicy,
) -> Result<TakenOver, LookupError> {
    let not_found = || LookupError::NotFound(alert.to_owned());
    if alert.contains('\0') {
        return Err(not_found());
    }
    let store = records.store()?;
    let written = records.write(&acknowledgement)?;
    let first = store.acknowledge(alert, &written).await?.ok_or_else(not_found)?;
    let acknowledgement: Acknowledgement = records.read(&first)?;
    let notified = store.under_way(alert).await?.into_iter().map(async |(alert, carrier)| {
        // What is started from now on has the acknowledgement with it.
        let Some(carrier) = carrier else { return Ok::<bool, LookupError>(true) };
        let word = Acknowledged { alert: alert.clone(), acknowledgement: acknowledgement.clone() };
        let client = lookup::client(link)?;
        let heard = tell(&client, &carrier, word.clone()).await?;
        // A batch may have had no room for it.
        Ok(carrier != alert && tell(&client, &alert, word).await? || heard)
    });
    let stopped = try_join_all(notified).await?.contains(&true);
    if stopped {
        return Ok(TakenOver { stopped, acknowledgement });
    }
    let kept = store.find(alert).await?.ok_or_else(not_found)?;
    let item = lookup::item(records, &kept)?;
    if let Some(mut ledger) = lookup::ledger(records, &kept, &item, &None)? {
        afterwards::complete(records, link, &mut ledger).await?;
        let updaters = updaters(records, alert, &ledger).await?;
        let by = acknowledgement.clone();
        afterwards::notify_updaters(link, item, &ledger, updaters, by, retry).await?;
    }
    Ok(TakenOver { stopped, acknowledgement })
}

/// The updaters that have heard of an alert's life.
async fn updaters(records: &Records, alert: &str, last: &Ledger) -> Result<BTreeSet<String>, LookupError> {
    let mut names: BTreeSet<String> = last.updaters().into_iter().map(str::to_owned).collect();
    for ledger in records.store()?.ledgers(alert, LEDGERS).await? {
        let ledger: Ledger = records.read(&ledger)?;
        names.extend(ledger.updaters().into_iter().map(str::to_owned));
    }
    Ok(names)
}

/// The workflow that carries an alert. One that carries a batch is told under the same names.
fn carrier(client: &Client, workflow_id: &str) -> WorkflowHandle<Client, AlertProcessingWorkflow> {
    client.get_workflow_handle(workflow_id)
}

/// Whether the workflow has heard of it; not if it has come to its end, or is not started.
async fn tell(client: &Client, workflow_id: &str, word: Acknowledged) -> Result<bool, LookupError> {
    let (carrier, options) = (carrier(client, workflow_id), WorkflowExecuteUpdateOptions::default());
    let telling = carrier.execute_update(AlertProcessingWorkflow::take_over, Json(word.clone()), options);
    match tokio::time::timeout(PATIENCE, telling).await {
        Ok(Ok(Json(_))) => Ok(true),
        Ok(Err(WorkflowUpdateError::NotFound(_))) => Ok(false),
        Ok(Err(_)) | Err(_) => leave_word(client, workflow_id, word).await,
    }
}

/// Leaves word for a worker that does not answer now.
async fn leave_word(client: &Client, workflow_id: &str, word: Acknowledged) -> Result<bool, LookupError> {
    let options = WorkflowSignalOptions::default();
    let signal = AlertProcessingWorkflow::acknowledge;
    match carrier(client, workflow_id).signal(signal, Json(word), options).await {
        Ok(()) => Ok(true),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
        Err(error) => Err(lookup::interaction(workflow_id, &error)),
    }
}
