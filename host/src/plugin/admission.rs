//! Who may call next. A call needs a place among its plugin's own, a place among all, and its memory limit out of the
//! host's budget; who has to wait does so by severity, then in favour of the plugin and the sender with the fewest calls,
//! then in order of arrival. The last places are for plugins that run no call at all and for critical alerts, and a plugin's last
//! places for critical alerts and for senders that it runs no call of, so slow ones never take the others' turns.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::{CallError, Reason, shown};
use super::limits::{Bounds, ByteSize};
use crate::alert::{Sender, Severity};

/// Of so many places one is kept for plugins that run no call.
const KEPT: u32 = 4;
/// A plugin with so many places or more keeps one for senders that it runs no call of, and beside it one in so many for critical
/// alerts.
const RESERVED: u32 = 4;

/// The gate of one host.
pub(super) struct Admission {
    places: u32,
    memory: u64,
    state: Mutex<State>,
}

struct State {
    free_places: u32,
    free_memory: u64,
    /// By plugin; those that have nothing to do are not here.
    lanes: HashMap<Arc<str>, Lane>,
    arrivals: u64,
    grants: u64,
}

#[derive(Default)]
struct Lane {
    running: u32,
    concurrency: u32,
    /// By sender; those that have nothing to do are not here.
    senders: HashMap<Sender, Share>,
}

/// What one sender has of a plugin.
#[derive(Default)]
struct Share {
    running: u32,
    /// When it was last served, counted in grants.
    served: u64,
    waiting: BTreeMap<Turn, Waiter>,
}

/// The order within a sender's calls of a plugin: the severest first, then the first.
type Turn = (Reverse<Severity>, u64);

struct Waiter {
    memory: u64,
    granted: oneshot::Sender<Permit>,
}

/// The right to one call; it ends with this value.
pub(super) struct Permit {
    admission: Arc<Admission>,
    plugin: Arc<str>,
    sender: Sender,
    memory: u64,
}

/// Permits and who waits for them, to be handed out once the state is no longer locked: a permit that nobody takes
/// goes back by the same lock.
type Grants = Vec<(oneshot::Sender<Permit>, Permit)>;

impl Admission {
    /// A gate for `places` calls at once, whose memory limits add up to no more than `memory` bytes.
    pub(super) fn new(places: u32, memory: u64) -> Arc<Self> {
        let state =
            State { free_places: places, free_memory: memory, lanes: HashMap::new(), arrivals: 0, grants: 0 };
        Arc::new(Self { places, memory, state: Mutex::new(state) })
    }

    /// The budget for memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Waits for a place for at most `patience`.
    pub(super) async fn admit(
        self: &Arc<Self>,
        plugin: &Arc<str>,
        bounds: &Bounds,
        sender: &Sender,
        severity: Severity,
        patience: Duration,
    ) -> Result<Permit, CallError> {
        let mut queued = self.queue(plugin, bounds, sender, severity);
        self.hand_out();
        match tokio::time::timeout(patience, &mut queued.permit).await {
            Ok(Ok(permit)) => Ok(permit),
            // It may have come at the last moment.
            _ => {
                queued.permit.try_recv().map_err(|_| self.busy(plugin, bounds, (sender, severity), patience))
            }
        }
    }

    fn queue(
        self: &Arc<Self>,
        plugin: &Arc<str>,
        bounds: &Bounds,
        sender: &Sender,
        severity: Severity,
    ) -> Queued {
        let (granted, permit) = oneshot::channel();
        let mut state = self.state.lock();
        state.arrivals += 1;
        let turn = (Reverse(severity), state.arrivals);
        let lane = state.lanes.entry(plugin.clone()).or_default();
        lane.concurrency = bounds.concurrency;
        let share = lane.senders.entry(sender.clone()).or_default();
        share.waiting.insert(turn, Waiter { memory: bounds.memory, granted });
        Queued { admission: self.clone(), plugin: plugin.clone(), sender: sender.clone(), turn, permit }
    }

    fn hand_out(self: &Arc<Self>) {
        let mut grants = Grants::new();
        let mut state = self.state.lock();
        while let Some(grant) = state.next(self) {
            grants.push(grant);
        }
        drop(state);
        for (granted, permit) in grants {
            // Who waits no longer gives it back by dropping it.
            let _ = granted.send(permit);
        }
    }

    fn busy(
        &self,
        plugin: &str,
        bounds: &Bounds,
        (sender, severity): (&Sender, Severity),
        patience: Duration,
    ) -> CallError {
        let state = self.state.lock();
        let (lane, most) = (state.lanes.get(plugin), bounds.concurrency);
        let running = lane.map_or(0, |lane| lane.running);
        let of_sender = lane.and_then(|lane| lane.senders.get(sender)).map_or(0, |share| share.running);
        let why = if running >= most {
            format!("{running} are running, which is its limit (`concurrency`)")
        } else if running + reserved(most, severity, of_sender > 0) >= most {
            format!(
                "{running} are running, and the last of its {most} places (`concurrency`) are for critical alerts and other senders"
            )
        } else if state.free_places <= self.kept() {
            format!("all {} places of this host are taken, over all plugins", self.places)
        } else {
            format!("the running calls may use all of this host's {} for plugins", ByteSize(self.memory))
        };
        CallError::of(
            Reason::Busy,
            format!("no call of {plugin} could start within {}: {why}", shown(patience)),
        )
    }

