//! What nobody could deliver is parked, each delivery as a workflow of its own: it waits to be told to try again, and holds
//! all that is needed for that, under the same delivery id.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ChildWorkflowOptions, ChildWorkflowStartError, ParentClosePolicy, SyncWorkflowContext, WorkflowContext,
    WorkflowIdReusePolicy, WorkflowResult,
};

use super::activities::{AlertActivities, NOT_WANTED, Notification};
use super::completion::{Budgeted, CompletionBudget, room};
use super::continued::ended;
use super::json::Json;
use super::late::{self, Late};
use super::scheduling::durable;
use super::{failure, search_attributes};
use crate::alert::AlertItem;
use crate::ledger::{Activity, Step, StepResult};
use crate::plan::{RetryPolicy, Target};
use crate::telemetry::metric;

/// How long a delivery stays parked: as long as the ledger of its alert is kept by default.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A delivery that nobody could make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Undelivered {
    /// The alert after processing.
    pub item: Arc<AlertItem>,
    /// The receiver.
    pub target: Target,
    /// How it ended.
    pub step: Step,
}

/// How a parked delivery ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unparked {
    /// The last attempt.
    pub step: Step,
    /// It was made after all.
    pub delivered: bool,
    /// Why it never will be, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<String>,
}

/// A delivery that waits to be made.
#[workflow]
#[derive(Default)]
pub struct ParkedDeliveryWorkflow {
    is_wanted: bool,
    discarded: Option<String>,
    budget: CompletionBudget,
}

impl Budgeted for ParkedDeliveryWorkflow {
    fn budget(&self) -> &CompletionBudget {
        &self.budget
    }
}

#[workflow_methods]
impl ParkedDeliveryWorkflow {
    /// Completes when the delivery is made, given up by a person, or too old.
    #[run]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        parked: Json<Undelivered>,
    ) -> WorkflowResult<Json<Unparked>> {
        let Json(Undelivered { item, target, mut step }) = parked;
        let ctx = &*ctx;
        let mut too_old = ctx.timer(KEPT);
        loop {
            let mut told = Box::pin(ctx.wait_condition(|this| this.is_wanted || this.discarded.is_some()));
            select! {
                told = told => told?,
                _ = too_old => return Ok(Json(Unparked { step, delivered: false, discarded: None })),
            }
            let discarded = ctx.state(|this| this.discarded.clone());
            if discarded.is_some() {
                return Ok(Json(Unparked { step, delivered: false, discarded }));
            }
            ctx.state_mut(|this| this.is_wanted = false);
            step = again(ctx, &item, &target, step).await?;
            if step.result == StepResult::Ok {
                late::tell_updaters(ctx, Late { item, target }).await?;
                return Ok(Json(Unparked { step, delivered: true, discarded: None }));
            }
            let over = step.error.as_ref().filter(|error| NOT_WANTED.contains(&error.code.as_str()));
            if let Some(discarded) = over.map(|error| error.message.clone()) {
                return Ok(Json(Unparked { step, delivered: false, discarded: Some(discarded) }));
            }
            ctx.upsert_search_attributes([search_attributes::ERROR.value_set(code(&step))]);
        }
    }

    /// Try again, as often as the receiver's policy has it.
    #[signal]
    pub fn retry(&mut self, _: &mut SyncWorkflowContext<Self>) {
        self.is_wanted = true;
    }

    /// Never try again, for this reason.
    #[signal]
    pub fn discard(&mut self, _: &mut SyncWorkflowContext<Self>, reason: String) {
        self.discarded = Some(reason);
    }
}

/// The attempts of one more round.
async fn again<W>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    before: Step,
) -> WorkflowResult<Step> {
    let most = target.retry.maximum_attempts;
    let most = if most == 0 { 0 } else { most.saturating_add(before.attempts) };
    let retry = RetryPolicy { maximum_attempts: most, ..target.retry };
    // Nobody stands in for it any more.
    let target = Target { retry, gives_way: false, ..target.clone() };
    let call = Notification {
        item: item.clone(),
        target: target.clone(),
        attempts_before: before.attempts,
        was_parked: true,
    };
    let options = durable(item, &target.name, &retry, before.attempts, target.queue.as_deref());
    let result = ctx.execute_activity(AlertActivities::send_notification, call, options).await;
    let result = result.and_then(ended);
    Ok(failure::into_step(Activity::SendNotification, &target, most, result)?.after(Some(before)))
}

fn code(step: &Step) -> String {
    step.error.as_ref().map(|error| error.code.clone()).unwrap_or_default()
}

/// Parks a delivery; gives the id under which it is. It outlives the alert's own workflow.
pub(super) async fn park<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    step: &Step,
) -> WorkflowResult<String> {
    let id = format!("{}/{}", item.id, target.name);
    let attributes = search_attributes::of_delivery(item, &target.name, &code(step));
    let options = ChildWorkflowOptions::builder()
        .workflow_id(id.clone())
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .parent_close_policy(ParentClosePolicy::Abandon)
        .search_attributes(attributes)
        .build();
    let parked = Undelivered { item: item.clone(), target: target.clone(), step: step.clone() };
    room(ctx, &parked).await;
    match ctx.start_child_workflow(ParkedDeliveryWorkflow::run, parked, options).await {
        // It is there already: a repeat of the same alert parked it.
        Ok(_) | Err(ChildWorkflowStartError::StartFailed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if !ctx.is_replaying() {
        metric::parked(&target.name);
    }
    Ok(id)
}
