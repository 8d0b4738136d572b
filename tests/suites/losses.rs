//! What is lost under the host: Temporal's database, gone or set back, its server, PostgreSQL, another host. Every alert that was accepted
//! comes to its end, and what had come to its end is not sent again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile_store::copy_database;
use harness::alerts::{identified, unique};
use harness::chance::{kills, seed, variable};
use harness::{Answer, Host, Plugin, Postgres, Receiver, Server, Settings, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use temporalio_client::{UntypedWorkflow, WorkflowTerminateOptions};

use crate::embedded::find_temporal;
use crate::outages::{post, post_many, say, settled_after};
use crate::replay::client;

/// How often something is killed, unless `TESTS_KILLS` says another number.
const KILLS: usize = 4;
/// How many post at once meanwhile.
const SENDERS: usize = 3;
/// Attempts for as long as a test takes.
const PATIENT: &str = "[retry]\nmaximum-attempts = 0\ninitial-interval = \"1s\"\nmaximum-interval = \"1s\"\n";

/// A host with its own Temporal server, and one receiver that is tried until it answers.
fn settings(receiver: &Receiver) -> Settings {
    Settings::new().server(Server::Embedded).plugin(Plugin::recorder("pager", receiver, "").and(PATIENT))
}

/// The files of Temporal's database.
fn database(settings: &Settings) -> Vec<PathBuf> {
    let entries = fs::read_dir(settings.data().join("temporal")).expect("a host has made it").flatten();
    let files = entries.map(|entry| entry.path());
    files.filter(|path| path.to_string_lossy().contains("temporal.db")).collect()
}

fn remove(files: &[PathBuf]) {
    assert!(!files.is_empty(), "there is a database");
    files.iter().for_each(|file| fs::remove_file(file).expect("it is there"));
}

fn copy(files: &[PathBuf], to: &Path) {
    for file in files {
        fs::copy(file, to.join(file.file_name().expect("it has a name"))).expect("both are there");
    }
}

/// The alerts of these requests, each as often as it came.
pub(crate) fn sent(receiver: &Receiver, skipped: usize) -> Vec<String> {
    let received = receiver.received("/pager").into_iter().skip(skipped);
    let mut ids: Vec<String> =
        received.map(|request| request.json()["alert"]["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

fn sorted(ids: &BTreeSet<String>) -> Vec<String> {
    ids.iter().cloned().collect()
}

async fn end_all(host: &Host, ids: &BTreeSet<String>, outcome: &str) {
    for id in ids {
        let found = host.completed(id).await;
        assert_eq!(found["outcome"], outcome, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_outlive_the_loss_of_temporals_database() {
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let host = settings.start().await;
    let delivered = post_many(&host, 10).await;
    end_all(&host, &delivered, "delivered").await;
    receiver.always("/pager", Answer::status(503));
    let pending = post_many(&host, 10).await;
    let acknowledged = post_many(&host, 5).await;
    receiver.wait_for("/pager", 25).await;
    for id in &acknowledged {
        host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    }
    host.kill9().await;
    fs::remove_dir_all(settings.data().join("temporal")).expect("it is there");
    let refused = receiver.received("/pager").len();
    receiver.always("/pager", Answer::status(200));
    let host = settings.start().await;
    end_all(&host, &pending, "delivered").await;
    for id in &acknowledged {
        let found = host.completed(id).await;
        assert!(found["ledger"]["acknowledged"]["by"] == "alice", "{found}");
    }
    assert_eq!(sent(&receiver, refused), sorted(&pending), "what is over is not sent again");
    say(&format!(
        "Temporal's database lost: {} accepted, {} under way then, {} sent after it",
        delivered.len() + pending.len() + acknowledged.len(),
        pending.len(),
        sent(&receiver, refused).len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_of_temporal_sends_nothing_again() {
    let receiver = Receiver::start().await;
    let (settings, backup) = (settings(&receiver), tempfile::tempdir().expect("a temporary directory"));
    receiver.always("/pager", Answer::status(503));
    let host = settings.start().await;
    let before = post_many(&host, 8).await;
    receiver.wait_for("/pager", 8).await;
    host.kill9().await;
    copy(&database(&settings), backup.path());

    let host = settings.start().await;
    receiver.always("/pager", Answer::status(200));
    end_all(&host, &before, "delivered").await;
    let later = post_many(&host, 8).await;
    end_all(&host, &later, "delivered").await;
    receiver.always("/pager", Answer::status(503));
    let pending = post_many(&host, 8).await;
    let count = receiver.received("/pager").len();
    receiver.wait_for("/pager", count + 8).await;
    host.kill9().await;

    let files = database(&settings);
    remove(&files);
    let kept: Vec<_> = fs::read_dir(backup.path()).expect("a directory").flatten().collect();
    copy(&kept.iter().map(fs::DirEntry::path).collect::<Vec<_>>(), &settings.data().join("temporal"));
    let refused = receiver.received("/pager").len();
    receiver.always("/pager", Answer::status(200));
    let host = settings.start().await;
    let is_terminated =
        |event: &&Value| event["message"] == "terminated: its alerts are at their end or suspended";
    until("what ran in the restored database is terminated", async || {
        (host.log().events().iter().filter(is_terminated).count() >= before.len()).then_some(())
    })
    .await;
    end_all(&host, &pending, "delivered").await;
    let last = post_many(&host, 1).await;
    end_all(&host, &last, "delivered").await;
    let expected = sorted(&pending.union(&last).cloned().collect());
    assert_eq!(sent(&receiver, refused), expected, "what had come to its end is not sent again");
    say(&format!("Temporal's database set back: {} sent after it, none again", expected.len()));
}

/// As a power loss does that takes what was not synced: Temporal has what it had some seconds ago, the store has all.
#[tokio::test(flavor = "multi_thread")]
async fn temporals_database_is_cut_back_to_random_points() {
    let (receiver, seed) = (Receiver::start().await, seed());
    let (settings, points) = (settings(&receiver), tempfile::tempdir().expect("a temporary directory"));
    let mut random = fastrand::Rng::with_seed(seed);
    let host = settings.start().await;
    let delivered = post_many(&host, 10).await;
    end_all(&host, &delivered, "delivered").await;
    host.kill9().await;
    receiver.always("/pager", Answer::status(503));
    let (mut pending, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..kills(KILLS) {
        let host = settings.start().await;
        let stop = Arc::new(AtomicBool::new(false));
        let url = host.at("/webhook/alerts");
        let sender = tokio::spawn(posting(move || url.clone(), stop.clone()));
        let mut copies = Vec::new();
        for number in 0..4 {
            tokio::time::sleep(stretch() * random.u32(100..900)).await;
            let copy = points.path().join(format!("{round}-{number}.db"));
            copy_database(&settings.data().join("temporal/temporal.db"), &copy).await.expect("it is copied");
            copies.push(copy);
        }
        stop.store(true, Ordering::Relaxed);
        let mut accepted = sender.await.expect("no panic");
        let one = accepted.pop_last().expect("some were accepted");
        host.post(&format!("/alerts/{one}/ack"), &json!({"by": "alice"})).await.ok();
        acknowledged.insert(one);
        pending.extend(accepted);
        host.kill9().await;
        remove(&database(&settings));
        let copy = random.choice(&copies).expect("four");
        fs::copy(copy, settings.data().join("temporal/temporal.db")).expect("it is there");
    }
    let refused = receiver.received("/pager").len();
    receiver.always("/pager", Answer::status(200));
    let host = settings.start().await;
    for id in &acknowledged {
        let found = host.completed(id).await;
        assert!(found["ledger"]["acknowledged"]["by"] == "alice", "{found}");
    }
    let what = format!("TESTS_SEED={seed}: Temporal's database cut back {} times", kills(KILLS));
    settled_after(refused, &what, &pending, &receiver, "/pager").await;
    let again: Vec<_> = sent(&receiver, refused).into_iter().filter(|id| !pending.contains(id)).collect();
    assert_eq!(again, [""; 0], "what is over or acknowledged is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_an_operator_ends_leaves_a_dead_letter() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(503));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, "").and(PATIENT));
    let host = settings.start().await;
    let id = host.submit(&[identified("ended in Temporal")]).await.remove(0);
    receiver.wait_for("/pager", 2).await;
    let workflow = client().await.get_workflow_handle::<UntypedWorkflow>(&id);
    workflow.terminate(WorkflowTerminateOptions::default()).await.expect("it runs");
    host.kill9().await;
    let host = settings.start().await;
    let found = host.completed(&id).await;
    let step = &found["ledger"]["steps"][0];
    assert!(found["outcome"] == "failed" && step["error"]["code"] == "not-made", "{found}");
    let letter = step["dead_letter"].as_str().expect("it is a dead letter");
    receiver.always("/pager", Answer::status(200));
    let retried = host.post(&format!("/deliveries/retry?id={letter}"), &Value::Null).await.ok();
    assert_eq!(retried["deliveries"], json!([letter]));
    until("it is delivered after all", async || {
        (host.get(&format!("/alerts/{id}")).await.json()["outcome"] == "delivered").then_some(())
    })
    .await;
}

/// A millisecond, or as many as `TESTS_STRETCH` says: with 200, databases are cut back by minutes.
fn stretch() -> Duration {
    Duration::from_millis(variable("TESTS_STRETCH").unwrap_or(1))
}

/// Posts until it is stopped, to the host that is there, and returns what was accepted.
async fn posting(url: impl Fn() -> String, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        accepted.extend(post(&url(), &unique("loss ")).await);
        tokio::time::sleep(20 * stretch()).await;
    }
    accepted
}

/// Has alerts posted while `kill` is called again and again; returns what was accepted.
async fn under_load(urls: Vec<String>, seed: u64, mut kill: impl AsyncFnMut()) -> BTreeSet<String> {
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (url, stop) = (urls[sender % urls.len()].clone(), stop.clone());
            tokio::spawn(posting(move || url.clone(), stop))
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..kills(KILLS) {
        tokio::time::sleep(Duration::from_millis(random.u64(200..1_500))).await;
        kill().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = BTreeSet::new();
    for sender in senders {
        accepted.extend(sender.await.expect("no panic"));
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_server_is_killed_again_and_again() {
    let (receiver, seed) = (Receiver::start().await, seed());
    let host = settings(&receiver).start().await;
    let url = host.at("/webhook/alerts");
    let accepted = under_load(vec![url], seed, async || {
        let server = until("it is there", async || find_temporal(&host)).await;
        kill_process(Pid::from_raw(server).expect("a process id"), Signal::KILL).expect("it runs");
        until("another is there", async || find_temporal(&host).filter(|other| *other != server)).await;
    })
    .await;
    let what = format!("TESTS_SEED={seed}: embedded server killed {} times", kills(KILLS));
    settled_after(0, &what, &accepted, &receiver, "/pager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_killed_again_and_again() {
    let (receiver, seed) = (Receiver::start().await, seed());
    let mut postgres = Postgres::start().await;
    let store = format!("\n[store]\nurl = \"{}\"\n", postgres.database());
    let settings = Settings::new().and_config(&store);
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "").and(PATIENT)).start().await;
    let accepted = under_load(vec![host.at("/webhook/alerts")], seed, async || {
        postgres.kill().await;
        postgres.restart().await;
        until("the store is there again", async || (host.get("/readyz").await.status == 200).then_some(()))
            .await;
    })
    .await;
    let what = format!("TESTS_SEED={seed}: PostgreSQL killed {} times", kills(KILLS));
    settled_after(0, &what, &accepted, &receiver, "/pager").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_hosts_on_one_postgresql_dies_again_and_again() {
    let (receiver, seed) = (Receiver::start().await, seed());
    let store = format!("\n[store]\nurl = \"{}\"\n", Postgres::shared().await.database());
    let settings = Settings::new().and_config(&store);
    let settings = settings.plugin(Plugin::recorder("pager", &receiver, "").and(PATIENT));
    let stays = settings.start().await;
    let mut accepted = BTreeSet::new();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..kills(KILLS) {
        let dies = settings.clone().role("all").start().await;
        let urls = vec![stays.at("/webhook/alerts"), dies.at("/webhook/alerts")];
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> =
            urls.into_iter().map(|url| tokio::spawn(posting(move || url.clone(), stop.clone()))).collect();
        tokio::time::sleep(Duration::from_millis(random.u64(300..1_500))).await;
        dies.kill9().await;
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            accepted.extend(sender.await.expect("no panic"));
        }
    }
    let what = format!("TESTS_SEED={seed}: one of two hosts killed {} times", kills(KILLS));
    settled_after(0, &what, &accepted, &receiver, "/pager").await;
    end_all(&stays, &accepted, "delivered").await;
}
