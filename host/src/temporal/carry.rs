//! The life of one alert, as two functions over the workflow context that both workflows call: process and plan; then all
//! receivers in parallel, then the updaters; what fails goes on durably.
//!
//! The first attempt of everything is a local activity: three of them cost 3 history events instead of 18, and one
//! round trip. The SDK keeps the workflow task open meanwhile, so they are short: a call that takes longer goes on, and a
//! durable activity in the same process joins it (`continued.rs`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use temporalio_sdk::workflows::{join, join_all, select};
use temporalio_sdk::{ActivityCancellationType, ActivityExecutionError, WorkflowContext, WorkflowResult};

use super::activities::{ACKNOWLEDGED, AlertActivities, Notification, Processed, Processing, StatusUpdate};
use super::completion::{Budgeted, PROCESSING_BYTES, STEP_BYTES, room};
use super::continued::{
    Answer, Continuation, acknowledged, continue_notifying, continue_processing, continue_updating, ended,
    unless_acknowledged,
};
use super::outcome::{outcome, reached};
use super::scheduling::{durable, endless, first_call};
use super::retrying::Retrying;
use super::stand_ins::StandIns;
use super::{ActivityConfig, failure, parked};
use crate::alert::{AlertItem, size};
use crate::ledger::{
    Acknowledgement, Activity, Attempt, DeliveryResult, DeliveryState, Ledger, Outcome, Retry, Step,
    StepError, StepResult,
};
use crate::plan::{Plan, Planned, RetryPolicy, Target};

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

/// One receiver, and who is told when it is given up.
struct Line {
    receiver: Target,
    fallback: Vec<Target>,
}

/// What a workflow is told from outside while it carries an alert.
pub(super) trait Inbox: Budgeted {
    /// Who has taken over the alert of this id, if somebody has.
    fn acknowledgement(&self, alert: &str) -> Option<&Acknowledgement>;

    /// How often the alert of this id was posted again.
    fn repeats(&self, alert: &str) -> u32;

    /// From now on, or no longer, the end of an alert can be taken back.
    fn hold(&mut self, _: bool) {}

    /// The alert that fires again while the end of the one before was held back.
    fn again(&self) -> Option<&str> {
        None
    }

    /// Whether the workflow carries others that are not at their end, so that this alert can still be taken over.
    fn is_waiting_for_others(&self) -> bool {
        false
    }

    /// The alert of this id is under way.
    fn begin(&mut self, _: &str) {}

    /// The alert of this id is at its end.
    fn end(&mut self, _: &str) {}
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
    let (mut plan, mut decisions, mut steps) = (processed.plan, processed.decisions, processed.steps);
    let mut taken_back_by = None;
    if let Some(hold) = processed.hold
        && let Some(again) = held_back(ctx, hold.unsigned_abs()).await
    {
        decisions.push(format!("nobody is told: it fires again, as {again}"));
        plan = Plan { dropped: true, ..Plan::default() };
        taken_back_by = Some(again);
    }
    let outcome = route(ctx, &item, activities, &plan, &mut steps).await?;
    let acknowledged = ctx.state(|workflow| workflow.acknowledgement(&item.id).cloned());
    let repeats = ctx.state(|workflow| workflow.repeats(&item.id));
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
        repeats,
        flaps: processed.flaps,
        shown: processed.shown,
        goes_on_with: processed.goes_on_with,
        taken_back_by,
    })
}

/// Holds the end of an alert back; gives the alert that fires again meanwhile, if one does.
async fn held_back<W: Inbox>(ctx: &WorkflowContext<W>, hold: Duration) -> Option<String> {
    ctx.state_mut(|workflow| workflow.hold(true));
    let again = async {
        let _ = ctx.wait_condition(|workflow| workflow.again().is_some()).await;
    };
    let mut again = pin!(again.fuse());
    let mut timer = ctx.timer(hold);
    select! {
        () = again => {}
        _ = timer => {}
    }
    ctx.state_mut(|workflow| {
        workflow.hold(false);
        workflow.again().map(str::to_owned)
    })
}

