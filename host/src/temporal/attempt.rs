//! One attempt: from the name of a receiver or updater to a step of the ledger. It runs as a task of the process (`calls.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use temporalio_sdk::activities::ActivityContext;

use super::activities::{
    AlertActivities, NOT_WANTED, Notification, StatusUpdate, TOO_OLD, milliseconds, step_error,
};
use super::calls::Attempted;
use super::json::Json;
use super::life;
use super::outcome::digest;
use super::receivers::{Callee, Receivers};
use crate::alert::ACKNOWLEDGEMENT;
use crate::ledger::{Activity, Attempt, Outcome, Retry, Step, StepError, StepResult};
use crate::plan::Target;
use crate::plugin::{CallError, Called, Change, Delivery, Reason, Receipt, Role};
use crate::telemetry::metric;

/// The attempt that is being made, and those of this activity before it.
pub(super) struct Attempts {
    /// Counted from 1 over the local and the durable ones.
    pub(super) number: u32,
    at: Timestamp,
    pub(super) before: Vec<Attempt>,
    /// The time that it has for the plugin.
    budget: Duration,
}

impl Attempts {
    /// `before` were made until the activity was scheduled.
    pub(super) fn of(ctx: &ActivityContext, before: u32, budget: Duration) -> Self {
        let heartbeat = ctx.heartbeat_details().deserialize::<Json<Vec<Attempt>>>();
        Self {
            number: before.saturating_add(ctx.info().attempt),
            at: Timestamp::now(),
            before: heartbeat.ok().flatten().map(|Json(before)| before).unwrap_or_default(),
            budget,
        }
    }

    /// Waits for its turn, where the receiver has a rate limit.
    async fn wait_turn(&mut self, receivers: &Receivers, target: &Target) {
        let Some(turn) = target.turn else { return };
        let (arrived, timeout) = (Instant::now(), target.retry.timeout());
        let spare = self.budget.saturating_sub(timeout.min(self.budget / 2));
        receivers.wait_turn(&target.name, spare.min(turn.unsigned_abs())).await;
        self.budget = self.budget.saturating_sub(arrived.elapsed()).min(timeout);
        self.at = Timestamp::now();
    }

    /// A delivery that ends without this attempt.
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
            plugin: Some(plugin.to_owned()),
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

impl AlertActivities {
    /// Brings one alert to one receiver.
    pub(super) async fn notify(
        self: Arc<Self>,
        call: Arc<Notification>,
        delivery_id: String,
        mut attempts: Attempts,
    ) -> Attempted {
        let Notification { item, target, .. } = &*call;
        if attempts.budget.is_zero() {
            return concluded(&item.id, target, attempts.untried("too-old", TOO_OLD, target));
        }
        if attempts.number > 1
            && let Some((code, why)) = life::not_wanted(&self.records, &call, &delivery_id).await
        {
            return concluded(&item.id, target, attempts.untried(code, &why, target));
        }
        attempts.wait_turn(&self.receivers, target).await;
        let own = || life::thread_id(&item.thread_id, &target.name);
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
                let called = plugin.notify(&delivery, setup.as_deref(), attempts.budget).await;
                self.receivers.note_speed(Role::Notifier, &target.name, &called);
                (plugin.name().to_owned(), Ok(called))
            }
        };
        let step = attempts.answered(Activity::SendNotification, target, &plugin, called);
        if step.result == StepResult::Ok {
            let elapsed = Timestamp::now().duration_since(item.origin.received_at);
            metric::delivered(&target.name, elapsed.try_into().unwrap_or_default());
        }
        concluded(&item.id, target, step)
    }

    /// Reports to one external system what became of one alert.
    pub(super) async fn update(
        self: Arc<Self>,
        call: Arc<StatusUpdate>,
        change_id: String,
        attempts: Attempts,
    ) -> Attempted {
        let StatusUpdate { item, target, outcome, deliveries, .. } = &*call;
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
                let called = plugin.update_status(&change, setup.as_deref(), attempts.budget).await;
                self.receivers.note_speed(Role::StatusUpdater, &target.name, &called);
                (plugin.name().to_owned(), Ok(called))
            }
        };
        let step = attempts.answered(Activity::UpdateAlertStatus, target, &plugin, called);
        match call.is_interim {
            true => interim(&item.id, target, step),
            false => concluded(&item.id, target, step),
        }
    }
}

impl StatusUpdate {
    /// The same for every attempt to report this state.
    pub(super) fn change_id(&self) -> String {
        let what = match self.item.alert.extra.contains_key(ACKNOWLEDGEMENT) {
            true => "acknowledged",
            false => self.outcome.map_or("pending", Outcome::as_str),
        };
        format!("{}/{}/{what}-{}", self.item.id, self.target.name, digest(&self.deliveries))
    }
}

/// Logs and counts one attempt to report a state that is not the last one. It ends nothing.
fn interim(alert: &str, target: &Target, step: Step) -> Attempted {
    let (updater, attempt) = (target.name.as_str(), step.attempts);
    metric::activity(step.activity, Duration::from_secs_f64(step.duration_ms / 1_000.0), step.result);
    match &step.error {
        None => tracing::info!(alert, updater, attempt, "reported while receivers are pending"),
        Some(StepError { code, message, .. }) => {
            tracing::warn!(
                alert,
                updater,
                attempt,
                code,
                error = message,
                "a report failed while receivers are pending"
            );
        }
    }
    Attempted { step, delay: None }
}

/// Logs and counts one attempt.
fn concluded(alert: &str, target: &Target, step: Step) -> Attempted {
    let (activity, receiver, attempt) = (step.activity.as_str(), target.name.as_str(), step.attempts);
    metric::activity(step.activity, Duration::from_secs_f64(step.duration_ms / 1_000.0), step.result);
    let Some(error) = &step.error else {
        tracing::info!(alert, activity, receiver, attempt, duration_ms = step.duration_ms, "done");
        return Attempted { step, delay: None };
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
        }
        None if NOT_WANTED.contains(&code.as_str()) => {
            tracing::info!(alert, activity, receiver, code, "{message}")
        }
        None => {
            metric::given_up();
            tracing::error!(alert, activity, receiver, attempt, code, error = message, "given up");
        }
    }
    Attempted { step, delay }
}

/// A number from 0 to 1. Activities may be random; workflows have their own source.
pub(super) fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
