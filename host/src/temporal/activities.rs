//! The activities. Those that call plugins look them up by name at every attempt, so that a fixed plugin heals the
//! deliveries that were retrying, and turn the answer into a step of the ledger.
#![expect(missing_docs, reason = "the macro makes a constant of each activity, without its documentation")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_store::{End, Reached, StoreError};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::attempt::Attempts;
use super::calls::{Attempted, CallId, Calls, Task, Waiting};
use super::chain::Chain;
use super::continued::{Answer, Continuation};
use super::dead_letters::dead_letter;
use super::input::{Input, Local};
use super::json::Json;
use super::late_delivery::{Undelivered, delivery_id};
use super::life;
use super::link::Link;
use super::lookup::{self, AlertState, LookupError};
use super::receivers::Receivers;
use super::retrying::Retrying;
use super::{ActivityConfig, afterwards, calls, failure};
use crate::alert::{Alert, AlertItem};
use crate::ledger::{
    self, Activity, Attempt, DeliveryResult, Ledger, Outcome, Step, StepError, StepResult, is_zero,
};
use crate::plan::{Plan, RetryPolicy, Target, Told};
use crate::plugin::{CallError, Role};
use crate::records::{RecordError, Records};
use crate::telemetry::metric;

/// What is kept free of an activity's timeout, so that its own error comes before Temporal's timeout.
const MARGIN: Duration = Duration::from_millis(200);

/// Why a delivery is not tried.
pub(super) const TOO_OLD: &str = "its `maximum-age` is over: there was no time left for another attempt";
pub(super) const OVER: &str = "not sent: the alert was resolved meanwhile";
/// The code of a firing that is not sent since its alert was resolved meanwhile.
pub(super) const RESOLVED_SINCE: &str = "resolved-since";
/// The code of a delivery that is not made since somebody has taken the alert over.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";
/// The code of a delivery that an operator discarded.
pub(super) const DISCARDED: &str = "discarded";
/// The codes of deliveries that are not wanted any more.
pub(super) const NOT_WANTED: [&str; 3] = [RESOLVED_SINCE, ACKNOWLEDGED, DISCARDED];

/// How often a durable attempt tells Temporal that it goes on, and learns whether it is to end.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// The activities' surroundings.
#[derive(Clone)]
pub struct AlertActivities {
    /// Who can be called.
    pub receivers: Receivers,
    /// The connection, to look alerts up.
    pub link: Link,
    /// What the store holds.
    pub records: Records,
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
    /// It exhausted its retries before: by now the alert may be over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_late: bool,
}

/// An alert at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// The id of its life.
    pub thread_id: String,
    /// What became of it.
    pub ledger: Ledger,
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
    /// another attempt ends the chain until then. The activity itself fails only where the store does not say what came
    /// before.
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
        let delivery_id = delivery_id(item, target);
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

    /// Writes to the store what became of alerts.
    #[activity(name = "record_outcome")]
    pub async fn record_outcome(
        self: Arc<Self>,
        ctx: ActivityContext,
        recorded: Input<Vec<Arc<Recorded>>>,
    ) -> Result<(), ActivityError> {
        let later = |error: &dyn std::fmt::Display| failure::later(&error.to_string(), life::PAUSE);
        let store = self.records.store().map_err(|error| later(&error))?;
        let ends = recorded.iter().map(|one| self.end(one)).collect::<Result<Vec<_>, _>>();
        let ends = ends.map_err(|error| later(&error))?;
        let ending = try_join_all(ends.into_iter().map(|end| store.end(end)));
        let ended = self.unless_due(&ctx, recorded.local(), ending).await?;
        for (_, one) in ended.iter().zip(recorded.iter()).filter(|(is_known, _)| !**is_known) {
            tracing::warn!(
                alert = one.ledger.id,
                "the store does not know this alert: it is of a store that a back-up has replaced, or is forgotten"
            );
        }
        Ok(())
    }

    /// Writes to the store that a delivery exhausted its retries, or what became of it since.
    #[activity(name = "record_dead_letter")]
    pub async fn record_dead_letter(
        self: Arc<Self>,
        ctx: ActivityContext,
        undelivered: Input<Undelivered>,
    ) -> Result<(), ActivityError> {
        let later = |error: &dyn std::fmt::Display| failure::later(&error.to_string(), life::PAUSE);
        let store = self.records.store().map_err(|error| later(&error))?;
        let letter = dead_letter(&self.records, &undelivered).map_err(|error| later(&error))?;
        let reached = self.reached(&undelivered).map_err(|error| later(&error))?;
        let putting = store.put_dead_letter(letter, reached);
        if !self.unless_due(&ctx, undelivered.local(), putting).await? {
            tracing::warn!(
                alert = undelivered.item.id,
                receiver = undelivered.target.name,
                "the store does not know this alert: its dead letter is lost"
            );
        }
        Ok(())
    }

    /// How an alert ended, for its updaters: asked for once a delivery of it, which was a dead letter, has been made.
    #[activity(name = "look_back")]
    pub async fn look_back(
        self: Arc<Self>,
        _: ActivityContext,
        late: Input<Undelivered>,
    ) -> Result<Json<LookedBack>, ActivityError> {
        let Undelivered { item, target, .. } = &*late;
        let later = |why: &dyn std::fmt::Display| failure::later(&why.to_string(), life::PAUSE);
        let found = match lookup::lookup(&self.records, &self.link, &item.id).await {
            Ok(found) if found.state != AlertState::Completed => return Err(later(&"its alert still runs")),
            Ok(found) => found,
            Err(LookupError::NotFound(_)) => return Ok(Json(LookedBack::default())),
            Err(error) => return Err(later(&error)),
        };
        let Some(ledger) = found.alert.ledger else { return Ok(Json(LookedBack::default())) };
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
    /// The end of an alert as the store takes it.
    fn end(&self, Recorded { thread_id, ledger }: &Recorded) -> Result<End, RecordError> {
        Ok(End {
            id: ledger.id.clone(),
            outcome: ledger.outcome.into(),
            ledger: self.records.write(ledger)?,
            reached: life::reached(&self.records, ledger, thread_id)?,
            dead_letters: Vec::new(),
        })
    }

    /// The receiver of a dead letter, where it has the alert by now.
    fn reached(&self, undelivered: &Undelivered) -> Result<Option<Reached>, RecordError> {
        if undelivered.step.result != StepResult::Ok {
            return Ok(None);
        }
        let told = life::told_by(&undelivered.step, &undelivered.item.thread_id);
        let receipt = self.records.write(&told)?;
        Ok(Some(Reached { has_it: true, receiver: told.receiver, receipt }))
    }

    /// Writes to the store, unless the answers of the same workflow task are due to be recorded before: then it is to be asked
    /// durably.
    async fn unless_due<T>(
        &self,
        ctx: &ActivityContext,
        local: &Local,
        writing: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ActivityError> {
        let run = ctx.info().workflow_run_id.as_deref().unwrap_or_default();
        tokio::select! {
            written = writing => written.map_err(|error| failure::later(&error.to_string(), life::PAUSE)),
            () = self.calls.recording_is_due(run, local.workflow_task) => {
                Err(failure::later("it takes too long", life::PAUSE))
            }
        }
    }

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
            true => Ok(chain.unprocessed().await),
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
        return Err(failure::later("notifications of its life are under way", life::PAUSE));
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
