//! Somebody takes an alert over: the alert's workflow is told, if it still runs.

use std::time::Duration;

use temporalio_client::errors::{WorkflowInteractionError, WorkflowUpdateError};
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecuteUpdateOptions, WorkflowHandle,
    WorkflowSignalOptions,
};

use super::afterwards;
use super::json::Json;
use super::link::Link;
use super::lookup::{self, LookupError, State};
use super::workflows::{Acknowledged, AlertProcessingWorkflow};
use crate::ledger::Acknowledgement;
use crate::plan::RetryPolicy;

/// How long a worker may take to answer; after that the word is left for it. Longer than a workflow task may be open (10 s): a
/// signal in the middle of one would repeat the attempts in it.
const PATIENCE: Duration = Duration::from_secs(12);

/// What came of it.
#[derive(Clone, Debug)]
pub struct TakenOver {
    /// It still ran, so that whoever was not told yet is not told any more; otherwise only the updaters are told.
    pub stopped: bool,
    /// Who has it: whoever was first, as far as a worker could be asked.
    pub acknowledgement: Acknowledgement,
}

/// Tells the workflow that carries an alert. The updaters of one that has come to its end are told as often as `retry` says.
///
/// # Errors
///
/// Temporal does not know the workflow, or does not answer.
pub async fn acknowledge(
    link: &Link,
    alert: &str,
    acknowledgement: Acknowledgement,
    retry: RetryPolicy,
) -> Result<TakenOver, LookupError> {
    let client = lookup::client(link)?;
    let workflow_id = lookup::carrier(&client, alert).await?;
    let carried = lookup::carried(&client, workflow_id).await?;
    let item = carried.into_iter().find(|item| item.id == alert);
    let item = item.ok_or_else(|| LookupError::NotFound(alert.to_owned()))?;
    if is_running(&client, workflow_id).await? {
        let word = Acknowledged { alert: alert.to_owned(), acknowledgement: acknowledgement.clone() };
        if let Some(acknowledgement) = tell(&client, workflow_id, word.clone()).await? {
            // By now the batch may have had no room for it.
            let now = lookup::carrier(&client, alert).await?;
            if now != workflow_id {
                tell(&client, now, word).await?;
            }
            return Ok(TakenOver { stopped: true, acknowledgement });
        }
    }
    let found = lookup::lookup(link, alert).await?;
    let ledger = found.alerts.into_iter().find_map(|found| found.ledger);
    let mut ledger = ledger.ok_or_else(|| LookupError::NotFound(alert.to_owned()))?;
    afterwards::complete(link, &mut ledger).await;
    let acknowledgement = afterwards::take_over(link, &client, item, &ledger, acknowledgement, retry).await?;
    Ok(TakenOver { stopped: false, acknowledgement })
}

async fn is_running(client: &Client, workflow_id: &str) -> Result<bool, LookupError> {
    let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(workflow_id);
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let described = described.map_err(|error| lookup::interaction(workflow_id, &error))?;
    Ok(State::from(described.status()) == State::Running)
}

/// The workflow that carries an alert. One that carries a batch is told under the same names.
fn carrier(client: &Client, workflow_id: &str) -> WorkflowHandle<Client, AlertProcessingWorkflow> {
    client.get_workflow_handle(workflow_id)
}

/// Who has taken the alert over, as its workflow has it; `None` if that came to its end meanwhile.
async fn tell(
    client: &Client,
    workflow_id: &str,
    word: Acknowledged,
) -> Result<Option<Acknowledgement>, LookupError> {
    let (carrier, options) = (carrier(client, workflow_id), WorkflowExecuteUpdateOptions::default());
    let telling = carrier.execute_update(AlertProcessingWorkflow::take_over, Json(word.clone()), options);
    match tokio::time::timeout(PATIENCE, telling).await {
        Ok(Ok(Json(acknowledgement))) => Ok(Some(acknowledgement)),
        Ok(Err(WorkflowUpdateError::NotFound(_))) => Ok(None),
        Ok(Err(_)) | Err(_) => leave_word(client, workflow_id, word).await,
    }
}

/// Leaves word for a worker that does not answer now. Whether somebody was faster is not known then.
async fn leave_word(
    client: &Client,
    workflow_id: &str,
    word: Acknowledged,
) -> Result<Option<Acknowledgement>, LookupError> {
    let (acknowledgement, options) = (word.acknowledgement.clone(), WorkflowSignalOptions::default());
    let signal = AlertProcessingWorkflow::acknowledge;
    match carrier(client, workflow_id).signal(signal, Json(word), options).await {
        Ok(()) => Ok(Some(acknowledgement)),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
        Err(error) => Err(lookup::interaction(workflow_id, &error)),
    }
}
