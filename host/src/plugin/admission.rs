//! Who may call next. A call needs a place among its plugin's own, a place among all, and its memory limit out of the
//! host's budget; who has to wait does so by severity, then in favour of the plugin with the fewest calls, then in order
//! of arrival. The last places are for plugins that run no call at all, so slow ones never take the others' turns.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::{CallError, Reason, shown};
use super::limits::{Bounds, ByteSize};
use crate::alert::Severity;

/// Of so many places one is kept for plugins that run no call.
const KEPT: u32 = 4;

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
}

#[derive(Default)]
struct Lane {
    running: u32,
    concurrency: u32,
    waiting: BTreeMap<Turn, Waiter>,
}

/// The order within a plugin: the severest first, then the first.
type Turn = (Reverse<Severity>, u64);

struct Waiter {
    memory: u64,
    granted: oneshot::Sender<Permit>,
}

/// The right to one call; it ends with this value.
pub(super) struct Permit {
    admission: Arc<Admission>,
    plugin: Arc<str>,
    memory: u64,
}

/// Permits and who waits for them, to be handed out once the state is no longer locked: a permit that nobody takes
/// goes back by the same lock.
type Grants = Vec<(oneshot::Sender<Permit>, Permit)>;

impl Admission {
    /// A gate for `places` calls at once, whose memory limits add up to no more than `memory` bytes.
    pub(super) fn new(places: u32, memory: u64) -> Arc<Self> {
        let state = State { free_places: places, free_memory: memory, lanes: HashMap::new(), arrivals: 0 };
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
        severity: Severity,
        patience: Duration,
    ) -> Result<Permit, CallError> {
        let mut queued = self.queue(plugin, bounds, severity);
        self.hand_out();
        match tokio::time::timeout(patience, &mut queued.permit).await {
            Ok(Ok(permit)) => Ok(permit),
            // It may have come at the last moment.
            _ => queued.permit.try_recv().map_err(|_| self.busy(plugin, bounds, patience)),
        }
    }

