//! The schema: made once, however many hosts start at once, and left alone by a host that does not know it.

use campanile_store::{Limits, Store, StoreError};

use crate::on_both;
use crate::places::Place;
use crate::samples::{firing, request};

on_both!(a_newer_schema_is_refused, a_host_stops_accepting_when_the_schema_moves_past_it);

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
     VALUES (99, 'later', CURRENT_TIMESTAMP, TRUE, '', 0)";

async fn a_newer_schema_is_refused(place: Place) {
    place.open().await.close().await;
    place.execute(NEWER).await;
    let error = Store::open(place.location.clone(), Limits::default()).await.err().unwrap().to_string();
    assert!(
        error.starts_with("the store has schema 99, and this host knows up to 1: run the newer host"),
        "{error}"
    );
}

async fn a_host_stops_accepting_when_the_schema_moves_past_it(place: Place) {
    let store = place.open().await;
    store.accept(request(vec![firing("db-1")])).await.unwrap();
    place.execute(NEWER).await;
    let refused = store.accept(request(vec![firing("db-2")])).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 99, known: 1 })), "{refused:?}");
    assert_eq!(place.number("SELECT count(*) FROM notifications").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_once_make_one_store() {
    let place = Place::postgres().await;
    let opened = (0..4).map(|_| tokio::spawn(Store::open(place.location.clone(), Limits::default())));
    let mut ids = Vec::new();
    for store in opened.collect::<Vec<_>>() {
        ids.push(store.await.unwrap().unwrap().id().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}
