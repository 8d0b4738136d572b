//! The two workflow types: one alert, and many in parallel. Workflow code reads no configuration, no clock, no
//! registry: what it needs is in its input or was recorded as the result of `process_alert`.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::{join, join_all};
use temporalio_sdk::{
    ChildWorkflowOptions, ChildWorkflowStartError, ParentClosePolicy, SyncWorkflowContext, WorkflowContext,
    WorkflowIdReusePolicy, WorkflowResult,
};

use super::ActivityConfig;
use super::activities::Recorded;
use super::carry::{Inbox, carry, process};
use super::completion::{Budgeted, CompletionBudget, room};
use super::json::Json;
use super::record::record;
use super::{search_attributes, urgency};
use crate::alert::{AlertItem, size};
use crate::ledger::{self, Acknowledgement, Ledger, Outcome};
use crate::plan::Plan;

/// The most that the ledgers of one batch workflow may have together, in bytes of JSON. Temporal takes 2 MB per payload
/// and 4 MB per message, in which what the activities recorded comes along.
const LEDGER_BYTES: usize = 1 << 20;

/// The same of the ledger of an alert that runs on its own: half of it can be the alert.
const OWN_LEDGER_BYTES: usize = 3 << 19;

/// The most deliveries of one batch workflow: half of what Temporal lets wait at once in one workflow (2,000 activities, its
/// `limit.numPendingActivities.error`). The alerts that would be more run as workflows of their own.
const MOST_DELIVERIES: usize = 1_000;

/// The most that the deliveries of one batch workflow may take of its history, in bytes: half of what Temporal lets a workflow have
/// (`limit.historySize.error`). The alerts that would be more run as workflows of their own, too.
const MOST_HISTORY: usize = 25 << 20;

/// What `AlertProcessingWorkflow` carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The alert.
    pub item: AlertItem,
    /// How activities are retried.
    pub activities: ActivityConfig,
}

/// One alert, from its start to its outcome.
#[workflow]
#[derive(Default)]
pub struct AlertProcessingWorkflow {
    acknowledgement: Option<Acknowledgement>,
    budget: CompletionBudget,
}

impl Budgeted for AlertProcessingWorkflow {
    fn budget(&self) -> &CompletionBudget {
        &self.budget
    }
}

impl Inbox for AlertProcessingWorkflow {
    fn acknowledgement(&self, _: &str) -> Option<&Acknowledgement> {
        self.acknowledgement.as_ref()
    }
}

#[workflow_methods]
impl AlertProcessingWorkflow {
    /// Completes with the full ledger; it does not fail because a receiver did.
    #[run]
    pub async fn run(ctx: &mut WorkflowContext<Self>, job: Json<Job>) -> WorkflowResult<Json<Ledger>> {
        let Json(Job { item, activities }) = job;
        let item = Arc::new(item);
        let thread_id = item.thread_id.clone();
        ctx.state_mut(|alert| {
            alert.acknowledgement = item.acknowledged.clone().or(alert.acknowledgement.take())
        });
        let processed = Box::pin(process(ctx, &item, &activities)).await?;
        let mut ledger = carry(ctx, item, &activities, processed).await?;
        ledger::fit(std::slice::from_mut(&mut ledger), OWN_LEDGER_BYTES);
        record(ctx, vec![Recorded { thread_id, ledger: ledger.clone() }]).await?;
        ctx.upsert_search_attributes([
            search_attributes::OUTCOME.value_set(ledger.outcome.as_str().to_owned())
        ]);
        Ok(Json(ledger))
    }

    /// Somebody takes the alert over: nobody else is told any more. The first one counts, and is given back.
    ///
    /// What a workflow is told comes by updates: a signal that arrives while its task is under way has Temporal throw the task
    /// away, and with it all the attempts that were made in it.
    #[update]
    pub fn take_over(
        &mut self,
        _: &mut SyncWorkflowContext<Self>,
        acknowledged: Json<Acknowledged>,
    ) -> Json<Acknowledgement> {
        Json(self.acknowledgement.get_or_insert(acknowledged.0.acknowledgement).clone())
    }

    /// The same for when no worker answers: a signal waits until one does.
    #[signal]
    pub fn acknowledge(&mut self, _: &mut SyncWorkflowContext<Self>, acknowledged: Json<Acknowledged>) {
        self.acknowledgement.get_or_insert(acknowledged.0.acknowledgement);
    }
}

