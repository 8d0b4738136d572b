//! Places for requests that are worked on at once. There are fewer while Temporal is slow to take alerts: whoever would wait
//! in vain is better told at once. Additive increase, multiplicative decrease, as TCP shares a line (RFC 5681).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A request that takes longer is a sign of too many: a third of what Temporal is given.
const SLOW: Duration = Duration::from_millis(500);
/// What is left of the places after such a sign; of several within its time, the first one counts.
const DECREASE: f64 = 0.7;
/// There are always so many.
const FEWEST: f64 = 4.0;

/// The places of a host. Cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Mutex<State>>);

struct State {
    most: f64,
    now: f64,
    taken: usize,
    lowered: Option<Instant>,
}

/// One of them, until it is dropped.
pub(super) struct Place(Places);

impl Places {
    /// As many as `most`, while Temporal is quick.
    pub fn new(most: usize) -> Self {
        let most = most as f64;
        Self(Arc::new(Mutex::new(State { most, now: most, taken: 0, lowered: None })))
    }

    /// A place, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let mut state = self.0.lock();
        if state.taken as f64 + 1.0 > state.now {
            return None;
        }
        state.taken += 1;
        Some(Place(self.clone()))
    }

    /// Takes notice of how long Temporal took for a request.
    pub(super) fn notice(&self, took: Duration) {
        let mut state = self.0.lock();
        if took < SLOW {
            state.now = (state.now + 1.0 / state.now).min(state.most);
        } else if state.lowered.is_none_or(|lowered| lowered.elapsed() >= SLOW) {
            state.now = (state.now * DECREASE).max(FEWEST).min(state.most);
            state.lowered = Some(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.lock().taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(places: &Places) -> usize {
        let taken: Vec<_> = std::iter::from_fn(|| places.take()).collect();
        taken.len()
    }

    #[test]
    fn there_are_fewer_while_temporal_is_slow_and_all_once_it_is_quick_again() {
        let places = Places::new(64);
        assert_eq!(free(&places), 64);
        places.notice(SLOW);
        assert_eq!(free(&places), 44);
        places.notice(SLOW);
        assert_eq!(free(&places), 44, "one sign counts once");
        for _ in 0..64 * 64 {
            places.notice(Duration::ZERO);
        }
        assert_eq!(free(&places), 64);
    }

    #[test]
    fn some_are_always_there_but_never_more_than_were_set() {
        for (most, left) in [(64, 4), (2, 2)] {
            let places = Places::new(most);
            for _ in 0..20 {
                places.0.lock().lowered = None;
                places.notice(SLOW * 3);
            }
            assert_eq!(free(&places), left);
        }
    }
}
