//! What hostile plugins cost the host and the others: a bad call beside a good one, memory after many, and the calls of
//! a well-behaved plugin beside each kind of misbehaviour.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use campanile::alert::AlertItem;
use campanile::plugin::{Called, Delivery, Plugin, Receipt};
use futures::StreamExt;
use harness::{Receiver, artifacts, plugin::posting_to};

use crate::measure::{Figures, microseconds, milliseconds, quantile};
use crate::wall::{BUDGET, Wall, item};

/// Calls of each kind whose cost is compared.
const CALLS: usize = 1_000;
/// After so many calls the host has all the memory it should ever need.
const FIRST_CALLS: usize = 1_000;
/// Calls until memory is looked at again.
const ALL_CALLS: usize = 100_000;
/// What hostile guests do beside the well-behaved one.
const DEEDS: [&str; 5] = ["spin", "eat", "trap", "recurse", "print-flood"];
/// Hostile calls at once: more than there are threads for guests.
const HOSTILE: usize = 4;
/// Calls of the well-behaved plugin beside each deed, one every few milliseconds.
const CANARY_CALLS: usize = 400;
const CANARY_PAUSE: Duration = Duration::from_millis(4);
/// How much later the well-behaved plugin may answer: three ticks of the clock that makes guests yield.
const THREE_TICKS: Duration = Duration::from_millis(30);

/// Measures all of it.
pub(crate) async fn measure(figures: &mut Figures) {
    let receiver = Receiver::start().await;
    let granted = posting_to(&receiver, "granted", "");
    let denied = format!("[config]\nurl = \"{}\"\n", receiver.url("/denied"));
    let plugins = [
        ("hostile", artifacts::guest("misbehave"), "[limits]\ndeadline = \"300ms\"\nquarantine-after = 0\n"),
        ("triage", artifacts::shipped("triage"), ""),
        ("granted", artifacts::guest("recorder"), &granted),
        ("denied", artifacts::guest("recorder"), &denied),
    ];
    let wall = Wall::open(&plugins).await;
    costs(figures, &wall).await;
    memory(figures, &wall).await;
    canary(figures, &wall).await;
}

async fn costs(figures: &mut Figures, wall: &Wall) {
    let hostile = wall.plugin("hostile");
    let (good, trapped) = medians(|| processed(&hostile, "nothing"), || processed(&hostile, "trap")).await;
    let (granted, denied) = (wall.plugin("granted"), wall.plugin("denied"));
    let sent = || async { assert!(notified(&granted).await.result.is_ok()) };
    let refused = || async { assert!(notified(&denied).await.result.is_err()) };
    let (sent, refused) = medians(sent, refused).await;
    figures.add("a good call of a small processor, p50", microseconds(good));
    figures.add("one that traps, p50", microseconds(trapped));
    figures.at_most("a trapped call: times a good one", ratio(trapped, good), 2.0);
    figures.add("a call that sends an HTTP request, p50", microseconds(sent));
    figures.add("one whose request is denied, p50", microseconds(refused));
    figures.at_most("a denied call: times a good one", ratio(refused, sent), 2.0);
}

async fn memory(figures: &mut Figures, wall: &Wall) {
    let hostile = wall.plugin("hostile");
    let deeds = ["nothing", "trap", "nothing", "garbage", "nothing", "recurse", "nothing", "trap"];
    let calls = async |from: usize, to: usize| {
        let calls = (from..to).map(|number| processed(&hostile, deeds[number % deeds.len()]));
        futures::stream::iter(calls).buffer_unordered(8).collect::<Vec<()>>().await;
    };
    calls(0, FIRST_CALLS).await;
    let before = resident();
    calls(FIRST_CALLS, ALL_CALLS).await;
    let after = resident();
    figures.add("resident memory after 1,000 calls, half of them hostile", format!("{before} KiB"));
    figures.add("resident memory after 100,000", format!("{after} KiB"));
    figures.at_most("resident memory: times what it was", after as f64 / before as f64, 1.05);
}

async fn canary(figures: &mut Figures, wall: &Wall) {
    let (triage, hostile) = (wall.plugin("triage"), wall.plugin("hostile"));
    let mut alone = canary_calls(&triage).await;
    let alone = quantile(&mut alone, 0.99);
    figures.add("a well-behaved plugin alone, p99", milliseconds(alone));
    for deed in DEEDS {
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..HOSTILE)
            .map(|_| wall.threads().spawn(keep_at_it(hostile.clone(), deed, stop.clone())))
            .collect();
        let mut beside = canary_calls(&triage).await;
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.expect("a hostile caller");
        }
        let beside = quantile(&mut beside, 0.99).as_secs_f64() * 1_000.0;
        let most = (alone + THREE_TICKS).as_secs_f64() * 1_000.0;
        figures.at_most(
            &format!("beside {HOSTILE} that {deed}, p99 in ms"),
            beside,
            (most * 100.0).round() / 100.0,
        );
    }
}

/// From threads of the host's own, like a worker that starts an activity: waiting for a thread among the guests' counts.
async fn canary_calls(triage: &Plugin) -> Vec<Duration> {
    let item = item("nothing");
    let mut taken = Vec::new();
    for _ in 0..CANARY_CALLS {
        let started = Instant::now();
        assert!(triage.process(&item, BUDGET).await.result.is_ok(), "nothing is wrong with triage");
        taken.push(started.elapsed());
        tokio::time::sleep(CANARY_PAUSE).await;
    }
    taken
}

async fn keep_at_it(hostile: Arc<Plugin>, deed: &'static str, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        processed(&hostile, deed).await;
        // Each call is an activity, and a task of its own.
        tokio::task::yield_now().await;
    }
}

/// One call; whether it went well is not the question.
async fn processed(plugin: &Plugin, deed: &str) {
    drop(plugin.process(&item(deed), BUDGET).await);
}

async fn notified(plugin: &Plugin) -> Called<Receipt> {
    let item: AlertItem = item("nothing");
    let delivery = Delivery {
        delivery_id: "alert-1/bench",
        thread_id: "alert-1/bench",
        earlier: None,
        receiver: "bench",
        attempt: 1,
        item: &item,
    };
    plugin.notify(&delivery, None, BUDGET).await
}

/// Of two kinds of calls, in turns: how quickly threads wake up changes from one moment to the next.
async fn medians<F: Future<Output = ()>, G: Future<Output = ()>>(
    one: impl Fn() -> F,
    other: impl Fn() -> G,
) -> (Duration, Duration) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let started = Instant::now();
        one().await;
        let between = Instant::now();
        other().await;
        ones.push(between - started);
        others.push(between.elapsed());
    }
    (quantile(&mut ones, 0.5), quantile(&mut others, 0.5))
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it tells of memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}
