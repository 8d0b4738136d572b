//! The webhook in a burst: it takes all of it, loses none of it, and stays answerable. And what its front door costs, with nothing
//! behind it.

mod accepting;
mod door;
mod open_loop;
mod plain;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::load::{Answers, Load};
use harness::process::holdings;
use harness::{Host, Plugin, Server, Settings, alerts};
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) use plain::serve;

use crate::measure::{Figures, milliseconds, quantile};

/// Connections at once.
const CONNECTIONS: [usize; 2] = [32, 256];
/// The most requests of one run, how long one starts requests, and how long a connection rests after a refusal.
const REQUESTS: usize = 40_000;
const TIME: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_millis(200);
/// Between two questions to `/health` and `/livez` each.
const PROBE_PAUSE: Duration = Duration::from_millis(25);
/// The most alerts of a page.
const PAGE: usize = 1_000;

/// Measures both.
pub(crate) async fn measure(figures: &mut Figures) {
    accepting::measure(figures).await;
    bursts(figures).await;
    door::measure(figures).await;
}

async fn bursts(figures: &mut Figures) {
    let host = Settings::new()
        .server(Server::Embedded)
        .argument("--log=warn,campanile::app=info,campanile::temporal::worker=info")
        .plugin(Plugin::shipped("log"))
        .plugin(Plugin::shipped("alertmanager"))
        .start()
        .await;
    let each = ["%s".to_owned()];
    for connections in CONNECTIONS {
        run(figures, &host, &format!("direct{connections}"), "alerts", connections, direct(&each)).await;
        run(figures, &host, &format!("source{connections}"), "alertmanager", connections, group(&each)).await;
    }
    host.stop().await;
}

async fn run(figures: &mut Figures, host: &Host, name: &str, source: &str, connections: usize, body: String) {
    let memory = || holdings(host.process().id()).memory;
    let before = memory();
    let (stop, stopped) = watch::channel(());
    let probes =
        async { tokio::join!(probe(host, "/health", stopped.clone()), probe(host, "/livez", stopped)) };
    let load = async {
        let url = host.at(&format!("/webhook/{source}"));
        let headers = vec![("content-type", "application/json".to_owned())];
        let (name, requests, time, pause) = (name.to_owned().leak(), REQUESTS, TIME, REST);
        let answers = Load { url, headers, name, body, connections, requests, time, pause }.run().await;
        drop(stop);
        answers
    };
    let (answers, (health, livez)) = tokio::join!(load, probes);
    let Some(answers) = answers else { return };
    let what = format!("{source}, {connections} connections");
    counts(figures, &what, &answers, &kept(host, name).await);
    for (path, Probed { mut taken, others }) in [("/health", health), ("/livez", livez)] {
        let slow = quantile(&mut taken, 0.99).as_secs_f64() * 1_000.0;
        figures.at_most(&format!("{what}: {path} answers, p99 in ms"), slow, 1_000.0);
        figures.at_most(&format!("{what}: {path} answers other than 200"), f64::from(others), 0.0);
    }
    figures.add(&format!("{what}: resident memory before, after"), format!("{before}, {} MiB", memory()));
}

/// The alerts of this run that the host lists.
async fn kept(host: &Host, name: &str) -> BTreeSet<String> {
    let (mut kept, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = host.get(&format!("/alerts?limit={PAGE}{cursor}")).await.ok();
        let ids = page["alerts"].as_array().into_iter().flatten();
        let ids = ids.filter_map(|alert| alert["workflow_id"].as_str().map(str::to_owned));
        kept.extend(ids.filter(|id| id.starts_with(&format!("alert-{name}-"))));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return kept,
        }
    }
}

fn counts(figures: &mut Figures, what: &str, answers: &Answers, kept: &BTreeSet<String>) {
    let accepted: BTreeSet<&String> = answers.accepted.iter().map(|(id, _)| id).collect();
    figures.add(&format!("{what}: accepted"), accepted.len().to_string());
    figures.at_most(&format!("{what}: connections that broke"), answers.broken as f64, 0.0);
    for (kind, number) in &answers.refused {
        figures.add(&format!("{what}: {kind}"), number.to_string());
    }
    figures.at_most(&format!("{what}: other answers than 200"), answers.refused(|_| true) as f64, 0.0);
    let lost = accepted.iter().filter(|id| !kept.contains(**id)).count();
    figures.at_most(&format!("{what}: accepted, and not in the store"), lost as f64, 0.0);
    let mut taken: Vec<Duration> = answers.accepted.iter().map(|(_, taken)| *taken).collect();
    figures.add(&format!("{what}: accepting, p50"), milliseconds(quantile(&mut taken, 0.5)));
    figures.add(&format!("{what}: accepting, p99"), milliseconds(quantile(&mut taken, 0.99)));
    let rate = accepted.len() as f64 / answers.took.as_secs_f64();
    figures.add(&format!("{what}: accepted per second"), format!("{rate:.0}"));
}

/// What a path answered.
#[derive(Default)]
struct Probed {
    taken: Vec<Duration>,
    /// Answers other than 200.
    others: u32,
}

/// Asks until `stop` closes.
async fn probe(host: &Host, path: &str, mut stop: watch::Receiver<()>) -> Probed {
    let mut probed = Probed::default();
    while tokio::time::timeout(PROBE_PAUSE, stop.changed()).await.is_err() {
        let started = Instant::now();
        let status = host.get(path).await.status;
        probed.taken.push(started.elapsed());
        probed.others += u32::from(status != 200);
    }
    probed
}

/// A request with alerts of these identities.
fn direct(ids: &[String]) -> String {
    let alert = |id: &String| {
        let identity = json!({"id": id, "starts_at": "2023-12-01T14:30:22Z"});
        alerts::with(alerts::alert("load"), identity)
    };
    json!({"alerts": ids.iter().map(alert).collect::<Vec<Value>>()}).to_string()
}

/// What Alertmanager posts of alerts of these identities.
fn group(ids: &[String]) -> String {
    let entry = |id: &String| {
        json!({
            "status": "firing", "labels": {"alertname": "load", "severity": "critical"}, "fingerprint": id,
            "annotations": {"summary": "one of many"}, "startsAt": "2023-12-01T14:30:22Z",
        })
    };
    let entries: Vec<Value> = ids.iter().map(entry).collect();
    json!({"version": "4", "status": "firing", "receiver": "load", "alerts": entries}).to_string()
}
