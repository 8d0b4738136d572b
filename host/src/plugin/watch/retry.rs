//! When plugins are tried again that were refused for a reason that can pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

    /// How long until one can begin; none while another one runs, whose end has the directory looked at again.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let next = self.due.values().filter_map(|attempt| attempt.at).min()?;
        (self.place.available_permits() > 0).then(|| next.saturating_duration_since(Instant::now()))
    }

    /// Begins an attempt that is due, unless another one runs. It has the place while it runs.
    pub(super) fn begin(&mut self, name: &str) -> Option<OwnedSemaphorePermit> {
        let attempt = self.due.get_mut(name)?;
        attempt.at.filter(|at| *at <= Instant::now())?;
        let place = self.place.clone().try_acquire_owned().ok()?;
        attempt.at = None;
        Some(place)
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
        assert!(retries.begin("slack").is_none() && retries.next_due() > Some(Duration::from_secs(3_500)));
        retries.due.get_mut("slack").expect("it was put off").at = Some(Instant::now());
        assert!(retries.begin("slack").is_some());
        assert_eq!(retries.next_due(), None);
        retries.forget("slack");
        assert_eq!(retries.next_due(), None);
    }

    /// What waits for its turn has not begun: a change of its files does not wait for it.
    #[test]
    fn one_at_a_time_is_tried_again() {
        let mut retries = Retries::default();
        for name in ["slack", "mail"] {
            retries.put_off(name);
            retries.due.get_mut(name).expect("it was put off").at = Some(Instant::now());
        }
        let first = retries.begin("slack").expect("it is due");
        assert!(retries.begin("mail").is_none());
        assert_eq!(retries.next_due(), None);
        drop(first);
        assert_eq!(retries.next_due(), Some(Duration::ZERO));
        assert!(retries.begin("mail").is_some());
    }
}
