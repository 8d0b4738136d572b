//! Requests that are kept until they can be accepted: there whatever happens, in their order, within their bounds.

use campanile_store::{
    KeptRequest, SetAsideFilter, SpoolFull, SpoolLimits, SpoolSize, SpooledRequest, Store,
};

use crate::on_both;
use crate::places::Place;

on_both!(
    spooled_requests_wait_in_order_over_a_restart,
    set_aside_requests_take_no_room_of_others,
    set_aside_requests_are_listed_retried_and_discarded,
    a_full_spool_refuses_what_is_too_much,
    one_sender_may_have_half,
    requests_of_one_transaction_share_its_room,
);

const LIMITS: SpoolLimits = SpoolLimits { requests: 100, bytes: 1 << 20 };

fn request(sender: &str, body: &str) -> SpooledRequest {
    SpooledRequest {
        id: format!("id-{body}"),
        source: "grafana".to_owned(),
        sender: sender.to_owned(),
        failures: 0,
        request: body.into(),
    }
}

async fn put(store: &Store, request: SpooledRequest, limits: SpoolLimits) -> Result<(), SpoolFull> {
    store.spool(request, limits).await.unwrap()
}

fn bodies(kept: &[KeptRequest]) -> Vec<String> {
    kept.iter().map(|kept| String::from_utf8(kept.spooled.request.clone()).unwrap()).collect()
}

async fn waiting(store: &Store) -> Vec<KeptRequest> {
    store.spooled_behind(i64::MIN, 100).await.unwrap()
}

async fn spooled_requests_wait_in_order_over_a_restart(place: Place) {
    let store = place.open().await;
    for body in ["one", "two", "three"] {
        put(&store, request("a", body), LIMITS).await.unwrap();
    }
    let size = SpoolSize { requests: 3, bytes: 11, set_aside: 0 };
    assert_eq!(store.spool_size(), size);
    store.close().await;

    let store = place.open().await;
    assert_eq!(store.spool_size(), size);
    assert!(store.holds_spooled("grafana").await.unwrap() && !store.holds_spooled("sentry").await.unwrap());
    let kept = waiting(&store).await;
    store.remove_spooled(kept[0].number).await.unwrap();
    store.note_spool_failure(kept[1].number, 3, b"memory limit\0", true).await.unwrap();
    put(&store, request("a", "four"), LIMITS).await.unwrap();
    assert_eq!(bodies(&waiting(&store).await), ["three", "four"]);
    assert_eq!(bodies(&store.spooled_behind(kept[2].number, 100).await.unwrap()), ["four"]);
    assert_eq!(store.spool_size(), SpoolSize { requests: 2, bytes: 9, set_aside: 1 });
}

async fn set_aside_requests_take_no_room_of_others(place: Place) {
    let store = place.open().await;
    let limits = SpoolLimits { requests: 2, ..LIMITS };
    for _ in 0..2 {
        put(&store, SpooledRequest { failures: 1, ..request("a", "never") }, limits).await.unwrap();
        let number = waiting(&store).await[0].number;
        store.note_spool_failure(number, 3, b"it crashed", true).await.unwrap();
    }
    let failed = SpooledRequest { failures: 1, ..request("a", "never") };
    assert_eq!(put(&store, failed, limits).await, Err(SpoolFull::SetAside(2)));
    for sender in ["a", "b"] {
        put(&store, request(sender, sender), limits).await.unwrap();
    }
    assert_eq!(bodies(&waiting(&store).await), ["a", "b"]);
}

