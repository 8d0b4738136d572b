//! Which receivers and status updaters a processed alert goes to, with which retry policy, and why. Pure: what it
//! decides is recorded as the result of `process_alert`, so that a replay never asks again.

use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::Fault;

/// The longest delay that a plugin or the system behind it may ask for: an alert that waits longer is news to nobody.
pub const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// The most receivers of one alert, fallbacks counted. Temporal holds 50 MB of history per workflow, and each receiver of the
/// largest alert that fails costs about 1 MB of it: its durable attempts are called with the alert, and so is its dead letter.
pub const MOST_RECEIVERS: usize = 32;
/// The most updaters of one alert; each can cost 1.6 MB: it is called with the alert at the end and after an acknowledgement, and
/// before that without the alert in the history.
pub const MOST_UPDATERS: usize = 8;

/// How many receivers and updaters one alert may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// The receivers, fallbacks counted; at most [`MOST_RECEIVERS`].
    pub receivers: usize,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { receivers: MOST_RECEIVERS }
    }
}

/// Who gets an alert, and how often it is tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The notifiers, each under its own name, in ascending order of (`order`, name).
    pub receivers: Vec<Planned>,
    /// The status updaters, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updaters: Vec<Planned>,
    /// No receiver wanted the alert; `receivers` then holds the catch-all.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unrouted: bool,
    /// Nobody is told, since a processor dropped the alert or it is muted; the updaters are told so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dropped: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One receiver or updater of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name. Each attempt uses its settings, and the newest good generation of its plugin, as they are then.
    pub name: String,
    /// Its own retry policy, where it is not that of its activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// The task queue that it is tried from, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// With a rate limit: the longest that an attempt waits for its turn, once a process has taken it from that queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<SignedDuration>,
    /// Its latest calls were slow, so that its first attempt is a durable one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub slow: bool,
    /// Who is told when it is given up, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Planned>,
    /// Of a resolve: what it answered to the firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
    /// The thread id, where it is not the alert's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// A receiver that takes an alert for firing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// Its name.
    pub receiver: String,
    /// What it answered; absent if its delivery exhausted its retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub earlier: Option<Earlier>,
    /// The thread id under which it has, or would have, what belongs to the alert.
    #[serde(default)]
    thread: String,
}

impl Told {
    /// A receiver, what it answered, and under which thread id.
    pub fn new(receiver: String, earlier: Option<Earlier>, thread: String) -> Self {
        Self { receiver, earlier, thread }
    }

    /// The thread id, where it is known.
    pub fn thread(&self) -> Option<String> {
        Some(self.thread.clone()).filter(|thread| !thread.is_empty())
    }
}

/// What a receiver answered to a firing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Earlier {
    /// The other system's own identifier of what was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<String>,
    /// One line.
    pub message: String,
}

impl Plan {
    /// How many deliveries there may be: to receivers, to those who stand in for them, and to updaters.
    pub fn deliveries(&self) -> usize {
        let stand_ins: usize = self.receivers.iter().map(|planned| planned.fallback.len()).sum();
        self.receivers.len() + stand_ins + self.updaters.len()
    }

    /// What the deliveries of an alert of so many bytes may take in Temporal's history, in bytes: each receiver its durable attempts
    /// (the first one apart, where that is durable, too) and its dead letter, each updater its local calls, which leave the alert out,
    /// and those at the end and after an acknowledgement.
    pub fn history_bytes(&self, alert: usize) -> usize {
        let fallbacks: usize = self.receivers.iter().map(|planned| planned.fallback.len()).sum();
        let durable = self.receivers.iter().filter(|planned| planned.queue.is_some() || planned.slow).count();
        alert * (2 * (self.receivers.len() + fallbacks) + durable + 3 * self.updaters.len())
    }

    /// The same plan without what is beyond the limits, and one line for each receiver, fallback or updater that is left out. Which
    /// those are is for conditions that could not be evaluated to say: the routes themselves are checked when they are loaded.
    pub fn bounded(mut self, limits: PlanLimits) -> (Self, Vec<String>) {
        let (mut left, mut left_out) = (limits.receivers, Vec::new());
        let most = limits.receivers;
        let why = |name: &str| {
            format!("{name}: left out: an alert has at most {most} receivers, fallbacks counted")
        };
        self.receivers.retain(|planned| take(&mut left, || left_out.push(why(&planned.name))));
        for planned in &mut self.receivers {
            planned.fallback.retain(|next| take(&mut left, || left_out.push(why(&next.name))));
        }
        let more = self.updaters.split_off(self.updaters.len().min(MOST_UPDATERS));
        left_out.extend(more.iter().map(|planned| {
            format!("{}: left out: an alert has at most {MOST_UPDATERS} updaters", planned.name)
        }));
        (self, left_out)
    }

