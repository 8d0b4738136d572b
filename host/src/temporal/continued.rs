//! A call that outlasts its local activity goes on: the activity returns where, and a durable one on the task queue of that
//! process joins it. Only if that process is gone is the call made again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use temporalio_common::data_converters::{
    PayloadConversionError, SerializationContext, TemporalDeserializable, TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_common::protos::temporal::api::enums::v1::TimeoutType;
use temporalio_common::{ActivityDefinition, RetryPolicy as TemporalRetryPolicy};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityExecutionError, ActivityOptions,
    WorkflowCancellationToken, WorkflowContext, WorkflowResult,
};

use super::activities::{AlertActivities, Processed};
use super::carry::{First, Inbox, judged, stopped};
use super::completion::{Budgeted, room};
use super::failure;
use super::json::Json;
use crate::alert::{AlertItem, size};
use crate::ledger::{Activity, Retry, Step, StepError};
use crate::plan::{RetryPolicy, Target};

/// How long the activity may be in the queue of its process before that counts as gone. The process polls, so this is the
/// time that Temporal takes.
pub(super) const SCHEDULE_TO_START: Duration = Duration::from_secs(10);

/// How long Temporal waits for a heartbeat before the process counts as gone.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is added to a call's own timeout, so that its own answer comes before Temporal's timeout.
const MARGIN: Duration = Duration::from_secs(5);

/// How long a call that goes on may still succeed after its alert was acknowledged. What it has made is then known, so that the
/// receiver gets the resolve, too.
const LAST_WORD: Duration = Duration::from_secs(5);

/// The code of an attempt whose process is gone.
const PROCESS_LOST: &str = "process-lost";

/// Where a call goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// The machine, for operators.
    pub host: String,
    /// The process on it: each has an id of its own.
    pub incarnation: String,
    /// The task queue of that process.
    pub queue: String,
    /// The alert that the call is about.
    pub alert: String,
    /// The receiver or updater; absent for processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// The call, among those of the workflow.
    pub call: String,
    /// When it was begun.
    #[serde(with = "crate::time::required")]
    pub at: Timestamp,
}

/// What a local activity returns.
#[derive(Clone, Debug)]
pub enum Answer<T> {
    /// The call has ended.
    Ended(T),
    /// The call goes on: a durable activity is to join it.
    Continues(Continuation),
    /// The call goes on, and its workflow task has to be recorded: the next one is to ask again.
    Later(Continuation),
}

/// How the latter two travel. Nothing else has these keys.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum GoesOn {
    Continues(Continuation),
    Later(Continuation),
}

/// An answer as JSON.
struct Shape<'a, T>(&'a Answer<T>);

impl<T: Serialize> Serialize for Shape<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Answer::Ended(value) => value.serialize(serializer),
            Answer::Continues(there) => GoesOn::Continues(there.clone()).serialize(serializer),
            Answer::Later(there) => GoesOn::Later(there.clone()).serialize(serializer),
        }
    }
}

impl<T: Serialize> TemporalSerializable for Answer<T> {
    fn to_payload(&self, ctx: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        Json(Shape(self)).to_payload(ctx)
    }
}

impl<T: Serialize> Answer<T> {
    /// How large it is, in bytes of JSON.
    pub(super) fn size(&self) -> usize {
        size(&Shape(self))
    }
}

impl<T> TemporalDeserializable for Answer<T>
where
    Json<T>: TemporalDeserializable,
{
    fn from_payload(
        ctx: &SerializationContext<'_>,
        payload: Payload,
    ) -> Result<Self, PayloadConversionError> {
        // Of anything else this reads the first key only.
        match serde_json::from_slice(&payload.data) {
            Ok(GoesOn::Continues(there)) => Ok(Answer::Continues(there)),
            Ok(GoesOn::Later(there)) => Ok(Answer::Later(there)),
            Err(_) => Ok(Answer::Ended(Json::<T>::from_payload(ctx, payload)?.0)),
        }
    }
}