async fn set_aside_requests_are_listed_retried_and_discarded(place: Place) {
    let store = place.open().await;
    for body in ["one", "two", "waits"] {
        put(&store, request("a", body), LIMITS).await.unwrap();
    }
    for kept in &waiting(&store).await[..2] {
        let error = format!("{} crashed", kept.spooled.id);
        store.note_spool_failure(kept.number, 3, error.as_bytes(), true).await.unwrap();
    }
    let listed = store.set_aside_before(i64::MAX, 100).await.unwrap();
    let errors: Vec<_> = listed.iter().map(|one| (one.error.as_deref(), one.spooled.failures)).collect();
    assert_eq!(errors, [(Some(&b"id-two crashed"[..]), 3), (Some(b"id-one crashed"), 3)]);
    let of = |id: &str| SetAsideFilter { id: Some(id.to_owned()), ..SetAsideFilter::default() };
    assert_eq!(store.retry_set_aside(&of("id-waits")).await.unwrap(), [""; 0], "it is not set aside");
    assert_eq!(store.retry_set_aside(&of("id-one")).await.unwrap(), ["id-one"]);
    let kept = waiting(&store).await;
    assert_eq!(bodies(&kept), ["waits", "one"], "behind all that waits");
    assert_eq!((kept[1].spooled.failures, &kept[1].error), (0, &None));
    assert_eq!(store.discard_set_aside(&SetAsideFilter::default()).await.unwrap(), ["id-two"]);
    assert_eq!(store.spool_size(), SpoolSize { requests: 2, bytes: 8, set_aside: 0 });
}

async fn a_full_spool_refuses_what_is_too_much(place: Place) {
    let store = place.open().await;
    let limits = SpoolLimits { requests: 2, bytes: 1_000 };
    put(&store, request("a", "one"), limits).await.unwrap();
    let large = put(&store, request("b", &"x".repeat(998)), limits).await;
    assert_eq!(large, Err(SpoolFull::Whole { requests: 1, bytes: 3 }));
    put(&store, request("b", "two"), limits).await.unwrap();
    let third = put(&store, request("c", "three"), limits).await;
    assert_eq!(third, Err(SpoolFull::Whole { requests: 2, bytes: 6 }));
}

async fn one_sender_may_have_half(place: Place) {
    let store = place.open().await;
    let limits = SpoolLimits { requests: 4, bytes: 1_000 };
    for body in ["one", "two"] {
        put(&store, request("key greedy", body), limits).await.unwrap();
    }
    let refused = put(&store, request("key greedy", "three"), limits).await.unwrap_err();
    assert!(refused.to_string().contains("of one sender (key greedy), which may have half"), "{refused}");
    let large = put(&store, request("other", &"x".repeat(501)), limits).await;
    assert!(matches!(large, Err(SpoolFull::Share { requests: 0, .. })), "{large:?}");
    put(&store, request("other", "three"), limits).await.unwrap();
    let first = waiting(&store).await[0].number;
    store.remove_spooled(first).await.unwrap();
    put(&store, request("key greedy", "four"), limits).await.unwrap();
    assert_eq!(bodies(&waiting(&store).await), ["two", "three", "four"]);
}

async fn requests_of_one_transaction_share_its_room(place: Place) {
    let store = place.open().await;
    let limits = SpoolLimits { requests: 10, ..LIMITS };
    let puts = (0..40).map(|number| {
        let store = store.clone();
        let request = request(&format!("sender {}", number % 4), &number.to_string());
        tokio::spawn(async move { put(&store, request, limits).await })
    });
    let mut taken = 0;
    for put in puts.collect::<Vec<_>>() {
        taken += usize::from(put.await.unwrap().is_ok());
    }
    assert_eq!((taken, waiting(&store).await.len()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holder_has_a_lease_until_it_is_over() {
    let store = Place::postgres().await.open().await;
    let lease = async |holder: &str, span| store.lease("spool", holder, span).await.unwrap();
    assert!(lease("a", 60_000_000).await);
    assert!(!lease("b", 60_000_000).await);
    assert!(lease("a", 0).await, "it is renewed, and over at once");
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(lease("b", 60_000_000).await && !lease("a", 60_000_000).await);
}

#[tokio::test]
async fn a_file_of_one_process_needs_no_lease() {
    let store = Place::file().open().await;
    assert!(store.lease("spool", "a", 60_000_000).await.unwrap());
}
