//! The two workflow types: one alert, and many in parallel. Workflow code reads no configuration, no clock, no
//! registry: what it needs is in its input or was recorded as the result of `process_alert`.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::{join, join_all};
use temporalio_sdk::{
    ChildWorkflowOptions, ChildWorkflowStartError, ParentClosePolicy, SyncWorkflowContext, WorkflowContext,
    WorkflowIdReusePolicy, WorkflowResult,
};

use super::ActivityConfig;
use super::activities::AlertActivities;
use super::carry::{Inbox, carry, process};
use super::completion::{Budgeted, CompletionBudget, room};
use super::json::Json;
use super::scheduling::locally;
use super::{search_attributes, urgency};
use crate::alert::{self, Alert, AlertItem, Origin, size};
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

/// One alert, from acceptance to its outcome.
#[workflow]
#[derive(Default)]
pub struct AlertProcessingWorkflow {
    acknowledgement: Option<Acknowledgement>,
    repeats: u32,
    /// It is an end that can be taken back.
    is_held: bool,
    again: Option<String>,
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

    fn repeats(&self, _: &str) -> u32 {
        self.repeats
    }

    fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    fn again(&self) -> Option<&str> {
        self.again.as_deref()
    }
}

#[workflow_methods]
impl AlertProcessingWorkflow {
    /// Completes with the full ledger; it does not fail because a receiver did.
    #[run]
    pub async fn run(ctx: &mut WorkflowContext<Self>, job: Json<Job>) -> WorkflowResult<Json<Ledger>> {
        let Json(Job { item, activities }) = job;
        let item = Arc::new(item);
        let processed = process(ctx, &item, &activities).await?;
        let mut ledger = carry(ctx, item, &activities, processed).await?;
        ledger::fit(std::slice::from_mut(&mut ledger), OWN_LEDGER_BYTES);
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

    /// It was posted again.
    #[update]
    pub fn repeated(&mut self, _: &mut SyncWorkflowContext<Self>) {
        self.repeats = self.repeats.saturating_add(1);
    }

    /// Takes the end of an alert back, since that fires again, under this id. Whether nobody was told of the end.
    #[update]
    pub fn fires_again(&mut self, _: &mut SyncWorkflowContext<Self>, id: Json<String>) -> Json<bool> {
        let is_again = self.again.as_ref() == Some(&id.0);
        let is_first = self.is_held && self.again.is_none();
        if is_first {
            self.again = Some(id.0);
        }
        Json(is_first || is_again)
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

/// What a batch workflow carries: a chunk of one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Where its alerts come from.
    pub origin: Arc<Origin>,
    /// The alerts, in the order of the request. Those with an identity run as workflows of their own, under
    /// [`BatchAlert::id`], and outlive this one; the others are carried here, as far as there is room.
    pub alerts: Vec<BatchAlert>,
    /// As in [`Job`].
    pub activities: ActivityConfig,
}

/// An alert of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchAlert {
    /// As in [`AlertItem`].
    pub id: String,
    /// The alert.
    pub alert: Alert,
}

impl Batch {
    /// Its alerts, each with all that belongs to it.
    pub fn into_items(self) -> impl Iterator<Item = AlertItem> {
        let Self { origin, alerts, .. } = self;
        alerts.into_iter().map(move |BatchAlert { id, alert }| AlertItem {
            id,
            alert,
            origin: origin.clone(),
        })
    }
}

/// The result of a batch workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchLedger {
    /// The metadata of the request, for all ledgers.
    #[serde(default, skip_serializing_if = "alert::is_empty")]
    pub metadata: Arc<Map<String, Value>>,
    /// The alerts it carried itself, in the order of the request.
    pub alerts: Vec<Ledger>,
    /// The alerts that run on their own.
    pub children: Vec<Child>,
}

/// An alert of a batch that runs on its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Child {
    /// The workflow that carries it.
    pub workflow_id: String,
    /// Whether this batch started it; false: it was there already and was joined.
    pub started: bool,
}

/// Many alerts, in parallel.
#[workflow]
#[derive(Default)]
pub struct BatchAlertProcessingWorkflow {
    acknowledgements: BTreeMap<String, Acknowledgement>,
    /// The alerts that it carries itself and that are not at their end.
    under_way: BTreeSet<String>,
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

    /// What has no identity has no repeats.
    fn repeats(&self, _: &str) -> u32 {
        0
    }

    fn is_waiting_for_others(&self) -> bool {
        !self.under_way.is_empty()
    }

    fn begin(&mut self, alert: &str) {
        self.under_way.insert(alert.to_owned());
    }

    fn end(&mut self, alert: &str) {
        self.under_way.remove(alert);
    }
}

