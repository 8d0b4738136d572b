//! What became of an alert, step by step: the result of its workflow and the answer to "why was I (not) paged?".
//! No I/O.

mod changes;
mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use changes::changes;
pub use usage::Usage;

use crate::alert::{self, ACKNOWLEDGEMENT, Alert, AlertItem, size};
use crate::plan::Told;

/// The longest text of an abridged ledger, in characters.
const ABRIDGED: usize = 200;
/// The most attempts that a step tells of, besides the last one.
const MOST_ATTEMPTS: usize = 20;
/// What the decisions about one alert may have together, in bytes.
const MOST_DECISIONS: usize = 16 << 10;
/// What the steps of all processors of one alert may have together, in bytes of JSON.
const MOST_OF_PROCESSORS: usize = 16 << 10;

/// What became of an alert as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every receiver has it.
    Delivered,
    /// Some receivers have it, others were given up.
    Partial,
    /// Every receiver was given up.
    Failed,
    /// Nobody was to be told: a processor dropped it, it was muted, or it ends what nobody was told of.
    Dropped,
    /// No route took it; the catch-all was told, if there is one.
    Unrouted,
}

impl Outcome {
    /// The name as it appears in JSON and in Temporal's search attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
            Outcome::Dropped => "dropped",
            Outcome::Unrouted => "unrouted",
        }
    }
}

impl From<Outcome> for campanile_store::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
            Outcome::Dropped => Self::Dropped,
            Outcome::Unrouted => Self::Unrouted,
        }
    }
}

impl From<campanile_store::Outcome> for Outcome {
    fn from(outcome: campanile_store::Outcome) -> Self {
        match outcome {
            campanile_store::Outcome::Delivered => Self::Delivered,
            campanile_store::Outcome::Partial => Self::Partial,
            campanile_store::Outcome::Failed => Self::Failed,
            campanile_store::Outcome::Dropped => Self::Dropped,
            campanile_store::Outcome::Unrouted => Self::Unrouted,
        }
    }
}

/// The full story of one alert.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// The alert's identity in this host; what plugins see as `alert.id`.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The alert after processing.
    pub alert: Alert,
    /// The metadata of the request that brought it.
    #[serde(default, skip_serializing_if = "alert::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Arc<Map<String, Value>>,
    /// When the webhook accepted it.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub received_at: jiff::Timestamp,
    /// The source that it was posted to: `grafana` of `/webhook/grafana`; absent for `/webhook/alerts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    pub via: Option<Arc<str>>,
    /// The name of the key, or of what else it was let in by; absent where nothing is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    pub key: Option<Arc<str>>,
    /// The address that it was posted from: a proxy's, where one is in front; absent for a socket file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, example = "192.0.2.7")]
    pub from: Option<std::net::IpAddr>,
    /// What was odd about the request, and what was made of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it went where it went, one line per receiver, updater or processor that was considered.
    pub decisions: Vec<String>,
    /// Every call, in the order in which the calls were decided.
    pub steps: Vec<Step>,
    /// Who has taken it over, if somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub acknowledged: Option<Acknowledgement>,
    /// How often it was posted again while it ran.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u32,
    /// How often it has come and gone within the hold-down, the alerts before it that it goes on with included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flaps: u32,
    /// Of one that goes on with an alert before it: who was told of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Told>,
    /// The alert before it that it goes on with, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub goes_on_with: Option<String>,
    /// Of an end that nobody was told of: the alert that fired again before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub taken_back_by: Option<String>,
}

/// Whether there is nothing to tell of.
pub(crate) fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Somebody has taken an alert over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// Who.
    #[schema(min_length = 1, max_length = 200, example = "alice")]
    pub by: String,
    /// What they have to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 1024, example = "on it, restarting the pool")]
    pub note: Option<String>,
    /// When.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub at: jiff::Timestamp,
}

impl Acknowledgement {
    /// The alert with this in it, as `acknowledgement`.
    pub fn noted_in(&self, item: &AlertItem) -> Arc<AlertItem> {
        let mut alert = item.alert.clone();
        // Texts and a time, which go into JSON.
        let noted = serde_json::to_value(self).unwrap_or_default();
        alert.extra.insert(ACKNOWLEDGEMENT.to_owned(), noted);
        Arc::new(item.with(alert))
    }
}

