//! What is accepted: whole or not at all, once, in order, and only when it is committed.

use std::collections::HashSet;

use campanile_store::{Disposition, Limits, Location, Progress, Store, StoreError};

use crate::on_both;
use crate::places::Place;
use crate::samples::{SECOND, START, firing, named, request, resolved, unidentified};

on_both!(
    a_life_has_one_thread_and_ids_that_count_up,
    what_ends_nothing_has_an_id_of_its_own,
    an_old_resolve_leaves_the_life_open,
    a_request_is_repeated_under_its_id,
    an_id_with_other_content_is_refused,
    a_request_larger_than_a_transaction_is_accepted_whole,
    requests_that_wait_are_committed_together,
    documents_keep_each_byte,
    a_refused_request_fails_no_other,
    an_id_that_is_taken_fails_its_request_alone,
    numbers_go_on_after_a_restart,
);

async fn dispositions(store: &Store, alerts: Vec<campanile_store::Incoming>) -> Vec<(String, Disposition)> {
    let accepted = store.accept(request(alerts)).await.unwrap();
    accepted.alerts.into_iter().map(|placed| (placed.id, placed.disposition)).collect()
}

async fn a_life_has_one_thread_and_ids_that_count_up(place: Place) {
    let store = place.open().await;
    let first = "alert-db-1@grafana-20261129-100000".to_owned();
    let begun = dispositions(&store, vec![firing("db-1"), firing("db-1"), resolved("db-1")]).await;
    assert_eq!(
        begun,
        [
            (first.clone(), Disposition::New),
            (first.clone(), Disposition::Duplicate),
            (format!("{first}-resolved"), Disposition::Resolves),
        ]
    );
    // It fires again with the same start: a life of its own.
    let again = dispositions(&store, vec![resolved("db-1"), firing("db-1"), resolved("db-1")]).await;
    assert_eq!(again[0].1, Disposition::NothingOpen);
    assert_eq!((again[1].1, again[2].1), (Disposition::New, Disposition::Resolves));
    assert_ne!(again[1].0, first);
    assert_eq!(again[2].0, format!("{}-resolved", again[1].0));
    let ids: HashSet<_> = begun.iter().chain(&again).map(|(id, _)| id).collect();
    assert_eq!(place.number("SELECT count(*) FROM notifications").await, 5);
    assert_eq!(ids.len(), 5);
}

/// A sender posts each resolve several times: those that end nothing share one row, which has an id of its own.
async fn what_ends_nothing_has_an_id_of_its_own(place: Place) {
    let store = place.open().await;
    let posted = dispositions(&store, vec![firing("db-1"), resolved("db-1"), resolved("db-1")]).await;
    let again = dispositions(&store, vec![resolved("db-1"), resolved("db-1")]).await;
    assert_eq!(posted[2].1, Disposition::NothingOpen);
    assert_eq!(again, [posted[2].clone(), posted[2].clone()]);
    assert!(posted[2].0 != posted[1].0 && posted[2].0 != posted[0].0, "{posted:?}");
    let found = store.find(&posted[2].0).await.unwrap().unwrap();
    assert_eq!((found.disposition, found.progress), (Disposition::NothingOpen, Progress::Ended));
    assert_eq!((&found.thread_id, found.is_open), (&posted[0].0, false));
    // The first that is heard of a key ends nothing either.
    let first = dispositions(&store, vec![resolved("db-2"), resolved("db-2")]).await;
    assert_eq!((first[0].1, &first[1]), (Disposition::NothingOpen, &first[0]));
    assert_eq!(place.number("SELECT count(*) FROM notifications").await, 4);
}

/// What ended before the life began is of an earlier one: it neither ends the life nor counts as a sign of it.
async fn an_old_resolve_leaves_the_life_open(place: Place) {
    let store = place.open().await;
    let begun = dispositions(&store, vec![firing("db-1")]).await;
    let seen_at = store.find(&begun[0].0).await.unwrap().unwrap().seen_at;
    let mut old = resolved("db-1");
    old.post.ends_at = Some(START - 1);
    let ended = dispositions(&store, vec![old]).await;
    assert_eq!(ended[0].1, Disposition::NothingOpen);
    let found = store.find(&ended[0].0).await.unwrap().unwrap();
    assert_eq!((found.disposition, found.is_open, found.seen_at), (ended[0].1, true, seen_at));
    assert_eq!(dispositions(&store, vec![resolved("db-1")]).await[0].1, Disposition::Resolves);
}

