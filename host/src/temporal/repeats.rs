//! Counting repeats: an alert that still runs is told that it was posted again, so that its ledger has the number. Best effort:
//! a repeat is recognised, and answered, without.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use temporalio_client::{Client, WorkflowExecuteUpdateOptions, WorkflowHandle};
use tokio::sync::Semaphore;

use super::workflows::AlertProcessingWorkflow;

/// How many may be told at once: a storm of repeats is not to become another one.
pub(super) const AT_ONCE: usize = 16;
/// How long an alert may take to hear of it.
const PATIENCE: Duration = Duration::from_secs(1);

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// Tells an alert that it was posted again, beside whoever asks for it.
pub(super) fn count_aside(client: &Client, id: &str) {
    let Ok(place) = PLACES.clone().try_acquire_owned() else { return };
    let (client, id) = (client.clone(), id.to_owned());
    tokio::spawn(async move {
        count(&client, &id).await;
        drop(place);
    });
}

/// Tells an alert that it was posted again. Most of those that are repeated have come to their end.
pub(super) async fn count(client: &Client, id: &str) {
    let handle: WorkflowHandle<Client, AlertProcessingWorkflow> = client.get_workflow_handle(id);
    let options = WorkflowExecuteUpdateOptions::default();
    let telling = handle.execute_update(AlertProcessingWorkflow::repeated, (), options);
    if !matches!(tokio::time::timeout(PATIENCE, telling).await, Ok(Ok(()))) {
        tracing::debug!(alert = id, "the repeat is not in the ledger");
    }
}
