//! A processor that asks for another attempt. Until then the alert waits in its workflow, which keeps what the processors before
//! that one have answered. Only an answer of the plugin itself asks: one that crashes or is late is passed over at once.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::ledger::{Retry, Step};
use crate::plan::RetryPolicy;
use crate::plugin::{CallError, Reason};

/// The shortest time until another attempt.
const SHORTEST_DELAY: Duration = Duration::from_millis(100);

/// The shortest time that is left to a timer: Temporal fires shorter ones as late as that.
const SHORTEST_TIMER: Duration = Duration::from_secs(1);

/// How often one alert waits. Each time costs some six events of its workflow's history, and Temporal ends a workflow with 51,200.
const MOST_WAITS: u32 = 20;

/// Where the processors of an alert stand until one of them is asked again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retrying {
    /// The attempts of that one so far.
    pub step: Step,
    /// The processors before it. They are not asked again.
    pub answered: Vec<String>,
    /// How large the processors may make the alert, in bytes, if one of them has changed it.
    pub most: Option<usize>,
    /// The time until the next attempt.
    pub delay: Duration,
    /// How often the alert has waited, this time included.
    pub waits: u32,
    /// How long the alert has been with its processors by now.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub elapsed: Duration,
    /// What the process is to wait before it makes the attempt.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub rest: Duration,
}

/// What an alert has left for further attempts.
pub(super) struct Allowance {
    /// How often it has waited.
    pub(super) waits: u32,
    /// The time.
    pub(super) left: Duration,
}

impl Allowance {
    /// The time until the next attempt of a processor, if it asked for one and may have it.
    pub(super) fn delay(
        &self,
        error: &CallError,
        attempts: u32,
        policy: &RetryPolicy,
        jitter: f64,
    ) -> Option<Duration> {
        if !asks_again(error) || policy.is_exhausted_by(attempts) || self.waits >= MOST_WAITS {
            return None;
        }
        let delay = error.retry.delay().unwrap_or_else(|| policy.delay_after(attempts, jitter));
        Some(delay.max(SHORTEST_DELAY)).filter(|delay| *delay < self.left)
    }
}

/// Whether a processor itself asked for another attempt.
pub(super) fn asks_again(error: &CallError) -> bool {
    error.reason == Reason::Guest && error.retry != Retry::Never
}

impl Retrying {
    /// Whether the process waits for the next attempt, and no timer.
    pub(super) fn is_short(&self) -> bool {
        self.delay < SHORTEST_TIMER
    }

    /// The same when the alert has waited in its workflow from `began` to `now`; that time stands still where the process waits.
    pub(super) fn due(self, began: Option<SystemTime>, now: Option<SystemTime>) -> Self {
        let waited = began.zip(now).and_then(|(began, now)| now.duration_since(began).ok());
        let rest = if self.is_short() { self.delay } else { Duration::ZERO };
        Self { elapsed: self.elapsed + waited.unwrap_or_default(), rest, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RetryConfig;
    use jiff::SignedDuration;

    const MILLI: Duration = Duration::from_millis(1);

    fn policy() -> RetryPolicy {
        RetryPolicy::of_processors(SignedDuration::from_secs(30))
    }

    fn error(reason: Reason, retry: Retry) -> CallError {
        let error = CallError::not_loaded("as tested");
        CallError { reason, retry, ..error }
    }

    fn delay(error: &CallError, attempts: u32, waits: u32, left: Duration) -> Option<Duration> {
        Allowance { waits, left }.delay(error, attempts, &policy(), 0.5)
    }

    #[test]
    fn a_processor_is_asked_again_when_it_says_so() {
        let left = 10_000 * MILLI;
        let backoff = error(Reason::Guest, Retry::Backoff);
        assert_eq!(delay(&backoff, 1, 0, left), Some(200 * MILLI));
        assert_eq!(delay(&backoff, 3, 2, left), Some(800 * MILLI));
        let after = |after_ms| error(Reason::Guest, Retry::After { after_ms });
        assert_eq!(delay(&after(700), 1, 0, left), Some(700 * MILLI));
        assert_eq!(delay(&after(0), 1, 0, left), Some(SHORTEST_DELAY));
        assert_eq!(delay(&after(60_000), 1, 0, left), None, "the alert does not wait that long");
    }

    #[test]
    fn a_processor_that_did_not_ask_is_passed_over() {
        let left = 10_000 * MILLI;
        for reason in [Reason::Trap, Reason::Deadline, Reason::Memory, Reason::Busy] {
            assert_eq!(delay(&error(reason, Retry::Backoff), 1, 0, left), None, "{reason:?}");
        }
        assert_eq!(delay(&error(Reason::Guest, Retry::Never), 1, 0, left), None);
    }

    #[test]
    fn attempts_end_with_the_time_their_number_and_the_waits() {
        let backoff = error(Reason::Guest, Retry::Backoff);
        assert_eq!(delay(&backoff, 1, 0, 200 * MILLI), None);
        assert_eq!(delay(&backoff, 1, 0, Duration::ZERO), None);
        assert_eq!(delay(&backoff, 1, MOST_WAITS, 10_000 * MILLI), None);
        let twice = RetryConfig { maximum_attempts: Some(2), ..RetryConfig::default() };
        let twice = policy().overridden_by(&twice);
        let allowance = Allowance { waits: 0, left: 10_000 * MILLI };
        assert!(allowance.delay(&backoff, 1, &twice, 0.5).is_some());
        assert!(allowance.delay(&backoff, 2, &twice, 0.5).is_none());
    }

    #[test]
    fn the_time_with_processors_includes_the_wait() {
        let step = Step::untried(crate::ledger::Activity::ProcessAlert, "enrich");
        let (answered, most, began) = (Vec::new(), None, SystemTime::UNIX_EPOCH);
        let (elapsed, rest, delay) = (4_900 * MILLI, Duration::ZERO, 2_000 * MILLI);
        let long = Retrying { step, answered, most, delay, waits: 1, elapsed, rest };
        let short = Retrying { delay: 200 * MILLI, ..long.clone() };
        let due = |one: Retrying| one.due(Some(began), Some(began + 2_100 * MILLI));
        assert_eq!([due(long.clone()).elapsed, due(long).rest], [7_000 * MILLI, Duration::ZERO]);
        let due = |one: Retrying| one.due(Some(began), Some(began));
        assert_eq!([due(short.clone()).elapsed, due(short).rest], [4_900 * MILLI, 200 * MILLI]);
    }
}
