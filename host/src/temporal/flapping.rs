//! Alerts that come and go: with a hold-down the end of an alert is told once it has lasted. What fires again before that goes on
//! where it was, and nobody is told anything.

use std::time::Duration;

use temporalio_client::{Client, WorkflowExecuteUpdateOptions, WorkflowHandle};

use super::firing;
use super::json::Json;
use super::link::Link;
use super::list;
use super::lookup;
use super::workflows::AlertProcessingWorkflow;
use crate::alert::{AlertItem, resolve_id};
use crate::ledger::Ledger;
use crate::plan::Told;

/// How long the end of the alert before may take to say whether it is still held back.
const ASKED: Duration = Duration::from_secs(1);

/// The alert before, which this one goes on with.
pub(super) struct Earlier {
    /// Its story.
    pub(super) ledger: Box<Ledger>,
    /// Who was told of it, and still takes it for firing.
    pub(super) told: Vec<Told>,
}

/// The alert that this one goes on with: its end was held back, and is now told to nobody. `None` if there is none, or if
/// Temporal does not tell: then this alert is another one.
pub(super) async fn goes_on(link: &Link, item: &AlertItem) -> Option<Earlier> {
    let client = link.client()?;
    let key = item.alert.identity()?;
    let before = list::firing_before(&client, key, &item.id).await.ok()??;
    if !take_back(&client, &resolve_id(&before), &item.id).await {
        return None;
    }
    let found = lookup::lookup(link, &before).await.ok()?;
    let ledger = found.alerts.into_iter().find_map(|alert| alert.ledger).map(Box::new)?;
    Some(Earlier { told: firing::told(&ledger), ledger })
}

/// Takes the end of an alert back; whether it had not been told yet. Whoever asks twice gets the same answer.
async fn take_back(client: &Client, resolve: &str, again: &str) -> bool {
    let handle: WorkflowHandle<Client, AlertProcessingWorkflow> = client.get_workflow_handle(resolve);
    let mut options = WorkflowExecuteUpdateOptions::default();
    options.update_id = Some(again.to_owned());
    let asked = handle.execute_update(AlertProcessingWorkflow::fires_again, Json(again.to_owned()), options);
    matches!(tokio::time::timeout(ASKED, asked).await, Ok(Ok(Json(true))))
}
