//! Alerts that come and go: with a hold-down the end of an alert is told once it has lasted. What fires again before that goes on
//! where it was, and nobody is told anything.

use std::time::Duration;

use temporalio_client::errors::WorkflowUpdateError;
use temporalio_client::{Client, WorkflowExecuteUpdateOptions, WorkflowHandle};

use super::cause::Cause;
use super::firing;
use super::json::Json;
use super::link::Link;
use super::list;
use super::lookup::{self, LookupError};
use super::workflows::AlertProcessingWorkflow;
use crate::alert::{AlertItem, resolve_id};
use crate::ledger::Ledger;
use crate::plan::Told;
use crate::scope::Scope;

/// The alert before, which this one goes on with.
pub(super) struct Predecessor {
    /// Its story.
    pub(super) ledger: Box<Ledger>,
    /// Who was told of it, and still takes it for firing.
    pub(super) told: Vec<Told>,
}

/// The alert that this one goes on with: its end was held back, and is now told to nobody. `None` if there is none.
///
/// # Errors
///
/// Temporal did not answer within `patience`: the end may have been taken back. Whoever asks again gets the same answer.
pub(super) async fn goes_on(
    link: &Link,
    item: &AlertItem,
    patience: Duration,
) -> Result<Option<Predecessor>, LookupError> {
    let asking = async {
        let (Some(client), Some(key)) = (link.client(), item.alert.identity()) else { return Ok(None) };
        let scope = Scope::of_alerts(item.origin.via.as_deref());
        let Some(before) = list::firing_before(&client, &link.task_queue, scope, key, &item.id).await? else {
            return Ok(None);
        };
        if !take_back(&client, &resolve_id(&before), &item.id).await? {
            return Ok(None);
        }
        let found = lookup::lookup(link, &before).await?;
        let Some(mut ledger) = found.alerts.into_iter().find_map(|alert| alert.ledger) else {
            return Ok(None);
        };
        firing::add_unparked(link, &mut ledger).await;
        Ok(Some(Predecessor { told: firing::told(&ledger), ledger: Box::new(ledger) }))
    };
    let asked = tokio::time::timeout(patience, asking).await;
    asked.unwrap_or_else(|_| Err(LookupError::Unavailable(Cause::TimedOut(patience))))
}

/// Takes the end of an alert back; whether it had not been told yet.
async fn take_back(client: &Client, resolve: &str, again: &str) -> Result<bool, LookupError> {
    let handle: WorkflowHandle<Client, AlertProcessingWorkflow> = client.get_workflow_handle(resolve);
    let mut options = WorkflowExecuteUpdateOptions::default();
    // Asked again, it says the same again.
    options.update_id = Some(again.to_owned());
    let again = Json(again.to_owned());
    match handle.execute_update(AlertProcessingWorkflow::fires_again, again, options).await {
        Ok(Json(is_taken_back)) => Ok(is_taken_back),
        // There is no end, or it has been told.
        Err(WorkflowUpdateError::NotFound(_) | WorkflowUpdateError::Failed(_)) => Ok(false),
        Err(error) => Err(LookupError::Unavailable(Cause::of(&error))),
    }
}
