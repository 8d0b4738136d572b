//! The activities. Those that call plugins look them up by name at every attempt, so that a fixed plugin heals the
//! deliveries that were retrying, and turn the answer into a step of the ledger.
#![expect(missing_docs, reason = "the macro makes a constant of each activity, without its documentation")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::carry::LOCAL_TIMEOUT;
use super::chain::Chain;
use super::input::Input;
use super::json::Json;
use super::late::Late;
use super::link::Link;
use super::lookup::{self, LookupError, State};
use super::receivers::{Callee, Receivers};
use super::repeats::{self, AT_ONCE};
use super::{ActivityConfig, afterwards, failure, firing};
use crate::alert::{ACKNOWLEDGEMENT, Alert, AlertItem};
use crate::ledger::{
    Activity, Attempt, DeliveryResult, Outcome, Retry, Step, StepError, StepResult, is_zero,
};
use crate::plan::{Plan, Target, Told};
use crate::plugin::{CallError, Called, Change, Delivery, Reason, Receipt, Role};
use crate::telemetry::metric;

/// What is kept free of an activity's timeout, so that its own error comes before Temporal's timeout.
const MARGIN: Duration = Duration::from_millis(200);

/// Why a delivery is not tried.
const TOO_OLD: &str = "its `maximum-age` is over: there was no time left for another attempt";
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
}

/// The input of `process_alert`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Processing {
    /// The alert as posted.
    pub item: Arc<AlertItem>,
    /// How the activities that follow are retried, where a plugin sets nothing of its own.
    pub activities: ActivityConfig,
    /// Only route it: the processors had their attempts.
    pub skip_processors: bool,
    /// Of a resolve whose firing runs: to be tried again until that has come to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
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
    /// Why, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// What each processor did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
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
}

#[activities]
impl AlertActivities {
    /// Runs the chain of processors, then decides who gets the alert. A processor that fails is passed over; the
    /// activity itself fails only where one needs more time than a local attempt has.
    #[activity(name = "process_alert")]
    pub async fn process_alert(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: Input<Processing>,
    ) -> Result<Json<Processed>, ActivityError> {
        let started = Instant::now();
        let chain = Chain::new(&call, self.clone());
        let processing = async {
            match call.skip_processors {
                true => Ok(chain.unprocessed(budget(&ctx)).await),
                false => chain.run(budget(&ctx), ctx.info().is_local).await,
            }
        };
        let processed = attended(&ctx, &call.item.id, None, &[], processing).await?;
        // It has an attempt of its own each time, so that it holds no worker up.
        if call.waits && processed.as_ref().is_ok_and(|processed| processed.waits) {
            return Err(failure::later("its firing still runs", firing::PAUSE));
        }
        let result = if processed.is_ok() { StepResult::Ok } else { StepResult::Failed };
        metric::activity(Activity::ProcessAlert, started.elapsed(), result);
        processed.map(Json).map_err(|error| {
            tracing::info!(alert = call.item.id, error = error.message, "processing goes on durably");
            failure::from_error(error)
        })
    }

    /// Brings one alert to one receiver: one attempt.
    #[activity(name = "send_notification")]
    pub async fn send_notification(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: Input<Notification>,
    ) -> Result<Json<Step>, ActivityError> {
        let attempts = Attempts::of(&ctx, call.attempts_before);
        let Notification { item, target, .. } = &*call;
        if budget(&ctx).is_zero() {
            return finish(&ctx, &item.id, target, attempts.untried("too-old", TOO_OLD, target)).await;
        }
        if call.was_parked
            && let Some((code, why)) = firing::too_late(&self.link, item, &target.name).await
        {
            return finish(&ctx, &item.id, target, attempts.untried(code, &why, target)).await;
        }
        let delivery_id = format!("{}/{}", item.id, target.name);
        let own = || firing::thread_id(&item.id, &target.name);
        let thread_id = target.thread.clone().unwrap_or_else(own);
        let (plugin, called) = match self.receivers.find(Role::Notifier, &target.name) {
            Err(error) => (target.name.clone(), Err(error)),
            Ok(Callee { plugin, setup }) => {
                let delivery = Delivery {
                    delivery_id: &delivery_id,
                    thread_id: &thread_id,
                    earlier: target.earlier.as_ref(),
                    receiver: &target.name,
                    attempt: attempts.number,
                    item,
                };
                let notified = plugin.notify(&delivery, setup.as_deref(), budget(&ctx));
                let called = attended(&ctx, &item.id, Some(&target.name), &attempts.before, notified).await?;
                (plugin.name().to_owned(), Ok(called))
            }
        };
        let step = attempts.answered(Activity::SendNotification, target, &plugin, called);
        if step.result == StepResult::Ok {
            let elapsed = Timestamp::now().duration_since(item.origin.received_at);
            metric::delivered(&target.name, elapsed.try_into().unwrap_or_default());
        }
        finish(&ctx, &item.id, target, step).await
    }

