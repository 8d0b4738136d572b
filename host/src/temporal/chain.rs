//! The processors: one after the other over one alert, each failing open at last, and the plan that comes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::ActivityConfig;
use super::activities::{AlertActivities, Processed, Processing, milliseconds, step_error};
use super::attempt::jitter;
use super::life::{self, Before, Life};
use super::retrying::{Allowance, Retrying, asks_again};
use super::speed::MANY;
use crate::alert::{self, ACKNOWLEDGEMENT, Alert, AlertItem};
use crate::condition::Facts;
use crate::ledger::{Activity, Retry, Step, StepError, StepResult, changes};
use crate::plan::{Plan, Planned, RetryPolicy, Told};
use crate::plugin::{CallError, Called, Decision, Plugin};
use crate::telemetry::metric;

/// How much larger the processors together may make an alert, in bytes of JSON, also one that is as large as a posted one may be: a
/// batch has many of them to carry.
const MOST_GROWTH: usize = 16 << 10;

/// How large the processors may make one alert.
#[derive(Default)]
struct Growth {
    /// In bytes of JSON; known once one of them wants to change it.
    most: Option<usize>,
}

impl Growth {
    /// Why an alert that was `before` cannot become `after`, if that is too large or too deep.
    fn fault(&mut self, before: &Value, after: &Value) -> Option<String> {
        let most = *self.most.get_or_insert_with(|| alert::size(before) + MOST_GROWTH);
        let fault = alert::bounds_fault(after, most)?;
        Some(format!("the patched alert {fault}: all processors together may add {MOST_GROWTH}"))
    }
}

