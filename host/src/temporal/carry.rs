//! The life of one alert, as a function over the workflow context that both workflows call: process and plan, then
//! all receivers in parallel, then the updaters; what fails goes on durably.
//!
//! The first attempt of everything is a local activity: three of them cost 3 history events instead of 18, and one
//! round trip. The SDK keeps the workflow task open meanwhile, so they are short.

use std::sync::Arc;
use std::time::Duration;

use temporalio_common::{ActivityDefinition, RetryPolicy as TemporalRetryPolicy};
use temporalio_sdk::workflows::{join, join_all};
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, LocalActivityOptions, WorkflowContext, WorkflowResult,
};

use super::activities::{AlertActivities, Notification, Processed, Processing, StatusUpdate};
use super::input::Input;
use super::json::Json;
use super::{ActivityConfig, failure};
use crate::alert::AlertItem;
use crate::ledger::{Activity, DeliveryResult, DeliveryState, Ledger, Outcome, Retry, Step, StepResult};
use crate::plan::{Plan, Planned, RetryPolicy, Target};

/// Longest duration of a local attempt. The workflow task that holds it may take 10 s; a crash repeats all
/// attempts of an open task.
pub(super) const LOCAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long Temporal waits for a durable attempt's heartbeat before it takes the worker for lost.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(15);

/// Where one step stands after its first attempt.
enum First {
    /// It is over.
    Done(Step),
    /// Another attempt is worth making, after this delay.
    Again(Step, Duration),
}

/// Carries one alert from acceptance to its outcome.
pub(super) async fn carry<W>(
    ctx: &WorkflowContext<W>,
    mut item: Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<Ledger> {
    let processed = process(ctx, &item, activities).await?;
    if let Some(alert) = processed.alert {
        item = Arc::new(item.with(alert));
    }
    let mut steps = processed.steps;
    let outcome = route(ctx, &item, activities, &processed.plan, &mut steps).await?;
    let item = Arc::unwrap_or_clone(item);
    Ok(Ledger {
        id: item.id,
        outcome,
        alert: item.alert,
        metadata: item.origin.metadata.clone(),
        received_at: item.origin.received_at,
        via: item.origin.via.clone(),
        key: item.origin.key.clone(),
        warnings: item.origin.warnings.clone(),
        decisions: processed.decisions,
        steps,
    })
}

/// Processors fail open inside the activity. It fails itself if they need more time than a local attempt has, or if the
/// worker is lost: then it goes on durably, and after the last attempt without the processors.
async fn process<W>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<Processed> {
    let retry = &activities.process_alert;
    let call = |skip_processors| Processing { item: item.clone(), activities: *activities, skip_processors };
    match locally(ctx, AlertActivities::process_alert, call(false)).await {
        Err(ActivityExecutionError::Failed(_)) => {}
        done => return Ok(done?.0),
    }
    let options = durable(item, Activity::ProcessAlert.as_str(), retry, 0);
    match ctx.execute_activity(AlertActivities::process_alert, call(false), options).await {
        Err(ActivityExecutionError::Failed(_)) => {}
        done => return Ok(done?.0),
    }
    let options = durable(item, "unprocessed", &RetryPolicy { maximum_attempts: 0, ..*retry }, 0);
    Ok(ctx.execute_activity(AlertActivities::process_alert, call(true), options).await?.0)
}

/// Notifies every receiver of the plan and tells the updaters what became of it, again if that changes.
async fn route<W>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
    plan: &Plan,
    steps: &mut Vec<Step>,
) -> WorkflowResult<Outcome> {
    let targets = |planned: &[Planned], usual| planned.iter().map(|one| one.target(usual)).collect();
    let receivers: Vec<Target> = targets(&plan.receivers, activities.send_notification);
    let updaters: Vec<Target> = targets(&plan.updaters, activities.update_alert_status);
    let first = join_all(receivers.iter().map(|target| notify_first(ctx, item, target))).await;
    let first = first.into_iter().collect::<WorkflowResult<Vec<First>>>()?;
    let so_far: Vec<DeliveryResult> = first.iter().map(progress).collect();
    let is_final = so_far.iter().all(|delivery| delivery.state != DeliveryState::Pending);
    let early = outcome(plan, &so_far);

    let updates = update_all(ctx, item, &updaters, early, &so_far);
    let rest = join_all(first.into_iter().zip(&receivers).map(|(first, target)| async move {
        match first {
            First::Done(step) => Ok(step),
            First::Again(step, delay) => notify_durably(ctx, item, target, step, delay).await,
        }
    }));
    let (updates, rest) = join!(updates, rest);
    let delivered = rest.into_iter().collect::<WorkflowResult<Vec<Step>>>()?;
    let results: Vec<DeliveryResult> = delivered.iter().map(DeliveryResult::from).collect();
    steps.extend(delivered);
    steps.extend(updates?);

    let last = outcome(plan, &results);
    if !is_final && last != early {
        steps.extend(update_all(ctx, item, &updaters, last, &results).await?);
    }
    // Nothing is pending any more, so there is an outcome.
    Ok(last.unwrap_or(Outcome::Failed))
}