    /// The same plan, in which nobody stands in who is told anyway.
    pub fn without_doubles(mut self) -> Self {
        let told: Vec<String> = self.receivers.iter().map(|planned| planned.name.clone()).collect();
        for planned in &mut self.receivers {
            planned.fallback.retain(|next| !told.contains(&next.name));
        }
        self
    }
}

/// Whether one more is left; if not, `otherwise` is done.
fn take(left: &mut usize, otherwise: impl FnOnce()) -> bool {
    match left.checked_sub(1) {
        Some(fewer) => *left = fewer,
        None => {
            otherwise();
            return false;
        }
    }
    true
}

impl Planned {
    /// Whom to call, and how often; `usual` is the retry policy of the activity.
    pub fn target(&self, usual: RetryPolicy) -> Target {
        Target {
            name: self.name.clone(),
            retry: self.retry.unwrap_or(usual),
            queue: self.queue.clone(),
            turn: self.turn,
            slow: self.slow,
            gives_way: false,
            earlier: self.earlier.clone(),
            thread: self.thread.clone(),
        }
    }
}

/// Whom an activity calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The name of the receiver or updater.
    pub name: String,
    /// How often and for how long it is tried.
    pub retry: RetryPolicy,
    /// As in [`Planned`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// As in [`Planned`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<SignedDuration>,
    /// As in [`Planned`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub slow: bool,
    /// Somebody stands in for it, so that nobody waits for the end of a quarantine.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gives_way: bool,
    /// As in [`Planned`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
    /// As in [`Planned`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

impl Target {
    /// Its retry policy where an attempt also waits for its turn: the plugin has as much time as without that.
    pub fn patient_retry(&self) -> RetryPolicy {
        let turn = self.turn.unwrap_or(SignedDuration::ZERO);
        RetryPolicy { timeout: self.retry.timeout.saturating_add(turn), ..self.retry }
    }
}

/// A plugin that might take the alert.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is in a plan.
    pub planned: Planned,
    /// What its `when` said; the error if it could not be evaluated.
    pub wants: Result<bool, String>,
}

/// Retry policy of one activity: Temporal's fields, plus the timeout of each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The longest that one attempt may take.
    pub timeout: SignedDuration,
    /// Delay before the second attempt.
    pub initial_interval: SignedDuration,
    /// What the delay is multiplied with from attempt to attempt.
    pub coefficient: f64,
    /// The longest delay.
    pub maximum_interval: SignedDuration,
    /// How many attempts in all, the first one included; 0 for no limit.
    pub maximum_attempts: u32,
    /// How long after the first attempt another one is still made; without end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_age: Option<SignedDuration>,
}

/// A retry policy as an operator sets it: whatever is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RetryConfig {
    /// The longest that one attempt may take, such as `30s`.
    #[schemars(with = "Option<String>")]
    pub timeout: Option<SignedDuration>,
    /// Delay before the second attempt, such as `5s`.
    #[schemars(with = "Option<String>")]
    pub initial_interval: Option<SignedDuration>,
    /// What the delay is multiplied with from attempt to attempt, at least 1.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub coefficient: Option<f64>,
    /// The longest delay, such as `5m`.
    #[schemars(with = "Option<String>")]
    pub maximum_interval: Option<SignedDuration>,
    /// How many attempts in all, the first one included; 0 for no limit.
    pub maximum_attempts: Option<u32>,
    /// How long after the first attempt another one is still made, such as `6h`.
    #[schemars(with = "Option<String>")]
    pub maximum_age: Option<SignedDuration>,
}

impl RetryPolicy {
    /// How a processor that asks for another attempt is asked again, where its own file says nothing: soon, since its alert waits.
    pub fn of_processors(timeout: SignedDuration) -> Self {
        Self {
            timeout,
            initial_interval: SignedDuration::from_millis(200),
            coefficient: 2.0,
            maximum_interval: SignedDuration::from_secs(5),
            maximum_attempts: 0,
            maximum_age: None,
        }
    }

    /// This policy with what an operator set in place of its own values. Where only one of the two intervals is set
    /// and the other would contradict it (Temporal refuses such a policy), the other one follows.
    pub fn overridden_by(self, config: &RetryConfig) -> Self {
        let initial = config.initial_interval.unwrap_or(self.initial_interval);
        let maximum = config.maximum_interval.unwrap_or(self.maximum_interval);
        let (initial_interval, maximum_interval) = match config.initial_interval {
            Some(_) => (initial, maximum.max(initial)),
            None => (initial.min(maximum), maximum),
        };
        Self {
            timeout: config.timeout.unwrap_or(self.timeout),
            initial_interval,
            coefficient: config.coefficient.unwrap_or(self.coefficient),
            maximum_interval,
            maximum_attempts: config.maximum_attempts.unwrap_or(self.maximum_attempts),
            maximum_age: config.maximum_age.or(self.maximum_age),
        }
    }

