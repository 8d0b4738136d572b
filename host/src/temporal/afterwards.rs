//! An alert that is taken over after it has come to its end: there is nobody left to be stopped, but the updaters are told. The
//! order is a workflow of its own, which also holds who has taken the alert over.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use super::carry::update_all;
use super::json::Json;
use super::link::Link;
use super::lookup::{self, LookupError};
use crate::alert::AlertItem;
use crate::ledger::{Acknowledgement, Activity, DeliveryResult, Ledger, Outcome, Step};
use crate::plan::{RetryPolicy, Target};

/// What updaters are told of an alert that was taken over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakenOver {
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
        taken: Json<TakenOver>,
    ) -> WorkflowResult<Json<Vec<Step>>> {
        let Json(TakenOver { item, acknowledgement, updaters, outcome, deliveries }) = taken;
        let item = acknowledgement.noted_in(&item);
        Ok(Json(update_all(&*ctx, &item, &updaters, Some(outcome), &deliveries).await?))
    }
}

fn id(alert: &str) -> String {
    format!("ack-{alert}")
}

impl TakenOver {
    fn new(item: AlertItem, ledger: &Ledger, acknowledgement: Acknowledgement, retry: RetryPolicy) -> Self {
        let of = |activity| ledger.steps.iter().filter(move |step| step.activity == activity);
        let mut names: Vec<&str> = of(Activity::UpdateAlertStatus).map(Step::name).collect();
        names.sort_unstable();
        names.dedup();
        let target = |name: &str| Target { name: name.to_owned(), retry, queue: None, earlier: None };
        Self {
            item: Arc::new(item.with(ledger.alert.clone())),
            acknowledgement,
            updaters: names.into_iter().map(target).collect(),
            outcome: ledger.outcome,
            deliveries: of(Activity::SendNotification).map(DeliveryResult::from).collect(),
        }
    }
}

/// Has an alert that has come to its end taken over. The first one counts: it is given back.
pub(super) async fn take_over(
    link: &Link,
    client: &Client,
    item: AlertItem,
    ledger: &Ledger,
    acknowledgement: Acknowledgement,
    retry: RetryPolicy,
) -> Result<(), LookupError> {
    if ledger.acknowledged.is_some() {
        return Ok(());
    }
    let id = id(&item.id);
    let taken = TakenOver::new(item, ledger, acknowledgement, retry);
    let options = WorkflowStartOptions::new(&*link.task_queue, id)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .build();
    match client.start_workflow(AcknowledgementWorkflow::run, Json(taken), options).await {
        Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(()),
        Err(error) => Err(LookupError::Unavailable(error.to_string())),
    }
}

/// Adds to a ledger who has taken the alert over after its end, and what the updaters have said to it so far.
pub async fn complete(link: &Link, ledger: &mut Ledger) {
    let Some(client) = link.client() else { return };
    if let Some((TakenOver { acknowledgement, .. }, steps)) =
        lookup::told_so_far(&client, &id(&ledger.id)).await
    {
        ledger.acknowledged.get_or_insert(acknowledgement);
        ledger.steps.extend(steps);
    }
}
