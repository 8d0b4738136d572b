//! The host killed at random points under load, again and again: what it accepted is what Temporal holds.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use harness::alerts::{identified, unique};
use harness::chance::{kills, seed};
use harness::host::ids;
use harness::web::{client, send};
use harness::{Host, Plugin, Server, Settings, Temporal, until};
use serde_json::{Value, json};

/// How often the host is killed, unless `TESTS_KILLS` says another number.
const KILLS: usize = 24;
/// How many post at once.
const SENDERS: usize = 6;
/// The longest that a host lives once it took something, in milliseconds.
const LIFE: u64 = 150;

/// Posts what `body` makes, one after the other, until told to stop; gives what was answered with `accepted`.
async fn posting(
    url: String,
    accepted: u16,
    stop: Arc<AtomicBool>,
    body: impl Fn() -> (String, Value),
) -> (Vec<(String, Value)>, Vec<String>) {
    let (mut taken, mut unanswered) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let (name, body) = body();
        match send(client().post(&url).json(&body)).await {
            Ok(reply) if reply.status == accepted => taken.push((name, reply.json())),
            Ok(_) => {}
            Err(_) => unanswered.push(name),
        }
    }
    (taken, unanswered)
}

/// Has a host take posts, and kills it while it does.
async fn killed_under_load(
    host: Host,
    random: &mut Rng,
    path: &str,
    accepted: u16,
    body: impl Fn() -> (String, Value) + Clone + Send + Sync + 'static,
) -> (Vec<(String, Value)>, Vec<String>) {
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (url, stop, body) = (host.at(path), stop.clone(), body.clone());
            tokio::spawn(async move { posting(url, accepted, stop, body).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(random.u64(1..LIFE))).await;
    host.kill9().await;
    stop.store(true, Ordering::Relaxed);
    let (mut taken, mut unanswered) = (Vec::new(), Vec::new());
    for sender in senders {
        let (more, without) = sender.await.expect("no panic");
        taken.extend(more);
        unanswered.extend(without);
    }
    (taken, unanswered)
}

/// Not captured: whoever runs the tests is to see the counts.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).expect("stderr is open");
}

/// One field of everything that Temporal holds of this host.
async fn held(host: &Host, field: &str) -> BTreeSet<String> {
    let (mut held, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = host.get(&format!("/alerts?limit=1000{cursor}")).await.ok();
        let alerts = page["alerts"].as_array().expect("a list").clone();
        held.extend(alerts.iter().filter_map(|alert| alert[field].as_str().map(str::to_owned)));
        let Some(next) = page["next"].as_str() else { return held };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_held_however_often_the_host_is_killed() {
    let settings = Settings::new().plugin(Plugin::shipped("log"));
    let body = || {
        let name = unique("killed-");
        (name.clone(), json!({"alerts": [identified(&name)]}))
    };
    let (mut accepted, mut unanswered) = (BTreeSet::new(), 0);
    let (kills, seed) = (kills(KILLS), seed());
    let mut random = Rng::with_seed(seed);
    for _ in 0..kills {
        let host = Host::listening(&settings).await;
        until("it takes alerts", async || (host.get("/readyz").await.status == 200).then_some(())).await;
        let (taken, without) = killed_under_load(host, &mut random, "/webhook/alerts", 200, body).await;
        accepted.extend(taken.iter().flat_map(|(_, answer)| ids(answer)));
        unanswered += without.len();
    }
    let host = settings.start().await;
    let all = until("all that was accepted is listed", async || {
        let held = held(&host, "workflow_id").await;
        accepted.is_subset(&held).then_some(held)
    })
    .await;
    let more = all.len() - accepted.len();
    say(&format!(
        "TESTS_SEED={seed}: {kills} kills: {} accepted, {} held, {more} of {unanswered} unanswered",
        accepted.len(),
        all.len()
    ));
    assert!(!accepted.is_empty() && more <= unanswered, "{more} are held that nobody posted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spooled_is_handed_over_however_often_the_host_is_killed() {
    let mut server = Temporal::start().await;
    let settings = Settings::new()
        .server(Server::At(server.address()))
        .and_config("\n[sources.grafana]\nspool = true\n")
        .plugin(Plugin::shipped("log"))
        .plugin(Plugin::shipped("grafana"));
    server.kill().await;
    let body = || {
        let name = unique("spooled-");
        let alert = json!({"labels": {"alertname": name}, "startsAt": "2026-01-22T11:47:17Z"});
        (name, json!({"alerts": [alert]}))
    };
    let (mut accepted, mut unanswered) = (BTreeSet::new(), 0);
    let (kills, seed) = (kills(KILLS), seed());
    let mut random = Rng::with_seed(seed);
    for _ in 0..kills {
        let host = Host::listening(&settings).await;
        let (taken, without) = killed_under_load(host, &mut random, "/webhook/grafana", 202, body).await;
        accepted.extend(taken.into_iter().map(|(name, _)| name));
        unanswered += without.len();
    }
    let host = Host::listening(&settings).await;
    let waiting = host.get("/health").await.json()["spool"]["requests"].as_u64().expect("a count");
    server.restart().await;
    until("the spool is empty", async || {
        (host.get("/health").await.json()["spool"]["requests"] == 0).then_some(())
    })
    .await;
    let titles = until("all that was accepted is listed", async || {
        let titles = held(&host, "title").await;
        accepted.is_subset(&titles).then_some(titles)
    })
    .await;
    say(&format!(
        "TESTS_SEED={seed}: {kills} kills: {} answered with 202, {waiting} in the spool, {} held, {unanswered} unanswered",
        accepted.len(),
        titles.len()
    ));
    assert!(!accepted.is_empty() && titles.len() - accepted.len() <= unanswered);
}
