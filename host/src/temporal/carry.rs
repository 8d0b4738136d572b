//! The life of one alert, as two functions over the workflow context that both workflows call: process and plan; then all
//! receivers in parallel, then the updaters; what fails goes on durably.
//!
//! The first attempt of everything is a local activity: three of them cost 3 history events instead of 18, and one
//! round trip. The SDK keeps the workflow task open meanwhile, so they are short: a call that takes longer goes on, and a
//! durable activity in the same process joins it (`continued.rs`).
//!
//! Thousands of alerts wait in memory for a retry, each in a future that is as large as its largest step. Large steps are therefore
//! boxed: a box is there only while its step goes on.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use temporalio_common::protos::temporal::api::enums::v1::TimeoutType;
use temporalio_sdk::workflows::{join, join_all, select};
use temporalio_sdk::{ActivityCancellationType, ActivityExecutionError, WorkflowContext, WorkflowResult};

use super::activities::{ACKNOWLEDGED, AlertActivities, NOT_WANTED, Notification, Processed, Processing};
use super::board::{Board, Standing};
use super::completion::{Budgeted, PROCESSING_BYTES, STEP_BYTES, room};
use super::continued::{
    Answer, Continuation, acknowledged, continue_notifying, continue_processing, ended, unless_acknowledged,
};
use super::late_delivery::Undelivered;
use super::outcome::{outcome, reached};
use super::record::record_dead_letter;
use super::retrying::Retrying;
use super::scheduling::{durable, endless, first_call, left_of};
use super::stand_ins::StandIns;
use super::updates::{Heard, follow, report_end};
use super::{ActivityConfig, failure};
use crate::alert::{AlertItem, size};
use crate::ledger::{
    Acknowledgement, Activity, Attempt, DeliveryResult, DeliveryState, Ledger, Outcome, Retry, Step,
    StepError, StepResult,
};
use crate::plan::{Plan, Planned, RetryPolicy, Target};
use crate::telemetry::metric;

/// Where one step stands once its first attempt was begun.
#[expect(clippy::large_enum_variant, reason = "there is one for each receiver of an alert, for a moment")]
pub(super) enum Begun {
    /// No attempt was made yet: it is to be a durable one.
    Not,
    /// The attempt goes on.
    Continues(Continuation),
    /// The attempt has ended.
    Ended(First),
}

/// Where one step stands after its first attempt.
pub(super) enum First {
    /// It is over.
    Done(Step),
    /// Another attempt is worth making, after this delay.
    Again(Step, Duration),
}

impl First {
    /// The same after attempts that failed before.
    pub(super) fn after(self, before: Option<Step>) -> Self {
        match self {
            First::Done(step) => First::Done(step.after(before)),
            First::Again(step, delay) => First::Again(step.after(before), delay),
        }
    }
}

/// The largest alert whose first durable attempt is made apart, in bytes of JSON: each activity has the alert in the history.
const MOST_SPLIT: usize = 64 << 10;

/// What the receivers of an alert have in common.
struct Common {
    board: Board,
    stand_ins: StandIns,
    splits: bool,
}

/// One receiver, and its fallbacks.
struct Line {
    receiver: Target,
    fallback: Vec<Target>,
}

/// What a workflow is told from outside while it carries an alert.
pub(super) trait Inbox: Budgeted {
    /// Who has acknowledged the alert of this id.
    fn acknowledgement(&self, alert: &str) -> Option<&Acknowledgement>;
}

/// Carries one alert from its plan to its outcome.
pub(super) async fn carry<W: Inbox>(
    ctx: &WorkflowContext<W>,
    mut item: Arc<AlertItem>,
    activities: &ActivityConfig,
    processed: Processed,
) -> WorkflowResult<Ledger> {
    if let Some(alert) = processed.alert {
        item = Arc::new(item.with(alert));
    }
    let (plan, decisions, mut steps) = (processed.plan, processed.decisions, processed.steps);
    let outcome = route(ctx, &item, activities, &plan, &mut steps).await?;
    let acknowledged = ctx.state(|workflow| workflow.acknowledgement(&item.id).cloned());
    let item = Arc::unwrap_or_clone(item);
    Ok(Ledger {
        id: item.id,
        outcome,
        alert: item.alert,
        metadata: item.origin.metadata.clone(),
        received_at: item.origin.received_at,
        via: item.origin.via.clone(),
        key: item.origin.key.clone(),
        from: item.origin.from,
        warnings: item.origin.warnings.clone(),
        decisions,
        steps,
        acknowledged,
        repeats: 0,
        flaps: processed.flaps,
        shown: processed.shown,
        goes_on_with: processed.goes_on_with,
        taken_back_by: None,
    })
}