async fn a_request_is_repeated_under_its_id(place: Place) {
    let store = place.open().await;
    let post = || named("nightly-1", vec![unidentified(1), firing("db-1")]);
    let (first, second) = tokio::join!(store.accept(post()), store.accept(post()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.is_repeat, second.is_repeat), (false, true));
    assert_eq!(first.alerts, second.alerts);
    store.close().await;
    let repeated = place.open().await.accept(post()).await.unwrap();
    assert!(repeated.is_repeat && repeated.alerts == first.alerts);
    assert_eq!(place.number("SELECT count(*) FROM notifications").await, 2);
}

async fn an_id_with_other_content_is_refused(place: Place) {
    let store = place.open().await;
    store.accept(named("nightly-1", vec![firing("db-1")])).await.unwrap();
    let other = store.accept(named("nightly-1", vec![firing("db-2")])).await;
    assert!(matches!(other, Err(StoreError::Reused)), "{other:?}");
    assert_eq!(place.number("SELECT count(*) FROM notifications").await, 1);
}

async fn a_request_larger_than_a_transaction_is_accepted_whole(place: Place) {
    let store = place.open().await;
    let alerts = (0..5_000).map(unidentified).collect();
    let accepted = store.accept(request(alerts)).await.unwrap();
    let ids: HashSet<_> = accepted.alerts.iter().map(|placed| &placed.id).collect();
    assert_eq!(ids.len(), 5_000);
    assert!(accepted.alerts.is_sorted_by_key(|placed| placed.number));
    assert_eq!(place.number("SELECT count(*) FROM documents").await, 5_000);
}

async fn requests_that_wait_are_committed_together(place: Place) {
    let store = place.open().await;
    let posts = (0..200).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.accept(request(vec![unidentified(number)])).await.unwrap() })
    });
    for post in posts.collect::<Vec<_>>() {
        post.await.unwrap();
    }
    // Each transaction has a time of its own.
    let transactions = place.number("SELECT count(DISTINCT accepted_at) FROM notifications").await;
    assert!(transactions < 100, "{transactions} transactions for 200 requests");
}

async fn documents_keep_each_byte(place: Place) {
    let store = place.open().await;
    let mut alert = firing("db-1");
    alert.document = vec![0, 255, b'{', 0];
    store.accept(request(vec![alert])).await.unwrap();
    assert_eq!(place.number("SELECT length(document) FROM documents").await, 4);
}

async fn a_refused_request_fails_no_other(place: Place) {
    let store = place.open().await;
    store.accept(named("used", vec![firing("db-1")])).await.unwrap();
    let posts = (0..40).map(|number| {
        let (store, id) =
            (store.clone(), if number % 4 == 0 { "used".to_owned() } else { format!("n{number}") });
        tokio::spawn(async move { store.accept(named(&id, vec![unidentified(number)])).await.is_ok() })
    });
    let mut accepted = 0;
    for post in posts.collect::<Vec<_>>() {
        accepted += u32::from(post.await.unwrap());
    }
    assert_eq!(accepted, 30);
}

async fn an_id_that_is_taken_fails_its_request_alone(place: Place) {
    let store = place.open().await;
    store.accept(request(vec![unidentified(7)])).await.unwrap();
    // A host that breaks the rule about prefixes: number 7 again.
    let posts = (0..20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.accept(request(vec![unidentified(number)])).await.is_ok() })
    });
    let mut accepted = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        accepted.push(post.await.unwrap());
    }
    let refused: Vec<_> = (0..20).filter(|number: &usize| !accepted[*number]).collect();
    assert_eq!(refused, [7]);
}

async fn numbers_go_on_after_a_restart(place: Place) {
    let store = place.open().await;
    let first = store.accept(request(vec![firing("db-1")])).await.unwrap();
    let id = store.id().to_owned();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.id(), id);
    let mut later = firing("db-1");
    later.post.starts_at = Some(START + 600 * SECOND);
    let renewed = store.accept(request(vec![later])).await.unwrap();
    assert!(renewed.alerts[0].number > first.alerts[0].number);
    assert_eq!(renewed.alerts[0].disposition, Disposition::Renewed);
}

#[tokio::test]
async fn a_file_is_used_by_one_process_alone() {
    let place = Place::file();
    let _store = place.open().await;
    let second = Store::open(place.location.clone(), Limits::default()).await;
    let Location::File(file) = &place.location else { unreachable!("it is a file") };
    assert_eq!(
        second.err().unwrap().to_string(),
        format!(
            "another host has the store {} open: one host alone can use a file; several hosts need PostgreSQL",
            file.display()
        )
    );
}
