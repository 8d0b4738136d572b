//! The life table against a model of it: random posts of a few keys, from one host and from two, and with a bug planted in each row.

use std::sync::Arc;

use campanile_store::life::{Decision, Life, Policy, Post, Severity, State, Status, decide};
use campanile_store::{Disposition, Incoming, Micros, Placed, Store};
use fastrand::Rng;
use harness::chance::seed;

use crate::model::Model;
use crate::on_both;
use crate::places::Place;
use crate::samples::{SECOND, START, firing, request};

on_both!(random_posts_become_what_the_model_says, two_hosts_agree_on_each_life);

/// How many posts each of the tasks makes, and of how many alerts.
const TASKS: u64 = 12;
const REQUESTS: usize = 40;
const ALERTS: usize = 24;
/// Few enough that tasks meet.
const KEYS: usize = 400;

/// What an alert said, and what became of it.
struct Outcome {
    alert: Incoming,
    placed: Placed,
}

async fn random_posts_become_what_the_model_says(place: Place) {
    let store = place.open().await;
    check(&place, &[store]).await;
}

async fn two_hosts_agree_on_each_life(place: Place) {
    let first = place.open().await;
    let second = if place.is_shared { place.open().await } else { first.clone() };
    check(&place, &[first, second]).await;
}

async fn check(place: &Place, hosts: &[Store]) {
    let seed = seed();
    let tasks = (0..TASKS).map(|task| {
        let host = hosts[task as usize % hosts.len()].clone();
        tokio::spawn(post_some(host, Rng::with_seed(seed ^ task)))
    });
    let mut outcomes = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        outcomes.extend(task.await.unwrap());
    }
    outcomes.sort_by_key(|outcome| outcome.placed.number);
    let mut model = Model::default();
    for (index, Outcome { alert, placed }) in outcomes.iter().enumerate() {
        let expected = model.post(alert.key.as_deref(), alert.post, alert.policy, placed.at);
        assert_eq!(placed.disposition, expected, "TESTS_SEED={seed}, post {index} of {alert:?}");
    }
    let count =
        |disposition| outcomes.iter().filter(|outcome| outcome.placed.disposition == disposition).count();
    let counts = Disposition::ALL.map(|disposition| (disposition.as_str(), count(disposition)));
    println!("TESTS_SEED={seed}: {} posts: {counts:?}", outcomes.len());
    assert!(counts.iter().all(|(_, count)| *count > 0), "each row is tried: {counts:?}");
    // Counted exactly, and no more open lives than keys.
    let duplicates = count(Disposition::Duplicate) as i64;
    assert_eq!(place.number("SELECT CAST(sum(duplicates) AS BIGINT) FROM lives").await, duplicates);
    let twice = "SELECT count(*) FROM (SELECT 1 AS one FROM lives WHERE state = 0 GROUP BY scope, sender_key \
         HAVING count(*) > 1) AS twice";
    assert_eq!(place.number(twice).await, 0);
}

async fn post_some(host: Store, mut random: Rng) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for _ in 0..REQUESTS {
        let alerts: Vec<_> = (0..random.usize(1..=ALERTS)).map(|_| alert(&mut random)).collect();
        let accepted = host.accept(request(alerts.clone())).await.unwrap();
        outcomes
            .extend(alerts.into_iter().zip(accepted.alerts).map(|(alert, placed)| Outcome { alert, placed }));
    }
    outcomes
}

fn alert(random: &mut Rng) -> Incoming {
    let number = random.usize(..KEYS);
    let mut alert = firing(&format!("k{number}"));
    // A key has one policy, as a source has.
    alert.policy = policy(number);
    alert.post = Post { is_momentary: is_momentary(number, random), ..post(random) };
    alert.document = random.u8(..3).to_string().into_bytes();
    if random.u8(..20) == 0 {
        alert.id_prefix = format!("alert-{:016x}-", random.u64(..));
        alert.key = None;
    }
    alert
}

/// Some sources have alerts without an end, and one says so only from time to time.
fn is_momentary(number: usize, random: &mut Rng) -> bool {
    number.is_multiple_of(7) && (number.is_multiple_of(2) || random.u8(0..8) == 0)
}

fn policy(number: usize) -> Policy {
    Policy {
        repeat_window: [0, 20_000, 3_600 * SECOND][number % 3],
        replicas: [0, 0, 120 * SECOND][number / 3 % 3],
        hold_down: [0, 0, 0, 60 * SECOND][number / 9 % 4],
    }
}