impl Ledger {
    /// That of an alert of which no receiver was notified, for this reason.
    pub fn undelivered(item: AlertItem, outcome: Outcome, reason: String) -> Self {
        Self {
            id: item.id,
            outcome,
            alert: item.alert,
            metadata: item.origin.metadata.clone(),
            received_at: item.origin.received_at,
            via: item.origin.via.clone(),
            key: item.origin.key.clone(),
            from: item.origin.from,
            warnings: item.origin.warnings.clone(),
            decisions: vec![reason],
            steps: Vec::new(),
            acknowledged: None,
            repeats: 0,
            flaps: 0,
            shown: Vec::new(),
            goes_on_with: None,
            taken_back_by: None,
        }
    }

    /// The updaters that were told of it.
    pub fn updaters(&self) -> BTreeSet<&str> {
        let updated = self.steps.iter().filter(|step| step.activity == Activity::UpdateAlertStatus);
        updated.map(Step::name).collect()
    }

    /// Keeps the last attempt of each step, and the beginning of what it said.
    fn shorten_steps(&mut self) {
        let before = size(&self.steps);
        self.steps.iter_mut().for_each(Step::shorten);
        if size(&self.steps) < before {
            let line = "this ledger is shortened, since it is too large: of each step, only the last attempt is kept";
            self.decisions.push(line.to_owned());
        }
    }

    /// Leaves out what can be looked up where the alert came from.
    fn abridge(&mut self) {
        let Alert { description, links, data, metrics, extra, .. } = &mut self.alert;
        cut(description);
        links.clear();
        data.clear();
        metrics.clear();
        extra.clear();
        self.warnings.clear();
        self.decisions.push(
            "this ledger is abridged, since it is too large to be kept; the alert as posted is in the workflow's input"
                .to_owned(),
        );
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(ABRIDGED) {
        text.truncate(end);
        text.push('…');
    }
}

/// Shortens the steps of the largest ledgers, then abridges the largest ones, until all of them together have at most `most`
/// bytes of JSON.
pub fn fit(ledgers: &mut [Ledger], most: usize) {
    for shorten in [Ledger::shorten_steps, Ledger::abridge] {
        let mut sizes: Vec<(usize, usize)> = ledgers.iter().map(size).zip(0..).collect();
        let mut sum: usize = sizes.iter().map(|(size, _)| size).sum();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        for (before, index) in sizes {
            if sum <= most {
                return;
            }
            shorten(&mut ledgers[index]);
            sum = sum - before + size(&ledgers[index]);
        }
    }
}

/// Shortens the steps of the processors until they have at most 16 KiB of JSON together; says which are left out, if some are.
pub fn bound_steps(steps: &mut Vec<Step>) -> Option<String> {
    let all = steps.len();
    if size(steps) > MOST_OF_PROCESSORS {
        steps.iter_mut().for_each(Step::shorten);
    }
    while size(steps) > MOST_OF_PROCESSORS {
        steps.pop();
    }
    let left_out = all - steps.len();
    let text = format!(
        "the steps of the last {left_out} of {all} processors are left out: together they were too large"
    );
    (left_out > 0).then_some(text)
}

/// Keeps the first decisions, up to 16 KiB, and counts the others.
pub fn bound(decisions: &mut Vec<String>) {
    let mut bytes = 0;
    let fits = decisions.iter().take_while(|line| {
        bytes += line.len();
        bytes <= MOST_DECISIONS
    });
    let kept = fits.count();
    let left_out = decisions.len() - kept;
    decisions.truncate(kept);
    if left_out > 0 {
        decisions.push(format!("{left_out} more decisions are left out: there were too many to be kept"));
    }
}

/// One plugin's part in the story: a call with all its attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// The Temporal activity.
    pub activity: Activity,
    /// The receiver or updater; absent if it has the plugin's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub receiver: Option<String>,
    /// The plugin that was called; absent if none was, or if the last attempt did not report which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub plugin: Option<String>,
    /// `sha256:…` of the component that made the last attempt; absent if none was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Which load of that plugin since the host started, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the last attempt began.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub at: Option<jiff::Timestamp>,
    /// How long the last attempt took, in milliseconds.
    pub duration_ms: f64,
    /// How it ended.
    pub result: StepResult,
    /// What the plugin answered, or why it changed or dropped the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The other system's own identifier of what was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_id: Option<String>,
    /// What the host found odd about the last attempt although it succeeded, such as a request that the plugin did not
    /// wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// What the last attempt used up; absent if the plugin was not called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Of a delivery that exhausted its retries: its id, under which it can be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub dead_letter: Option<String>,
    /// Of a dead letter that came to its end without being delivered: how, such as `discarded: an operator discarded it`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended: Option<String>,
    /// Of a receiver that stands in: the one that was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instead_of: Option<String>,
    /// The attempts before the last one, as far as they are known: of very many the first and the latest, of one whose
    /// worker was lost nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Attempt>,
}

