//! The connections that are open, and which of them is closed when there are too many. One that waits has no complete request:
//! it is idle, or sends slowly. Those are bounded, for each peer and over all; beyond the bound, the peer with the most of them
//! loses the one that has waited longest. So a new connection is always accepted, whatever others hold open.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::peer::Peer;

/// Where connections come from: an address, the first half of one where a peer has many, or the socket file.
type From = Option<IpAddr>;

/// The connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections(Arc<Mutex<State>>);

struct State {
    most: usize,
    most_of_peer: usize,
    open: usize,
    next: u64,
    /// Those that wait, by peer and by how long. A connection is closed by dropping its sender.
    waiting: HashMap<From, BTreeMap<u64, oneshot::Sender<()>>>,
}

/// An open connection, until it is dropped.
pub(super) struct Connection {
    connections: Connections,
    from: From,
    state: Mutex<Progress>,
}

/// What a connection does.
struct Progress {
    /// Its place among those that wait; `None` while it has a complete request, and after it was closed.
    waits: Option<u64>,
    /// Complete requests that are not answered yet.
    requests: usize,
    /// Kept from those that wait while there are such requests.
    close: Option<oneshot::Sender<()>>,
}

impl Connections {
    /// Of `most` connections altogether, of which a peer may have half that wait.
    pub(super) fn new(most: usize) -> Self {
        let most_of_peer = (most / 2).max(1);
        Self(Arc::new(Mutex::new(State { most, most_of_peer, open: 0, next: 0, waiting: HashMap::new() })))
    }

    /// Takes in a connection, and what completes when it is to be closed. `None` if there are too many, and all have requests
    /// that are worked on.
    pub(super) fn open(&self, peer: Peer) -> Option<(Connection, oneshot::Receiver<()>)> {
        let from = origin(peer);
        let mut state = self.0.lock();
        if state.open >= state.most && !state.close_one(None) {
            return None;
        }
        state.open += 1;
        let (close, closed) = oneshot::channel();
        let waits = Some(state.wait(from, close));
        let progress = Mutex::new(Progress { waits, requests: 0, close: None });
        Some((Connection { connections: self.clone(), from, state: progress }, closed))
    }

    /// Closes the connection that is to be closed first. False if all have requests that are worked on.
    pub(super) fn close_one(&self) -> bool {
        self.0.lock().close_one(None)
    }
}

impl State {
    /// Puts a connection among those that wait. If its peer has too many of them, it loses one.
    fn wait(&mut self, from: From, close: oneshot::Sender<()>) -> u64 {
        self.next += 1;
        let of_peer = self.waiting.entry(from).or_default();
        of_peer.insert(self.next, close);
        if of_peer.len() > self.most_of_peer {
            self.close_one(Some(from));
        }
        self.next
    }

    /// Takes a connection out of those that wait.
    fn take(&mut self, from: From, waits: u64) -> Option<oneshot::Sender<()>> {
        let of_peer = self.waiting.get_mut(&from)?;
        let close = of_peer.remove(&waits);
        if of_peer.is_empty() {
            self.waiting.remove(&from);
        }
        close
    }

    /// Closes the one that has waited longest, of this peer or of the one with the most that wait.
    fn close_one(&mut self, from: Option<From>) -> bool {
        let most = || {
            let load = |(_, waiting): &(&From, &BTreeMap<u64, _>)| {
                (waiting.len(), waiting.keys().next().copied().map(Reverse))
            };
            self.waiting.iter().max_by_key(load).map(|(from, _)| *from)
        };
        let Some(from) = from.or_else(most) else { return false };
        let first = self.waiting.get(&from).and_then(|waiting| waiting.keys().next().copied());
        let closed = first.and_then(|first| self.take(from, first)).is_some();
        self.open -= usize::from(closed);
        closed
    }
}

