//! The activities. Those that call plugins look them up by name at every attempt, so that a fixed plugin heals the
//! deliveries that were retrying, and turn the answer into a step of the ledger.
#![expect(missing_docs, reason = "the macro makes a constant of each activity, without its documentation")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::attempt::Attempts;
use super::calls::{Attempted, CallId, Calls, Task, Waiting};
use super::chain::Chain;
use super::continued::{Answer, Continuation};
use super::input::{Input, Local};
use super::json::Json;
use super::late::Late;
use super::link::Link;
use super::lookup::{self, LookupError, State};
use super::receivers::Receivers;
use super::repeats::{self, AT_ONCE};
use super::retrying::Retrying;
use super::{ActivityConfig, afterwards, calls, failure, firing};
use crate::alert::{Alert, AlertItem};
use crate::ledger::{self, Activity, Attempt, DeliveryResult, Outcome, Step, StepError, StepResult, is_zero};
use crate::plan::{Plan, RetryPolicy, Target, Told};
use crate::plugin::{CallError, Role};
use crate::telemetry::metric;

/// What is kept free of an activity's timeout, so that its own error comes before Temporal's timeout.
const MARGIN: Duration = Duration::from_millis(200);

/// Why a delivery is not tried.
pub(super) const TOO_OLD: &str = "its `maximum-age` is over: there was no time left for another attempt";
pub(super) const OVER: &str = "the alert was resolved since and its end told, or it was told of as one that goes on with it: to tell of it now \
                    would open what nobody closes";
/// The code of a parked firing whose end was told.
pub(super) const RESOLVED_SINCE: &str = "resolved-since";
/// The code of a delivery that is not made since somebody has taken the alert over.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";
/// The codes of parked deliveries that nobody wants any more.
pub(super) const NOT_WANTED: [&str; 2] = [RESOLVED_SINCE, ACKNOWLEDGED];

/// How often a durable attempt tells Temporal that it goes on, and learns whether it is to end.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// The activities' surroundings.
#[derive(Clone)]
pub struct AlertActivities {
    /// Who can be called.
    pub receivers: Receivers,
    /// The connection, to ask what became of a firing.
    pub link: Link,
    /// The calls of this process.
    pub calls: Calls,
}

/// The input of `process_alert`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Processing {
    /// The alert as posted, or as the processors that are not asked again left it.
    pub item: Arc<AlertItem>,
    /// How the activities that follow are retried, where a plugin sets nothing of its own.
    pub activities: ActivityConfig,
    /// Only route it: the processors had their attempts.
    pub skip_processors: bool,
    /// Of a resolve whose firing runs: to be tried again until that has come to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// A processor asked for another attempt, and its time has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrying: Option<Retrying>,
    /// Attempts made before this activity was scheduled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts_before: u32,
}

/// The result of `process_alert`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Processed {
    /// The alert after processing; absent if no processor changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
    /// Who gets it.
    pub plan: Plan,
    /// Of a resolve: how long it is held back before anybody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<SignedDuration>,
    /// How often the alert has come and gone so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flaps: u32,
    /// Of a firing that goes on with the one before: who was told of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Told>,
    /// Of a firing: the alert before it that it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_with: Option<String>,
    /// Of a resolve: its firing still runs, so that there is no plan yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// A processor asked for another attempt, so that there is no plan yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Retrying>,
    /// Why, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// What each processor did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl Processed {
    /// Bounds what is said of the processors.
    pub(super) fn bound(&mut self) {
        self.decisions.extend(ledger::bound_steps(&mut self.steps));
        ledger::bound(&mut self.decisions);
    }

    /// The same with what was known before, when a processor asked for another attempt.
    pub(super) fn following(self, before: Self) -> Self {
        let decisions = before.decisions.into_iter().chain(self.decisions).collect();
        let steps = before.steps.into_iter().chain(self.steps).collect();
        let mut all = Self { alert: self.alert.or(before.alert), decisions, steps, ..self };
        all.bound();
        all
    }
}

/// The input of `send_notification`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// The alert after processing.
    pub item: Arc<AlertItem>,
    /// The receiver.
    pub target: Target,
    /// Attempts made before this activity was scheduled.
    pub attempts_before: u32,
    /// It was parked: by now the alert may be over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_parked: bool,
}