#[workflow_methods]
impl BatchAlertProcessingWorkflow {
    /// Completes when every inline alert has its outcome and every child is started.
    #[run]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        batch: Json<Arc<Batch>>,
    ) -> WorkflowResult<Json<BatchLedger>> {
        let (ctx, batch) = (&*ctx, Arc::unwrap_or_clone(batch.0));
        let (activities, metadata) = (batch.activities, batch.origin.metadata.clone());
        let is_identified = |item: &AlertItem| item.alert.identity().is_some();
        let (mut identified, unidentified): (Vec<_>, Vec<_>) = batch.into_items().partition(is_identified);
        // The same alert twice in one request is one alert.
        let mut seen = BTreeSet::new();
        identified.retain(|item| seen.insert(item.id.clone()));
        ctx.state_mut(|batch| unidentified.iter().for_each(|item| batch.begin(&item.id)));
        let inline = join_all(unidentified.into_iter().map(async |item| {
            let id = item.id.clone();
            let carried = carry_inline(ctx, item, activities).await;
            ctx.state_mut(|batch| batch.end(&id));
            carried
        }));
        let children = join_all(identified.into_iter().map(|item| start_child(ctx, item, activities)));
        let (inline, children) = join!(inline, children);
        let mut children = children.into_iter().collect::<WorkflowResult<Vec<Child>>>()?;
        let mut alerts = Vec::new();
        for carried in inline {
            match carried? {
                End::Here(ledger) => alerts.push(*ledger),
                End::OnItsOwn(child) => children.push(child),
            }
        }
        count_repeats(ctx, &children).await;
        if let Some(worst) = worst(&alerts) {
            ctx.upsert_search_attributes([search_attributes::OUTCOME.value_set(worst.as_str().to_owned())]);
        }
        // Once for all of them; a look-up puts it back into each.
        alerts.iter_mut().for_each(|ledger| ledger.metadata = Arc::default());
        ledger::fit(&mut alerts, LEDGER_BYTES);
        Ok(Json(BatchLedger { metadata, alerts, children }))
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

/// Where an alert without an identity came to its end.
enum End {
    Here(Box<Ledger>),
    OnItsOwn(Child),
}

/// Carries one alert of a batch, if there is room for its deliveries; otherwise it starts anew as a workflow of its own.
async fn carry_inline(
    ctx: &WorkflowContext<BatchAlertProcessingWorkflow>,
    item: AlertItem,
    activities: ActivityConfig,
) -> WorkflowResult<End> {
    let item = Arc::new(item);
    let processed = process(ctx, &item, &activities).await?;
    let alert = size(processed.alert.as_ref().unwrap_or(&item.alert)) + size(&item.origin.metadata);
    let is_too_much = ctx.state_mut(|batch| {
        let is_too_much = batch.load.is_too_much_with(&processed.plan, alert);
        // What somebody has taken over ends soon, and the batch alone knows of it.
        is_too_much && batch.acknowledgement(&item.id).is_none()
    });
    if is_too_much {
        let child = start_child(ctx, Arc::unwrap_or_clone(item), activities).await?;
        return Ok(End::OnItsOwn(child));
    }
    Ok(End::Here(Box::new(carry(ctx, item, &activities, processed).await?)))
}

/// Counts this repeat in the alerts that were there already.
async fn count_repeats<W: Budgeted>(ctx: &WorkflowContext<W>, children: &[Child]) {
    let there = children.iter().filter(|child| !child.started);
    let ids: Vec<String> = there.map(|child| child.workflow_id.clone()).collect();
    if !ids.is_empty() {
        // Best effort.
        let _ = locally(ctx, AlertActivities::count_repeats, ids, None).await;
    }
}

async fn start_child<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: AlertItem,
    activities: ActivityConfig,
) -> WorkflowResult<Child> {
    let workflow_id = item.id.clone();
    let options = ChildWorkflowOptions::builder()
        .workflow_id(workflow_id.clone())
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .parent_close_policy(ParentClosePolicy::Abandon)
        .search_attributes(search_attributes::of([&item.alert], item.origin.sealed))
        .priority(urgency::of([&item.alert]))
        .build();
    let job = Job { item, activities };
    room(ctx, &job).await;
    match ctx.start_child_workflow(AlertProcessingWorkflow::run, job, options).await {
        Ok(_) => Ok(Child { workflow_id, started: true }),
        // The only cause besides a namespace that is gone: somebody brought this alert before.
        Err(ChildWorkflowStartError::StartFailed { .. }) => Ok(Child { workflow_id, started: false }),
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

    /// How many alerts of so many bytes a batch carries itself, each for the most receivers and updaters.
    fn carried(alert: usize) -> usize {
        let planned = |count| vec![Planned::default(); count];
        let plan = Plan { receivers: planned(32), updaters: planned(8), ..Plan::default() };
        let mut load = Load::default();
        (0..1_000).take_while(|_| !load.is_too_much_with(&plan, alert)).count()
    }

    #[test]
    fn a_batch_carries_as_many_alerts_as_temporal_lets_one_workflow_have() {
        assert_eq!(carried(100), 25, "1,000 deliveries");
        assert_eq!(carried(40 << 10), 7, "25 MiB of history, of which each alert may take 88 times its size");
        assert_eq!(carried(400 << 10), 0);
    }
}