/// Processes and plans. A processor that asks for another attempt gets it after a while; those before it are not asked again.
pub(super) async fn process<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<Processed> {
    let mut processed = process_once(ctx, item, activities, None).await?;
    while let Some(retrying) = processed.again.take() {
        let began = ctx.workflow_time();
        if !retrying.is_short() {
            ctx.timer(retrying.delay).await;
        }
        let retrying = retrying.due(began, ctx.workflow_time());
        let changed = processed.alert.clone().map(|alert| Arc::new(item.with(alert)));
        let next = process_once(ctx, changed.as_ref().unwrap_or(item), activities, Some(retrying)).await?;
        processed = next.following(processed);
    }
    Ok(processed)
}

/// Asks the processors and plans; a resolve first waits for its firing.
async fn process_once<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
    retrying: Option<Retrying>,
) -> WorkflowResult<Processed> {
    let processed = process_now(ctx, item, activities, retrying.clone()).await?;
    if !processed.waits {
        return Ok(processed);
    }
    let call = Processing {
        item: item.clone(),
        activities: *activities,
        skip_processors: false,
        waits: true,
        retrying,
        attempts_before: 0,
    };
    process_durably(ctx, call, "firing", &endless(activities.process_alert)).await.map_err(Into::into)
}

/// A durable attempt of the processors, and those that follow if it fails.
async fn process_durably<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    call: Processing,
    name: &str,
    retry: &RetryPolicy,
) -> Result<Processed, ActivityExecutionError> {
    let item = call.item.clone();
    let options = durable(&item, name, retry, 0, None);
    room(ctx, &call).await;
    match ctx.execute_activity(AlertActivities::process_alert, call, options).await? {
        Answer::Ended(processed) => Ok(processed),
        Answer::Continues(there) | Answer::Later(there) => {
            continue_processing(ctx, &item, retry, there).await
        }
    }
}

/// Processors fail open inside the activity. It fails itself if their process is lost, or the store does not say what came
/// before: then it is made again durably, and after the last attempt without the processors.
async fn process_now<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
    retrying: Option<Retrying>,
) -> WorkflowResult<Processed> {
    let retry = &activities.process_alert;
    let call = |skip_processors, attempts_before| Processing {
        item: item.clone(),
        activities: *activities,
        skip_processors,
        waits: false,
        retrying: retrying.clone(),
        attempts_before,
    };
    let most = size(&item.alert) + PROCESSING_BYTES;
    let first = match first_call(ctx, most, || AlertActivities::process_alert, call(false, 0)).await {
        Ok(Answer::Continues(there) | Answer::Later(there)) => {
            continue_processing(ctx, item, retry, there).await
        }
        Ok(Answer::Ended(processed)) => Ok(processed),
        Err(error) => Err(error),
    };
    match first {
        Err(ActivityExecutionError::Failed(_)) => {}
        done => return Ok(done?),
    }
    match process_durably(ctx, call(false, 1), Activity::ProcessAlert.as_str(), retry).await {
        Err(ActivityExecutionError::Failed(_)) => {}
        done => return Ok(done?),
    }
    Ok(process_durably(ctx, call(true, 0), "unprocessed", &endless(*retry)).await?)
}

