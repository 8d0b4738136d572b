//! A delivery that exhausted its retries, and that an operator has tried again: one more round of attempts under the same delivery id,
//! then the store is given what became of it, and the updaters of its alert a report.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use super::activities::{AlertActivities, LookedBack, Notification};
use super::completion::{Budgeted, CompletionBudget, room};
use super::continued::ended;
use super::failure;
use super::json::Json;
use super::record::record_late_delivery;
use super::scheduling::{durable, endless};
use super::updates::update_all;
use crate::alert::AlertItem;
use crate::ledger::{Activity, Step, StepResult};
use crate::plan::{RetryPolicy, Target};

/// A delivery that exhausted its retries: all that another attempt needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Undelivered {
    /// The alert after processing.
    pub item: Arc<AlertItem>,
    /// The receiver.
    pub target: Target,
    /// How it ended.
    pub step: Step,
}

impl Undelivered {
    /// The id of the delivery, the same over all attempts.
    pub fn id(&self) -> String {
        delivery_id(&self.item, &self.target)
    }
}

/// The id of the delivery of an alert to a receiver.
pub(super) fn delivery_id(item: &AlertItem, target: &Target) -> String {
    format!("{}/{}", item.id, target.name)
}

/// Tries a delivery again.
#[workflow]
#[derive(Default)]
pub struct LateDeliveryWorkflow {
    budget: CompletionBudget,
}

impl Budgeted for LateDeliveryWorkflow {
    fn budget(&self) -> &CompletionBudget {
        &self.budget
    }
}

#[workflow_methods]
impl LateDeliveryWorkflow {
    /// Completes when the delivery exhausted its retries once more, or was made and every updater has the report or exhausted its own.
    #[run]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        undelivered: Json<Undelivered>,
    ) -> WorkflowResult<Json<Vec<Step>>> {
        let (ctx, Json(before)) = (&*ctx, undelivered);
        let step = try_again(ctx, &before).await?;
        let is_delivered = step.result == StepResult::Ok;
        let after = Undelivered { step: step.clone(), ..before };
        record_late_delivery(ctx, after.clone()).await?;
        let mut steps = vec![step];
        if is_delivered {
            let options = durable(&after.item, "look-back", &endless(after.target.retry), 0, None);
            let found = ctx.execute_activity(AlertActivities::look_back, after.clone(), options).await?.0;
            let LookedBack { updaters, outcome, deliveries } = found;
            steps.extend(update_all(ctx, &after.item, &updaters, outcome, &deliveries).await?);
        }
        Ok(Json(steps))
    }
}

/// The attempts of one more round.
async fn try_again<W: Budgeted>(ctx: &WorkflowContext<W>, before: &Undelivered) -> WorkflowResult<Step> {
    let Undelivered { item, target, step } = before;
    let most = target.retry.maximum_attempts;
    let most = if most == 0 { 0 } else { most.saturating_add(step.attempts) };
    let retry = RetryPolicy { maximum_attempts: most, ..target.retry };
    // No fallback comes after it.
    let target = Target { retry, gives_way: false, ..target.clone() };
    let call = Notification {
        item: item.clone(),
        target: target.clone(),
        attempts_before: step.attempts,
        is_late: true,
    };
    let retry = target.patient_retry();
    let options = durable(item, &target.name, &retry, step.attempts, target.queue.as_deref());
    room(ctx, &call).await;
    let result = ctx.execute_activity(AlertActivities::send_notification, call, options).await;
    let result = result.and_then(ended);
    Ok(failure::into_step(Activity::SendNotification, &target, most, result)?.after(Some(step.clone())))
}