/// The result of `look_back`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LookedBack {
    /// The updaters that were told of the alert.
    pub updaters: Vec<Target>,
    /// What has become of it.
    pub outcome: Option<Outcome>,
    /// How its receivers stand.
    pub deliveries: Vec<DeliveryResult>,
}

/// The input of `update_alert_status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// The alert after processing.
    pub item: Arc<AlertItem>,
    /// The updater.
    pub target: Target,
    /// Attempts made before this activity was scheduled.
    pub attempts_before: u32,
    /// What became of the alert so far; absent while nobody has it and retries are under way.
    pub outcome: Option<Outcome>,
    /// Receiver by receiver.
    pub deliveries: Vec<DeliveryResult>,
    /// Receivers are pending: another report follows, so that this one may fail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_interim: bool,
}

#[activities]
impl AlertActivities {
    /// Runs the chain of processors, then decides who gets the alert. A processor that fails is passed over; one that asks for
    /// another attempt ends the chain until then. The activity itself fails only where Temporal does not say what became of
    /// another alert.
    #[activity(name = "process_alert")]
    pub async fn process_alert(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: Input<Processing>,
    ) -> Result<Answer<Processed>, ActivityError> {
        if let Some(answer) = self.calls.elsewhere(call.local()) {
            return Ok(answer);
        }
        let waiting =
            Waiting { ctx: &ctx, alert: &call.item.id, receiver: None, before: &[], local: call.local() };
        let number = call.attempts_before.saturating_add(ctx.info().attempt);
        let budget = budget(&ctx, &call.activities.process_alert);
        let (host, processing) = (self.clone(), call.value());
        let task = self
            .calls
            .processings()
            .join_or_begin(call.id(&ctx), number, || host.process(processing, budget));
        match self.calls.answer(&waiting, &task, false).await? {
            Answer::Ended(processed) => processing_ended(&call, processed).map(Answer::Ended),
            Answer::Continues(there) => Ok(Answer::Continues(there)),
            Answer::Later(there) => Ok(Answer::Later(there)),
        }
    }

    /// Waits for the processors of an alert that went on in this process.
    #[activity(name = "continue_processing")]
    pub async fn continue_processing(
        self: Arc<Self>,
        ctx: ActivityContext,
        continuation: Json<Continuation>,
    ) -> Result<Json<Processed>, ActivityError> {
        let task = self.calls.processings().get(&of_run(&ctx, &continuation.call)).ok_or_else(unknown)?;
        task.join();
        let waiting = Waiting::durably(&ctx, &continuation);
        self.calls.attend(&waiting, &task).await?.map(Json).map_err(failure::from_error)
    }

    /// Brings one alert to one receiver: one attempt.
    #[activity(name = "send_notification")]
    pub async fn send_notification(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: Input<Notification>,
    ) -> Result<Answer<Step>, ActivityError> {
        if let Some(answer) = self.calls.elsewhere(call.local()) {
            return Ok(answer);
        }
        let Notification { item, target, attempts_before, .. } = &*call;
        let attempts = Attempts::of(&ctx, *attempts_before, budget(&ctx, &target.retry));
        let (number, before) = (attempts.number, attempts.before.clone());
        let delivery_id = format!("{}/{}", item.id, target.name);
        let id = of_run(&ctx, &format!("{}/{delivery_id}", Activity::SendNotification.as_str()));
        let (host, notification) = (self.clone(), call.value());
        let task = self
            .calls
            .attempts()
            .join_or_begin(id, number, || host.notify(notification, delivery_id, attempts));
        let waiting = Waiting {
            ctx: &ctx,
            alert: &item.id,
            receiver: Some(&target.name),
            before: &before,
            local: call.local(),
        };
        self.attempted(&waiting, &task).await
    }