fn unavailable(what: &str, error: impl std::fmt::Display) -> StepError {
    let message = format!("{what} is not known: {error}");
    StepError { code: "store-unavailable".to_owned(), message, retry: Retry::Backoff }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// One alert on its way through the processors.
pub(super) struct Chain {
    host: Arc<AlertActivities>,
    activities: ActivityConfig,
    item: Arc<AlertItem>,
    document: Value,
    growth: Growth,
    changed: bool,
    decisions: Vec<String>,
    steps: Vec<Step>,
    /// The processors that have had their turn.
    answered: Vec<String>,
    /// The attempts of the one that asked for another.
    before: Option<Step>,
    /// How often the alert has waited, and how long it was with its processors before this round of them began.
    waits: u32,
    elapsed: Duration,
    began: Instant,
    /// What is to be waited before that one is asked.
    rest: Duration,
    /// How long a resolve waits here for what is under way of its life.
    patience: Duration,
}

/// How the turn of a processor ended.
enum Turn {
    GoesOn,
    /// It is to be asked again after this time; its attempts so far.
    Again(Box<Step>, Duration),
    /// It drops the alert, for this reason.
    Drops(String),
}

impl Chain {
    pub(super) fn new(call: &Processing, host: Arc<AlertActivities>) -> Self {
        let (item, activities) = (call.item.clone(), call.activities);
        // An alert came from JSON, so it goes back into JSON.
        let document = serde_json::to_value(&item.alert).unwrap_or_default();
        let before = call.retrying.clone();
        let (waits, elapsed) = before.as_ref().map_or_else(Default::default, |one| (one.waits, one.elapsed));
        let most = before.as_ref().and_then(|retrying| retrying.most);
        let rest = before.as_ref().map_or(Duration::ZERO, |retrying| retrying.rest);
        let (answered, before) = before.map(|Retrying { answered, step, .. }| (answered, step)).unzip();
        Self {
            host,
            activities,
            item,
            document,
            growth: Growth { most },
            changed: false,
            decisions: Vec::new(),
            steps: Vec::new(),
            answered: answered.unwrap_or_default(),
            before,
            waits,
            elapsed,
            began: Instant::now(),
            rest,
            patience: if call.waits { Duration::ZERO } else { life::PATIENCE },
        }
    }

    /// All processors within `budget`.
    pub(super) async fn run(mut self, budget: Duration) -> Result<Processed, StepError> {
        tokio::time::sleep(self.rest).await;
        let deadline = Instant::now() + budget;
        let before = life::before(&self.host.records, &self.item, Some(self.patience)).await;
        let before = before.map_err(|error| unavailable("what came before in the alert's life", error))?;
        if matches!(before, Before::Pending) {
            return Ok(self.waiting());
        }
        for processor in self.host.receivers.registry.processors() {
            let name = processor.name();
            if self.answered.iter().any(|answered| answered == name) {
                continue;
            }
            self.answered.push(name.to_owned());
            let reason = match self.ask(&processor, deadline).await {
                Turn::GoesOn => continue,
                Turn::Again(step, delay) => return Ok(self.again(*step, delay)),
                Turn::Drops(reason) => reason,
            };
            // Who was told of the firing would wait for its end.
            if matches!(&before, Before::Resolved(life) if !life.told.is_empty()) {
                self.decisions.push(format!("{name}: drops the end, which is told all the same: {reason}"));
                continue;
            }
            self.decisions.push(format!("{name}: dropped the alert: {reason}"));
            let plan = Plan { receivers: Vec::new(), unrouted: false, dropped: true, ..self.decide().0 };
            return Ok(self.into_processed((plan, Vec::new())));
        }
        Ok(self.planned(before))
    }

    /// The plan of an alert by what came before it.
    fn planned(self, before: Before) -> Processed {
        match before {
            Before::Resolved(life) => self.after(life),
            Before::Fired(life) => self.goes_on(life),
            Before::Pending => self.waiting(),
            Before::Nothing => self.routed(),
        }
    }

    /// A firing that goes on with the one before it: who has that is not told again, unless this is worse.
    fn goes_on(mut self, Life { thread_id, flaps, told, .. }: Life) -> Processed {
        metric::flapped();
        let is_worse = self.item.is_worse;
        let told_of = |planned: &Planned| told.iter().find(|one| one.receiver == planned.name);
        let has_it = |planned: &Planned| told_of(planned).is_some_and(|one| one.earlier.is_some());
        let (mut plan, mut reasons) = self.decide();
        let is_for_somebody = !plan.receivers.is_empty() && !plan.dropped;
        plan.receivers.retain(|planned| is_worse || !has_it(planned));
        for planned in &mut plan.receivers {
            planned.fallback.retain(|next| is_worse || !has_it(next));
            planned.thread = told_of(planned).and_then(Told::thread);
            for next in &mut planned.fallback {
                next.thread = told_of(next).and_then(Told::thread);
            }
        }
        let is_silent = is_for_somebody && plan.receivers.is_empty();
        let who = match (is_worse, is_silent) {
            (true, _) => "it is worse",
            (false, false) => "who has that is not told again",
            (false, true) => "nobody is told again",
        };
        self.decisions.push(format!("goes on with {thread_id}, whose end was not told yet: {who}"));
        if is_silent {
            (plan, reasons) = (Plan { dropped: true, ..Plan::default() }, Vec::new());
        }
        self.note(&plan);
        Processed {
            flaps,
            shown: told,
            goes_on_with: Some(thread_id),
            ..self.into_processed((plan, reasons))
        }
    }

    /// Nothing yet: the firing has to come to its end first.
    fn waiting(self) -> Processed {
        Processed { waits: true, ..Processed::default() }
    }

    /// The alert as it came, since its processing did not end.
    pub(super) async fn unprocessed(mut self) -> Processed {
        tracing::warn!(alert = self.item.id, "processing did not end: the alert goes on unprocessed");
        self.decisions
            .push("the processors did not end in any attempt: the alert goes on unprocessed".to_owned());
        match life::before(&self.host.records, &self.item, Some(self.patience)).await {
            Ok(before) => self.planned(before),
            // Whom its life reached is not known yet: no route says that.
            Err(_) => self.waiting(),
        }
    }

    /// The end of a firing: it goes to those who were told of the firing, and to its updaters, whatever is muted by now.
    fn after(mut self, life: Life) -> Processed {
        let (mut plan, _) = self.decide();
        let receivers = &self.host.receivers;
        for name in life.updaters {
            if !plan.updaters.iter().any(|planned| planned.name == name) {
                plan.updaters.push(receivers.planned_updater(&name, &self.activities));
            }
        }
        let told = receivers.plan_resolve(life.told, &self.activities);
        let dropped = told.is_empty();
        self.decisions.push(match dropped {
            true => format!("nobody is told: nobody was told of {}", life.thread_id),
            false => format!("goes to those who were told of {}", life.thread_id),
        });
        let plan = Plan { receivers: told, unrouted: false, dropped, ..plan };
        Processed { flaps: life.flaps, ..self.into_processed((plan, Vec::new())) }
    }

    fn routed(self) -> Processed {
        let decided = self.decide();
        self.note(&decided.0);
        self.into_processed(decided)
    }

    /// Counts an alert that nobody took.
    fn note(&self, plan: &Plan) {
        if plan.unrouted {
            metric::unrouted();
            tracing::warn!(alert = self.item.id, "no receiver took the alert");
        }
    }

    fn is_wanted_by(&mut self, processor: &Plugin) -> bool {
        if !processor.is_choosy() {
            return true;
        }
        match processor.wants(&Facts::of(&self.document)) {
            Ok(wanted) => wanted,
            Err(error) => {
                let name = processor.name();
                self.decisions.push(format!("{name}: skipped, its `when` could not be evaluated: {error}"));
                false
            }
        }
    }

    /// Asks a processor, if it wants the alert and there is time for it.
    async fn ask(&mut self, processor: &Plugin, deadline: Instant) -> Turn {
        let before = self.before.take_if(|step| step.name() == processor.name());
        let policy = RetryPolicy::of_processors(self.activities.process_alert.timeout);
        let policy = policy.overridden_by(processor.retry());
        let left = left(deadline).min(policy.timeout());
        let budget = before.as_ref().map_or(left, |_| left.min(self.allowance(&policy).left));
        let is_late = before.is_some() && budget.is_zero();
        if is_late || !self.is_wanted_by(processor) {
            before.into_iter().for_each(|step| self.pass_over(step));
            return Turn::GoesOn;
        }
        let at = Timestamp::now();
        let called = processor.process(&self.item, budget).await;
        let refusal = called.result.as_ref().err().filter(|error| asks_again(error)).cloned();
        let (step, dropped) = self.apply(processor, at, called);
        let attempts = before.as_ref().map_or(0, |step| step.attempts) + 1;
        let step = Step { attempts, ..step }.after(before);
        match (refusal, dropped) {
            (Some(error), _) => return self.refused(step, &error, &policy),
            (None, Some(reason)) => {
                self.steps.push(step);
                return Turn::Drops(reason);
            }
            (None, None) => self.steps.push(step),
        }
        Turn::GoesOn
    }

    /// A processor has asked for another attempt.
    fn refused(&mut self, step: Step, error: &CallError, policy: &RetryPolicy) -> Turn {
        match self.allowance(policy).delay(error, step.attempts, policy, jitter()) {
            Some(delay) => Turn::Again(Box::new(step), delay),
            None => {
                self.pass_over(step);
                Turn::GoesOn
            }
        }
    }

    /// What the alert has left for further attempts under a policy.
    fn allowance(&self, policy: &RetryPolicy) -> Allowance {
        let wait = self.activities.processors.of(self.item.alert.severity);
        let most = policy.maximum_age.map_or(wait, |age| wait.min(age.unsigned_abs()));
        let left = most.saturating_sub(self.elapsed).saturating_sub(self.began.elapsed());
        Allowance { waits: self.waits, left }
    }

    /// The alert goes on without a processor that asked for another attempt.
    fn pass_over(&mut self, step: Step) {
        let (name, attempts) = (step.name().to_owned(), step.attempts);
        self.decisions.push(format!(
            "{name}: asked for another attempt and is passed over after {attempts}: the alert goes on without it"
        ));
        tracing::warn!(
            alert = self.item.id,
            plugin = name,
            attempts,
            "processor passed over: the alert goes on"
        );
        self.steps.push(step);
    }

    /// The alert waits for another attempt of a processor.
    fn again(mut self, step: Step, delay: Duration) -> Processed {
        let (alert, plugin, attempt) = (&self.item.id, step.name(), step.attempts);
        let next_in_ms = delay.as_millis();
        tracing::info!(alert, plugin, attempt, next_in_ms, "processor asks for another attempt");
        self.answered.retain(|name| name != step.name());
        let retrying = Retrying {
            answered: std::mem::take(&mut self.answered),
            most: self.growth.most,
            waits: self.waits + 1,
            elapsed: self.elapsed + self.began.elapsed(),
            rest: Duration::ZERO,
            step,
            delay,
        };
        Processed { again: Some(retrying), ..self.recorded() }
    }

    /// Applies the change of a processor. Gives its step, and the reason if it dropped the alert.
    fn apply(
        &mut self,
        processor: &Plugin,
        at: Timestamp,
        called: Called<Decision>,
    ) -> (Step, Option<String>) {
        let duration_ms = milliseconds(called.duration);
        let (message, dropped, error) = match called.result {
            Ok(Decision::Keep) => (None, None, None),
            Ok(Decision::Drop(reason)) => (Some(format!("dropped: {reason}")), Some(reason), None),
            Ok(Decision::Change(patch)) => match self.patch(&patch) {
                Ok(changes) => (Some(format!("changed {changes}")), None, None),
                Err(error) => (None, None, Some(error)),
            },
            Err(error) => (None, None, Some(step_error(error))),
        };
        if let Some(StepError { code, message, .. }) = &error {
            let plugin = processor.name();
            tracing::warn!(alert = self.item.id, plugin, code, error = message, "processor failed");
        }
        let step = Step {
            digest: Some(called.digest),
            generation: Some(called.generation),
            attempts: 1,
            at: Some(at),
            duration_ms,
            result: if error.is_some() { StepResult::Failed } else { StepResult::Ok },
            message,
            error,
            usage: called.usage,
            warnings: called.warnings,
            ..Step::untried(Activity::ProcessAlert, processor.name())
        };
        (step, dropped)
    }

    /// Applies a merge patch if the result is a valid alert with the same identity. Gives what it changes, in one line.
    fn patch(&mut self, patch: &Value) -> Result<String, StepError> {
        let refuse =
            |message: String| StepError { code: "invalid-output".to_owned(), message, retry: Retry::Never };
        let mut document = self.document.clone();
        json_patch::merge(&mut document, patch);
        let alert = alert::parse(&document).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            refuse(format!("the patched alert is not valid: {}", faults.join("; ")))
        })?;
        if let Some(fault) = self.growth.fault(&self.document, &document) {
            return Err(refuse(fault));
        }
        let identity =
            |alert: &Alert| (alert.id.clone(), alert.dedup_key.clone(), alert.starts_at, alert.status);
        if identity(&alert) != identity(&self.item.alert) {
            let fields = "`id`, `dedup_key`, `starts_at` and `status`";
            return Err(refuse(format!("the patch changes the alert's identity: {fields} must stay")));
        }
        if alert.extra.contains_key(ACKNOWLEDGEMENT) {
            return Err(refuse(format!("the patch sets `{ACKNOWLEDGEMENT}`, which is the host's alone")));
        }
        let changes = changes(&self.document, patch);
        // As the alert is written everywhere: its times, for one, are the host's.
        self.document = serde_json::to_value(&alert).unwrap_or(document);
        self.item = Arc::new(self.item.with(alert));
        self.changed = true;
        Ok(changes)
    }

    fn into_processed(mut self, (plan, reasons): (Plan, Vec<String>)) -> Processed {
        let limits = self.host.receivers.routing.current().limits();
        let (plan, left_out) = plan.without_doubles().bounded(limits);
        for line in &left_out {
            tracing::error!(alert = self.item.id, "{line}");
        }
        self.decisions.extend(left_out.into_iter().chain(reasons));
        // One that asked for another attempt, and that is gone by now.
        if let Some(step) = self.before.take() {
            self.pass_over(step);
        }
        let mut processed = Processed { plan, ..self.recorded() };
        let Plan { receivers, updaters, .. } = &processed.plan;
        let slow = receivers.iter().chain(updaters).filter(|planned| planned.slow);
        processed.decisions.extend(slow.map(|planned| {
            format!("{}: its latest {MANY} calls were slow: its first attempt is a durable one", planned.name)
        }));
        processed
    }

    /// What the processors made of the alert so far.
    fn recorded(self) -> Processed {
        let alert = self.changed.then(|| Arc::unwrap_or_clone(self.item).alert);
        let mut processed =
            Processed { alert, decisions: self.decisions, steps: self.steps, ..Processed::default() };
        processed.bound();
        processed
    }

    /// Who gets the alert, by what is in force now.
    fn decide(&self) -> (Plan, Vec<String>) {
        self.host.receivers.plan(&self.document, &self.activities)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn processors_together_may_add_so_much_to_an_alert() {
        let sized = |bytes: usize| json!("x".repeat(bytes - 2));
        let (mut growth, came) = (Growth::default(), sized(1_000));
        let half = sized(1_000 + MOST_GROWTH / 2);
        assert_eq!(growth.fault(&came, &half), None);
        assert_eq!(growth.fault(&half, &sized(1_000 + MOST_GROWTH)), None);
        let expected = "the patched alert has 17385 bytes as JSON, more than 17384: all processors together may add 16384";
        let fault = growth.fault(&half, &sized(1_001 + MOST_GROWTH));
        assert_eq!(fault.as_deref(), Some(expected), "the second adds to what the first has added");
        let largest = |more: usize| sized(alert::MOST_BYTES + more);
        assert_eq!(Growth::default().fault(&largest(0), &largest(MOST_GROWTH)), None, "of a cut alert, too");
        assert!(Growth::default().fault(&largest(0), &largest(MOST_GROWTH + 1)).is_some());
    }
}
