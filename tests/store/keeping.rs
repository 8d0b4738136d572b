//! What a store keeps and forgets, how full it may be, and its copies.

use campanile_store::{Check, Filter, Limits, Location, Outcome, Store, StoreError};
use harness::until;

use crate::on_both;
use crate::places::{Place, pending};
use crate::samples::{SECOND, ended, firing, named, request, resolved, unidentified};

on_both!(
    what_is_over_is_forgotten_and_nothing_else,
    a_pruned_identity_begins_anew,
    pruning_holds_up_no_post,
    a_full_store_refuses_and_takes_again,
);

/// Ends all that is not at its end.
async fn end_all(store: &Store) {
    for found in store.list(&Filter::default(), None, 10_000).await.unwrap().found {
        store.end(ended(found.number, Outcome::Delivered, b"steps")).await.unwrap();
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

async fn pruning_holds_up_no_post(place: Place) {
    let store = place.open().await;
    let posting = (0..4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..60 {
                let key = format!("k{}", (task + round) % 5);
                let accepted = store.accept(request(vec![firing(&key), resolved(&key)])).await.unwrap();
                for placed in accepted.alerts {
                    store.end(ended(placed.number, Outcome::Delivered, b"")).await.unwrap();
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
    assert_eq!(pending(&store).await, 0);
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
    assert_eq!(pending(&store).await, 4, "nothing of it is there");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_a_store_of_its_own() {
    let (place, directory) = (Place::file(), tempfile::tempdir().unwrap());
    let store = place.open().await;
    store.accept(request(vec![firing("db-1"), unidentified(1)])).await.unwrap();
    let copy = directory.path().join("copy.sqlite");
    store.back_up(&copy).await.unwrap();
    store.accept(request(vec![unidentified(2)])).await.unwrap();
    let restored = Store::open(Location::File(copy.clone()), Limits::default()).await.unwrap();
    assert_eq!(restored.id(), store.id());
    let check = Check { faults: Vec::new(), open: 1, notifications: [2, 0, 0, 0, 0] };
    assert_eq!(restored.check().await.unwrap(), check);
    // It does not overwrite another one.
    let error = store.back_up(&copy).await.unwrap_err();
    assert!(error.to_string().contains("output file already exists"), "{error}");
}