    /// Waits for an attempt that goes on in this process.
    #[activity(name = "continue_attempt")]
    pub async fn continue_attempt(
        self: Arc<Self>,
        ctx: ActivityContext,
        continuation: Json<Continuation>,
    ) -> Result<Json<Step>, ActivityError> {
        let task = self.calls.attempts().get(&of_run(&ctx, &continuation.call)).ok_or_else(unknown)?;
        task.join();
        let waiting = Waiting::durably(&ctx, &continuation);
        let Attempted { step, delay } = self.calls.attend(&waiting, &task).await?;
        if step.error.is_some() { Err(failure::from_step(step, delay)) } else { Ok(Json(step)) }
    }

    /// Counts a repeat of each of these alerts in its ledger, if it still runs.
    #[activity(name = "count_repeats")]
    pub async fn count_repeats(
        self: Arc<Self>,
        ctx: ActivityContext,
        ids: Input<Vec<String>>,
    ) -> Result<(), ActivityError> {
        metric::repeated(ids.len());
        let Some(client) = self.link.client() else { return Ok(()) };
        let counting =
            stream::iter(ids.iter()).for_each_concurrent(AT_ONCE, |id| repeats::count(&client, id));
        let run = ctx.info().workflow_run_id.as_deref().unwrap_or_default();
        // It is best effort, and what was answered before has to be recorded.
        tokio::select! {
            () = counting => {}
            () = self.calls.recording_is_due(run, ids.local().workflow_task) => {}
        }
        Ok(())
    }

    /// How an alert ended, for its updaters: asked for once a delivery of it, which was parked, has been made.
    #[activity(name = "look_back")]
    pub async fn look_back(
        self: Arc<Self>,
        _: ActivityContext,
        late: Input<Late>,
    ) -> Result<Json<LookedBack>, ActivityError> {
        let Late { item, target } = &*late;
        // The delivery comes to its end once this is started, and the alert may have others that are tried again.
        let mut found = None;
        for id in [&late.delivery(), &item.id] {
            found = match lookup::lookup(&self.link, id).await {
                Ok(found) if found.state == State::Running => {
                    return Err(failure::later("it still runs", firing::PAUSE));
                }
                Err(LookupError::Unavailable(cause)) => {
                    return Err(failure::later(&cause.to_string(), firing::PAUSE));
                }
                found => found.ok(),
            };
        }
        let Some(found) = found else { return Ok(Json(LookedBack::default())) };
        let ledger = found.alerts.into_iter().find_map(|alert| alert.ledger);
        let Some(mut ledger) = ledger else { return Ok(Json(LookedBack::default())) };
        afterwards::complete(&self.link, &mut ledger).await;
        let router = self.receivers.routing.current();
        let updater = |name: &str| {
            let planned = self.receivers.planned(&router, Role::StatusUpdater, name, target.retry);
            planned.target(target.retry)
        };
        let updaters = ledger.updaters().into_iter().map(updater).collect();
        let deliveries = afterwards::deliveries(&ledger);
        Ok(Json(LookedBack { updaters, outcome: Some(ledger.outcome), deliveries }))
    }

    /// Reports to one external system what became of one alert: one attempt.
    #[activity(name = "update_alert_status")]
    pub async fn update_alert_status(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: Input<StatusUpdate>,
    ) -> Result<Answer<Step>, ActivityError> {
        if let Some(answer) = self.calls.elsewhere(call.local()) {
            return Ok(answer);
        }
        let StatusUpdate { item, target, attempts_before, .. } = &*call;
        let attempts = Attempts::of(&ctx, *attempts_before, budget(&ctx, &target.retry));
        let (number, before, change_id) = (attempts.number, attempts.before.clone(), call.change_id());
        let id = of_run(&ctx, &format!("{}/{change_id}", Activity::UpdateAlertStatus.as_str()));
        let (host, update) = (self.clone(), call.value());
        let task =
            self.calls.attempts().join_or_begin(id, number, || host.update(update, change_id, attempts));
        let waiting = Waiting {
            ctx: &ctx,
            alert: &item.id,
            receiver: Some(&target.name),
            before: &before,
            local: call.local(),
        };
        self.attempted(&waiting, &task).await
    }
}