/// What became of the alert, `None` while nobody has it and retries are under way.
fn outcome(plan: &Plan, results: &[DeliveryResult]) -> Option<Outcome> {
    let count = |state| results.iter().filter(|result| result.state == state).count();
    let (delivered, pending) = (count(DeliveryState::Delivered), count(DeliveryState::Pending));
    if plan.dropped {
        Some(Outcome::Dropped)
    } else if plan.unrouted {
        Some(Outcome::Unrouted)
    } else if delivered == results.len() {
        Some(Outcome::Delivered)
    } else if delivered > 0 {
        Some(Outcome::Partial)
    } else if pending > 0 {
        None
    } else {
        Some(Outcome::Failed)
    }
}

fn progress(first: &First) -> DeliveryResult {
    match first {
        First::Done(step) => DeliveryResult::from(step),
        First::Again(step, _) => {
            DeliveryResult { state: DeliveryState::Pending, ..DeliveryResult::from(step) }
        }
    }
}

async fn notify_first<W>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
) -> WorkflowResult<First> {
    let call = Notification { item: item.clone(), target: target.clone(), attempts_before: 0 };
    let result = locally(ctx, AlertActivities::send_notification, call).await;
    first(ctx, Activity::SendNotification, target, result)
}

async fn notify_durably<W>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    before: Step,
    delay: Duration,
) -> WorkflowResult<Step> {
    ctx.timer(delay).await;
    let call = Notification { item: item.clone(), target: target.clone(), attempts_before: before.attempts };
    let options = durable(item, &target.name, &target.retry, before.attempts);
    let result = ctx.execute_activity(AlertActivities::send_notification, call, options).await;
    failure::into_step(Activity::SendNotification, target, target.retry.maximum_attempts, result)
}

/// Tells every updater the outcome so far.
async fn update_all<W>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    updaters: &[Target],
    outcome: Option<Outcome>,
    deliveries: &[DeliveryResult],
) -> WorkflowResult<Vec<Step>> {
    let updates = updaters.iter().map(|target| async move {
        let call = StatusUpdate {
            item: item.clone(),
            target: target.clone(),
            attempts_before: 0,
            outcome,
            deliveries: deliveries.to_vec(),
        };
        update(ctx, target, call).await
    });
    join_all(updates).await.into_iter().collect()
}

async fn update<W>(ctx: &WorkflowContext<W>, target: &Target, call: StatusUpdate) -> WorkflowResult<Step> {
    let result = locally(ctx, AlertActivities::update_alert_status, call.clone()).await;
    match first(ctx, Activity::UpdateAlertStatus, target, result)? {
        First::Done(step) => Ok(step),
        First::Again(step, delay) => {
            ctx.timer(delay).await;
            let options = durable(&call.item, &target.name, &target.retry, step.attempts);
            let call = StatusUpdate { attempts_before: step.attempts, ..call };
            let result = ctx.execute_activity(AlertActivities::update_alert_status, call, options).await;
            failure::into_step(Activity::UpdateAlertStatus, target, target.retry.maximum_attempts, result)
        }
    }
}

/// Judges a first attempt: over, or worth another one.
fn first<W>(
    ctx: &WorkflowContext<W>,
    activity: Activity,
    target: &Target,
    result: Result<Json<Step>, ActivityExecutionError>,
) -> WorkflowResult<First> {
    let step = failure::into_step(activity, target, 1, result)?;
    let retry = match (&step.result, &step.error) {
        (StepResult::Failed, Some(error)) => error.retry,
        _ => Retry::Never,
    };
    if !retry.is_worthwhile() || target.retry.is_exhausted_by(step.attempts) {
        return Ok(First::Done(step));
    }
    let delay = retry.delay().unwrap_or_else(|| target.retry.delay_after(1, ctx.random::<f64>()));
    Ok(First::Again(step, delay))
}

/// Makes the first attempt of an activity, in this process.
async fn locally<W, A, T>(
    ctx: &WorkflowContext<W>,
    activity: A,
    call: T,
) -> Result<A::Output, ActivityExecutionError>
where
    A: ActivityDefinition<Input = Input<T>>,
    T: Send + Sync + 'static,
{
    let options = LocalActivityOptions::builder()
        .start_to_close_timeout(LOCAL_TIMEOUT)
        .retry_policy(TemporalRetryPolicy::builder().maximum_attempts(1).build())
        .build();
    let (call, _loan) = Input::lent(call);
    ctx.execute_local_activity(activity, call, options).await
}

/// Options of the attempts after the first. Each failure carries the delay to the next (`failure::from_step`), so
/// that Temporal's own policy only bounds them.
fn durable(item: &AlertItem, name: &str, policy: &RetryPolicy, attempts_before: u32) -> ActivityOptions {
    let attempts = match policy.maximum_attempts {
        0 => 0,
        most => most.saturating_sub(attempts_before).max(1),
    };
    let retry = TemporalRetryPolicy::builder()
        .initial_interval(policy.initial_interval.unsigned_abs())
        .backoff_coefficient(policy.coefficient)
        .maximum_interval(policy.maximum_interval.unsigned_abs())
        .maximum_attempts(attempts)
        .build();
    ActivityOptions::with_start_to_close_timeout(policy.timeout())
        .activity_id(format!("{}/{name}", item.id))
        .retry_policy(retry)
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .build()
}
