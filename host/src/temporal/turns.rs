//! The turns of receivers with a rate limit. Temporal's own limit of a task queue holds over all processes, but on the average: after
//! a pause it hands out at once what it has saved up. So each process begins the attempts of a queue at least one interval apart. Each
//! partition of the queue has its share of the limit, so that turns are lost where the attempts stand in few of them: the embedded server
//! has one partition.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long attempts of one queue wait for their turn in a process, besides the interval itself: so many are taken from Temporal.
const AHEAD: Duration = Duration::from_secs(10);

/// The most attempts of one queue that a process has at once.
const MOST_AT_ONCE: usize = 100;

/// When the next attempt of each queue may begin. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, Instant>>>);

impl Turns {
    /// Waits for the next turn of a queue, for at most `patience`.
    pub(super) async fn wait(&self, queue: &str, rate: f64, patience: Duration) {
        let now = Instant::now();
        tokio::time::sleep_until(self.take(queue, interval(rate), now).min(now + patience)).await;
    }

    /// Takes the next turn.
    fn take(&self, queue: &str, interval: Duration, now: Instant) -> Instant {
        let mut free = self.0.lock();
        let turn = free.get(queue).map_or(now, |free| now.max(*free));
        free.insert(queue.to_owned(), turn + interval);
        turn
    }
}

/// The time between two attempts.
fn interval(rate: f64) -> Duration {
    Duration::try_from_secs_f64(rate.recip()).unwrap_or_default()
}

/// The longest that an attempt waits for its turn, once a process has it.
pub(super) fn longest_turn(rate: f64) -> SignedDuration {
    SignedDuration::try_from(AHEAD + interval(rate)).unwrap_or_default()
}

/// How many attempts a process has at once: no more than have their turn in time.
pub(super) fn at_once(rate: Option<f64>) -> usize {
    let ahead = rate.map(|rate| (1..MOST_AT_ONCE).find(|count| *count as f64 >= rate * AHEAD.as_secs_f64()));
    ahead.flatten().unwrap_or(MOST_AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_of_a_queue_are_an_interval_apart() {
        let (turns, now) = (Turns::default(), Instant::now());
        let take = |queue: &str, at| turns.take(queue, SECOND, now + at) - now;
        let at_first = [take("a", Duration::ZERO), take("a", Duration::ZERO), take("a", SECOND / 2)];
        assert_eq!(at_first, [Duration::ZERO, SECOND, 2 * SECOND]);
        assert_eq!(take("b", SECOND / 2), SECOND / 2, "another queue has turns of its own");
        let after_a_pause = [take("a", 9 * SECOND), take("a", 9 * SECOND)];
        assert_eq!(after_a_pause, [9 * SECOND, 10 * SECOND], "a pause saves no turns up");
    }

    #[test]
    fn a_process_has_only_attempts_that_soon_have_their_turn() {
        assert_eq!([None, Some(0.01), Some(1.0), Some(1_000.0)].map(at_once), [100, 1, 10, 100]);
        assert_eq!(longest_turn(1.0), SignedDuration::from_secs(11));
        assert_eq!(longest_turn(0.001), SignedDuration::from_secs(1_010));
    }
}
