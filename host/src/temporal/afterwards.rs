//! An alert that is taken over after it has come to its end: there is nobody left to be stopped, but the updaters are told. The
//! order is a workflow of its own, which also holds who has taken the alert over.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use super::carry::{reached, update_all};
use super::json::Json;
use super::link::Link;
use super::lookup::{self, LOOKUP_TIMEOUT, LookupError};
use crate::alert::AlertItem;
use crate::ledger::{Acknowledgement, Activity, DeliveryResult, Ledger, Outcome, Step};
use crate::plan::{RetryPolicy, Target};

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
pub struct AcknowledgementWorkflow;

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
    fn new(item: AlertItem, ledger: &Ledger, acknowledgement: Acknowledgement, retry: RetryPolicy) -> Self {
        let of = |activity| ledger.steps.iter().filter(move |step| step.activity == activity);
        let mut names: Vec<&str> = of(Activity::UpdateAlertStatus).map(Step::name).collect();
        names.sort_unstable();
        names.dedup();
        let target =
            |name: &str| Target { name: name.to_owned(), retry, queue: None, earlier: None, thread: None };
        Self {
            item: Arc::new(item.with(ledger.alert.clone())),
            acknowledgement,
            updaters: names.into_iter().map(target).collect(),
            outcome: ledger.outcome,
            deliveries: deliveries(ledger),
        }
    }
}

/// How each receiver ended, with those who stood in for it.
fn deliveries(ledger: &Ledger) -> Vec<DeliveryResult> {
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
    let taken = Closed::new(item, ledger, acknowledgement.clone(), retry);
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
        Err(error) => Err(LookupError::Unavailable(error.to_string())),
    }
}

/// Adds to a ledger who has taken the alert over after its end, and what the updaters have said to it so far.
pub async fn complete(link: &Link, ledger: &mut Ledger) {
    let Some(client) = link.client() else { return };
    let id = id(&ledger.id);
    let told = tokio::time::timeout(LOOKUP_TIMEOUT, lookup::told_so_far::<Closed>(&client, &id)).await;
    if let Ok(Some((Closed { acknowledgement, .. }, steps))) = told {
        ledger.acknowledged.get_or_insert(acknowledgement);
        ledger.steps.extend(steps);
    }
}
