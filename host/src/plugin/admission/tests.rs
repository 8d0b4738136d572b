//! Who is let in, and in which order.

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
    let sender = Sender::host();
    gate.admit(&plugin.into(), &bounds, &sender, severity, Duration::from_millis(patience)).await
}

/// A permit if there is one at once.
fn now(gate: &Arc<Admission>, plugin: &str, bounds: &Bounds) -> Option<Permit> {
    now_from(gate, plugin, bounds, &Sender::host())
}

fn now_from(gate: &Arc<Admission>, plugin: &str, bounds: &Bounds, sender: &Sender) -> Option<Permit> {
    gate.admit(&plugin.into(), bounds, sender, Severity::Low, Duration::ZERO).now_or_never()?.ok()
}

fn sender(name: &str) -> Sender {
    Sender::new(Some(name), None, None)
}

#[tokio::test]
async fn a_plugins_last_places_are_for_other_senders_and_critical_alerts() {
    let (gate, bounds, greedy) = (Admission::new(64, GIB), bounds(8, 1), sender("greedy"));
    let held: Vec<_> = (0..100).filter_map(|_| now_from(&gate, "a", &bounds, &greedy)).collect();
    assert_eq!(held.len(), 5);
    let other = now_from(&gate, "a", &bounds, &sender("other"));
    assert!(other.is_some() && now_from(&gate, "a", &bounds, &sender("third")).is_none());
    let critical = |name: &'static str| {
        let (gate, bounds) = (gate.clone(), bounds.clone());
        let sender = if name == "greedy" { greedy.clone() } else { sender(name) };
        async move {
            let patience = Duration::from_millis(5);
            gate.admit(&"a".into(), &bounds, &sender, Severity::Critical, patience).await
        }
    };
    let first = critical("greedy").await.unwrap();
    let error = critical("greedy").await.err().unwrap();
    assert!(error.message.contains("7 are running, and the last of its 8 places"), "{error}");
    let last = critical("third").await.unwrap();
    let error = critical("fourth").await.err().unwrap();
    assert!(error.message.contains("8 are running, which is its limit"), "{error}");
    drop((first, last));
    assert!(now_from(&gate, "b", &bounds, &greedy).is_some(), "another plugin has places of its own");
}

#[tokio::test]
async fn a_sender_that_waits_with_many_calls_goes_behind_one_that_waits_with_one() {
    let (gate, one, greedy) = (Admission::new(64, GIB), bounds(1, 1), sender("greedy"));
    let first = now_from(&gate, "a", &one, &greedy);
    let plugin: Arc<str> = "a".into();
    let patience = Duration::from_secs(60);
    let call = |sender: &Sender, severity| {
        let (gate, plugin, one, sender) = (gate.clone(), plugin.clone(), one.clone(), sender.clone());
        Box::pin(async move { gate.admit(&plugin, &one, &sender, severity, patience).await })
    };
    let mut greedy: Vec<_> = (0..1_000).map(|_| call(&greedy, Severity::Low)).collect();
    for call in &mut greedy {
        assert!(futures::poll!(call).is_pending());
    }
    let mut other = call(&sender("other"), Severity::Low);
    assert!(futures::poll!(&mut other).is_pending());
    drop(first);
    assert!(futures::poll!(&mut other).is_ready(), "it came last, and is served next");
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
    let critical = admit(&gate, "slow", wide.clone(), Severity::Critical, 5).await;
    assert!(critical.is_ok(), "one of them for critical alerts, too");
    assert!(admit(&gate, "slow", wide.clone(), Severity::Critical, 5).await.is_err());
    drop(critical);
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