/// Somebody takes an alert over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The alert's id, which tells it from the others of its batch.
    pub alert: String,
    /// Who, and why.
    pub acknowledgement: Acknowledgement,
}

/// What a batch workflow carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// The alerts, in order of acceptance. They are carried here, as far as there is room.
    pub alerts: Vec<AlertItem>,
    /// As in [`Job`].
    pub activities: ActivityConfig,
}

/// The result of a batch workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchLedger {
    /// The alerts that it carried itself, in order of acceptance.
    pub alerts: Vec<Ledger>,
    /// The workflows of the alerts that it had no room for.
    pub children: Vec<String>,
}

/// Many alerts, in parallel.
#[workflow]
#[derive(Default)]
pub struct BatchAlertProcessingWorkflow {
    acknowledgements: BTreeMap<String, Acknowledgement>,
    /// How many of the alerts that it carries itself are not at their end.
    under_way: usize,
    /// Those that are, and that the store does not know of.
    ended: Vec<Recorded>,
    load: Load,
    budget: CompletionBudget,
}

impl Budgeted for BatchAlertProcessingWorkflow {
    fn budget(&self) -> &CompletionBudget {
        &self.budget
    }
}

impl Inbox for BatchAlertProcessingWorkflow {
    fn acknowledgement(&self, alert: &str) -> Option<&Acknowledgement> {
        self.acknowledgements.get(alert)
    }
}

#[workflow_methods]
impl BatchAlertProcessingWorkflow {
    /// Completes when every alert that it carries has its outcome, and the others are started.
    #[run]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        batch: Json<Arc<Batch>>,
    ) -> WorkflowResult<Json<BatchLedger>> {
        let (ctx, Batch { alerts, activities }) = (&*ctx, Arc::unwrap_or_clone(batch.0));
        ctx.state_mut(|batch| {
            batch.under_way = alerts.len();
            for item in &alerts {
                if let Some(one) = &item.acknowledged {
                    batch.acknowledgements.insert(item.id.clone(), one.clone());
                }
            }
        });
        let carried = join_all(alerts.into_iter().map(Arc::new).map(async |item| {
            let carried = carry_inline(ctx, item, &activities).await;
            ctx.state_mut(|batch| {
                batch.under_way -= 1;
                if let Ok(End::Here(recorded)) = &carried {
                    batch.ended.push((**recorded).clone());
                }
            });
            carried
        }));
        let (carried, recorded) = join!(carried, record_ended(ctx));
        recorded?;
        let (mut alerts, mut children) = (Vec::new(), Vec::new());
        for carried in carried {
            match carried? {
                End::Here(recorded) => alerts.push(recorded.ledger),
                End::OnItsOwn(child) => children.push(child),
            }
        }
        if let Some(worst) = worst(&alerts) {
            ctx.upsert_search_attributes([search_attributes::OUTCOME.value_set(worst.as_str().to_owned())]);
        }
        ledger::fit(&mut alerts, LEDGER_BYTES);
        Ok(Json(BatchLedger { alerts, children }))
    }

    /// As in [`AlertProcessingWorkflow`], of one of the alerts that it carries itself.
    #[update]
    pub fn take_over(
        &mut self,
        _: &mut SyncWorkflowContext<Self>,
        acknowledged: Json<Acknowledged>,
    ) -> Json<Acknowledgement> {
        let Acknowledged { alert, acknowledgement } = acknowledged.0;
        Json(self.acknowledgements.entry(alert).or_insert(acknowledgement).clone())
    }

    /// The same for when no worker answers.
    #[signal]
    pub fn acknowledge(&mut self, _: &mut SyncWorkflowContext<Self>, acknowledged: Json<Acknowledged>) {
        let Acknowledged { alert, acknowledgement } = acknowledged.0;
        self.acknowledgements.entry(alert).or_insert(acknowledgement);
    }
}

/// The deliveries that a batch workflow has taken on.
#[derive(Default)]
struct Load {
    deliveries: usize,
    /// What these may take of its history, in bytes.
    history: usize,
}

impl Load {
    /// Takes on those of an alert of so many bytes. Whether all of them are more than one workflow may have.
    fn is_too_much_with(&mut self, plan: &Plan, alert: usize) -> bool {
        self.deliveries += plan.deliveries();
        self.history += plan.history_bytes(alert);
        self.deliveries > MOST_DELIVERIES || self.history > MOST_HISTORY
    }
}

