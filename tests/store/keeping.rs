//! What a store keeps and forgets, how full it may be, and its copies.

use std::time::{Duration, Instant};

use campanile_store::{
    Check, Filter, Limits, Location, Outcome, Store, StoreError, StoreReader, copy_database,
};
use harness::chance::variable;
use harness::until;

use crate::on_both;
use crate::places::Place;
use crate::samples::{SECOND, ended, firing, named, request, resolved, unidentified};

on_both!(
    what_is_over_is_forgotten_and_nothing_else,
    a_pruned_identity_begins_anew,
    pruning_takes_nothing_from_what_is_posted,
    a_full_store_refuses_and_takes_again,
);

/// Ends all that is not at its end.
async fn end_all(store: &Store) {
    for found in store.list(&Filter::default(), None, 10_000).await.unwrap().found {
        store.end(ended(&found.id, Outcome::Delivered, b"steps")).await.unwrap();
    }
}

async fn what_is_over_is_forgotten_and_nothing_else(place: Place) {
    let store = place.open().await;
    let over = vec![firing("over"), resolved("over"), unidentified(1)];
    store.accept(named("nightly-1", over)).await.unwrap();
    store.accept(request(vec![firing("open"), firing("open")])).await.unwrap();
    end_all(&store).await;
    let pending = store.accept(request(vec![firing("pending"), resolved("pending")])).await.unwrap();
    assert_eq!(store.prune(3_600 * SECOND).await.unwrap(), 0, "nothing is old enough");
    // Those that ended before this moment.
    let pruned = until("two lives are forgotten", async || match store.prune(1).await.unwrap() {
        0 => None,
        some => Some(some),
    });
    assert_eq!(pruned.await, 2);
    let left = store.list(&Filter::default(), None, 10).await.unwrap().found;
    let left: Vec<_> = left.into_iter().map(|found| found.thread_id).collect();
    let open = "alert-open@grafana-20261129-100000".to_owned();
    assert_eq!(left, [pending.alerts[0].id.clone(), pending.alerts[0].id.clone(), open]);
    for table in ["documents", "texts", "notifications"] {
        assert_eq!(place.number(&format!("SELECT count(*) FROM {table}")).await, 3, "{table}");
    }
    for (table, count) in [("ledgers", 1), ("identities", 2), ("lives", 2), ("requests", 2)] {
        assert_eq!(place.number(&format!("SELECT count(*) FROM {table}")).await, count, "{table}");
    }
}

async fn a_pruned_identity_begins_anew(place: Place) {
    let store = place.open().await;
    let posted = || request(vec![firing("db-1"), resolved("db-1")]);
    let first = store.accept(posted()).await.unwrap();
    end_all(&store).await;
    until("it is forgotten", async || (store.prune(1).await.unwrap() == 1).then_some(())).await;
    let again = store.accept(posted()).await.unwrap();
    let ids = |accepted: &campanile_store::Accepted| {
        accepted.alerts.iter().map(|placed| placed.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&first));
}

async fn pruning_takes_nothing_from_what_is_posted(place: Place) {
    let store = place.open().await;
    let posting = (0..4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..60 {
                let key = format!("k{}", (task + round) % 5);
                let accepted = store.accept(request(vec![firing(&key), resolved(&key)])).await.unwrap();
                for placed in accepted.alerts {
                    store.end(ended(&placed.id, Outcome::Delivered, b"")).await.unwrap();
                }
            }
        })
    });
    let posting = posting.collect::<Vec<_>>();
    let mut forgotten = 0;
    while !posting.iter().all(tokio::task::JoinHandle::is_finished) {
        forgotten += store.prune(1).await.unwrap();
    }
    for task in posting {
        task.await.unwrap();
    }
    assert!(forgotten > 0);
    assert_eq!(place.pending().await, 0);
}

async fn a_full_store_refuses_and_takes_again(place: Place) {
    let limits = Limits { pending: 5, ..Limits::default() };
    let store = Store::open(place.location.clone(), limits).await.unwrap();
    store.accept(request((0..4).map(unidentified).collect())).await.unwrap();
    let refused = store.accept(request((4..6).map(unidentified).collect())).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Full { pending: 4, limit: 5 }) && refused.is_transient(),
        "{refused}"
    );
    assert_eq!(place.pending().await, 4, "nothing of it is there");
    end_all(&store).await;
    until("there is room again", async || store.accept(request(vec![unidentified(7)])).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_short_beside_a_reader() {
    let place = Place::file();
    let store = place.open().await;
    let Location::File(file) = &place.location else { unreachable!("it is a file") };
    let log = file.with_extension("sqlite-wal");
    let reading = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                store.list(&Filter::default(), None, 5).await.unwrap();
            }
        }
    });
    let mut longest = 0;
    for number in 0..150 {
        let mut alert = unidentified(number);
        alert.document = vec![b'x'; 2 << 20];
        store.accept(request(vec![alert])).await.unwrap();
        longest = longest.max(log.metadata().unwrap().len());
    }
    reading.abort();
    assert!(longest < 256 << 20, "{longest} bytes for 300 MiB");
}

