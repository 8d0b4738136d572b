//! An alert that is taken over after it has come to its end: there is nobody left to be stopped, but the updaters are told. The
//! order is a workflow of its own, which also holds who has taken the alert over.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use super::cause::Cause;
use super::completion::{Budgeted, CompletionBudget};
use super::firing::{self, MOST_LIVES};
use super::json::Json;
use super::link::Link;
use super::lookup::{self, LOOKUP_TIMEOUT, LookupError};
use super::outcome::{of_results, reached};
use super::updates::update_all;
use crate::alert::AlertItem;
use crate::ledger::{Acknowledgement, Activity, DeliveryResult, Ledger, Outcome, Step};
use crate::plan::{Planned, RetryPolicy, Target};

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

/// The updaters that know of an alert: where it goes on with others of which nobody was told again, theirs.
pub(super) async fn updaters(link: &Link, ledger: &Ledger) -> BTreeSet<String> {
    let mut before = ledger.goes_on_with.clone();
    let mut names: BTreeSet<String> = ledger.updaters().into_iter().map(str::to_owned).collect();
    for _ in 0..MOST_LIVES {
        let Some(id) = before.filter(|_| names.is_empty()) else { break };
        let found = lookup::lookup(link, &id).await.ok();
        let ledger = found.and_then(|found| found.alerts.into_iter().find_map(|alert| alert.ledger));
        let Some(ledger) = ledger else { break };
        names.extend(ledger.updaters().into_iter().map(str::to_owned));
        before = ledger.goes_on_with;
    }
    names
}

impl Closed {
    async fn new(
        link: &Link,
        item: AlertItem,
        ledger: &Ledger,
        acknowledgement: Acknowledgement,
        retry: RetryPolicy,
    ) -> Self {
        let target = |name| Planned { name, ..Planned::default() }.target(retry);
        Self {
            item: Arc::new(item.with(ledger.alert.clone())),
            acknowledgement,
            updaters: updaters(link, ledger).await.into_iter().map(target).collect(),
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

/// Has an alert that has come to its end taken over. The first one counts, and is given back.
pub(super) async fn take_over(
    link: &Link,
    client: &Client,
    item: AlertItem,
    ledger: &Ledger,
    acknowledgement: Acknowledgement,
    retry: RetryPolicy,
) -> Result<Acknowledgement, LookupError> {
    if let Some(before) = &ledger.acknowledged {
        return Ok(before.clone());
    }
    let id = id(&item.id);
    let taken = Closed::new(link, item, ledger, acknowledgement.clone(), retry).await;
    let options = WorkflowStartOptions::new(&*link.task_queue, &*id)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .build();
    match client.start_workflow(AcknowledgementWorkflow::run, Json(taken), options).await {
        Ok(_) => Ok(acknowledgement),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {
            let before = lookup::told_so_far::<Closed>(client, &id).await;
            Ok(before.map_or(acknowledgement, |(before, _)| before.acknowledgement))
        }
        Err(error) => Err(LookupError::Unavailable(Cause::of(&error))),
    }
}

/// Adds to a ledger what came after the alert's end: deliveries that had been parked, and who has taken it over, with what the
/// updaters have said to that so far.
pub async fn complete(link: &Link, ledger: &mut Ledger) {
    firing::add_unparked(link, ledger).await;
    if matches!(ledger.outcome, Outcome::Failed | Outcome::Partial) {
        ledger.outcome = of_results(&deliveries(ledger)).unwrap_or(ledger.outcome);
    }
    let Some(client) = link.client() else { return };
    let id = id(&ledger.id);
    let told = tokio::time::timeout(LOOKUP_TIMEOUT, lookup::told_so_far::<Closed>(&client, &id)).await;
    if let Ok(Some((Closed { acknowledgement, .. }, steps))) = told {
        ledger.acknowledged.get_or_insert(acknowledgement);
        ledger.steps.extend(steps);
    }
}