    /// The delay after attempt number `attempt` (counted from 1), spread over ±20 % by `jitter` (0 to 1), so that
    /// deliveries that failed together do not come back together.
    pub fn delay_after(&self, attempt: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.initial_interval.as_secs_f64() * self.coefficient.powi(exponent);
        let bounded = grown.min(self.maximum_interval.as_secs_f64()).max(0.0);
        Duration::try_from_secs_f64(bounded * (0.8 + 0.4 * jitter)).unwrap_or(Duration::MAX)
    }

    /// The timeout of each attempt.
    pub fn timeout(&self) -> Duration {
        self.timeout.unsigned_abs()
    }

    /// Whether `attempts` used up what is allowed.
    pub fn is_exhausted_by(&self, attempts: u32) -> bool {
        self.maximum_attempts != 0 && attempts >= self.maximum_attempts
    }
}

impl RetryConfig {
    /// Whether it sets anything.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// What is wrong with it beyond its schema; `path` says where it is set, such as `retry`.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let times = [
            ("timeout", self.timeout),
            ("initial-interval", self.initial_interval),
            ("maximum-interval", self.maximum_interval),
            ("maximum-age", self.maximum_age),
        ];
        let fault =
            |key: &str, message: String| Fault { path: format!("{path}.{key}"), value: None, message };
        let too_short = |(key, time): (&str, Option<SignedDuration>)| {
            let time = time.filter(|time| *time <= SignedDuration::ZERO)?;
            Some(fault(key, format!("{time:#} is not longer than 0s")))
        };
        let mut faults: Vec<Fault> = times.into_iter().filter_map(too_short).collect();
        if let (Some(initial), Some(maximum)) = (self.initial_interval, self.maximum_interval)
            && maximum < initial
        {
            let text = format!("{maximum:#} is shorter than initial-interval, which is {initial:#}");
            faults.push(fault("maximum-interval", text));
        }
        faults
    }
}

/// Decides who gets an alert. Returns the plan, and one line per candidate that says why it is in or out.
///
/// A `when` that cannot be evaluated lets the alert through: a mistyped condition must not swallow a page.
pub fn decide(
    notifiers: Vec<Candidate>,
    updaters: Vec<Candidate>,
    catch_all: &[Planned],
) -> (Plan, Vec<String>) {
    let mut reasons = Vec::new();
    let mut receivers = taken(notifiers, &mut reasons);
    let unrouted = receivers.is_empty();
    if unrouted {
        reasons.push(unrouted_reason(catch_all));
        receivers = catch_all.to_vec();
    }
    let updaters = taken(updaters, &mut reasons);
    (Plan { receivers, updaters, unrouted, ..Plan::default() }, reasons)
}

/// What is said of an alert that nobody took.
pub fn unrouted_reason(catch_all: &[Planned]) -> String {
    match catch_all {
        [] => "no receiver took the alert and there is no catch-all: set [routing] catch-all".to_owned(),
        receivers => format!("no receiver took the alert: the catch-all gets it ({})", names(receivers)),
    }
}

fn taken(candidates: Vec<Candidate>, reasons: &mut Vec<String>) -> Vec<Planned> {
    let mut targets = Vec::new();
    for candidate in &candidates {
        let name = &candidate.planned.name;
        match &candidate.wants {
            Ok(true) => targets.push(candidate.planned.clone()),
            Ok(false) => reasons.push(format!("{name}: left out: its `when` is false")),
            Err(error) => {
                reasons.push(format!("{name}: taken although its `when` could not be evaluated: {error}"));
                targets.push(candidate.planned.clone());
            }
        }
    }
    targets
}

