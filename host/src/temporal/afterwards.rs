//! An alert that is acknowledged after it has come to its end: no attempt is left to be stopped, but its updaters hear of it, by a
//! workflow of its own.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::collections::BTreeSet;
use std::sync::Arc;

use campanile_store::{DeadLetterState, KeptDeadLetter};
use serde::{Deserialize, Serialize};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use super::cause::Cause;
use super::completion::{Budgeted, CompletionBudget};
use super::dead_letters::reason_of;
use super::json::Json;
use super::late_delivery::Undelivered;
use super::link::Link;
use super::lookup::{self, LOOKUP_TIMEOUT, LookupError};
use super::outcome::{of_results, reached};
use super::updates::update_all;
use crate::alert::AlertItem;
use crate::ledger::{Acknowledgement, Activity, DeliveryResult, Ledger, Outcome, Step};
use crate::plan::{Planned, RetryPolicy, Target};
use crate::records::{RecordError, Records};

/// What updaters are told of an alert that was taken over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// The alert, as it was in the end.
    pub item: Arc<AlertItem>,
    /// Who has taken it over.
    pub acknowledgement: Acknowledgement,
    /// Who is told.
    pub updaters: Vec<Target>,
    /// What became of the alert.
    pub outcome: Outcome,
    /// Receiver by receiver.
    pub deliveries: Vec<DeliveryResult>,
}

/// Tells the updaters that an alert was taken over.
#[workflow]
#[derive(Default)]
pub struct AcknowledgementWorkflow {
    budget: CompletionBudget,
}

impl Budgeted for AcknowledgementWorkflow {
    fn budget(&self) -> &CompletionBudget {
        &self.budget
    }
}

#[workflow_methods]
impl AcknowledgementWorkflow {
    /// Completes when every updater was told, or given up.
    #[run]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        taken: Json<Closed>,
    ) -> WorkflowResult<Json<Vec<Step>>> {
        let Json(Closed { item, acknowledgement, updaters, outcome, deliveries }) = taken;
        let item = acknowledgement.noted_in(&item);
        Ok(Json(update_all(&*ctx, &item, &updaters, Some(outcome), &deliveries).await?))
    }
}

fn id(alert: &str) -> String {
    format!("ack-{alert}")
}

impl Closed {
    fn new(
        item: AlertItem,
        ledger: &Ledger,
        updaters: BTreeSet<String>,
        acknowledgement: Acknowledgement,
        retry: RetryPolicy,
    ) -> Self {
        let target = |name| Planned { name, ..Planned::default() }.target(retry);
        Self {
            item: Arc::new(item.with(ledger.alert.clone())),
            acknowledgement,
            updaters: updaters.into_iter().map(target).collect(),
            outcome: ledger.outcome,
            deliveries: deliveries(ledger),
        }
    }
}

/// How each receiver ended, with those who stood in for it.
pub(super) fn deliveries(ledger: &Ledger) -> Vec<DeliveryResult> {
    let mut lines: Vec<Vec<Step>> = Vec::new();
    for step in ledger.steps.iter().filter(|step| step.activity == Activity::SendNotification) {
        match (&step.instead_of, lines.last_mut()) {
            (Some(_), Some(line)) => line.push(step.clone()),
            _ => lines.push(vec![step.clone()]),
        }
    }
    lines.iter().map(|line| reached(line)).collect()
}

/// Has the updaters of an alert that is at its end hear that it is acknowledged. Once: a workflow of its id does it.
pub(super) async fn notify_updaters(
    link: &Link,
    item: AlertItem,
    ledger: &Ledger,
    updaters: BTreeSet<String>,
    acknowledgement: Acknowledgement,
    retry: RetryPolicy,
) -> Result<(), LookupError> {
    let client = lookup::client(link)?;
    let id = id(&item.id);
    let closed = Closed::new(item, ledger, updaters, acknowledgement, retry);
    let options = WorkflowStartOptions::new(&*link.task_queue, &*id)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .build();
    match client.start_workflow(AcknowledgementWorkflow::run, Json(closed), options).await {
        Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(()),
        Err(error) => Err(LookupError::Unavailable(Cause::of(&error))),
    }
}

/// Adds to a ledger what became of its dead letters.
async fn add_dead_letters(records: &Records, ledger: &mut Ledger) -> Result<(), RecordError> {
    if ledger.steps.iter().all(|step| step.dead_letter.is_none()) {
        return Ok(());
    }
    for KeptDeadLetter { dead_letter, .. } in records.store()?.dead_letters_of(&ledger.id).await? {
        let is_own = |step: &&mut Step| step.dead_letter.as_ref() == Some(&dead_letter.delivery_id);
        let Some(step) = ledger.steps.iter_mut().find(is_own) else { continue };
        let Undelivered { step: last, .. } = records.read(&dead_letter.delivery)?;
        match dead_letter.state {
            DeadLetterState::Delivered => *step = Step { instead_of: step.instead_of.clone(), ..last },
            DeadLetterState::Discarded => step.ended = Some(format!("discarded: {}", reason_of(&last))),
            DeadLetterState::Exhausted | DeadLetterState::Retrying => {}
        }
    }
    Ok(())
}

/// Adds to a ledger what came after the alert's end: what became of its dead letters, and who has acknowledged it, with what the
/// updaters have answered to that so far.
///
/// # Errors
///
/// The store does not answer.
pub async fn complete(records: &Records, link: &Link, ledger: &mut Ledger) -> Result<(), RecordError> {
    add_dead_letters(records, ledger).await?;
    if matches!(ledger.outcome, Outcome::Failed | Outcome::Partial) {
        ledger.outcome = of_results(&deliveries(ledger)).unwrap_or(ledger.outcome);
    }
    let Some(client) = link.client() else { return Ok(()) };
    let id = id(&ledger.id);
    let told = tokio::time::timeout(LOOKUP_TIMEOUT, lookup::told_so_far::<Closed>(&client, &id)).await;
    if let Ok(Some((Closed { acknowledgement, .. }, steps))) = told {
        ledger.acknowledged.get_or_insert(acknowledgement);
        ledger.steps.extend(steps);
    }
    Ok(())
}
