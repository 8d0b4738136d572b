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
/// So many alerts of one request take another place: a thousand are as good as twenty requests of one.
const ALERTS: usize = 50;

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

/// Some of them, until this is dropped.
pub(super) struct Place {
    places: Places,
    sender: Sender,
    count: usize,
}

impl Places {
    /// As many as `most`, while Temporal is quick.
    pub fn new(most: usize) -> Self {
        let most = most as f64;
        Self(Arc::new(Mutex::new(State { most, now: most, held: HashMap::new(), lowered: None })))
    }

    /// A place for a sender, if there is one.
    pub(super) fn take(&self, sender: &Sender) -> Option<Place> {
        self.take_up_to(1, sender)
    }

    /// More places for a request that has one, as many of these alerts take Temporal as long as many requests: what there is of them, if
    /// anything. It goes on without them, but its sender's next request may have to wait.
    pub(super) fn take_for(&self, alerts: usize, sender: &Sender) -> Option<Place> {
        self.take_up_to(alerts / ALERTS, sender)
    }

    fn take_up_to(&self, count: usize, sender: &Sender) -> Option<Place> {
        let mut state = self.0.lock();
        let count = count.min(state.left(sender));
        if count == 0 {
            return None;
        }
        *state.held.entry(sender.clone()).or_default() += count;
        Some(Place { places: self.clone(), sender: sender.clone(), count })
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

    /// How many more a sender may have.
    fn left(&self, sender: &Sender) -> usize {
        // There may be fewer places by now than one sender holds: that is no other's loss.
        let share = self.share();
        let taken: f64 = self.held.values().map(|held| (*held as f64).min(share)).sum();
        let own = self.held.get(sender).copied().unwrap_or_default() as f64;
        (self.now - taken).min(share - own).max(0.0) as usize
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.0.lock();
        if let Some(held) = state.held.get_mut(&self.sender) {
            *held -= self.count;
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
    fn a_request_of_many_alerts_has_several_places_and_never_those_of_others() {
        let places = Places::new(64);
        let greedy = sender("greedy");
        assert!(places.take_for(49, &greedy).is_none(), "few alerts need no more than their request");
        let requests = || Some((places.take(&greedy)?, places.take_for(1_000, &greedy)));
        let held: Vec<_> = std::iter::from_fn(requests).collect();
        assert_eq!((held.len(), free(&places)), (3, 8), "two of 21 places and one of the last 14");
        drop(held);
        assert!(places.0.lock().held.is_empty());
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
