//! Places for requests that are worked on at once. The last places are for senders that hold none, so that one that posts as fast as it
//! can does not shut out the others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::alert::Sender;

/// One of so many places is kept for senders that hold none.
const KEPT: usize = 8;
/// So few places are not shared out.
const FEW: usize = 4;

/// The places of a host. Cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Mutex<State>>);

struct State {
    most: usize,
    /// How many each sender holds; those that hold none are not here.
    held: HashMap<Sender, usize>,
}

/// One of them, until this is dropped.
pub(super) struct Place {
    places: Places,
    sender: Sender,
}

impl Places {
    /// So many.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(State { most, held: HashMap::new() })))
    }

    /// A place for a sender, if there is one.
    pub(super) fn take(&self, sender: &Sender) -> Option<Place> {
        let mut state = self.0.lock();
        if !state.has_room(sender) {
            return None;
        }
        *state.held.entry(sender.clone()).or_default() += 1;
        Some(Place { places: self.clone(), sender: sender.clone() })
    }
}

impl State {
    /// How many places one sender may hold.
    fn share(&self) -> usize {
        if self.most < FEW { self.most } else { self.most - (self.most / KEPT).max(1) }
    }

    fn has_room(&self, sender: &Sender) -> bool {
        let own = self.held.get(sender).copied().unwrap_or_default();
        own < self.share() && self.held.values().sum::<usize>() < self.most
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
}
