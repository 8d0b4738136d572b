//! Places for requests that are worked on at once. There are fewer while Temporal is slow to take alerts: a sender that would
//! wait in vain is better refused at once. Additive increase, multiplicative decrease, as TCP shares a line (RFC 5681). The
//! last places are for senders that hold none, so that one that posts as fast as it can does not shut out the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::alert::Sender;

/// A request that takes longer is a sign of too many: a third of what Temporal is given.
const SLOW: Duration = Duration::from_millis(500);
/// What is left of the places after such a sign; of several within its time, the first one counts.
const DECREASE: f64 = 0.7;
/// There are always so many.
const FEWEST: f64 = 4.0;
/// One of so many places is kept for senders that hold none.
const KEPT: f64 = 8.0;

/// The places of a host. Cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Mutex<State>>);

struct State {
    most: f64,
    now: f64,
    /// How many each sender holds; those that hold none are not here.
    held: HashMap<Sender, usize>,
    lowered: Option<Instant>,
}

/// One of them, until it is dropped.
pub(super) struct Place {
    places: Places,
    sender: Sender,
}

impl Places {
    /// As many as `most`, while Temporal is quick.
    pub fn new(most: usize) -> Self {
        let most = most as f64;
        Self(Arc::new(Mutex::new(State { most, now: most, held: HashMap::new(), lowered: None })))
    }

    /// A place for a sender, if there is one.
    pub(super) fn take(&self, sender: &Sender) -> Option<Place> {
        let mut state = self.0.lock();
        // There may be fewer places by now than one sender holds: that is no other's loss.
        let share = state.share();
        let taken: f64 = state.held.values().map(|held| (*held as f64).min(share)).sum();
        let own = state.held.get(sender).copied().unwrap_or_default() as f64;
        if taken + 1.0 > state.now || own + 1.0 > share {
            return None;
        }
        *state.held.entry(sender.clone()).or_default() += 1;
        Some(Place { places: self.clone(), sender: sender.clone() })
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

impl State {
    /// How many places one sender may hold.
    fn share(&self) -> f64 {
        let kept = if self.now >= FEWEST { (self.now / KEPT).max(1.0) } else { 0.0 };
        self.now - kept
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.0.lock();
        if let Some(held) = state.held.get_mut(&self.sender) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(name: &str) -> Sender {
        Sender::new(Some(name), None, None)
    }

    /// How many places there are for senders of one request each.
    fn free(places: &Places) -> usize {
        let mut numbers = 0..;
        let take = || places.take(&sender(&numbers.next()?.to_string()));
        let taken: Vec<_> = std::iter::from_fn(take).collect();
        taken.len()
    }

    #[test]
    fn one_sender_never_has_all_places() {
        for (most, own) in [(64, 56), (8, 7), (4, 3), (2, 2)] {
            let places = Places::new(most);
            let held: Vec<_> = std::iter::from_fn(|| places.take(&sender("greedy"))).collect();
            assert_eq!((held.len(), free(&places)), (own, most - own));
            drop(held);
            assert!(places.0.lock().held.is_empty());
        }
    }

    #[test]
    fn a_sender_that_holds_more_than_there_are_by_now_shuts_out_nobody_else() {
        let places = Places::new(64);
        let _held: Vec<_> = std::iter::from_fn(|| places.take(&sender("greedy"))).collect();
        for _ in 0..20 {
            places.0.lock().lowered = None;
            places.notice(SLOW);
        }
        assert!(places.take(&sender("greedy")).is_none());
        assert_eq!(free(&places), 1, "of four, three count as the greedy one's");
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