/// Notifies every receiver of the plan, and reports to the updaters what becomes of it, each time that changes, and if a person
/// acknowledges the alert.
async fn route<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
    plan: &Plan,
    steps: &mut Vec<Step>,
) -> WorkflowResult<Outcome> {
    let lines: Vec<Line> =
        plan.receivers.iter().map(|planned| Line::new(planned, activities.send_notification)).collect();
    let updaters = plan.updaters.iter().map(|planned| planned.target(activities.update_alert_status));
    let updaters: Vec<Target> = updaters.collect();
    let first = join_all(lines.iter().map(|line| notify_first(ctx, item, &line.receiver))).await;
    let first = first.into_iter().collect::<WorkflowResult<Vec<Begun>>>()?;
    let splits = !updaters.is_empty() && size(&**item) <= MOST_SPLIT;
    let common = Common {
        board: Board::new(first.iter().zip(&lines).map(|(first, line)| line.standing(first, splits))),
        stand_ins: StandIns::shared(lines.iter().flat_map(|line| &line.fallback)),
        splits,
    };

    let heard = updaters.iter().map(|target| follow(ctx, item, target, plan, &common.board));
    let rest = first.into_iter().zip(lines.iter().enumerate());
    let rest = rest.map(|(first, line)| deliver(ctx, item, line, first, &common));
    let (heard, rest) = join!(join_all(heard), join_all(rest));
    let delivered = rest.into_iter().collect::<WorkflowResult<Vec<Vec<Step>>>>()?;
    let results: Vec<DeliveryResult> = delivered.iter().map(|steps| reached(steps)).collect();
    steps.extend(delivered.into_iter().flatten());

    let last = outcome(plan, &results);
    let heard = heard.into_iter().collect::<WorkflowResult<Vec<Heard>>>()?;
    steps.extend(report_end(ctx, item, &updaters, last, &results, heard).await?);
    // Nothing is pending any more, so there is an outcome.
    Ok(last.unwrap_or(Outcome::Failed))
}

/// One receiver to its end, then its fallbacks, until one has the alert. What no receiver has becomes a dead letter.
async fn deliver<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    (index, line): (usize, &Line),
    first: Begun,
    common: &Common,
) -> WorkflowResult<Vec<Step>> {
    let name = &line.receiver.name;
    let began = ctx.workflow_time();
    let first = Box::pin(finish_first(ctx, item, &line.receiver, name, first, common.splits)).await?;
    if let Some(first) = &first {
        common.board.note(ctx, index, line.progress(first));
    }
    let mut steps = vec![Box::pin(notify_on(ctx, item, &line.receiver, name, first, began)).await?];
    for stand_in in &line.fallback {
        if is_over(ctx, item, &steps) {
            break;
        }
        let step = match common.stand_ins.said(ctx, &stand_in.name).await {
            Some(step) => step,
            None => {
                let step = Box::pin(stand_in_for(ctx, item, stand_in, name)).await;
                common.stand_ins.note(ctx, &stand_in.name, step.as_ref().ok());
                step?
            }
        };
        steps.push(Step { instead_of: Some(name.clone()), ..step });
    }
    common.board.note(ctx, index, reached(&steps));
    if !is_over(ctx, item, &steps) {
        steps[0].dead_letter = Some(Box::pin(give_to_store(ctx, item, &line.receiver, &steps[0])).await?);
    }
    Ok(steps)
}

/// Makes a dead letter of a delivery, and returns its id.
async fn give_to_store<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    step: &Step,
) -> WorkflowResult<String> {
    let undelivered = Undelivered { item: item.clone(), target: target.clone(), step: step.clone() };
    let id = undelivered.id();
    record_dead_letter(ctx, undelivered).await?;
    if !ctx.is_replaying() {
        metric::dead_letter(&target.name);
    }
    Ok(id)
}

async fn stand_in_for<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    stand_in: &Target,
    receiver: &str,
) -> WorkflowResult<Step> {
    let name = format!("{}-for-{receiver}", stand_in.name);
    let began = ctx.workflow_time();
    let first = notify_first(ctx, item, stand_in).await?;
    let first = finish_first(ctx, item, stand_in, &name, first, false).await?;
    notify_on(ctx, item, stand_in, &name, first, began).await
}

/// Whether a receiver has the alert, or none is to have it any more.
fn is_over<W: Inbox>(ctx: &WorkflowContext<W>, item: &AlertItem, steps: &[Step]) -> bool {
    let has_it = steps.iter().any(|step| step.result == StepResult::Ok);
    let codes = || steps.iter().filter_map(|step| Some(step.error.as_ref()?.code.as_str()));
    let is_unwanted = codes().any(|code| NOT_WANTED.contains(&code));
    has_it || is_unwanted || ctx.state(|workflow| workflow.acknowledgement(&item.id).is_some())
}

impl Line {
    fn new(planned: &Planned, usual: RetryPolicy) -> Self {
        let count = planned.fallback.len();
        let target = |planned: &Planned, after| Target { gives_way: after > 0, ..planned.target(usual) };
        let fallback = planned.fallback.iter().enumerate();
        let fallback = fallback.map(|(index, planned)| target(planned, count - index - 1)).collect();
        Self { receiver: target(planned, count), fallback }
    }

