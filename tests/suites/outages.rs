//! Outages on the way, and what arrived in the end: every alert that was accepted is delivered, ideally once. A delivery is told
//! from another by its id; what comes twice is counted, and bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::alerts::{identified, unique, with};
use harness::chance::{kills, seed};
use harness::receiver::Received;
use harness::tools::debian_package;
use harness::web::{client, send};
use harness::{Answer, Host, Plugin, Receiver, Server, Settings, Temporal, until};
use serde_json::{Value, json};
use temporalio_client::{UntypedWorkflow, WorkflowDescribeOptions};

use crate::replay::client as client_of_temporal;

/// How long a scenario may take until everything has arrived.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the host is killed, unless `TESTS_KILLS` says another number, and how many alerts are posted before each kill.
const KILLS: usize = 30;
const ALERTS_EACH: usize = 17;

/// What was accepted and what arrived.
#[derive(Debug)]
pub(crate) struct Counts {
    accepted: usize,
    delivered: usize,
    duplicated: usize,
    lost: usize,
}

/// Counts the deliveries to one path, whose receiver takes everything but the first `refused` requests.
fn counts(accepted: &BTreeSet<String>, receiver: &Receiver, path: &str, refused: usize) -> Counts {
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for request in receiver.received(path).into_iter().skip(refused) {
        let id = request.json()["alert"]["id"].as_str().expect("an alert has an id").to_owned();
        *arrived.entry(id).or_default() += 1;
    }
    let here: Vec<usize> = accepted.iter().filter_map(|id| arrived.get(id).copied()).collect();
    Counts {
        accepted: accepted.len(),
        delivered: here.len(),
        duplicated: here.iter().map(|count| count - 1).sum(),
        lost: accepted.len() - here.len(),
    }
}

/// Waits until all that was accepted has arrived, prints the counts, and gives them.
async fn settled(what: &str, accepted: &BTreeSet<String>, receiver: &Receiver, path: &str) -> Counts {
    settled_after(0, what, accepted, receiver, path).await
}

/// The same where the receiver refuses the first requests.
pub(crate) async fn settled_after(
    refused: usize,
    what: &str,
    accepted: &BTreeSet<String>,
    receiver: &Receiver,
    path: &str,
) -> Counts {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = counts(accepted, receiver, path, refused);
        if counts.lost == 0 || Instant::now() > deadline {
            let Counts { accepted, delivered, duplicated, lost } = counts;
            say(&format!(
                "{what}: {accepted} accepted, {delivered} delivered, {duplicated} duplicated, {lost} lost"
            ));
            assert_eq!(lost, 0, "{what}");
            return counts;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Not captured: whoever runs the tests is to see the counts.
pub(crate) fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).expect("stderr is open");
}

/// Posts one alert; its id, if it was accepted.
pub(crate) async fn post(url: &str, title: &str) -> Option<String> {
    let body = json!({"alerts": [identified(title)]});
    let reply = send(client().post(url).json(&body)).await.ok().filter(|reply| reply.status == 200)?;
    reply.json()["workflow_ids"][0].as_str().map(str::to_owned)
}

