//! How activities are scheduled: local ones, which begin a call in the process of their workflow, and durable ones, with the
//! retry policy and the timeouts of their receiver.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use temporalio_common::{ActivityDefinition, RetryPolicy as TemporalRetryPolicy};
use temporalio_sdk::{
    ActivityCloseTimeouts, ActivityExecutionError, ActivityOptions, LocalActivityOptions, WorkflowContext,
};

use super::completion::{Budgeted, next_task, recorded};
use super::continued::{Answer, Continuation};
use super::input::{Input, Local};
use crate::alert::AlertItem;
use crate::plan::RetryPolicy;

/// Longest duration of a local activity, which leaves its call to a durable one before that (`calls::PATIENCE`). The workflow task
/// that holds it may take 10 s.
pub(super) const LOCAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a delivery may be in a task queue of its own, its attempts included, where no age is set.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long Temporal waits for a durable attempt's heartbeat before it takes the worker for lost.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(15);

/// Begins a call in this process and waits for it: over several workflow tasks, where one has to be recorded meanwhile. What is
/// recorded of it each time has at most `most` bytes.
pub(super) async fn first_call<W, A, T, R>(
    ctx: &WorkflowContext<W>,
    most: usize,
    activity: impl Fn() -> A,
    call: T,
) -> Result<Answer<R>, ActivityExecutionError>
where
    W: Budgeted,
    A: ActivityDefinition<Input = Input<T>, Output = Answer<R>>,
    T: Clone + Send + Sync + 'static,
    R: Serialize,
{
    let mut there = None;
    loop {
        match recorded(ctx, most, locally(ctx, activity(), call.clone(), there)).await {
            Ok(Answer::Later(continuation)) => there = Some(continuation),
            answer => return answer,
        }
        next_task(ctx).await;
    }
}

/// Runs a local activity; `there` is where its call was begun, if it was.
pub(super) async fn locally<W, A, T>(
    ctx: &WorkflowContext<W>,
    activity: A,
    call: T,
    there: Option<Continuation>,
) -> Result<A::Output, ActivityExecutionError>
where
    A: ActivityDefinition<Input = Input<T>>,
    T: Send + Sync + 'static,
{
    let options = LocalActivityOptions::builder()
        .start_to_close_timeout(LOCAL_TIMEOUT)
        .retry_policy(TemporalRetryPolicy::builder().maximum_attempts(1).build())
        .build();
    let (call, _loan) = Input::lent(call, Local { workflow_task: ctx.history_length(), there });
    ctx.execute_local_activity(activity, call, options).await
}

/// Options of the attempts after the first. Each failure carries the delay to the next (`failure::from_step`), so
/// that Temporal's own policy only bounds them.
pub(super) fn durable(
    item: &AlertItem,
    name: &str,
    policy: &RetryPolicy,
    attempts_before: u32,
    queue: Option<&str>,
) -> ActivityOptions {
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
    let mut options = ActivityOptions::with_close_timeouts(timeouts(policy, queue.is_some()))
        .activity_id(format!("{}/{name}", item.id))
        .retry_policy(retry)
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .build();
    options.task_queue = queue.map(str::to_owned);
    options
}

/// What waits in a queue that nobody serves any more has an end, too.
fn timeouts(policy: &RetryPolicy, is_queued: bool) -> ActivityCloseTimeouts {
    let start_to_close = policy.timeout();
    match age(policy, is_queued) {
        None => ActivityCloseTimeouts::StartToClose(start_to_close),
        Some(schedule_to_close) => ActivityCloseTimeouts::ScheduleAndStartToClose {
            schedule_to_close,
            start_to_close: start_to_close.min(schedule_to_close),
        },
    }
}

/// The longest that a delivery may take, from its first attempt on.
fn age(policy: &RetryPolicy, is_queued: bool) -> Option<Duration> {
    policy.maximum_age.map(|age| age.unsigned_abs()).or(is_queued.then_some(LONGEST_WAIT))
}

/// The same policy with what is left of its age after `elapsed`; `None` if nothing is.
pub(super) fn left_of(policy: RetryPolicy, is_queued: bool, elapsed: Duration) -> Option<RetryPolicy> {
    let Some(age) = age(&policy, is_queued) else { return Some(policy) };
    let left = age.checked_sub(elapsed).filter(|left| !left.is_zero())?;
    let maximum_age = SignedDuration::try_from(left).ok().or(policy.maximum_age);
    Some(RetryPolicy { maximum_age, ..policy })
}

/// The same policy without an end: what it is for has to succeed.
pub(super) fn endless(retry: RetryPolicy) -> RetryPolicy {
    RetryPolicy { maximum_attempts: 0, maximum_age: None, ..retry }
}