    /// How far it has come once its first attempt was begun. Where that does not end by itself, its updaters are not left to wait.
    fn standing(&self, first: &Begun, splits: bool) -> Standing {
        let untried = |message: String| DeliveryResult {
            receiver: self.receiver.name.clone(),
            state: DeliveryState::Pending,
            message,
        };
        let (result, is_untried) = match first {
            Begun::Ended(first) => (self.progress(first), false),
            Begun::Continues(there) => (untried(format!("its attempt goes on at {}", there.host)), true),
            Begun::Not => (untried("waits for its turn".to_owned()), splits),
        };
        Standing { result, is_untried }
    }

    /// How far it has come after the first attempt.
    fn progress(&self, first: &First) -> DeliveryResult {
        let pending = |result| DeliveryResult { state: DeliveryState::Pending, ..result };
        match first {
            First::Done(step) if step.result == StepResult::Failed && !self.fallback.is_empty() => {
                pending(DeliveryResult::from(step))
            }
            First::Done(step) => DeliveryResult::from(step),
            First::Again(step, _) => pending(DeliveryResult::from(step)),
        }
    }
}

/// Begins the first attempt; none is made here where it is to be a durable one.
async fn notify_first<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
) -> WorkflowResult<Begun> {
    if item.acknowledged.is_some() {
        return Ok(Begun::Ended(First::Done(stopped(ctx, item, target, None))));
    }
    if target.queue.is_some() || target.slow {
        return Ok(Begun::Not);
    }
    let call =
        Notification { item: item.clone(), target: target.clone(), attempts_before: 0, is_late: false };
    let result = first_call(ctx, STEP_BYTES, || AlertActivities::send_notification, call).await;
    begun(ctx, Activity::SendNotification, target, result)
}

/// The rest of the first attempt; `name` tells the activity from the others of the alert. Where it is to be a durable one, it is made
/// apart from those after it if `splits`, so that its end is known, and otherwise together with them.
async fn finish_first<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    name: &str,
    begun: Begun,
    splits: bool,
) -> WorkflowResult<Option<First>> {
    let first = match begun {
        Begun::Not if !splits => return Ok(None),
        Begun::Not => notify_once(ctx, item, target, name).await?,
        Begun::Ended(first) => first,
        Begun::Continues(there) => continue_notifying(ctx, item, target, name, there).await?,
    };
    Ok(Some(first))
}

/// One durable attempt.
async fn notify_once<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    name: &str,
) -> WorkflowResult<First> {
    const ACTIVITY: Activity = Activity::SendNotification;
    let once = RetryPolicy { maximum_attempts: 1, ..target.patient_retry() };
    match notify_durably(ctx, item, target, name, &once, 0).await {
        None => Ok(First::Done(stopped(ctx, item, target, None))),
        // Its time in the queue is over.
        Some(Err(error)) if failure::timeout_of(&error) == Some(TimeoutType::ScheduleToClose) => {
            Ok(First::Done(failure::into_step(ACTIVITY, target, 1, Err(error))?))
        }
        Some(result) => judged(ctx, ACTIVITY, target, result),
    }
}

/// Durable attempts by a policy; none of them counts if an acknowledgement ended them.
async fn notify_durably<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    name: &str,
    retry: &RetryPolicy,
    attempts_before: u32,
) -> Option<Result<Step, ActivityExecutionError>> {
    let token = ctx.cancellation_token().child_token();
    let call = Notification { item: item.clone(), target: target.clone(), attempts_before, is_late: false };
    room(ctx, &call).await;
    let mut options = durable(item, name, retry, attempts_before, target.queue.as_deref());
    options.cancellation_token = Some(token.clone());
    // What is under way may still succeed: then it has.
    options.cancellation_type = ActivityCancellationType::WaitCancellationCompleted;
    let activity = ctx.execute_activity(AlertActivities::send_notification, call, options);
    Some(unless_acknowledged(ctx, item, token, Duration::ZERO, activity).await?.and_then(ended))
}

