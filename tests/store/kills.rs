//! Hosts that are killed while they accept: what was answered is there, and nothing half.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write, stdout};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use campanile_store::{Limits, Location, Store};
use fastrand::Rng;
use harness::chance::{kills, seed};
use harness::wait::PATIENCE;
use sqlx::{AssertSqlSafe, Row};

use crate::on_both;
use crate::places::Place;
use crate::samples::{firing, request, resolved, unidentified};

on_both!(what_was_answered_outlives_a_killed_host);

/// How often a host is killed, unless `TESTS_KILLS` says another number.
const KILLS: usize = 15;
/// How many requests a host works on at once.
const TASKS: u64 = 16;
/// Limits under which a long run is not full.
const LIMITS: Limits = Limits { pending: 10_000_000, retention: i64::MAX / 2, stale_after: i64::MAX / 2 };

/// A host in a process of its own, and what it has answered so far.
struct Accepting {
    process: Child,
    answered: JoinHandle<Vec<String>>,
}

impl Accepting {
    fn start(place: &Place, seed: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env("STORE_LOCATION", place.location.to_string())
            .env("TESTS_SEED", seed.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (begun, first) = mpsc::channel();
        // A line that was cut off was not answered in full.
        let answered = std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            let answered =
                lines.filter_map(|line| Some(line.strip_prefix("answered ")?.strip_suffix('.')?.to_owned()));
            // The first one is waited for.
            answered.inspect(|_| _ = begun.send(())).collect()
        });
        first.recv_timeout(PATIENCE).expect("the host accepts");
        Self { process, answered }
    }

    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.answered.join().unwrap()
    }
}

async fn what_was_answered_outlives_a_killed_host(place: Place) {
    let (kills, seed) = (kills(KILLS), seed());
    let mut random = Rng::with_seed(seed);
    let mut answered = Vec::new();
    // Where two hosts can share a store, one of them goes on while the other dies.
    let mut other = place.is_shared.then(|| Accepting::start(&place, random.u64(..)));
    for _ in 0..kills {
        let host = Accepting::start(&place, random.u64(..));
        tokio::time::sleep(Duration::from_millis(random.u64(0..300))).await;
        answered.extend(host.kill());
        if random.bool()
            && let Some(host) = other.take()
        {
            answered.extend(host.kill());
            other = Some(Accepting::start(&place, random.u64(..)));
        }
    }
    answered.extend(other.into_iter().flat_map(Accepting::kill));
    check(&place, seed, &answered).await;
}

async fn check(place: &Place, seed: u64, answered: &[String]) {
    assert_eq!(place.check().await.faults, [""; 0]);
    let mut connection = place.connection().await;
    let kept = sqlx::query("SELECT id FROM notifications").fetch_all(&mut connection).await.unwrap();
    let kept: HashSet<String> = kept.iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = answered.iter().filter(|id| !kept.contains(*id)).collect();
    println!("TESTS_SEED={seed}: {} answered, {} kept, {} lost", answered.len(), kept.len(), lost.len());
    assert!(answered.len() > 100, "too few to show anything: {}", answered.len());
    assert!(lost.is_empty(), "TESTS_SEED={seed}: lost {lost:?}");
    // Nothing half: each notification has its document and its life, each open identity one life, which it points to.
    for query in [
        "SELECT count(*) FROM notifications n LEFT JOIN documents d ON d.notification = n.number WHERE d.document IS NULL",
        "SELECT count(*) FROM notifications n LEFT JOIN lives l ON l.number = n.life WHERE l.number IS NULL",
        "SELECT count(*) FROM documents d LEFT JOIN requests r ON r.number = d.request WHERE r.number IS NULL",
        "SELECT count(*) FROM identities i LEFT JOIN lives l ON l.number = i.life WHERE l.number IS NULL",
        "SELECT count(*) FROM (SELECT 1 AS one FROM lives WHERE state = 0 GROUP BY scope, sender_key HAVING count(*) > 1) AS t",
    ] {
        let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(query.to_owned()));
        assert_eq!(query.fetch_one(&mut connection).await.unwrap(), 0, "TESTS_SEED={seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of what_was_answered_outlives_a_killed_host"]
async fn in_a_process_of_its_own() {
    let location = std::env::var("STORE_LOCATION").unwrap();
    let location = location.parse().unwrap_or_else(|_| Location::File(location.into()));
    let seed = seed();
    let store = Store::open(location, LIMITS).await.unwrap();
    let tasks = (0..TASKS).map(|task| {
        let (store, mut random) = (store.clone(), Rng::with_seed(seed ^ task));
        tokio::spawn(async move {
            while store.pending() < LIMITS.pending {
                let key = format!("k{}", random.usize(..50));
                let alerts = [firing(&key), unidentified(random.usize(..)), resolved(&key)];
                let count = random.usize(1..=3);
                for placed in store.accept(request(alerts[..count].to_vec())).await.unwrap().alerts {
                    writeln!(stdout().lock(), "answered {}.", placed.id).unwrap();
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}
