//! Somebody takes an alert over: the alert's workflow is told, if it still runs.

use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowHandle, WorkflowSignalOptions,
};

use super::json::Json;
use super::link::Link;
use super::lookup::{LookupError, State};
use super::workflows::{Acknowledged, AlertProcessingWorkflow, BatchAlertProcessingWorkflow};
use crate::ledger::Acknowledgement;

/// Tells the workflow that carries an alert; `alert` is the alert's own id. Whether it still ran, so that whoever was not
/// told yet is not told any more.
///
/// # Errors
///
/// Temporal does not know the workflow, or does not answer.
pub async fn acknowledge(
    link: &Link,
    workflow_id: &str,
    alert: &str,
    acknowledgement: Acknowledgement,
) -> Result<bool, LookupError> {
    let client = link
        .client()
        .ok_or_else(|| LookupError::Unavailable(format!("no connection to {}", link.address)))?;
    let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(workflow_id);
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let described = described.map_err(|error| super::lookup::interaction(workflow_id, &error))?;
    if State::from(described.status()) != State::Running {
        return Ok(false);
    }
    let carried = super::lookup::carried(&client, workflow_id).await?;
    if !carried.iter().any(|item| item.id == alert) {
        return Err(LookupError::NotFound(alert.to_owned()));
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