    fn kept(&self) -> u32 {
        self.places / KEPT
    }
}

impl State {
    /// The next call that may start, if one may.
    fn next(&mut self, admission: &Arc<Admission>) -> Option<(oneshot::Sender<Permit>, Permit)> {
        let kept = admission.kept();
        let may_start = |lane: &Lane, Head { turn: (Reverse(severity), _), .. }: &Head<'_>| {
            let kept = if *severity == Severity::Critical { kept / 2 } else { kept };
            self.free_places > if lane.running > 0 { kept } else { 0 }
        };
        let heads = self.lanes.iter().filter_map(|(plugin, lane)| Some((plugin, lane, lane.head()?)));
        let heads = heads.filter(|(_, lane, head)| may_start(lane, head));
        let first = heads.min_by_key(|(_, lane, head)| (head.turn.0, lane.running, head.turn.1));
        let (plugin, _, Head { sender, turn, .. }) = first?;
        let (plugin, sender) = (plugin.clone(), sender.clone());
        let lane = self.lanes.get_mut(&plugin)?;
        let share = lane.senders.get_mut(&sender)?;
        // Nobody smaller goes ahead, or one with a large need would wait for ever.
        if share.waiting.get(&turn)?.memory > self.free_memory {
            return None;
        }
        let Waiter { memory, granted } = share.waiting.remove(&turn)?;
        self.grants += 1;
        (share.running, share.served) = (share.running + 1, self.grants);
        lane.running += 1;
        self.free_places -= 1;
        self.free_memory -= memory;
        Some((granted, Permit { admission: admission.clone(), plugin, sender, memory }))
    }

    fn tidy(&mut self, plugin: &str, sender: &Sender) {
        let Some(lane) = self.lanes.get_mut(plugin) else { return };
        if lane.senders.get(sender).is_some_and(|share| share.running == 0 && share.waiting.is_empty()) {
            lane.senders.remove(sender);
        }
        if lane.senders.is_empty() {
            self.lanes.remove(plugin);
        }
    }
}

/// The call of a plugin that is next.
struct Head<'a> {
    sender: &'a Sender,
    share: &'a Share,
    turn: Turn,
}

impl Head<'_> {
    /// The order among calls that are as severe: those of the sender with the fewest, then of the one that was served longest
    /// ago.
    fn order(&self) -> (u32, u64, u64) {
        (self.share.running, self.share.served, self.turn.1)
    }
}

impl Lane {
    fn head(&self) -> Option<Head<'_>> {
        let heads = self
            .senders
            .iter()
            .filter_map(|(sender, share)| Some(Head { sender, share, turn: *share.waiting.keys().next()? }));
        let heads = heads.filter(|Head { share, turn: (Reverse(severity), _), .. }| {
            self.running + reserved(self.concurrency, *severity, share.running > 0) < self.concurrency
        });
        heads.min_by_key(|head| (head.turn.0, head.order()))
    }
}

/// How many of a plugin's places are not for a call of this severity, by whether a call of its sender runs already.
fn reserved(concurrency: u32, severity: Severity, is_running: bool) -> u32 {
    let for_others = u32::from(is_running && concurrency >= RESERVED);
    let for_critical = if severity == Severity::Critical { 0 } else { concurrency / RESERVED };
    for_others + for_critical
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.free_places += 1;
        state.free_memory += self.memory;
        if let Some(lane) = state.lanes.get_mut(&self.plugin) {
            lane.running -= 1;
            if let Some(share) = lane.senders.get_mut(&self.sender) {
                share.running -= 1;
            }
        }
        state.tidy(&self.plugin, &self.sender);
        drop(state);
        self.admission.hand_out();
    }
}

/// Somebody who waits, and leaves the queue when he no longer does.
struct Queued {
    admission: Arc<Admission>,
    plugin: Arc<str>,
    sender: Sender,
    turn: Turn,
    permit: oneshot::Receiver<Permit>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        let lane = state.lanes.get_mut(&self.plugin);
        let share = lane.and_then(|lane| lane.senders.get_mut(&self.sender));
        let was_waiting = share.is_some_and(|share| share.waiting.remove(&self.turn).is_some());
        state.tidy(&self.plugin, &self.sender);
        drop(state);
        // The one behind may have waited for its memory only.
        if was_waiting {
            self.admission.hand_out();
        }
    }
}

#[cfg(test)]
mod tests;