impl AlertActivities {
    /// Waits for an attempt, and hands what it came to to Temporal.
    async fn attempted(
        &self,
        waiting: &Waiting<'_>,
        task: &Task<Attempted>,
    ) -> Result<Answer<Step>, ActivityError> {
        let Attempted { step, delay } = match self.calls.answer(waiting, task, true).await? {
            Answer::Ended(attempted) => attempted,
            Answer::Continues(there) => return Ok(Answer::Continues(there)),
            Answer::Later(there) => return Ok(Answer::Later(there)),
        };
        if step.error.is_none() {
            return Ok(Answer::Ended(step));
        }
        if delay.is_some() {
            leave_word(waiting.ctx, &step).await;
        }
        Err(failure::from_step(step, delay))
    }

    /// Runs the processors, or only routes the alert.
    async fn process(self: Arc<Self>, call: Arc<Processing>, budget: Duration) -> calls::Processing {
        let started = Instant::now();
        let chain = Chain::new(&call, self);
        let processed = match call.skip_processors {
            true => Ok(chain.unprocessed(budget).await),
            false => chain.run(budget).await,
        };
        let result = if processed.is_ok() { StepResult::Ok } else { StepResult::Failed };
        metric::activity(Activity::ProcessAlert, started.elapsed(), result);
        if let Err(error) = &processed {
            tracing::info!(alert = call.item.id, error = error.message, "processing goes on durably");
        }
        processed
    }
}

impl Input<Processing> {
    /// Without the processors, once the firing has ended, or with another attempt of a processor it is another call.
    fn id(&self, ctx: &ActivityContext) -> CallId {
        let what = match (self.skip_processors, self.waits) {
            (true, _) => "unprocessed",
            (_, true) => "firing",
            _ => "processed",
        };
        let waits = self.retrying.as_ref().map_or(0, |retrying| retrying.waits);
        of_run(ctx, &format!("{}/{}/{what}/{waits}", Activity::ProcessAlert.as_str(), self.item.id))
    }
}

impl<'a> Waiting<'a> {
    /// A durable activity that joins a call.
    fn durably(ctx: &'a ActivityContext, there: &'a Continuation) -> Self {
        static NOT_LOCAL: Local = Local { workflow_task: 0, there: None };
        let receiver = there.receiver.as_deref();
        Self { ctx, alert: &there.alert, receiver, before: &[], local: &NOT_LOCAL }
    }
}

/// A call of the run of the workflow that an activity belongs to.
fn of_run(ctx: &ActivityContext, call: &str) -> CallId {
    let run = ctx.info().workflow_run_id.as_deref().unwrap_or_default();
    CallId { run: run.into(), call: call.into() }
}

/// A call that this process never made, or has forgotten.
fn unknown() -> ActivityError {
    failure::later("this process does not know the call, or no longer", Duration::ZERO)
}

fn processing_ended(call: &Processing, processed: calls::Processing) -> Result<Processed, ActivityError> {
    let processed = processed.map_err(failure::from_error)?;
    // It has an attempt of its own each time, so that it holds no worker up.
    if call.waits && processed.waits {
        return Err(failure::later("its firing still runs", firing::PAUSE));
    }
    Ok(processed)
}

/// The time that an attempt has for the plugin. A call outlasts the local activity that begins it: it has what its policy says, and
/// the first one has no more than its delivery has altogether. Of a durable one, both times are Temporal's: this machine's clock may
/// be wrong, or jump.
fn budget(ctx: &ActivityContext, retry: &RetryPolicy) -> Duration {
    let info = ctx.info();
    let times = info.deadline.zip(info.started_time).filter(|_| !info.is_local);
    let time = times.and_then(|(deadline, started)| deadline.duration_since(started).ok());
    let policy = || match retry.maximum_age {
        Some(age) => retry.timeout().min(age.unsigned_abs()),
        None => retry.timeout(),
    };
    time.unwrap_or_else(policy).saturating_sub(MARGIN)
}

/// Leaves word of this attempt and those before it for the next one.
async fn leave_word(ctx: &ActivityContext, step: &Step) {
    let mut attempts = step.before.clone();
    attempts.extend(Attempt::of(step));
    Attempt::forget(&mut attempts);
    if let Err(error) = ctx.record_heartbeat(Json(attempts)).await {
        tracing::debug!(%error, "no heartbeat");
    }
}

pub(super) fn step_error(error: CallError) -> StepError {
    StepError { code: error.code, message: error.message, retry: error.retry }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