/// The attempts after the first one; all of them, if that was not made. The receiver's `maximum-age` counts since `began`.
async fn notify_on<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    name: &str,
    first: Option<First>,
    began: Option<SystemTime>,
) -> WorkflowResult<Step> {
    let (before, delay) = match first {
        Some(First::Done(step)) => return Ok(step),
        Some(First::Again(step, delay)) => (Some(step), delay),
        None => (None, Duration::ZERO),
    };
    if !delay.is_zero() {
        let mut over = pin!(acknowledged(ctx, item).fuse());
        let mut timer = ctx.timer(delay);
        select! {
            () = over => return Ok(stopped(ctx, item, target, before)),
            _ = timer => {}
        }
    }
    let elapsed = began.zip(ctx.workflow_time()).and_then(|(began, now)| now.duration_since(began).ok());
    let left = left_of(target.patient_retry(), target.queue.is_some(), elapsed.unwrap_or_default());
    let (before, retry) = match (before, left) {
        (Some(step), None) => return Ok(step),
        (before, left) => (before, left.unwrap_or_else(|| target.patient_retry())),
    };
    let attempts_before = before.as_ref().map_or(0, |step| step.attempts);
    let Some(result) = notify_durably(ctx, item, target, name, &retry, attempts_before).await else {
        return Ok(stopped(ctx, item, target, before));
    };
    let most = target.retry.maximum_attempts;
    Ok(failure::into_step(Activity::SendNotification, target, most, result)?.after(before))
}

/// A delivery that ended since somebody took the alert over. Of the durable attempts nothing is known: Temporal keeps no details
/// of what was cancelled.
pub(super) fn stopped<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &AlertItem,
    target: &Target,
    before: Option<Step>,
) -> Step {
    let by = ctx
        .state(|workflow| workflow.acknowledgement(&item.id).map(|one| one.by.clone()))
        .unwrap_or_default();
    let error = StepError {
        code: ACKNOWLEDGED.to_owned(),
        message: format!("no further attempt: acknowledged by {by}"),
        retry: Retry::Never,
    };
    let mut step = before.unwrap_or_else(|| Step::untried(Activity::SendNotification, &target.name));
    step.before.extend(Attempt::of(&step));
    Step { result: StepResult::Failed, error: Some(error), ..step }
}

/// Judges what a first, local activity returned.
fn begun<W>(
    ctx: &WorkflowContext<W>,
    activity: Activity,
    target: &Target,
    result: Result<Answer<Step>, ActivityExecutionError>,
) -> WorkflowResult<Begun> {
    let result = match result {
        Ok(Answer::Continues(there) | Answer::Later(there)) => return Ok(Begun::Continues(there)),
        Ok(Answer::Ended(step)) => Ok(step),
        Err(error) => Err(error),
    };
    judged(ctx, activity, target, result).map(Begun::Ended)
}

/// Judges a first attempt: over, or worth another one.
pub(super) fn judged<W>(
    ctx: &WorkflowContext<W>,
    activity: Activity,
    target: &Target,
    result: Result<Step, ActivityExecutionError>,
) -> WorkflowResult<First> {
    let step = failure::into_step(activity, target, 1, result)?;
    let retry = match (&step.result, &step.error) {
        (StepResult::Failed, Some(error)) => error.retry,
        _ => Retry::Never,
    };
    if !retry.is_worthwhile() || target.retry.is_exhausted_by(step.attempts) {
        return Ok(First::Done(step));
    }
    let again = || target.retry.delay_after(step.attempts.max(1), ctx.random::<f64>());
    let delay = retry.delay().unwrap_or_else(again);
    let is_too_late = target.retry.maximum_age.is_some_and(|age| delay >= age.unsigned_abs());
    Ok(if is_too_late { First::Done(step) } else { First::Again(step, delay) })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::temporal::workflows::BatchAlertProcessingWorkflow;

    type Context = &'static WorkflowContext<BatchAlertProcessingWorkflow>;

    /// How much memory the future that a function returns takes, in bytes.
    pub(in crate::temporal) fn size_of_future<F: Future>(_: impl FnOnce() -> F) -> usize {
        size_of::<F>()
    }

    /// What is passed where nothing is called.
    pub(in crate::temporal) fn any<T>() -> T {
        unreachable!("the future is not made")
    }

    #[test]
    fn an_alert_that_waits_for_a_retry_takes_little_memory() {
        let carried = size_of_future(|| carry(any::<Context>(), any(), any::<&ActivityConfig>(), any()));
        let delivered = size_of_future(|| {
            deliver(
                any::<Context>(),
                any::<&Arc<AlertItem>>(),
                any::<(usize, &Line)>(),
                any(),
                any::<&Common>(),
            )
        });
        let retried = size_of_future(|| {
            notify_on(
                any::<Context>(),
                any::<&Arc<AlertItem>>(),
                any::<&Target>(),
                any::<&str>(),
                any(),
                any(),
            )
        });
        assert!(carried + delivered + retried < 10 << 10, "{carried} + {delivered} + {retried} bytes");
    }
}