    fn queue(self: &Arc<Self>, plugin: &Arc<str>, bounds: &Bounds, severity: Severity) -> Queued {
        let (granted, permit) = oneshot::channel();
        let mut state = self.state.lock();
        state.arrivals += 1;
        let turn = (Reverse(severity), state.arrivals);
        let lane = state.lanes.entry(plugin.clone()).or_default();
        lane.concurrency = bounds.concurrency;
        lane.waiting.insert(turn, Waiter { memory: bounds.memory, granted });
        Queued { admission: self.clone(), plugin: plugin.clone(), turn, permit }
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

    fn busy(&self, plugin: &str, bounds: &Bounds, patience: Duration) -> CallError {
        let state = self.state.lock();
        let running = state.lanes.get(plugin).map_or(0, |lane| lane.running);
        let why = if running >= bounds.concurrency {
            format!("{running} are running, which is its limit (`concurrency`)")
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
        let may_start = |lane: &Lane| {
            lane.running < lane.concurrency && self.free_places > if lane.running > 0 { kept } else { 0 }
        };
        let heads = self.lanes.iter().filter(|(_, lane)| may_start(lane));
        let heads = heads.filter_map(|(plugin, lane)| Some((plugin, lane, lane.waiting.keys().next()?)));
        let (plugin, _, turn) = heads.min_by_key(|(_, lane, turn)| (turn.0, lane.running, turn.1))?;
        let (plugin, turn) = (plugin.clone(), *turn);
        let lane = self.lanes.get_mut(&plugin)?;
        // Nobody smaller goes ahead, or one with a large need would wait for ever.
        if lane.waiting.get(&turn)?.memory > self.free_memory {
            return None;
        }
        let Waiter { memory, granted } = lane.waiting.remove(&turn)?;
        lane.running += 1;
        self.free_places -= 1;
        self.free_memory -= memory;
        Some((granted, Permit { admission: admission.clone(), plugin, memory }))
    }

    fn tidy(&mut self, plugin: &str) {
        if self.lanes.get(plugin).is_some_and(|lane| lane.running == 0 && lane.waiting.is_empty()) {
            self.lanes.remove(plugin);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.free_places += 1;
        state.free_memory += self.memory;
        if let Some(lane) = state.lanes.get_mut(&self.plugin) {
            lane.running -= 1;
        }
        state.tidy(&self.plugin);
        drop(state);
        self.admission.hand_out();
    }
}

/// Somebody who waits, and leaves the queue when he no longer does.
struct Queued {
    admission: Arc<Admission>,
    plugin: Arc<str>,
    turn: Turn,
    permit: oneshot::Receiver<Permit>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        let lane = state.lanes.get_mut(&self.plugin);
        let was_waiting = lane.is_some_and(|lane| lane.waiting.remove(&self.turn).is_some());
        state.tidy(&self.plugin);
        drop(state);
        // The one behind may have waited for its memory only.
        if was_waiting {
            self.admission.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Role;
    use crate::plugin::limits::Limits;
    use futures::FutureExt;

    const GIB: u64 = 1 << 30;

    fn bounds(concurrency: u32, memory: u64) -> Bounds {
        let limits =
            Limits { concurrency: Some(concurrency), memory: Some(ByteSize(memory)), ..Limits::default() };
        limits.over(&Limits::default(), Role::Notifier)
    }

    async fn admit(
        gate: &Arc<Admission>,
        plugin: &'static str,
        bounds: Bounds,
        severity: Severity,
        patience: u64,
    ) -> Result<Permit, CallError> {
        gate.admit(&plugin.into(), &bounds, severity, Duration::from_millis(patience)).await
    }

    /// A permit if there is one at once.
    fn now(gate: &Arc<Admission>, plugin: &str, bounds: &Bounds) -> Option<Permit> {
        gate.admit(&plugin.into(), bounds, Severity::Low, Duration::ZERO).now_or_never()?.ok()
    }

    #[tokio::test]
    async fn a_plugin_has_its_own_bound_and_places_come_back() {
        let gate = Admission::new(8, GIB);
        let one = bounds(1, 1);
        let first = now(&gate, "a", &one);
        assert!(first.is_some());
        let error = admit(&gate, "a", one.clone(), Severity::High, 5).await.err().unwrap();
        assert_eq!(error.reason, Reason::Busy);
        assert!(error.message.contains("1 are running, which is its limit (`concurrency`)"), "{error}");
        assert!(now(&gate, "b", &one).is_some());
        drop(first);
        assert!(now(&gate, "a", &one).is_some());
        let state = gate.state.lock();
        assert_eq!((state.free_places, state.free_memory, state.lanes.len()), (8, GIB, 0));
    }

    #[tokio::test]
    async fn memory_limits_never_add_up_to_more_than_the_budget() {
        let gate = Admission::new(8, 100);
        let large = now(&gate, "a", &bounds(8, 80));
        assert!(large.is_some());
        let error = admit(&gate, "b", bounds(8, 30), Severity::High, 5).await;
        assert!(error.err().unwrap().message.contains("may use all of this host's 100 B"));
        assert!(now(&gate, "b", &bounds(8, 20)).is_some());
    }

    #[tokio::test]
    async fn the_last_places_are_for_plugins_that_run_nothing() {
        let gate = Admission::new(8, GIB);
        let wide = bounds(100, 1);
        let slow: Vec<_> = (0..100).filter_map(|_| now(&gate, "slow", &wide)).collect();
        assert_eq!(slow.len(), 6, "two of eight are kept");
        let other = now(&gate, "other", &wide);
        assert!(other.is_some() && now(&gate, "other", &wide).is_none());
        assert!(now(&gate, "third", &wide).is_some());
    }

    #[tokio::test]
    async fn who_waits_is_served_by_severity_then_fairly_then_in_order() {
        let gate = Admission::new(4, 4);
        let bounds = bounds(4, 4);
        let running = now(&gate, "z", &bounds);
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting = [
            ("a", Severity::Low),
            ("a", Severity::High),
            ("b", Severity::Low),
            ("a", Severity::Critical),
            ("b", Severity::High),
        ];
        let mut calls = Vec::new();
        for (plugin, severity) in waiting {
            let (gate, order, bounds) = (gate.clone(), order.clone(), bounds.clone());
            calls.push(tokio::spawn(async move {
                let permit = admit(&gate, plugin, bounds, severity, 5_000).await;
                assert!(permit.is_ok());
                order.lock().push((plugin, severity));
            }));
            tokio::task::yield_now().await;
        }
        drop(running);
        for call in calls {
            call.await.unwrap();
        }
        let expected = [
            ("a", Severity::Critical),
            ("a", Severity::High),
            ("b", Severity::High),
            ("a", Severity::Low),
            ("b", Severity::Low),
        ];
        assert_eq!(*order.lock(), expected);
    }

    #[tokio::test]
    async fn between_equals_the_plugin_with_fewer_calls_goes_first() {
        let gate = Admission::new(8, 3);
        let one = bounds(8, 1);
        let _busy = (now(&gate, "busy", &one), now(&gate, "busy", &one));
        let last = now(&gate, "z", &one);
        let busy = admit(&gate, "busy", one.clone(), Severity::Low, 5_000);
        let idle = admit(&gate, "idle", one.clone(), Severity::Low, 5_000);
        let (mut busy, mut idle) = (Box::pin(busy), Box::pin(idle));
        assert!(futures::poll!(&mut busy).is_pending() && futures::poll!(&mut idle).is_pending());
        drop(last);
        let idle = futures::poll!(&mut idle);
        assert!(idle.is_ready(), "it came later, and runs nothing");
        assert!(futures::poll!(&mut busy).is_pending());
    }

    #[tokio::test]
    async fn who_gives_up_blocks_nobody() {
        let gate = Admission::new(8, 10);
        let _running = now(&gate, "a", &bounds(8, 5));
        let large = admit(&gate, "b", bounds(8, 10), Severity::Critical, 20);
        let small = admit(&gate, "c", bounds(8, 1), Severity::Low, 5_000);
        let (large, small) = tokio::join!(large, small);
        assert!(large.is_err() && small.is_ok());
    }
}