fn names(targets: &[Planned]) -> String {
    targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        timeout: SignedDuration::from_secs(30),
        initial_interval: SignedDuration::from_secs(5),
        coefficient: 2.0,
        maximum_interval: SignedDuration::from_secs(60),
        maximum_attempts: 3,
        maximum_age: None,
    };

    fn candidate(name: &str, wants: Result<bool, String>) -> Candidate {
        Candidate { planned: planned(name), wants }
    }

    fn planned(name: &str) -> Planned {
        Planned { name: name.to_owned(), ..Planned::default() }
    }

    #[test]
    fn who_wants_the_alert_gets_it_and_the_others_are_explained() {
        let notifiers = vec![candidate("slack", Ok(true)), candidate("email", Ok(false))];
        let (plan, reasons) = decide(notifiers, vec![candidate("status", Ok(true))], &[]);
        assert_eq!(names(&plan.receivers), "slack");
        assert_eq!(names(&plan.updaters), "status");
        assert_eq!(reasons, ["email: left out: its `when` is false"]);
    }

    #[test]
    fn an_alert_that_nobody_wants_goes_to_the_catch_all() {
        let notifiers = vec![candidate("slack", Ok(false)), candidate("log", Ok(false))];
        let (plan, reasons) = decide(notifiers, vec![], &[planned("log")]);
        assert!(plan.unrouted);
        assert_eq!(names(&plan.receivers), "log");
        assert!(reasons[2].contains("the catch-all gets it (log)"), "{reasons:?}");
    }

    #[test]
    fn who_is_told_anyway_does_not_stand_in() {
        let chat = Planned { fallback: vec![planned("mail"), planned("phone")], ..planned("chat") };
        let plan = Plan { receivers: vec![chat, planned("mail")], ..Plan::default() }.without_doubles();
        assert_eq!(names(&plan.receivers[0].fallback), "phone");
    }

    #[test]
    fn a_plan_keeps_receivers_before_fallbacks_and_says_what_is_left_out() {
        let chat = Planned { fallback: vec![planned("mail"), planned("phone")], ..planned("chat") };
        let updaters = (0..9).map(|number| planned(&format!("u{number}"))).collect();
        let plan = Plan { receivers: vec![chat, planned("sms")], updaters, ..Plan::default() };
        let (plan, left_out) = plan.bounded(PlanLimits { receivers: 3 });
        assert_eq!(names(&plan.receivers), "chat, sms");
        assert_eq!(names(&plan.receivers[0].fallback), "mail");
        assert_eq!(plan.updaters.len(), MOST_UPDATERS);
        let expected = [
            "phone: left out: an alert has at most 3 receivers, fallbacks counted",
            "u8: left out: an alert has at most 8 updaters",
        ];
        assert_eq!(left_out, expected);
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_lets_the_alert_through() {
        let (plan, reasons) = decide(vec![candidate("slack", Err("no such key".to_owned()))], vec![], &[]);
        assert_eq!(names(&plan.receivers), "slack");
        assert!(!plan.unrouted);
        assert!(reasons[0].contains("no such key"), "{reasons:?}");
    }

    #[test]
    fn delays_grow_up_to_their_maximum_and_are_spread() {
        assert_eq!(POLICY.delay_after(1, 0.5), Duration::from_secs(5));
        assert_eq!(POLICY.delay_after(2, 0.5), Duration::from_secs(10));
        assert_eq!(POLICY.delay_after(60, 0.5), Duration::from_secs(60));
        assert_eq!(POLICY.delay_after(1, 0.0), Duration::from_secs(4));
        assert_eq!(POLICY.delay_after(1, 1.0), Duration::from_secs(6));
    }

    #[test]
    fn of_two_intervals_the_one_that_is_set_wins() {
        let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
        let long = RetryConfig { initial_interval: seconds(100), ..RetryConfig::default() };
        let short = RetryConfig { maximum_interval: seconds(2), ..RetryConfig::default() };
        for (config, expected) in [(long, (100, 100)), (short, (2, 2)), (RetryConfig::default(), (5, 60))] {
            let policy = POLICY.overridden_by(&config);
            let intervals = (policy.initial_interval.as_secs(), policy.maximum_interval.as_secs());
            assert_eq!(intervals, expected, "{config:?}");
        }
    }

    #[test]
    fn policies_that_temporal_would_refuse_are_faults() {
        let config = RetryConfig {
            timeout: Some(SignedDuration::ZERO),
            initial_interval: Some(SignedDuration::from_secs(9)),
            maximum_interval: Some(SignedDuration::from_secs(2)),
            ..RetryConfig::default()
        };
        let texts: Vec<_> = config.faults("retry").iter().map(Fault::to_string).collect();
        assert_eq!(
            texts,
            [
                "retry.timeout: 0s is not longer than 0s",
                "retry.maximum-interval: 2s is shorter than initial-interval, which is 9s"
            ]
        );
    }

    #[test]
    fn attempts_are_counted_with_the_first_one() {
        assert!(!POLICY.is_exhausted_by(2));
        assert!(POLICY.is_exhausted_by(3));
        assert!(!RetryPolicy { maximum_attempts: 0, ..POLICY }.is_exhausted_by(1_000));
    }
}