/// Waits for a call that goes on, by a durable activity in its process.
async fn join_call<W: Budgeted, A>(
    ctx: &WorkflowContext<W>,
    activity: impl Fn() -> A,
    item: &AlertItem,
    name: &str,
    retry: &RetryPolicy,
    continuation: Continuation,
    token: Option<WorkflowCancellationToken>,
) -> Result<A::Output, ActivityExecutionError>
where
    A: ActivityDefinition<Input = Json<Continuation>>,
{
    let close = ActivityCloseTimeouts::StartToClose(retry.timeout() + MARGIN);
    let mut options = ActivityOptions::with_close_timeouts(close)
        .activity_id(format!("{}/{name}", item.id))
        .schedule_to_start_timeout(SCHEDULE_TO_START)
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .retry_policy(TemporalRetryPolicy::builder().maximum_attempts(1).build())
        .build();
    options.task_queue = Some(continuation.queue.clone());
    options.cancellation_token = token;
    // What runs may still succeed: then it has.
    options.cancellation_type = ActivityCancellationType::WaitCancellationCompleted;
    room(ctx, &continuation).await;
    let joined = ctx.execute_activity(activity(), Json(continuation.clone()), options.clone()).await;
    let Err(error) = &joined else { return joined };
    if !is_without_heartbeat(error) {
        return joined;
    }
    // Heartbeats are also missed while Temporal itself is away. A process that lives takes the call up again.
    options.activity_id = Some(format!("{}/{name}/again", item.id));
    options.schedule_to_start_timeout = Some(HEARTBEAT_TIMEOUT);
    room(ctx, &continuation).await;
    ctx.execute_activity(activity(), Json(continuation), options).await
}

/// Whether Temporal missed an activity's heartbeats.
fn is_without_heartbeat(error: &ActivityExecutionError) -> bool {
    failure::timeout_of(error) == Some(TimeoutType::Heartbeat)
}

/// The step of an attempt whose process is gone; none if the call itself has ended, or was cancelled.
fn lost(
    activity: Activity,
    name: &str,
    continuation: &Continuation,
    error: &ActivityExecutionError,
) -> Option<Step> {
    let ActivityExecutionError::Failed(_) = error else { return None };
    let cause = error.failure().map(failure::innermost);
    if cause.is_some_and(|cause| failure::step_of(cause).is_some()) {
        return None;
    }
    let cause = cause.map(failure::message_of).unwrap_or_default();
    let Continuation { host, incarnation, at, .. } = continuation;
    let message = format!(
        "the process {incarnation} on {host} that made the attempt is gone, so it may have been made: {cause}"
    );
    let error = StepError { code: PROCESS_LOST.to_owned(), message, retry: Retry::Backoff };
    Some(Step { attempts: 1, at: Some(*at), error: Some(error), ..Step::untried(activity, name) })
}

/// Waits for processors that need more time than a local activity has.
pub(super) async fn continue_processing<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &AlertItem,
    retry: &RetryPolicy,
    there: Continuation,
) -> Result<Processed, ActivityExecutionError> {
    let name = Activity::ProcessAlert.as_str();
    let call = || AlertActivities::continue_processing;
    Ok(join_call(ctx, call, item, name, retry, there, None).await?.0)
}

/// Waits for a first attempt that goes on.
pub(super) async fn continue_notifying<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    name: &str,
    there: Continuation,
) -> WorkflowResult<First> {
    let token = ctx.cancellation_token().child_token();
    let call = || AlertActivities::continue_attempt;
    let activity = join_call(ctx, call, item, name, &target.retry, there.clone(), Some(token.clone()));
    match unless_acknowledged(ctx, item, token, LAST_WORD, activity).await {
        None => Ok(First::Done(stopped(ctx, item, target, None))),
        Some(result) => continued(ctx, Activity::SendNotification, target, &there, result),
    }
}