/// Processes and plans; a resolve first waits for its firing.
pub(super) async fn process<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<Processed> {
    let mut processed = process_once(ctx, item, activities, None).await?;
    let began = ctx.workflow_time();
    while let Some(retrying) = processed.again.take() {
        ctx.timer(retrying.delay).await;
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

        retrying,
/// Processors fail open inside the activity. It fails itself if their process is lost, or Temporal does not say what became of
/// another alert: then it is made again durably, and after the last attempt without the processors.
async fn process_now<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    activities: &ActivityConfig,
) -> WorkflowResult<Processed> {
    let retry = &activities.process_alert;
    let call = |skip_processors, attempts_before| Processing {
        item: item.clone(),
        activities: *activities,
        skip_processors,
        waits: false,
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
    retrying: Option<Retrying>,
        done => return Ok(done?),
    }
    Ok(process_durably(ctx, call(true, 0), "unprocessed", &endless(*retry)).await?)
}

/// Notifies every receiver of the plan and tells the updaters what became of it, again if that changes, or if somebody
/// takes the alert over.
        retrying: retrying.clone(),
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
    let so_far: Vec<DeliveryResult> =
        first.iter().zip(&lines).map(|(first, line)| line.progress(first)).collect();
    let is_final = so_far.iter().all(|delivery| delivery.state != DeliveryState::Pending);
    let early = outcome(plan, &so_far);

    let updates = update_all(ctx, item, &updaters, early, &so_far);
    let shared = StandIns::shared(lines.iter().flat_map(|line| &line.fallback));
    let rest = first.into_iter().zip(&lines);
    let rest = join_all(rest.map(|(first, line)| deliver(ctx, item, line, first, plan.parks, &shared)));
    let (updates, rest) = join!(updates, rest);
    let delivered = rest.into_iter().collect::<WorkflowResult<Vec<Vec<Step>>>>()?;
    let results: Vec<DeliveryResult> = delivered.iter().map(|steps| reached(steps)).collect();
    steps.extend(delivered.into_iter().flatten());
    steps.extend(updates?);

    let last = outcome(plan, &results);
    let is_told = is_final || last == early;
    steps.extend(tell_end(ctx, item, &updaters, last, &results, is_told).await?);
    // Nothing is pending any more, so there is an outcome.
    Ok(last.unwrap_or(Outcome::Failed))
}

/// Tells the updaters how the alert ended, unless they know, and who has taken it over, if somebody has: before, meanwhile, or
/// while the batch that carries it still goes on.
async fn tell_end<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    updaters: &[Target],
    outcome: Option<Outcome>,
    results: &[DeliveryResult],
    is_told: bool,
) -> WorkflowResult<Vec<Step>> {
    let taken_over =
        || ctx.state(|workflow| workflow.acknowledgement(&item.id).map(|one| one.noted_in(item)));
    let mut steps = Vec::new();
    let mut acknowledged = taken_over();
    if acknowledged.is_none() && !is_told {
        steps.extend(update_all(ctx, item, updaters, outcome, results).await?);
        acknowledged = taken_over();
    }
    if acknowledged.is_none() {
        ctx.state_mut(|workflow| workflow.end(&item.id));
        let is_over =
            |workflow: &W| workflow.acknowledgement(&item.id).is_some() || !workflow.is_waiting_for_others();
        let _ = ctx.wait_condition(is_over).await;
        acknowledged = taken_over();
        if acknowledged.is_some() {
            ctx.state_mut(|workflow| workflow.begin(&item.id));
        }
    }
    if let Some(item) = &acknowledged {
        steps.extend(update_all(ctx, item, updaters, outcome, results).await?);
    }
    Ok(steps)
}

/// One receiver to its end, then those that stand in for it, until one has the alert. What nobody has is parked.
async fn deliver<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    line: &Line,
    first: Begun,
    parks: bool,
    shared: &StandIns,
) -> WorkflowResult<Vec<Step>> {
    let mut steps = vec![notify_on(ctx, item, &line.receiver, &line.receiver.name, first).await?];
    for stand_in in &line.fallback {
        if is_over(ctx, item, &steps) {
            break;
        }
        let step = match shared.said(ctx, &stand_in.name).await {
            Some(step) => step,
            None => {
                let told = stand_in_for(ctx, item, stand_in, &line.receiver.name).await;
                shared.note(ctx, &stand_in.name, told.as_ref().ok());
                told?
            }
        };
        steps.push(Step { instead_of: Some(line.receiver.name.clone()), ..step });
    }
    if parks && !is_over(ctx, item, &steps) {
        steps[0].parked = Some(parked::park(ctx, item, &line.receiver, &steps[0]).await?);
    }
    Ok(steps)
}

async fn stand_in_for<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    stand_in: &Target,
    receiver: &str,
) -> WorkflowResult<Step> {
    let first = notify_first(ctx, item, stand_in).await?;
    notify_on(ctx, item, stand_in, &format!("{}-for-{receiver}", stand_in.name), first).await
}

/// Whether somebody has the alert, or has taken it over.
fn is_over<W: Inbox>(ctx: &WorkflowContext<W>, item: &AlertItem, steps: &[Step]) -> bool {
    let has_it = steps.iter().any(|step| step.result == StepResult::Ok);
    has_it || ctx.state(|workflow| workflow.acknowledgement(&item.id).is_some())
}