impl Connection {
    /// A request has come to its end: it is worked on until what is returned is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Working {
        let mut own = self.state.lock();
        own.requests += 1;
        if let Some(waits) = own.waits.take() {
            own.close = self.connections.0.lock().take(self.from, waits);
        }
        Working(self.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It has no requests: each holds its connection.
        let waits = self.state.get_mut().waits;
        let mut all = self.connections.0.lock();
        let waited = waits.and_then(|waits| all.take(self.from, waits));
        // One that was closed is no longer counted.
        all.open -= usize::from(waited.is_some());
    }
}

/// A complete request of a connection.
pub(super) struct Working(Arc<Connection>);

impl Drop for Working {
    fn drop(&mut self) {
        let mut own = self.0.state.lock();
        own.requests -= 1;
        if own.requests == 0
            && let Some(close) = own.close.take()
        {
            own.waits = Some(self.0.connections.0.lock().wait(self.0.from, close));
        }
    }
}

/// Networks give each of their customers the half of an address of IPv6, at least.
fn origin(peer: Peer) -> From {
    Some(match peer.address()? {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Open = (Arc<Connection>, oneshot::Receiver<()>);

    fn open(connections: &Connections, address: &str) -> Open {
        let peer = Peer::Tcp(format!("{address}:9").parse().unwrap());
        let (connection, closed) = connections.open(peer).unwrap();
        (Arc::new(connection), closed)
    }

    fn is_closed((_, closed): &mut Open) -> bool {
        closed.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_peer_with_the_most_loses_the_one_that_waited_longest() {
        let connections = Connections::new(40);
        let mut quiet = open(&connections, "192.0.2.1");
        let mut greedy: Vec<Open> = (0..30).map(|_| open(&connections, "192.0.2.2")).collect();
        let closed: Vec<bool> = greedy.iter_mut().map(is_closed).collect();
        assert_eq!(closed, [vec![true; 10], vec![false; 20]].concat(), "half of 40 is 20");
        let mut many: Vec<Open> = (0..38).map(|n| open(&connections, &format!("192.0.3.{n}"))).collect();
        assert_eq!(greedy.iter_mut().map(is_closed).filter(|closed| !closed).count(), 1);
        assert!(!is_closed(&mut quiet) && !many.iter_mut().any(is_closed));
        assert_eq!(connections.0.lock().open, 40);
    }

    #[test]
    fn a_connection_with_a_complete_request_is_not_closed() {
        let connections = Connections::new(2);
        let mut busy: Vec<Open> = (0..2).map(|n| open(&connections, &format!("192.0.2.{n}"))).collect();
        let working: Vec<Working> = busy.iter().map(|(one, _)| one.request()).collect();
        assert!(connections.open(Peer::Unix).is_none() && !connections.close_one());
        drop(working);
        assert!(connections.open(Peer::Unix).is_some());
        assert_eq!(busy.iter_mut().filter_map(|one| is_closed(one).then_some(())).count(), 1);
        drop(busy);
        assert_eq!(connections.0.lock().open, 0);
    }

    #[test]
    fn no_order_of_events_loses_count() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let connections = Connections::new(12);
            let (mut all, mut working): (Vec<Open>, Vec<Working>) = Default::default();
            for _ in 0..200 {
                let (at, request) = (random.usize(..all.len() + 1), random.usize(..working.len() + 1));
                match random.u8(..5) {
                    0 if at < all.len() => drop(all.swap_remove(at)),
                    1 if at < all.len() => working.push(all[at].0.request()),
                    2 if request < working.len() => drop(working.swap_remove(request)),
                    _ => {
                        let peer = Peer::Tcp(format!("192.0.2.{}:9", random.u8(..4)).parse().unwrap());
                        let opened = connections.open(peer);
                        all.extend(opened.map(|(connection, closed)| (Arc::new(connection), closed)));
                    }
                }
                let state = connections.0.lock();
                assert!(state.open <= 12, "seed {seed}");
                assert!(state.waiting.values().all(|waiting| waiting.len() <= 6), "seed {seed}");
            }
            drop((all, working));
            let state = connections.0.lock();
            assert_eq!((state.open, state.waiting.len()), (0, 0), "seed {seed}");
        }
    }
}