/// Waits for a first update that goes on.
pub(super) async fn continue_updating<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &AlertItem,
    target: &Target,
    there: Continuation,
) -> WorkflowResult<First> {
    let call = || AlertActivities::continue_attempt;
    let result = join_call(ctx, call, item, &target.name, &target.retry, there.clone(), None).await;
    continued(ctx, Activity::UpdateAlertStatus, target, &there, result)
}

/// Judges an attempt that went on. One that was lost with its process is made again at once.
fn continued<W>(
    ctx: &WorkflowContext<W>,
    activity: Activity,
    target: &Target,
    there: &Continuation,
    result: Result<Json<Step>, ActivityExecutionError>,
) -> WorkflowResult<First> {
    match result.as_ref().err().and_then(|error| lost(activity, &target.name, there, error)) {
        Some(step) => Ok(First::Again(step, Duration::ZERO)),
        None => judged(ctx, activity, target, result.map(|Json(step)| step)),
    }
}

/// Returns when the alert is acknowledged.
pub(super) async fn acknowledged<W: Inbox>(ctx: &WorkflowContext<W>, item: &AlertItem) {
    let _ = ctx.wait_condition(|workflow| workflow.acknowledgement(&item.id).is_some()).await;
}

/// The result of an activity, which an acknowledgement cancels after this time: none if it ended by that.
pub(super) async fn unless_acknowledged<W: Inbox, T>(
    ctx: &WorkflowContext<W>,
    item: &AlertItem,
    token: WorkflowCancellationToken,
    patience: Duration,
    activity: impl Future<Output = Result<T, ActivityExecutionError>>,
) -> Option<Result<T, ActivityExecutionError>> {
    let mut activity = pin!(activity.fuse());
    let over = async {
        acknowledged(ctx, item).await;
        if !patience.is_zero() {
            ctx.timer(patience).await;
        }
    };
    let mut over = pin!(over.fuse());
    select! {
        result = activity => Some(result),
        () = over => {
            token.cancel();
            Some(activity.await).filter(|result| !matches!(result, Err(ActivityExecutionError::Cancelled(_))))
        }
    }
}

/// The step of a durable attempt, which never leaves its call to another activity.
#[expect(clippy::result_large_err, reason = "the error is the SDK's")]
pub(super) fn ended(answer: Answer<Step>) -> Result<Step, ActivityExecutionError> {
    match answer {
        Answer::Ended(step) => Ok(step),
        Answer::Continues(_) | Answer::Later(_) => Err(PayloadConversionError::WrongEncoding.into()),
    }
}

#[cfg(test)]
mod tests {
    use temporalio_common::data_converters::{PayloadConverter, SerializationContextData};

    use super::*;

    fn again<T>(answer: &Answer<T>) -> Answer<T>
    where
        Answer<T>: TemporalSerializable + TemporalDeserializable,
    {
        let converter = PayloadConverter::default();
        let ctx = SerializationContext::new(&SerializationContextData::None, &converter);
        Answer::from_payload(&ctx, answer.to_payload(&ctx).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_travels_as_its_value_or_as_where_the_call_goes_on() {
        let step = Step::untried(Activity::SendNotification, "pager");
        assert!(matches!(again(&Answer::Ended(step.clone())), Answer::Ended(same) if same == step));
        assert!(matches!(again(&Answer::Ended(Processed::default())), Answer::Ended(_)));
        let text = |text: &str| text.to_owned();
        let there = Continuation {
            host: text("h"),
            incarnation: text("i"),
            queue: text("q"),
            alert: text("a"),
            receiver: None,
            call: text("c"),
            at: Timestamp::UNIX_EPOCH,
        };
        let same = again(&Answer::<Step>::Continues(there.clone()));
        assert!(matches!(same, Answer::Continues(same) if same == there));
        let same = again(&Answer::<Processed>::Later(there.clone()));
        assert!(matches!(same, Answer::Later(same) if same == there));
    }
}