/// Some 300 posts a second beside readers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour; `TESTS_MINUTES=5` is five minutes"]
async fn the_log_stays_short_for_an_hour() {
    let minutes = variable("TESTS_MINUTES").unwrap_or(60);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let place = Place::file();
    let limits = Limits { pending: 100_000_000, ..Limits::default() };
    let store = Store::open(place.location.clone(), limits).await.unwrap();
    let posting = (0..32).map(|sender| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in (sender..).step_by(32).take_while(|_| Instant::now() < end) {
                let mut alert = unidentified(number);
                alert.document = vec![b'x'; 4 << 10];
                store.accept(request(vec![alert])).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    let posting: Vec<_> = posting.collect();
    let reading = tokio::spawn({
        let store = store.clone();
        async move {
            let text = Filter { text: Some("no such words".to_owned()), ..Filter::default() };
            while Instant::now() < end {
                store.list(&Filter::default(), None, 1_000).await.unwrap();
                store.list(&text, None, 50).await.unwrap();
            }
        }
    });
    let Location::File(file) = &place.location else { unreachable!("it is a file") };
    let log = file.with_extension("sqlite-wal");
    let mut longest = 0;
    while Instant::now() < end {
        longest = longest.max(log.metadata().unwrap().len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for task in posting.into_iter().chain([reading]) {
        task.await.unwrap();
    }
    println!("{minutes} minutes, {} alerts: the log had at most {} MiB", store.pending(), longest >> 20);
    assert!(longest < 256 << 20, "{longest} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_holds_up_no_post() {
    let place = Place::file();
    let store = place.open().await;
    store.accept(request(vec![unidentified(0)])).await.unwrap();
    let mut reader = place.connection().await;
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::query("SELECT count(*) FROM notifications").fetch_all(&mut reader).await.unwrap();
    // More than a log may have, for longer than the store looks the other way.
    let began = Instant::now();
    let mut number = 1;
    while number < 60 || began.elapsed() < Duration::from_secs(7) {
        let mut alert = unidentified(number);
        alert.document = vec![b'x'; 2 << 20];
        store.accept(request(vec![alert])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        number += 1;
    }
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    let Location::File(file) = &place.location else { unreachable!("it is a file") };
    let log = file.with_extension("sqlite-wal");
    until("the log is cut", async || (log.metadata().unwrap().len() < 65 << 20).then_some(())).await;
}

/// SQLite reads an index where it would otherwise read all that it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_often_has_an_index() {
    let place = Place::file();
    let _store = place.open().await;
    let mut connection = place.connection().await;
    for (statement, index) in [
        (
            "SELECT min(scope) FROM notifications WHERE state < 5 AND state = 0 AND severity = 1",
            "notifications_pending",
        ),
        ("SELECT count(*) FROM notifications WHERE state < 5", "notifications_pending"),
        ("SELECT carried_by FROM notifications WHERE state = 1 AND due_at <= 1", "notifications_due"),
        ("SELECT number FROM notifications WHERE carried_by IN ('a')", "notifications_carried"),
        ("SELECT number FROM lives WHERE held_until <= 1 ORDER BY held_until", "lives_held"),
        ("SELECT newest FROM lives WHERE state = 0 AND newest < 9 ORDER BY newest DESC", "lives_open"),
        ("SELECT number FROM lives WHERE ended_at < 1 ORDER BY ended_at", "lives_ended"),
        ("SELECT 1 FROM lives WHERE identity = x'00' AND number < 2", "lives_identity"),
        ("DELETE FROM identities WHERE life IS NULL", "identities_unused"),
        ("SELECT number FROM requests WHERE received_at < 1 ORDER BY received_at", "requests_received"),
    ] {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let plan = sqlx::query(explained).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| sqlx::Row::get(row, "detail")).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{statement}: {plan:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_a_store_of_its_own() {
    let (place, directory) = (Place::file(), tempfile::tempdir().unwrap());
    let store = place.open().await;
    store.accept(request(vec![firing("db-1"), unidentified(1)])).await.unwrap();
    let (copy, Location::File(file)) = (directory.path().join("copy.sqlite"), &place.location) else {
        unreachable!("it is a file")
    };
    copy_database(file, &copy).await.unwrap();
    store.accept(request(vec![unidentified(2)])).await.unwrap();
    let restored = Store::open(Location::File(copy.clone()), Limits::default()).await.unwrap();
    assert_eq!(restored.id(), store.id());
    let mut reader = StoreReader::open(&Location::File(copy.clone())).await.unwrap().unwrap();
    let check = Check { open: 1, notifications: [2, 0, 0, 0, 0, 0], ..Check::default() };
    assert_eq!(reader.check().await.unwrap(), check);
    // It does not overwrite another one.
    let error = copy_database(file, &copy).await.unwrap_err();
    assert!(error.to_string().contains("is there already: name a new file"), "{error}");
}
