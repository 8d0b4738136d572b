//! Somebody takes an alert over: the alert's workflow is told, if it still runs.

use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowHandle, WorkflowSignalOptions,
};

use super::afterwards;
use super::json::Json;
use super::link::Link;
use super::lookup::{self, LookupError, State};
use super::workflows::{Acknowledged, AlertProcessingWorkflow, BatchAlertProcessingWorkflow};
use crate::ledger::Acknowledgement;
use crate::plan::RetryPolicy;

/// Tells the workflow that carries an alert; `alert` is the alert's own id. Whether it still ran, so that whoever was not
/// told yet is not told any more; otherwise only the updaters are told, as often as `retry` says.
///
/// # Errors
///
/// Temporal does not know the workflow, or does not answer.
pub async fn acknowledge(
    link: &Link,
    workflow_id: &str,
    alert: &str,
    acknowledgement: Acknowledgement,
    retry: RetryPolicy,
) -> Result<bool, LookupError> {
    let client = link
        .client()
        .ok_or_else(|| LookupError::Unavailable(format!("no connection to {}", link.address)))?;
    let carried = lookup::carried(&client, workflow_id).await?;
    let item = carried.into_iter().find(|item| item.id == alert);
    let item = item.ok_or_else(|| LookupError::NotFound(alert.to_owned()))?;
    if stop(&client, workflow_id, alert, acknowledgement.clone()).await? {
        return Ok(true);
    }
    let found = lookup::lookup(link, workflow_id).await?;
    let ledger = found.alerts.into_iter().find(|found| found.id == alert).and_then(|found| found.ledger);
    let ledger = ledger.ok_or_else(|| LookupError::NotFound(alert.to_owned()))?;
    afterwards::take_over(link, &client, item, &ledger, acknowledgement, retry).await?;
    Ok(false)
}

/// Tells a workflow that runs; whether it did.
async fn stop(
    client: &Client,
    workflow_id: &str,
    alert: &str,
    acknowledgement: Acknowledgement,
) -> Result<bool, LookupError> {
    let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(workflow_id);
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let described = described.map_err(|error| lookup::interaction(workflow_id, &error))?;
    if State::from(described.status()) != State::Running {
        return Ok(false);
    }
    let is_batch = workflow_id != alert;
    let told = Json(Acknowledged { alert: alert.to_owned(), acknowledgement });
    let options = WorkflowSignalOptions::default();
    let signalled = match is_batch {
        false => {
            let handle: WorkflowHandle<Client, AlertProcessingWorkflow> =
                client.get_workflow_handle(workflow_id);
            handle.signal(AlertProcessingWorkflow::acknowledge, told, options).await
        }
        true => {
            let handle: WorkflowHandle<Client, BatchAlertProcessingWorkflow> =
                client.get_workflow_handle(workflow_id);
            handle.signal(BatchAlertProcessingWorkflow::acknowledge, told, options).await
        }
    };
    use temporalio_client::errors::WorkflowInteractionError as Failed;
    match signalled {
        Ok(()) => Ok(true),
        // It came to its end meanwhile.
        Err(Failed::NotFound(_)) => Ok(false),
        Err(error) => Err(LookupError::Unavailable(error.to_string())),
    }
}