impl Line {
    fn new(planned: &Planned, usual: RetryPolicy) -> Self {
        let count = planned.fallback.len();
        let target = |planned: &Planned, after| Target { gives_way: after > 0, ..planned.target(usual) };
        let fallback = planned.fallback.iter().enumerate();
        let fallback = fallback.map(|(index, planned)| target(planned, count - index - 1)).collect();
        Self { receiver: target(planned, count), fallback }
    }

    /// How far it has come after the first attempt.
    fn progress(&self, first: &Begun) -> DeliveryResult {
        let pending = |result| DeliveryResult { state: DeliveryState::Pending, ..result };
        let without_answer = |message: String| DeliveryResult {
            receiver: self.receiver.name.clone(),
            state: DeliveryState::Pending,
            message,
        };
        match first {
            Begun::Ended(First::Done(step))
                if step.result == StepResult::Failed && !self.fallback.is_empty() =>
            {
                pending(DeliveryResult::from(step))
            }
            Begun::Ended(First::Done(step)) => DeliveryResult::from(step),
            Begun::Ended(First::Again(step, _)) => pending(DeliveryResult::from(step)),
            Begun::Continues(there) => without_answer(format!("its attempt goes on at {}", there.host)),
            Begun::Not => without_answer("waits for its turn".to_owned()),
        }
    }
}

/// Begins the first attempt; none is made here where it is to be a durable one.
async fn notify_first<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
) -> WorkflowResult<Begun> {
    if target.queue.is_some() || target.slow {
        return Ok(Begun::Not);
    }
    let call =
        Notification { item: item.clone(), target: target.clone(), attempts_before: 0, was_parked: false };
    let result = first_call(ctx, STEP_BYTES, || AlertActivities::send_notification, call).await;
    begun(ctx, Activity::SendNotification, target, result)
}

/// The rest of the first attempt and those after it; `name` tells the activity from the others of the alert.
async fn notify_on<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    name: &str,
    begun: Begun,
) -> WorkflowResult<Step> {
    let first = match begun {
        Begun::Not => None,
        Begun::Ended(first) => Some(first),
        Begun::Continues(there) => Some(continue_notifying(ctx, item, target, name, there).await?),
    };
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
    let attempts_before = before.as_ref().map_or(0, |step| step.attempts);
    let token = ctx.cancellation_token().child_token();
    let call =
        Notification { item: item.clone(), target: target.clone(), attempts_before, was_parked: false };
    room(ctx, &call).await;
    let mut options = durable(item, name, &target.retry, attempts_before, target.queue.as_deref());
    options.cancellation_token = Some(token.clone());
    // What is under way may still succeed: then it has.
    options.cancellation_type = ActivityCancellationType::WaitCancellationCompleted;
    let activity = ctx.execute_activity(AlertActivities::send_notification, call, options);
    let Some(result) = unless_acknowledged(ctx, item, token, Duration::ZERO, activity).await else {
        return Ok(stopped(ctx, item, target, before));
    };
    let most = target.retry.maximum_attempts;
    let step = failure::into_step(Activity::SendNotification, target, most, result.and_then(ended))?;
    Ok(step.after(before))
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

/// Tells every updater the outcome so far.
pub(super) async fn update_all<W: Budgeted>(
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

async fn update<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    target: &Target,
    call: StatusUpdate,
) -> WorkflowResult<Step> {
    const ACTIVITY: Activity = Activity::UpdateAlertStatus;
    let begun = match target.slow {
        true => Begun::Not,
        false => {
            let first = || AlertActivities::update_alert_status;
            let result = first_call(ctx, STEP_BYTES, first, call.clone()).await;
            begun(ctx, ACTIVITY, target, result)?
        }
    };
    let first = match begun {
        Begun::Not => None,
        Begun::Ended(first) => Some(first),
        Begun::Continues(there) => Some(continue_updating(ctx, &call.item, target, there).await?),
    };
    let (before, delay) = match first {
        Some(First::Done(step)) => return Ok(step),
        Some(First::Again(step, delay)) => (Some(step), delay),
        None => (None, Duration::ZERO),
    };
    if !delay.is_zero() {
        ctx.timer(delay).await;
    }
    let attempts_before = before.as_ref().map_or(0, |step| step.attempts);
    let options = durable(&call.item, &target.name, &target.retry, attempts_before, None);
    let call = StatusUpdate { attempts_before, ..call };
    room(ctx, &call).await;
    let result = ctx.execute_activity(AlertActivities::update_alert_status, call, options).await;
    let most = target.retry.maximum_attempts;
    Ok(failure::into_step(ACTIVITY, target, most, result.and_then(ended))?.after(before))
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
    let delay = retry.delay().unwrap_or_else(|| target.retry.delay_after(1, ctx.random::<f64>()));
    let is_too_late = target.retry.maximum_age.is_some_and(|age| delay >= age.unsigned_abs());
    Ok(if is_too_late { First::Done(step) } else { First::Again(step, delay) })
}