impl Step {
    /// The name of the receiver, updater or processor.
    pub fn name(&self) -> &str {
        self.receiver.as_deref().or(self.plugin.as_deref()).unwrap_or_default()
    }

    /// Keeps the last attempt, and the beginning of what it said.
    fn shorten(&mut self) {
        self.message.iter_mut().for_each(cut);
        self.error.iter_mut().for_each(|error| cut(&mut error.message));
        self.warnings.clear();
        self.before.clear();
    }

    /// A step of which nothing is known but the receiver, updater or processor that it was for.
    pub fn untried(activity: Activity, name: &str) -> Self {
        let name = Some(name.to_owned());
        // Which plugin serves a receiver is looked up by each attempt.
        let (receiver, plugin) = if activity == Activity::ProcessAlert { (None, name) } else { (name, None) };
        Self {
            activity,
            receiver,
            plugin,
            digest: None,
            generation: None,
            attempts: 0,
            at: None,
            duration_ms: 0.0,
            result: StepResult::Failed,
            message: None,
            receipt_id: None,
            warnings: Vec::new(),
            error: None,
            usage: None,
            dead_letter: None,
            ended: None,
            instead_of: None,
            before: Vec::new(),
        }
    }

    /// This step, which goes on where `first` failed.
    pub fn after(mut self, first: Option<Self>) -> Self {
        // One that passed for lost, and was joined after all, is the same attempt.
        if let Some(first) = first.filter(|first| first.attempts != self.attempts || self.at.is_none()) {
            let mut before = first.before.clone();
            before.extend(Attempt::of(&first));
            before.append(&mut self.before);
            self.before = before;
            if self.plugin.is_none() {
                (self.receiver, self.plugin) = (first.receiver, first.plugin);
            }
            Attempt::forget(&mut self.before);
        }
        self
    }
}

/// An attempt that failed, and was followed by another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Which one, counted from 1.
    pub number: u32,
    /// When it began.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub at: jiff::Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The code of its error.
    pub code: String,
    /// What was said, cut to 200 characters.
    pub message: String,
}

impl Attempt {
    /// The last attempt of a step that failed; none where it was not made.
    pub fn of(step: &Step) -> Option<Self> {
        let (at, StepError { code, mut message, .. }) = (step.at?, step.error.clone()?);
        cut(&mut message);
        Some(Self { number: step.attempts, at, duration_ms: step.duration_ms, code, message })
    }

    /// Keeps the first and the latest of very many.
    pub fn forget(attempts: &mut Vec<Self>) {
        if let excess @ 1.. = attempts.len().saturating_sub(MOST_ATTEMPTS) {
            attempts.drain(1..=excess);
        }
    }
}

/// The activities that steps are of, by the names that Temporal's UI shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Runs the processors and decides who gets the alert.
    ProcessAlert,
    /// Brings the alert to one receiver.
    SendNotification,
    /// Tells one external system what became of it.
    UpdateAlertStatus,
}

impl Activity {
    /// The name as Temporal and the metrics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Activity::ProcessAlert => "process_alert",
            Activity::SendNotification => "send_notification",
            Activity::UpdateAlertStatus => "update_alert_status",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// It did what it was asked.
    Ok,
    /// It was given up; for a processor: the alert went on without it.
    Failed,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepError {
    /// A short stable code for machines, such as `deadline` or `http-503`.
    pub code: String,
    /// For the person on call.
    pub message: String,
    /// Whether another attempt was worth making.
    pub retry: Retry,
}

/// Whether an attempt that failed is worth repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// It will fail again in the same way.
    Never,
    /// With exponential backoff.
    Backoff,
    /// After this many milliseconds.
    #[serde(untagged)]
    After {
        /// Milliseconds.
        after_ms: u64,
    },
}

impl Retry {
    /// Whether another attempt is worth making.
    pub fn is_worthwhile(self) -> bool {
        self != Retry::Never
    }

    /// The delay that the other side asked for.
    pub fn delay(self) -> Option<Duration> {
        match self {
            Retry::After { after_ms } => Some(Duration::from_millis(after_ms)),
            Retry::Never | Retry::Backoff => None,
        }
    }
}

/// How far one receiver has come: what status updaters are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryResult {
    /// The receiver's name.
    pub receiver: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// The receipt or the last error, one line.
    pub message: String,
}

/// How far one receiver has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Its retries are under way.
    Pending,
    /// It has the alert.
    Delivered,
    /// It was given up.
    Failed,
}