fn post(random: &mut Rng) -> Post {
    let minute = |random: &mut Rng| START + 60 * SECOND * random.i64(0..20);
    Post {
        status: if random.u8(..3) == 0 { Status::Resolved } else { Status::Firing },
        severity: Severity { rank: random.i16(0..4), vendor_level: random.bool().then(|| random.i64(0..3)) },
        starts_at: (random.u8(..4) > 0).then(|| minute(random)),
        ends_at: random.bool().then(|| minute(random)),
        is_momentary: false,
    }
}

type Table = Arc<dyn Fn(Option<Life>, Post, Policy, Micros) -> Decision>;

/// The first post of a random sequence about which the table and the model disagree.
fn disagreement(table: &Table, sequences: u64) -> Option<(u64, Disposition, Disposition)> {
    for seed in 0..sequences {
        let (mut random, mut model, mut life) = (Rng::with_seed(seed), Model::default(), None);
        let (number, mut now) = (random.usize(..KEYS), START);
        for _ in 0..30 {
            now += random.i64(0..30_000);
            let is_momentary = is_momentary(number, &mut random);
            let (post, policy) = (Post { is_momentary, ..post(&mut random) }, policy(number));
            let decision = table(life, post, policy, now);
            let expected = model.post(Some("key"), post, policy, now);
            if decision.disposition != expected {
                return Some((seed, decision.disposition, expected));
            }
            life = Some(decision.life);
        }
    }
    None
}

#[test]
fn the_table_is_the_model() {
    let table: Table = Arc::new(decide);
    assert_eq!(disagreement(&table, 20_000), None);
}

#[test]
fn a_bug_in_each_row_is_found() {
    let bug = |row: &'static str, table: fn(Option<Life>, Post, Policy, Micros) -> Decision| (row, table);
    let bugs = [
        bug("a momentary alert is forever a duplicate", |life, post, policy, now| {
            let policy = Policy {
                repeat_window: if post.is_momentary { i64::MAX } else { policy.repeat_window },
                ..policy
            };
            decide(life, post, policy, now)
        }),
        bug("a start that was seen before begins no life", |life, post, policy, now| {
            let is_again = |life: &Life| life.state == State::Ended && life.starts_at == post.starts_at;
            match life.filter(is_again) {
                Some(life) => Decision { disposition: Disposition::Duplicate, is_worse: false, life },
                None => decide(life, post, policy, now),
            }
        }),
        bug("a firing does not take a resolve back", |life, post, policy, now| {
            decide(life.map(|life| Life { held_until: None, ..life }), post, policy, now)
        }),
        bug("a vendor's level does not count", |life, mut post, policy, now| {
            post.severity.vendor_level = None;
            decide(life, post, policy, now)
        }),
        bug("only the last severity counts, not the worst", |life, post, policy, now| {
            let mut decision = decide(life, post, policy, now);
            decision.life.severity = post.severity;
            decision
        }),
        bug("replicas are not known", |life, post, policy, now| {
            let hold_down = policy.hold_down.max(policy.replicas);
            decide(life, post, Policy { replicas: 0, hold_down, ..policy }, now)
        }),
        bug("the window counts from the first notification", |life, post, policy, now| {
            let mut decision = decide(life, post, policy, now);
            decision.life.notified_at = life.map_or(now, |life| life.notified_at);
            decision
        }),
        bug("a later start is a duplicate", |life, mut post, policy, now| {
            post.starts_at = post.starts_at.map(|start| start.min(START));
            decide(life, post, policy, now)
        }),
        bug("an old resolve ends a new life", |life, mut post, policy, now| {
            post.ends_at = None;
            decide(life, post, policy, now)
        }),
        bug("a resolve is not held back", |life, post, policy, now| {
            decide(life, post, Policy { hold_down: 0, replicas: policy.replicas.min(1), ..policy }, now)
        }),
        bug("a resolve of what is not open ends it again", |life, post, policy, now| {
            let mut decision = decide(life, post, policy, now);
            if decision.disposition == Disposition::NothingOpen && life.is_some() {
                decision.disposition = Disposition::Resolves;
            }
            decision
        }),
    ];
    for (row, table) in bugs {
        let found = disagreement(&(Arc::new(table) as Table), 20_000);
        println!("{row}: {found:?}");
        assert!(found.is_some(), "not found: {row}");
    }
}
