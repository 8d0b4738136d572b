//! When plugins are tried again that were refused for a reason that can pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The delay before the second attempt; doubled with each.
const FIRST_DELAY: Duration = Duration::from_secs(5);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// The attempts that are to come.
pub(super) struct Retries {
    due: BTreeMap<String, Attempt>,
    /// One place: what is tried again is tried one by one, so that a busy machine does not get busier by it.
    place: Arc<Semaphore>,
}

struct Attempt {
    delay: Duration,
    /// Absent while it runs.
    at: Option<Instant>,
}

impl Default for Retries {
    fn default() -> Self {
        Self { due: BTreeMap::new(), place: Arc::new(Semaphore::new(1)) }
    }
}

impl Retries {
    /// Has a plugin tried again, later each time it is refused. Says when.
    pub(super) fn put_off(&mut self, name: &str) -> jiff::Timestamp {
        let delay = self.due.get(name).map_or(FIRST_DELAY, |attempt| LONGEST_DELAY.min(2 * attempt.delay));
        self.due.insert(name.to_owned(), Attempt { delay, at: Some(Instant::now() + delay) });
        jiff::Timestamp::now() + delay
    }

    /// A change of its files, or success, begins anew.
    pub(super) fn forget(&mut self, name: &str) {
        self.due.remove(name);
    }

    pub(super) fn is_due(&self, name: &str) -> bool {
        self.due.get(name).is_some_and(|attempt| attempt.at.is_some_and(|at| at <= Instant::now()))
    }

    /// How long until one is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let next = self.due.values().filter_map(|attempt| attempt.at).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Begins an attempt. What it holds while it runs.
    pub(super) fn begin(&mut self, name: &str) -> Arc<Semaphore> {
        self.due.entry(name.to_owned()).and_modify(|attempt| attempt.at = None);
        self.place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_an_hour() {
        let mut retries = Retries::default();
        let mut delays = Vec::new();
        for _ in 0..12 {
            retries.put_off("slack");
            delays.push(retries.due["slack"].delay.as_secs());
        }
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
        assert!(!retries.is_due("slack") && retries.next_due() > Some(Duration::from_secs(3_500)));
        retries.begin("slack");
        assert_eq!(retries.next_due(), None);
        retries.forget("slack");
        assert_eq!(retries.next_due(), None);
    }
}
