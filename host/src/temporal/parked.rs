//! What nobody could deliver is parked, each delivery as a workflow of its own: it waits to be told to try again, and holds
//! all that is needed for that, under the same delivery id.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ChildWorkflowOptions, ChildWorkflowStartError, ContinueAsNewOptions, ParentClosePolicy,
    SyncWorkflowContext, WorkflowContext, WorkflowIdReusePolicy, WorkflowResult,
};

use super::activities::{AlertActivities, NOT_WANTED, Notification};
use super::completion::{Budgeted, CompletionBudget, room};
use super::continued::ended;
use super::json::Json;
use super::late::{self, Late};
use super::scheduling::durable;
use super::{failure, search_attributes};
use crate::alert::{AlertItem, size};
use crate::ledger::{Activity, Step, StepResult};
use crate::plan::{RetryPolicy, Target};
use crate::telemetry::metric;

/// How long a delivery stays parked: as long as the ledger of its alert is kept by default.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How much one run of the workflow schedules, in bytes of alerts, and how long its history gets, in events. After that a new
/// run goes on: Temporal terminates a workflow whose history has 50 MB, or 51,200 events.
const MOST_BYTES: usize = 16 << 20;
const MOST_EVENTS: u32 = 10_000;

/// A delivery that nobody could make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Undelivered {
    /// The alert after processing.
    pub item: Arc<AlertItem>,
    /// The receiver.
    pub target: Target,
    /// How it ended.
    pub step: Step,
    /// Of a run that goes on with another one: how long the delivery stays parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Duration>,
    /// An order to try again came while the run before ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_wanted: bool,
    /// An order never to try again, with its reason, came while the run before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<String>,
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
        let (ctx, Json(mut parked)) = (&*ctx, parked);
        take_over(ctx, &mut parked);
        let (begun, kept) = (ctx.workflow_time(), parked.left.unwrap_or(KEPT));
        let mut too_old = ctx.timer(kept);
        let mut scheduled = 0;
        loop {
            let mut ordered = Box::pin(ctx.wait_condition(|this| this.is_wanted || this.discarded.is_some()));
            select! {
                ordered = ordered => ordered?,
                _ = too_old => return Ok(Json(parked.ended(None))),
            }
            let discarded = ctx.state(|this| this.discarded.clone());
            if discarded.is_some() {
                return Ok(Json(parked.ended(discarded)));
            }
            ctx.state_mut(|this| this.is_wanted = false);
            parked.step = again(ctx, &parked.item, &parked.target, parked.step.clone()).await?;
            if parked.step.result == StepResult::Ok {
                let Undelivered { item, target, step, .. } = parked;
                late::tell_updaters(ctx, Late { item, target }).await?;
                return Ok(Json(Unparked { step, delivered: true, discarded: None }));
            }
            if let Some(why) = parked.no_longer_wanted() {
                return Ok(Json(parked.ended(Some(why))));
            }
            ctx.upsert_search_attributes([search_attributes::ERROR.value_set(code(&parked.step))]);
            scheduled += size(&parked.item);
            if scheduled > MOST_BYTES || ctx.history_length() > MOST_EVENTS {
                let left = left(begun, ctx.workflow_time(), kept);
                return go_on_anew(ctx, parked, left).map(|never| match never {});
            }
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

impl Undelivered {
    /// Its end, if it is not made.
    fn ended(self, discarded: Option<String>) -> Unparked {
        Unparked { step: self.step, delivered: false, discarded }
    }

    /// Why the last round found that it is not wanted any more.
    fn no_longer_wanted(&self) -> Option<String> {
        let error = self.step.error.as_ref()?;
        NOT_WANTED.contains(&error.code.as_str()).then(|| error.message.clone())
    }
}

/// Takes the orders over that came while the run before ended.
fn take_over(ctx: &WorkflowContext<ParkedDeliveryWorkflow>, parked: &mut Undelivered) {
    let (is_wanted, discarded) = (std::mem::take(&mut parked.is_wanted), parked.discarded.take());
    if is_wanted || discarded.is_some() {
        ctx.state_mut(|this| {
            this.is_wanted |= is_wanted;
            this.discarded = this.discarded.take().or(discarded);
        });
    }
}

/// Goes on in a new run, with an empty history and the same search attributes.
fn go_on_anew(
    ctx: &WorkflowContext<ParkedDeliveryWorkflow>,
    parked: Undelivered,
    left: Duration,
) -> WorkflowResult<Infallible> {
    let (is_wanted, discarded) = ctx.state(|this| (this.is_wanted, this.discarded.clone()));
    let next = Undelivered { left: Some(left), is_wanted, discarded, ..parked };
    ctx.continue_as_new(Json(next), ContinueAsNewOptions::default())
}

/// What is left of the time that a run had when it began.
fn left(begun: Option<SystemTime>, now: Option<SystemTime>, kept: Duration) -> Duration {
    let passed = begun.zip(now).and_then(|(begun, now)| now.duration_since(begun).ok());
    // At least a second, so that an order that was taken over goes first.
    kept.saturating_sub(passed.unwrap_or_default()).max(Duration::from_secs(1))
}

/// The attempts of one more round.
async fn again<W: Budgeted>(
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
    let retry = target.patient_retry();
    let options = durable(item, &target.name, &retry, before.attempts, target.queue.as_deref());
    room(ctx, &call).await;
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
    let parked = Undelivered {
        item: item.clone(),
        target: target.clone(),
        step: step.clone(),
        left: None,
        is_wanted: false,
        discarded: None,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_run_has_what_is_left_of_the_time() {
        let begun = SystemTime::UNIX_EPOCH;
        let seconds = Duration::from_secs;
        assert_eq!(left(Some(begun), Some(begun + seconds(60)), seconds(100)), seconds(40));
        assert_eq!(left(Some(begun), Some(begun + seconds(160)), seconds(100)), seconds(1));
        assert_eq!(left(None, None, seconds(100)), seconds(100));
    }
}