/// Writes to the store what became of alerts: of those together that end together.
async fn record_ended(ctx: &WorkflowContext<BatchAlertProcessingWorkflow>) -> WorkflowResult<()> {
    loop {
        ctx.wait_condition(|batch| !batch.ended.is_empty() || batch.under_way == 0).await?;
        let ended = ctx.state_mut(|batch| std::mem::take(&mut batch.ended));
        if ended.is_empty() {
            return Ok(());
        }
        record(ctx, ended).await?;
    }
}

/// Where an alert of a batch came to its end.
enum End {
    Here(Box<Recorded>),
    /// In the workflow of this id.
    OnItsOwn(String),
}

/// Carries one alert of a batch, if there is room for its deliveries; otherwise it starts anew as a workflow of its own.
async fn carry_inline(
    ctx: &WorkflowContext<BatchAlertProcessingWorkflow>,
    item: Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<End> {
    let thread_id = item.thread_id.clone();
    let processed = Box::pin(process(ctx, &item, activities)).await?;
    let alert = size(processed.alert.as_ref().unwrap_or(&item.alert)) + size(&item.origin.metadata);
    let is_too_much = ctx.state_mut(|batch| {
        let is_too_much = batch.load.is_too_much_with(&processed.plan, alert);
        // What is acknowledged ends soon.
        is_too_much && batch.acknowledgement(&item.id).is_none()
    });
    if is_too_much {
        return Ok(End::OnItsOwn(Box::pin(start_child(ctx, item, activities)).await?));
    }
    let mut ledger = Box::pin(carry(ctx, item, activities, processed)).await?;
    ledger::fit(std::slice::from_mut(&mut ledger), OWN_LEDGER_BYTES);
    Ok(End::Here(Box::new(Recorded { thread_id, ledger })))
}

/// Starts an alert as a workflow of its own. Returns the workflow's id.
async fn start_child<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<String> {
    let workflow_id = item.id.clone();
    let options = ChildWorkflowOptions::builder()
        .workflow_id(workflow_id.clone())
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .parent_close_policy(ParentClosePolicy::Abandon)
        .search_attributes(search_attributes::of([&item.alert], item.origin.sealed))
        .priority(urgency::of([&item.alert]))
        .build();
    let job = Job { item: Arc::unwrap_or_clone(item), activities: *activities };
    room(ctx, &job).await;
    match ctx.start_child_workflow(AlertProcessingWorkflow::run, job, options).await {
        // The only cause of a failure besides a namespace that is gone: it is there already.
        Ok(_) | Err(ChildWorkflowStartError::StartFailed { .. }) => Ok(workflow_id),
        Err(error) => Err(error.into()),
    }
}

/// The outcome by which a whole batch is found in Temporal's UI: the one that needs a person most.
fn worst(alerts: &[Ledger]) -> Option<Outcome> {
    let rank = |outcome: Outcome| match outcome {
        Outcome::Failed => 4,
        Outcome::Partial => 3,
        Outcome::Unrouted => 2,
        Outcome::Delivered => 1,
        Outcome::Dropped => 0,
    };
    alerts.iter().map(|ledger| ledger.outcome).max_by_key(|outcome| rank(*outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Planned;
    use crate::temporal::carry::tests::{any, size_of_future};

    /// How many alerts of so many bytes a batch carries itself, each for the most receivers and updaters.
    fn carried(alert: usize) -> usize {
        let planned = |count| vec![Planned::default(); count];
        let plan = Plan { receivers: planned(32), updaters: planned(8), ..Plan::default() };
        let mut load = Load::default();
        (0..1_000).take_while(|_| !load.is_too_much_with(&plan, alert)).count()
    }

    #[test]
    fn an_alert_of_a_batch_takes_little_memory_besides_its_steps() {
        let carried = size_of_future(|| {
            carry_inline(
                any::<&WorkflowContext<BatchAlertProcessingWorkflow>>(),
                any(),
                any::<&ActivityConfig>(),
            )
        });
        assert!(carried < 4 << 10, "{carried} bytes");
    }

    #[test]
    fn a_batch_carries_as_many_alerts_as_temporal_lets_one_workflow_have() {
        assert_eq!(carried(100), 25, "1,000 deliveries");
        assert_eq!(carried(40 << 10), 7, "25 MiB of history, of which each alert may take 88 times its size");
        assert_eq!(carried(400 << 10), 0);
    }
}
