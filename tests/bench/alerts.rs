//! Whole alerts through the real host, beside the floor on the same embedded server, in alternating rounds.

use std::time::{Duration, Instant};

use futures::StreamExt;
use harness::alerts::alert;
use harness::host::ids;
use harness::{Host, Plugin, Server, Settings};
use serde_json::{Value, json};

use crate::floor::Floor;
use crate::measure::{Figures, milliseconds, quantile};

/// Rounds of each kind; the best one of each side counts, since noise only ever slows.
const ROUNDS: usize = 5;
/// Alerts posted one after the other per round, for latency.
const SERIAL: usize = 100;
/// Alerts posted by [`CLIENTS`] at once per round, for throughput.
const PARALLEL: usize = 600;
const CLIENTS: usize = 16;
/// Alerts in a batch.
const BATCH: u32 = 300;
/// Rounds of batches: more of them, since one takes no time.
const BATCHES: usize = 20;

/// Measures events, throughput, latency and batches.
pub(crate) async fn measure(figures: &mut Figures) {
    let settings = Settings::new()
        .server(Server::Embedded)
        .argument("--log=warn,campanile::temporal::embedded=info,campanile::app=info,campanile::temporal::worker=info")
        .plugin(Plugin::shipped("triage"))
        .plugin(Plugin::shipped("log"))
        .plugin(Plugin::guest("still-updater"));
    let host = settings.start().await;
    let ready = host.log().message("temporal server ready").await;
    let address = ready["address"].as_str().expect("the event carries the address").to_owned();
    let floor = Floor::start(&address).await;
    warm_up(&host, &floor).await;
    events(figures, &host, &address).await;
    latency(figures, &host, &floor).await;
    throughput(figures, &host, &floor).await;
    batches(figures, &host, &floor).await;
    floor.stop();
    host.stop().await;
}

async fn warm_up(host: &Host, floor: &Floor) {
    for _ in 0..20 {
        host.ledger(alert("warm-up")).await;
        floor.one().await;
    }
}

async fn events(figures: &mut Figures, host: &Host, address: &str) {
    let ids = host.submit(&[alert("events")]).await;
    host.completed(&ids[0]).await;
    let history = harness::temporal::history(address, &ids[0]).await;
    let events = history["events"].as_array().map_or(0, Vec::len);
    figures.at_most("history events: one processor, one receiver, one updater", events as f64, 10.0);
}

async fn latency(figures: &mut Figures, host: &Host, floor: &Floor) {
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..SERIAL {
            bare.push(timed(floor.one()).await);
        }
        for _ in 0..SERIAL {
            ours.push(timed(host.ledger(alert("latency"))).await);
        }
    }
    for (name, samples) in [("floor: bare workflow", &mut bare), ("sync post of one alert", &mut ours)] {
        figures.add(&format!("{name}, p50"), milliseconds(quantile(samples, 0.5)));
        figures.add(&format!("{name}, p99"), milliseconds(quantile(samples, 0.99)));
    }
}

async fn throughput(figures: &mut Figures, host: &Host, floor: &Floor) {
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(timed(parallel(|| floor.one())).await);
        ours.push(timed(parallel(|| async { drop(host.ledger(alert("throughput")).await) })).await);
    }
    compare(figures, "alerts", PARALLEL, best(&bare), best(&ours), 0.8);
}

async fn parallel<F: Future<Output = ()>>(one: impl Fn() -> F) {
    futures::stream::iter((0..PARALLEL).map(|_| one())).buffer_unordered(CLIENTS).collect::<Vec<()>>().await;
}

async fn batches(figures: &mut Figures, host: &Host, floor: &Floor) {
    let alerts: Vec<Value> = (0..BATCH).map(|number| alert(&format!("batch {number}"))).collect();
    let request = json!({"alerts": alerts});
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        bare.push(timed(floor.many(BATCH)).await);
        ours.push(
            timed(async {
                let answer = host.post("/webhook/alerts/sync?timeout=60s", &request).await.ok();
                assert_eq!(ids(&answer).len(), BATCH as usize);
            })
            .await,
        );
    }
    compare(figures, "alerts in batches of 300", BATCH as usize, best(&bare), best(&ours), 0.5);
}

fn compare(figures: &mut Figures, what: &str, count: usize, bare: Duration, ours: Duration, least: f64) {
    let rate = |elapsed: Duration| count as f64 / elapsed.as_secs_f64();
    figures.add(&format!("floor: {what}, per second"), format!("{:.0}", rate(bare)));
    figures.add(&format!("{what}, per second"), format!("{:.0}", rate(ours)));
    figures.at_least(&format!("{what}: share of the floor"), rate(ours) / rate(bare), least);
}

fn best(rounds: &[Duration]) -> Duration {
    rounds.iter().min().copied().unwrap_or_default()
}

async fn timed(work: impl Future) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}