impl From<&Step> for DeliveryResult {
    fn from(step: &Step) -> Self {
        let state = match step.result {
            StepResult::Ok => DeliveryState::Delivered,
            StepResult::Failed => DeliveryState::Failed,
        };
        let error = step.error.as_ref().map(|error| error.message.clone());
        let message = error.or_else(|| step.message.clone()).unwrap_or_default();
        Self { receiver: step.name().to_owned(), state, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(filler: usize) -> Ledger {
        let alert = serde_json::json!({
            "title": "t", "description": "d", "type": "custom", "severity": "low",
            "source": {"name": "n", "type": "t"}, "data": {"filler": "x".repeat(filler)},
        });
        Ledger {
            id: "a".to_owned(),
            outcome: Outcome::Delivered,
            alert: serde_json::from_value(alert).unwrap(),
            metadata: Arc::default(),
            received_at: jiff::Timestamp::UNIX_EPOCH,
            via: None,
            key: None,
            from: None,
            warnings: Vec::new(),
            decisions: Vec::new(),
            steps: Vec::new(),
            acknowledged: None,
            repeats: 0,
            flaps: 0,
            shown: Vec::new(),
            goes_on_with: None,
            taken_back_by: None,
        }
    }

    #[test]
    fn the_largest_ledgers_are_abridged_and_only_as_many_as_needed() {
        let mut ledgers = [ledger(3_000), ledger(9_000), ledger(1_000)];
        fit(&mut ledgers, 6_000);
        let abridged: Vec<bool> = ledgers.iter().map(|ledger| !ledger.decisions.is_empty()).collect();
        assert_eq!(abridged, [false, true, false]);
        assert!(ledgers.iter().map(size).sum::<usize>() <= 6_000);
        assert!(ledgers[1].alert.data.is_empty() && ledgers[1].alert.title == "t");
    }

    #[test]
    fn steps_are_shortened_before_the_alert_is_left_out() {
        let error =
            StepError { code: "http-503".to_owned(), message: "m".repeat(1_000), retry: Retry::Backoff };
        let step = Step {
            attempts: 21,
            at: Some(jiff::Timestamp::UNIX_EPOCH),
            error: Some(error),
            ..Step::untried(Activity::SendNotification, "pager")
        };
        let before = vec![Attempt::of(&step).unwrap(); MOST_ATTEMPTS];
        let steps = vec![Step { before, ..step }; 4];
        let mut ledgers = [Ledger { steps, ..ledger(3_000) }];
        fit(&mut ledgers, 6_000);
        assert_eq!(ledgers[0].alert.data["filler"].as_str().map(str::len), Some(3_000));
        assert!(ledgers[0].steps.iter().all(|step| step.before.is_empty() && step.attempts == 21));
        assert_eq!(ledgers[0].decisions.len(), 1);
    }

    #[test]
    fn steps_of_processors_are_shortened_and_then_left_out() {
        let error =
            StepError {
                code: "invalid-output".to_owned(), message: "ä".repeat(20_000), retry: Retry::Never
            };
        let step = Step { error: Some(error), ..Step::untried(Activity::ProcessAlert, "triage") };
        let mut few = vec![step.clone(); 7];
        assert_eq!(bound_steps(&mut few), None);
        assert!(few.len() == 7 && size(&few) <= MOST_OF_PROCESSORS, "{}", size(&few));
        let mut many = vec![step; 100];
        let left_out = bound_steps(&mut many).unwrap();
        assert!(size(&many) <= MOST_OF_PROCESSORS);
        assert!(left_out.contains("of 100 processors"), "{left_out}");
    }

    #[test]
    fn an_attempt_that_was_not_made_names_its_receiver_and_no_plugin() {
        let stopped = Step { attempts: 1, ..Step::untried(Activity::SendNotification, "ops") };
        let value = serde_json::to_value(&stopped).unwrap();
        assert_eq!((&value["receiver"], value.get("plugin")), (&"ops".into(), None));
        let made = Step {
            plugin: Some("slack".to_owned()),
            at: Some(jiff::Timestamp::UNIX_EPOCH),
            ..stopped.clone()
        };
        let both = stopped.after(Some(made));
        assert_eq!(
            (both.name(), both.plugin.as_deref()),
            ("ops", Some("slack")),
            "an attempt before it was made"
        );
        let processor = Step::untried(Activity::ProcessAlert, "triage");
        assert_eq!((processor.receiver, processor.plugin.as_deref()), (None, Some("triage")));
    }

    #[test]
    fn the_first_decisions_are_kept_and_the_others_counted() {
        let mut decisions = vec!["d".repeat(1_000); 100];
        bound(&mut decisions);
        assert_eq!(decisions.len(), 17);
        assert_eq!(decisions[16], "84 more decisions are left out: there were too many to be kept");
    }
}
