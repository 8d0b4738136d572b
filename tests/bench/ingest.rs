//! The webhook under several times what it can take: what it accepts Temporal holds, what it refuses it refuses with 503,
//! and it stays answerable. And what its front door costs, with nothing behind it.

mod bare;
mod door;
mod plain;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use harness::load::{Answers, Load};
use harness::process::holdings;
use harness::wait::PATIENCE;
use harness::{Host, Plugin, Server, Settings, alerts, temporal};
use serde_json::{Value, json};
use tokio::sync::watch;

use bare::Bare;
pub(crate) use plain::{PLAIN, serve};

use crate::measure::{Figures, milliseconds, quantile};

/// `[webhook] concurrency`: on two cores so many are answered in half of the time that the host gives Temporal.
const PLACES: usize = 32;
/// Connections at once.
const CONNECTIONS: usize = 256;
/// The most requests of one run, how long one starts requests, and how long a connection rests after a refusal: a sender
/// that minds `retry-after` rests five times as long.
const REQUESTS: usize = 20_000;
const TIME: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_millis(200);
/// Between two questions to `/health` and `/livez` each.
const PROBE_PAUSE: Duration = Duration::from_millis(25);

/// Measures both.
pub(crate) async fn measure(figures: &mut Figures) {
    overload(figures).await;
    door::measure(figures).await;
}

async fn overload(figures: &mut Figures) {
    let settings = Settings::new()
        .server(Server::Embedded)
        .and_config(&format!("[webhook]\nconcurrency = {PLACES}\n"))
        .plugin(Plugin::shipped("log"))
        .plugin(Plugin::shipped("alertmanager"));
    let host = settings.start().await;
    let ready = host.log().message("temporal server ready").await;
    let address = ready["address"].as_str().expect("the event carries the address");
    let (site, floor) = (Site { host: &host, address }, Bare::start(address).await);
    // Until the host has what memory it needs for this.
    let each = ["%s".to_owned()];
    if site.load("warm", "alerts", direct(&each), TIME / 2).await.is_none() {
        return;
    }
    let mut bare = floor.started(PLACES).await;
    site.run(figures, "direct", "alerts", direct(&each)).await;
    site.run(figures, "sourced", "alertmanager", group(&each)).await;
    bare.extend(floor.started(PLACES).await);
    let name = format!("floor: start_workflow, {PLACES} at once");
    figures.add(&format!("{name}, p50"), milliseconds(quantile(&mut bare, 0.5)));
    figures.add(&format!("{name}, p99"), milliseconds(quantile(&mut bare, 0.99)));
    floor.stop();
    host.stop().await;
}

/// A host, and its Temporal server.
struct Site<'a> {
    host: &'a Host,
    address: &'a str,
}

impl Site<'_> {
    async fn run(&self, figures: &mut Figures, name: &'static str, source: &str, body: String) {
        let memory = || holdings(self.host.process().id()).memory;
        let before = memory();
        let (stop, stopped) = watch::channel(());
        let probes = async {
            tokio::join!(probe(self.host, "/health", stopped.clone()), probe(self.host, "/livez", stopped))
        };
        let load = async {
            let answers = self.load(name, source, body, TIME).await;
            drop(stop);
            answers
        };
        let (answers, (health, livez)) = tokio::join!(load, probes);
        let Some(answers) = answers else { return };
        let held = self.held(name, &answers).await;
        let after = memory();
        let what = format!("{source}, overloaded");
        counts(figures, &what, &answers, &held);
        for (path, Probed { mut taken, others }) in [("/health", health), ("/livez", livez)] {
            let slow = quantile(&mut taken, 0.99).as_secs_f64() * 1_000.0;
            figures.at_most(&format!("{what}: {path} answers, p99 in ms"), slow, 1_000.0);
            figures.at_most(&format!("{what}: {path} answers other than 200"), f64::from(others), 0.0);
        }
        figures.add(&format!("{what}: resident memory before, after"), format!("{before}, {after} MiB"));
        figures.at_most(&format!("{what}: memory, times before"), after as f64 / before as f64, 1.2);
    }

    async fn load(&self, name: &'static str, source: &str, body: String, time: Duration) -> Option<Answers> {
        let url = self.host.at(&format!("/webhook/{source}"));
        let headers = vec![("content-type", "application/json".to_owned())];
        let (connections, requests, pause) = (CONNECTIONS, REQUESTS, REST);
        Load { url, headers, name, body, connections, requests, time, pause }.run().await
    }

    /// The workflows of this run that Temporal itself lists, once it lists all that were accepted, and all have completed.
    async fn held(&self, name: &str, answers: &Answers) -> BTreeSet<String> {
        let query = format!("WorkflowId STARTS_WITH 'alert-{name}-'");
        let accepted: BTreeSet<&String> = answers.accepted.iter().map(|(id, _)| id).collect();
        let list = ["workflow", "list", "--limit", "100000", "--query", &query];
        let mut held = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let listed = temporal::ask(self.address, &list).await;
            let listed = listed.as_ref().and_then(Value::as_array).into_iter().flatten();
            held = listed.filter_map(state).collect();
            let is_done = held.values().all(|state| state == "WORKFLOW_EXECUTION_STATUS_COMPLETED");
            if is_done && accepted.iter().all(|id| held.contains_key(*id)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        held.into_keys().collect()
    }
}

fn counts(figures: &mut Figures, what: &str, answers: &Answers, held: &BTreeSet<String>) {
    let accepted: BTreeSet<&String> = answers.accepted.iter().map(|(id, _)| id).collect();
    figures.add(&format!("{what}: requests"), answers.sent.to_string());
    figures.add(&format!("{what}: connections that broke"), answers.broken.to_string());
    figures.add(&format!("{what}: accepted"), accepted.len().to_string());
    for (kind, number) in &answers.refused {
        figures.add(&format!("{what}: {kind}"), number.to_string());
    }
    let times = answers.sent as f64 / accepted.len() as f64;
    figures.at_least(&format!("{what}: sent, times what was accepted"), times, 3.0);
    let others = answers.refused(|kind| !kind.starts_with("503 "));
    figures.at_most(&format!("{what}: neither 200 nor 503"), others as f64, 0.0);
    let lost = accepted.iter().filter(|id| !held.contains(**id)).count();
    figures.at_most(&format!("{what}: accepted, and not held by Temporal"), lost as f64, 0.0);
    let more = held.iter().filter(|id| !accepted.contains(id)).count();
    // Temporal may hold what it was too slow to say, and what nobody waited for.
    let open = answers.refused(|kind| kind.ends_with(" temporal-unavailable")) + answers.unanswered();
    figures.at_most(&format!("{what}: held, and not confirmed"), more as f64, open as f64);
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

/// Id and state of a workflow, as the command line lists it.
fn state(listed: &Value) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some((text(&listed["execution"]["workflowId"])?, text(&listed["status"])?))
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
