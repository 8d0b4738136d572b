//! Memory for bodies that are being read. Each is charged for what was received, never for what was announced, and where there
//! is no more room, the body that began first is ended: whatever slow or half-open posts there are, one that arrives
//! quickly passes. Bodies that anyone may send, since only their signature says whether they are let in, are ended before those of
//! senders that were let in.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::ApiError;
use super::receive::overloaded;

/// The memory of a host for bodies. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Mutex<State>>);

struct State {
    /// How many bytes are free.
    free: usize,
    next: u64,
    /// Bodies that may still be ended, in the order in which they are.
    open: BTreeMap<Number, Open>,
}

/// Whether the sender of a body was let in, and when it began.
type Number = (bool, u64);

/// A body that is not there in full and verified yet.
struct Open {
    bytes: usize,
    /// Dropped to end it.
    _alive: oneshot::Sender<()>,
}

/// The share of one body, until it is dropped.
pub(super) struct Share {
    room: Room,
    number: Number,
    /// What is charged for it once it can no longer be ended.
    kept: usize,
}

impl Room {
    /// For bodies of so many bytes together.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: bytes, next: 0, open: BTreeMap::new() })))
    }

    /// A share for one more body, `bytes` for its head, and what completes when others need the room: then the body is to be
    /// dropped at once. `is_let_in` says whether its sender was recognised by the head.
    pub(super) fn share(
        &self,
        bytes: usize,
        is_let_in: bool,
    ) -> Result<(Share, oneshot::Receiver<()>), ApiError> {
        let mut state = self.0.lock();
        let number = (is_let_in, state.next);
        state.next += 1;
        let (alive, ended) = oneshot::channel();
        state.open.insert(number, Open { bytes: 0, _alive: alive });
        match state.charge(number, bytes) {
            true => Ok((Share { room: self.clone(), number, kept: 0 }, ended)),
            false => Err(overloaded()),
        }
    }

    /// A share of so many bytes that is not ended.
    pub(super) fn taken(&self, bytes: usize) -> Result<Share, ApiError> {
        let (mut share, _) = self.share(0, true)?;
        share.settle(bytes)?;
        Ok(share)
    }
}

impl State {
    /// Takes bytes for an open body, if need be from those that began first. False if it is itself ended.
    fn charge(&mut self, number: Number, bytes: usize) -> bool {
        if !self.open.contains_key(&number) {
            return false;
        }
        while self.free < bytes {
            let Some((first, open)) = self.open.pop_first() else { return false };
            self.free += open.bytes;
            if first == number {
                return false;
            }
        }
        self.free -= bytes;
        self.open.entry(number).and_modify(|open| open.bytes += bytes);
        true
    }
}

impl Share {
    /// Charges for more of the body.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), ApiError> {
        if self.room.0.lock().charge(self.number, bytes) { Ok(()) } else { Err(overloaded()) }
    }

    /// The body is there in full and verified: it is not ended any more. Takes `more` for what becomes of it.
    pub(super) fn settle(&mut self, more: usize) -> Result<(), ApiError> {
        self.grow(more)?;
        let open = self.room.0.lock().open.remove(&self.number);
        self.kept = open.ok_or_else(overloaded)?.bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.room.0.lock();
        let open = state.open.remove(&self.number);
        state.free += self.kept + open.map_or(0, |open| open.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1_000;

    type Body = (Share, oneshot::Receiver<()>);

    fn free(room: &Room) -> usize {
        room.0.lock().free
    }

    fn is_ended((share, ended): &mut Body) -> bool {
        share.kept == 0 && ended.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_first_that_began_makes_room_for_the_last() {
        let room = Room::new(MOST);
        let mut slow: Vec<Body> = (0..10).map(|_| room.share(100, false).unwrap()).collect();
        let mut quick = room.share(150, false).unwrap();
        let ended: Vec<bool> = slow.iter_mut().map(is_ended).collect();
        assert_eq!(ended, [vec![true; 2], vec![false; 8]].concat());
        assert!(quick.0.settle(0).is_ok());
        assert!(slow[0].0.grow(1).is_err(), "it was ended");
        drop((slow, quick));
        assert_eq!(free(&room), MOST);
    }

    #[test]
    fn who_was_let_in_is_ended_last_and_not_by_others() {
        let room = Room::new(MOST);
        let mut slow = room.share(300, true).unwrap();
        let mut forged: Vec<Body> = (0..20).filter_map(|_| room.share(100, false).ok()).collect();
        assert!(!is_ended(&mut slow) && free(&room) == 0);
        assert!(room.share(701, false).is_err(), "more than others leave");
        assert!(!is_ended(&mut slow));
        let mut more = room.share(600, true).unwrap();
        assert!(forged.iter_mut().all(is_ended) && !is_ended(&mut slow));
        assert!(room.share(200, true).is_ok() && is_ended(&mut slow) && !is_ended(&mut more));
    }

    #[test]
    fn what_is_worked_on_is_not_ended() {
        let room = Room::new(MOST);
        let (mut worked_on, _) = room.share(900, false).unwrap();
        assert!(worked_on.settle(100).is_ok());
        assert!(room.share(1, false).is_err());
        drop(worked_on);
        assert!(room.share(1, false).is_ok());
    }

    #[test]
    fn no_order_of_bodies_takes_more_than_there_is_or_ends_a_younger_one() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (room, mut bodies) = (Room::new(MOST), Vec::<Body>::new());
            for _ in 0..100 {
                let (at, bytes) = (random.usize(..bodies.len() + 1), random.usize(1..300));
                match (random.u8(..4), bodies.get_mut(at)) {
                    (0, Some(_)) => _ = bodies.remove(at),
                    (1, Some((share, _))) if share.kept == 0 => _ = share.settle(0),
                    (2, Some((share, _))) if share.kept == 0 => _ = share.grow(bytes),
                    _ => bodies.extend(room.share(bytes, false)),
                }
                let open: usize = room.0.lock().open.values().map(|open| open.bytes).sum();
                let kept: usize = bodies.iter().map(|(share, _)| share.kept).sum();
                assert_eq!(free(&room) + open + kept, MOST, "seed {seed}");
                let unsettled = bodies.iter_mut().filter(|(share, _)| share.kept == 0);
                let ended: Vec<bool> = unsettled.map(is_ended).collect();
                assert!(
                    ended.is_sorted_by(|a, b| a >= b),
                    "seed {seed}: the oldest are ended first: {ended:?}"
                );
            }
            drop(bodies);
            assert_eq!(free(&room), MOST, "seed {seed}");
        }
    }
}