pub(crate) async fn post_many(host: &Host, count: usize) -> BTreeSet<String> {
    let url = host.at("/webhook/alerts");
    let mut accepted = BTreeSet::new();
    for _ in 0..count {
        accepted.extend(post(&url, &unique("outage ")).await);
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_for_all_attempts_has_everything_once_it_is_back() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    receiver.always("/pager", Answer::status(503));
    let accepted = post_many(&host, 20).await;
    let exhausted = async || {
        let page = host.get("/deliveries?receiver=pager&limit=1000").await.ok();
        let ids = page["deliveries"].as_array().expect("a list").iter();
        let ids: BTreeSet<String> = ids.filter_map(|one| one["alert"].as_str().map(str::to_owned)).collect();
        accepted.is_subset(&ids).then_some(())
    };
    until("all are dead letters", exhausted).await;
    let before = receiver.received("/pager").len();
    assert_eq!(before, 80, "four attempts each");
    receiver.always("/pager", Answer::status(200));
    host.post("/deliveries/retry?receiver=pager", &Value::Null).await.ok();
    let what = "receiver down for all attempts, then retried";
    assert_eq!(settled_after(before, what, &accepted, &receiver, "/pager").await.duplicated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_gets_it_and_then_everything() {
    let receiver = Receiver::start().await;
    let busy = Answer::status(429).header("retry-after", "3");
    receiver.script("/pager", vec![busy; 20], Answer::status(200));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let began = Instant::now();
    let accepted = post_many(&host, 20).await;
    let what = "receiver answers 429 with Retry-After";
    assert_eq!(settled_after(20, what, &accepted, &receiver, "/pager").await.duplicated, 0);
    assert!(began.elapsed() >= Duration::from_secs(3), "it asked for 3 s, and got {:?}", began.elapsed());
}

/// Firing and end are posted at once, each in a request of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_races_its_firing_never_comes_before_it() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_millis(50)));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let mut resolved = 0;
    for _ in 0..20 {
        let firing = identified(&unique("race "));
        let end = with(firing.clone(), json!({"status": "resolved"}));
        let (first, second) = ([firing], [end]);
        let (one, two) = tokio::join!(host.submit(&first), host.submit(&second));
        host.completed(&one[0]).await;
        let end = host.completed(&two[0]).await;
        let received = receiver.received("/pager").into_iter().map(|request| request.json()["alert"].take());
        let of_these = received.filter(|alert| [&one[0], &two[0]].iter().any(|id| alert["id"] == **id));
        let statuses: Vec<Value> = of_these.map(|mut alert| alert["status"].take()).collect();
        let orders: &[&[&str]] = match end["disposition"].as_str() {
            // An attempt that had not begun is not made any more.
            Some("resolves") => &[&["firing", "resolved"], &[]],
            _ => &[&["firing"]],
        };
        assert!(orders.iter().any(|order| statuses == *order), "{statuses:?} of {end}");
        resolved += usize::from(statuses.len() == 2);
    }
    say(&format!("end races firing: 20 accepted, {resolved} of their ends delivered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_holds_no_fast_one_up() {
    let receiver = Receiver::start().await;
    receiver.always("/slow", Answer::status(200).after(Duration::from_millis(1_500)));
    let settings = Settings::new().plugin(Plugin::recorder("slow", &receiver, ""));
    let host = settings.plugin(Plugin::recorder("fast", &receiver, "")).start().await;
    let began = Instant::now();
    let accepted = post_many(&host, 20).await;
    settled("slow receiver, the fast one beside it", &accepted, &receiver, "/fast").await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1_500), "the fast one took {took:?}");
    let slow = settled("slow receiver", &accepted, &receiver, "/slow").await;
    assert_eq!(slow.duplicated, 0);
}

/// The workflow task that held an attempt was not recorded when the host died: the attempt then comes again in a later life of
/// the host, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_again_and_again_delivers_everything() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let mut accepted = BTreeSet::new();
    let mut deaths = Vec::new();
    let (kills, seed) = (kills(KILLS), seed());
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        let host = Host::listening(&settings).await;
        until("it takes alerts", async || (host.get("/readyz").await.status == 200).then_some(())).await;
        let url = host.at("/webhook/alerts");
        let posts = (0..ALERTS_EACH).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { post(&url, &unique("killed ")).await })
        });
        let posts: Vec<_> = posts.collect();
        tokio::time::sleep(Duration::from_millis(random.u64(200..600))).await;
        host.kill9().await;
        deaths.push(Instant::now());
        for post in posts {
            accepted.extend(post.await.expect("no panic"));
        }
    }
    let _host = settings.start().await;
    let what = format!("TESTS_SEED={seed}: host killed {kills} times");
    let counts = settled(&what, &accepted, &receiver, "/pager").await;
    assert!(counts.accepted >= kills * ALERTS_EACH / 5, "{counts:?}");
    let mut lives: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for request in receiver.received("/pager") {
        let life = deaths.partition_point(|death| *death < request.at);
        lives.entry(request.json()["delivery_id"].to_string()).or_default().push(life);
    }
    let is_once_in_each = |lives: &&Vec<usize>| lives.windows(2).all(|pair| pair[0] < pair[1]);
    let wrong: Vec<_> = lives.values().filter(|lives| !is_once_in_each(lives)).collect();
    assert!(wrong.is_empty(), "what comes again does so after a death in the middle of it alone: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_workers_dies_and_everything_is_delivered() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let webhook = settings.clone().role("webhook").start().await;
    let first = settings.clone().role("worker").start().await;
    let _second = settings.clone().role("worker").start().await;
    let mut accepted = post_many(&webhook, 30).await;
    first.kill9().await;
    accepted.extend(post_many(&webhook, 30).await);
    let counts = settled("one of two workers dies", &accepted, &receiver, "/pager").await;
    assert!(counts.duplicated <= 30, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn temporal_is_restarted_and_everything_is_delivered() {
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let settings = Settings::new().server(Server::At(server.address()));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let mut accepted = post_many(&host, 30).await;
    server.restart().await;
    until("it takes alerts again", async || post(&host.at("/webhook/alerts"), "again").await).await;
    accepted.extend(post_many(&host, 30).await);
    let counts = settled("temporal restarted", &accepted, &receiver, "/pager").await;
    assert!(counts.duplicated <= 30, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_mended_on_the_way_delivers_everything() {
    let receiver = Receiver::start().await;
    let broken = Plugin::recorder("pager", &receiver, "").and("[limits]\nrequests = 0\n");
    let slow = "\n[activities.send-notification]\ninitial-interval = \"1s\"\nmaximum-attempts = 10\n";
    let host = Settings::new().config(slow).plugin(broken).start().await;
    let accepted = post_many(&host, 20).await;
    host.drop_plugin(&Plugin::recorder("pager", &receiver, ""));
    let counts = settled("plugin mended on the way", &accepted, &receiver, "/pager").await;
    assert_eq!(counts.duplicated, 0, "{counts:?}");
}

/// The host's clock is wrong, by hours, and jumps: what is due, and how long an attempt has, is Temporal's to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_loses_nothing() {
    let Some(package) = debian_package("libfaketime") else { return };
    let library = find(&package, "libfaketimeMT.so.1");
    let receiver = Receiver::start().await;
    receiver.script("/pager", vec![Answer::status(503); 30], Answer::status(200));
    let clock = tempfile::NamedTempFile::new().expect("a file");
    let set = |offset: &str| std::fs::write(clock.path(), offset).expect("writable");
    set("+3h");
    let patient = "\n[activities.send-notification]\ninitial-interval = \"500ms\"\nmaximum-attempts = 20\nmaximum-age = \"1h\"\n";
    let settings = Settings::new().config(patient).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings
        .variable("LD_PRELOAD", &library.display().to_string())
        .variable("FAKETIME_TIMESTAMP_FILE", &clock.path().display().to_string())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start()
        .await;
    let mut accepted = post_many(&host, 20).await;
    let early = accepted.first().expect("an alert").clone();
    for offset in ["-2h", "+26h", "+0"] {
        set(offset);
        accepted.extend(post_many(&host, 10).await);
    }
    let counts = settled_after(30, "clock jumps by hours", &accepted, &receiver, "/pager").await;
    assert_eq!(counts.duplicated, 0);
    // It was wrong, not only said to be.
    let story = host.completed(&early).await;
    let received: jiff::Timestamp =
        story["ledger"]["received_at"].as_str().expect("a time").parse().expect("one");
    assert!(received.duration_since(jiff::Timestamp::now()).as_hours().abs() >= 1, "{received}");
}

fn find(directory: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(directory).expect("readable").flatten();
    let mut found = entries.filter_map(|entry| match entry.path() {
        path if path.is_dir() => Some(find(&path, name)).filter(|path| !path.as_os_str().is_empty()),
        path => path.ends_with(name).then_some(path),
    });
    found.next().unwrap_or_default()
}

/// Floods a host with so many thousand alerts of a kind, on the embedded server, which is the one that a small team has; then
/// posts this one to a source. Gives how long that took to be delivered, and how many of the others were before it.
async fn into_a_flood(
    thousands: usize,
    flood: impl Fn() -> Value,
    source: &str,
    one: (&str, Value),
) -> (Duration, usize) {
    let (title, body) = one;
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .server(Server::Embedded)
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::shipped("alertmanager"))
        .start()
        .await;
    for _ in 0..thousands {
        let alerts: Vec<Value> = (0..1_000).map(|_| flood()).collect();
        host.submit(&alerts).await;
    }
    let began = Instant::now();
    host.post(&format!("/webhook/{source}"), &body).await.ok();
    let is_it = |request: &Received| request.json()["alert"]["title"] == title;
    let place =
        until("the one alert is delivered", async || receiver.received("/pager").iter().position(is_it))
            .await;
    (began.elapsed(), place)
}

/// What waits is taken by severity.
#[tokio::test(flavor = "multi_thread")]
async fn a_critical_alert_overtakes_a_storm_of_low_ones() {
    let low = || with(identified(&unique("storm ")), json!({"severity": "low"}));
    let title = "the one that matters";
    let critical = json!({"alerts": [with(identified(title), json!({"severity": "critical"}))]});
    let (took, before) = into_a_flood(5, low, "alerts", (title, critical)).await;
    say(&format!(
        "a critical alert into 5,000 low ones: delivered after {took:.1?}, {before} low ones before it"
    ));
    assert!(before < 4_000, "{took:?}, behind {before}");
}

/// Within a severity, sources take turns: one that floods the host waits for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_source_holds_no_other_up() {
    let loud = || identified(&unique("turns "));
    let quiet = json!({"version": "4", "status": "firing", "receiver": "r", "alerts": [{
        "status": "firing", "labels": {"alertname": "Quiet", "severity": "error"},
        "annotations": {"summary": "quiet"}, "startsAt": "2023-12-01T14:30:22Z", "fingerprint": unique("f"),
    }]});
    let (took, before) = into_a_flood(3, loud, "alertmanager", ("quiet", quiet)).await;
    say(&format!("one alert into 3,000 of another source: delivered after {took:.1?}, {before} before it"));
    assert!(before < 2_500, "{took:?}, behind {before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_alert_has_a_task_queue_with_a_worker_of_its_own() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let queue = host.get("/health").await.ok()["temporal"]["task_queue"].as_str().expect("a name").to_owned();
    for (severity, expected) in [("high", queue.clone()), ("critical", format!("{queue}:critical"))] {
        let alert = with(identified("of its own"), json!({"severity": severity}));
        let id = host.submit(&[alert]).await.remove(0);
        assert_eq!(host.completed(&id).await["outcome"], "delivered");
        let workflow = client_of_temporal().await.get_workflow_handle::<UntypedWorkflow>(&id);
        let described = workflow.describe(WorkflowDescribeOptions::default()).await.expect("it is there");
        let config = described.raw().execution_config.as_ref().expect("it has a configuration");
        assert_eq!(config.task_queue.as_ref().map(|queue| queue.name.as_str()), Some(expected.as_str()));
    }
}