    /// Counts a repeat of each of these alerts in its ledger, if it still runs.
    #[activity(name = "count_repeats")]
    pub async fn count_repeats(
        self: Arc<Self>,
        _: ActivityContext,
        ids: Input<Vec<String>>,
    ) -> Result<(), ActivityError> {
        if let Some(client) = self.link.client() {
            stream::iter(ids.iter()).for_each_concurrent(AT_ONCE, |id| repeats::count(&client, id)).await;
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
                Err(LookupError::Unavailable(error)) => return Err(failure::later(&error, firing::PAUSE)),
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

    /// Tells one external system what became of one alert: one attempt.
    #[activity(name = "update_alert_status")]
    pub async fn update_alert_status(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: Input<StatusUpdate>,
    ) -> Result<Json<Step>, ActivityError> {
        let attempts = Attempts::of(&ctx, call.attempts_before);
        let StatusUpdate { item, target, outcome, deliveries, .. } = &*call;
        let what = match item.alert.extra.contains_key(ACKNOWLEDGEMENT) {
            true => "acknowledged",
            false => outcome.map_or("pending", Outcome::as_str),
        };
        let change_id = format!("{}/{}/{what}", item.id, target.name);
        let (plugin, called) = match self.receivers.find(Role::StatusUpdater, &target.name) {
            Err(error) => (target.name.clone(), Err(error)),
            Ok(Callee { plugin, setup }) => {
                let change = Change {
                    change_id: &change_id,
                    updater: &target.name,
                    attempt: attempts.number,
                    item,
                    outcome: *outcome,
                    deliveries,
                };
                let updated = plugin.update_status(&change, setup.as_deref(), budget(&ctx));
                let called = attended(&ctx, &item.id, Some(&target.name), &attempts.before, updated).await?;
                (plugin.name().to_owned(), Ok(called))
            }
        };
        let step = attempts.answered(Activity::UpdateAlertStatus, target, &plugin, called);
        finish(&ctx, &item.id, target, step).await
    }
}

/// Awaits a call, and ends it if Temporal cancels the activity: it says so in answer to a heartbeat. The worker takes the
/// same way when it was told to stop and the call did not end in time. What heartbeats say is known to the next attempt.
async fn attended<T>(
    ctx: &ActivityContext,
    alert: &str,
    receiver: Option<&str>,
    before: &[Attempt],
    call: impl Future<Output = T>,
) -> Result<T, ActivityError> {
    let heart = async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            if let Err(error) = ctx.record_heartbeat(Json(before.to_vec())).await {
                tracing::debug!(%error, "no heartbeat");
            }
        }
    };
    tokio::select! {
        biased;
        value = call => return Ok(value),
        () = ctx.cancelled() => {}
        () = heart => {}
    }
    tracing::info!(alert, receiver, "call ended: temporal cancelled the attempt");
    Err(ActivityError::cancelled())
}

/// The time that an attempt has for the plugin. Both times are Temporal's: this machine's clock may be wrong, or jump.
fn budget(ctx: &ActivityContext) -> Duration {
    let info = ctx.info();
    let times = info.deadline.zip(info.started_time);
    let time = times.and_then(|(deadline, started)| deadline.duration_since(started).ok());
    time.unwrap_or(LOCAL_TIMEOUT).saturating_sub(MARGIN)
}

/// The attempt that is being made, and those of this activity before it.
struct Attempts {
    /// Counted from 1 over the local and the durable ones.
    number: u32,
    at: Timestamp,
    before: Vec<Attempt>,
}

