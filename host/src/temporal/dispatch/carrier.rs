//! How Temporal has the workflow that carries a notification.

use temporalio_client::errors::{WorkflowGetResultError, WorkflowInteractionError};
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowGetResultOptions,
    WorkflowHandle,
};
use temporalio_common::data_converters::RawValue;

use crate::ledger::Ledger;
use crate::temporal::State;
use crate::temporal::workflows::BatchLedger;

/// How a workflow stands.
pub(in crate::temporal) enum Carrier {
    Runs,
    Unknown,
    /// It is closed; the ledgers of its result, if it has one, and how it was closed.
    Closed(Vec<Ledger>, String),
}

/// How the workflow of this id stands.
pub(in crate::temporal) async fn carrier(client: &Client, workflow_id: &str) -> Result<Carrier, String> {
    let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(workflow_id);
    let status = match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(described) => described.status(),
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(Carrier::Unknown),
        Err(error) => return Err(error.to_string()),
    };
    match State::from(status) {
        State::Running => Ok(Carrier::Runs),
        State::Completed => match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(value) => Ok(Carrier::Closed(ledgers(&value), "its result is kept".to_owned())),
            Err(WorkflowGetResultError::NotFound(_)) => Ok(Carrier::Unknown),
            Err(error) => Err(error.to_string()),
        },
        _ => Ok(Carrier::Closed(Vec::new(), format!("it is {} in temporal", closed_how(status)))),
    }
}

fn closed_how(status: WorkflowExecutionStatus) -> &'static str {
    match status {
        WorkflowExecutionStatus::Canceled => "cancelled",
        WorkflowExecutionStatus::Terminated => "terminated",
        WorkflowExecutionStatus::TimedOut => "timed out",
        _ => "failed",
    }
}

/// A workflow's result is one ledger or a batch's.
fn ledgers(value: &RawValue) -> Vec<Ledger> {
    let Some(payload) = value.payloads.first() else { return Vec::new() };
    match serde_json::from_slice::<BatchLedger>(&payload.data) {
        Ok(batch) => batch.alerts,
        Err(_) => serde_json::from_slice(&payload.data).into_iter().collect(),
    }
}