impl Attempts {
    /// `before` were made until the activity was scheduled.
    fn of(ctx: &ActivityContext, before: u32) -> Self {
        let told = ctx.heartbeat_details().deserialize::<Json<Vec<Attempt>>>();
        Self {
            number: before.saturating_add(ctx.info().attempt),
            at: Timestamp::now(),
            before: told.ok().flatten().map(|Json(before)| before).unwrap_or_default(),
        }
    }

    /// A delivery that is given up without this attempt.
    fn untried(self, code: &str, message: &str, target: &Target) -> Step {
        let error = StepError { code: code.to_owned(), message: message.to_owned(), retry: Retry::Never };
        let step = Step::untried(Activity::SendNotification, &target.name);
        Step { attempts: self.number.saturating_sub(1), error: Some(error), before: self.before, ..step }
    }

    fn answered(
        self,
        activity: Activity,
        target: &Target,
        plugin: &str,
        called: Result<Called<Receipt>, CallError>,
    ) -> Step {
        let empty = Step {
            receiver: (target.name != plugin).then(|| target.name.clone()),
            plugin: plugin.to_owned(),
            attempts: self.number,
            at: Some(self.at),
            before: self.before,
            ..Step::untried(activity, &target.name)
        };
        let called = match called {
            Ok(called) => called,
            Err(error) => return Step { error: Some(step_error(error)), ..empty },
        };
        let step = Step {
            digest: Some(called.digest),
            generation: Some(called.generation),
            duration_ms: milliseconds(called.duration),
            usage: called.usage,
            warnings: called.warnings,
            ..empty
        };
        match called.result {
            Ok(receipt) => Step {
                result: StepResult::Ok,
                message: Some(receipt.message),
                receipt_id: receipt.id,
                ..step
            },
            Err(error) => {
                let gives_way = target.gives_way && error.reason == Reason::Quarantined;
                let error = step_error(error);
                let retry = if gives_way { Retry::Never } else { error.retry };
                Step { error: Some(StepError { retry, ..error }), ..step }
            }
        }
    }
}

/// Logs and counts one attempt, and hands it to Temporal.
async fn finish(
    ctx: &ActivityContext,
    alert: &str,
    target: &Target,
    step: Step,
) -> Result<Json<Step>, ActivityError> {
    let (activity, receiver, attempt) = (step.activity.as_str(), target.name.as_str(), step.attempts);
    metric::activity(step.activity, Duration::from_secs_f64(step.duration_ms / 1_000.0), step.result);
    let Some(error) = &step.error else {
        tracing::info!(alert, activity, receiver, attempt, duration_ms = step.duration_ms, "done");
        return Ok(Json(step));
    };
    let StepError { code, message, retry } = error.clone();
    let again = retry.is_worthwhile() && !target.retry.is_exhausted_by(attempt);
    let delay = again.then(|| retry.delay().unwrap_or_else(|| target.retry.delay_after(attempt, jitter())));
    match delay {
        Some(delay) => {
            let next_in_ms = delay.as_millis();
            tracing::warn!(
                alert,
                activity,
                receiver,
                attempt,
                code,
                error = message,
                next_in_ms,
                "attempt failed"
            );
            tell_next(ctx, &step).await;
        }
        None if NOT_WANTED.contains(&code.as_str()) => {
            tracing::info!(alert, activity, receiver, code, "{message}")
        }
        None => {
            metric::given_up();
            tracing::error!(alert, activity, receiver, attempt, code, error = message, "given up");
        }
    }
    Err(failure::from_step(step, delay))
}

/// Leaves word of this attempt and those before it for the next one.
async fn tell_next(ctx: &ActivityContext, step: &Step) {
    let mut attempts = step.before.clone();
    attempts.extend(Attempt::of(step));
    Attempt::forget(&mut attempts);
    if let Err(error) = ctx.record_heartbeat(Json(attempts)).await {
        tracing::debug!(%error, "no heartbeat");
    }
}

/// A number from 0 to 1. Activities may be random; workflows have their own source.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

pub(super) fn step_error(error: CallError) -> StepError {
    StepError { code: error.code, message: error.message, retry: error.retry }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
