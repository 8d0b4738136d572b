//! Suspended alerts: after a restore, or since Temporal lost many. They wait for an operator, and then go on under a new workflow.

use campanile_store::life::Policy;
use campanile_store::{
    Claim, DeadLetter, DeadLetterFilter, DeadLetterState, Incoming, Lease, Limits, Outcome, Progress,
    Restored, SpoolLimits, SpooledRequest, Store, Take, suspend_restored,
};

use crate::on_both;
use crate::places::Place;
use crate::samples::{SECOND, ended, firing, request, resolved, unidentified};

on_both!(
    a_restored_store_suspends_what_is_old,
    a_suspended_batch_is_suspended_whole,
    suspended_alerts_wait_for_an_operator,
    a_resolve_does_not_wait_for_a_suspended_firing,
    a_retry_that_is_over_is_found,
    what_waited_when_it_was_suspended_is_resumed,
    a_lost_batch_of_which_one_has_ended_is_started_again,
);

const HOUR: i64 = 3_600 * SECOND;

fn take(most_single: usize) -> Take {
    Take {
        claim: Lease { host: "host".to_owned(), lease: 60 * SECOND },
        severities: 0..=3,
        after: String::new(),
        most_single,
        most_together: 10,
        most_bytes: 1 << 20,
    }
}

async fn start(store: &Store, most_single: usize) -> Vec<Claim> {
    let claims = store.claim(&take(most_single)).await.unwrap();
    let numbers: Vec<_> =
        claims.iter().flat_map(|claim| &claim.notifications).map(|one| one.number).collect();
    store.started(&numbers).await.unwrap();
    claims
}

async fn progress(store: &Store, id: &str) -> Progress {
    store.find(id).await.unwrap().unwrap().progress
}

/// What was accepted so far was accepted two hours ago.
async fn age(place: &Place) {
    place.execute(&format!("UPDATE notifications SET accepted_at = accepted_at - {}", 2 * HOUR)).await;
    place.execute(&format!("UPDATE dead_letters SET changed_at = changed_at - {}", 2 * HOUR)).await;
}

async fn restored(place: &Place) -> (Store, Restored) {
    let restored = suspend_restored(place.location.clone(), HOUR).await.unwrap();
    (Store::open(place.location.clone(), Limits::default()).await.unwrap(), restored)
}

fn letter(alert_id: &str, state: DeadLetterState) -> DeadLetter {
    DeadLetter {
        delivery_id: format!("{alert_id}/pager"),
        alert_id: alert_id.to_owned(),
        receiver: "pager".to_owned(),
        error_code: "http-503".to_owned(),
        delivery: b"delivery".to_vec(),
        state,
    }
}

async fn a_restored_store_suspends_what_is_old(place: Place) {
    let store = place.open().await;
    let old = store.accept(request(vec![unidentified(1), unidentified(2), firing("db-1")])).await.unwrap();
    let [over, started, waiting] = [0, 1, 2].map(|place: usize| old.alerts[place].id.clone());
    store.end(ended(&over, Outcome::Failed, b"steps")).await.unwrap();
    store.put_dead_letter(letter(&over, DeadLetterState::Retrying), None).await.unwrap();
    start(&store, 10).await;
    let spooled = SpooledRequest {
        id: "one".to_owned(),
        source: "grafana".to_owned(),
        sender: "key".to_owned(),
        failures: 0,
        request: b"body".to_vec(),
    };
    store.spool(spooled, SpoolLimits { requests: 9, bytes: 900 }).await.unwrap().unwrap();
    age(&place).await;
    let young = store.accept(request(vec![firing("young")])).await.unwrap().alerts.remove(0).id;
    store.close().await;

    let (store, found) = restored(&place).await;
    assert_eq!(found, Restored { suspended: 2, going_on: 1, set_aside: 1, exhausted: 1 });
    for (id, expected) in [
        (&over, Progress::Ended),
        (&started, Progress::Suspended),
        (&waiting, Progress::Suspended),
        (&young, Progress::Waiting),
    ] {
        assert_eq!(progress(&store, id).await, expected, "{id}");
    }
    assert_eq!(store.spooled_behind(i64::MIN, 9).await.unwrap(), []);
    let aside = store.set_aside_before(i64::MAX, 9).await.unwrap().remove(0);
    let error = String::from_utf8(aside.error.unwrap()).unwrap();
    assert!(error.contains("restored from a backup"), "{error}");
    let letters = store.dead_letters(&DeadLetterFilter::default(), false, 9).await.unwrap();
    assert_eq!(letters[0].dead_letter.state, DeadLetterState::Exhausted);
}

async fn a_suspended_batch_is_suspended_whole(place: Place) {
    let store = place.open().await;
    store.accept(request(vec![unidentified(1)])).await.unwrap();
    age(&place).await;
    store.accept(request(vec![unidentified(2)])).await.unwrap();
    let claims = start(&store, 1).await;
    assert_eq!(claims.len(), 1, "one workflow carries both");
    store.close().await;
    let (store, found) = restored(&place).await;
    assert_eq!((found.suspended, found.going_on), (2, 0));
    let ended = store.ended_carriers(&[&claims[0].workflow_id], 0).await.unwrap();
    assert_eq!(ended, [claims[0].workflow_id.clone()], "nothing is left for it to do");
}

async fn suspended_alerts_wait_for_an_operator(place: Place) {
    let store = place.open().await;
    store.accept(request(vec![unidentified(1), unidentified(2)])).await.unwrap();
    let before = start(&store, 10).await;
    let numbers: Vec<_> = before.iter().map(|claim| claim.notifications[0].number).collect();
    store.suspend(&numbers).await.unwrap();
    assert_eq!(store.claim(&take(10)).await.unwrap(), []);
    let found: Vec<_> = store.suspended(None, i64::MIN, 10).await.unwrap();
    assert_eq!(found, before);
    let one = [before[0].workflow_id.clone()];
    assert_eq!(store.suspended(Some(&one), i64::MIN, 10).await.unwrap(), before[..1]);
    assert_eq!(place.check().await.notifications, [0, 0, 0, 0, 2, 0]);

    store.resume(&numbers[..1]).await.unwrap();
    let claims = store.claim(&take(10)).await.unwrap();
    assert_eq!(claims[0].notifications, before[0].notifications);
    let own = before[0].workflow_id.clone() + "~";
    assert!(claims[0].workflow_id.starts_with(&own), "its own may be in Temporal: {claims:?}");
    // Its end is taken though it is suspended: a workflow may have been under way.
    store.end(ended(&before[1].workflow_id, Outcome::Delivered, b"steps")).await.unwrap();
    store.resume(&numbers).await.unwrap();
    assert_eq!(progress(&store, &before[1].workflow_id).await, Progress::Ended);
}

async fn a_resolve_does_not_wait_for_a_suspended_firing(place: Place) {
    let store = place.open().await;
    store.accept(request(vec![firing("db-1")])).await.unwrap();
    let claims = start(&store, 10).await;
    store.suspend(&[claims[0].notifications[0].number]).await.unwrap();
    let resolve = store.accept(request(vec![resolved("db-1")])).await.unwrap().alerts.remove(0).id;
    let standing = store.standing(&resolve).await.unwrap().unwrap();
    assert_eq!((standing.is_resolved, standing.pending), (true, 0));
}

async fn a_retry_that_is_over_is_found(place: Place) {
    let store = place.open().await;
    let accepted = store.accept(request(vec![unidentified(1), unidentified(2)])).await.unwrap().alerts;
    for (placed, state) in accepted.iter().zip([DeadLetterState::Retrying, DeadLetterState::Discarded]) {
        store.put_dead_letter(letter(&placed.id, state), None).await.unwrap();
    }
    let [retried, discarded] = [0, 1].map(|place: usize| format!("{}/pager", accepted[place].id));
    let ids = [retried.as_str(), discarded.as_str(), "unknown/pager"];
    assert_eq!(store.ended_retries(&ids, 0).await.unwrap(), std::slice::from_ref(&discarded));
    assert_eq!(store.ended_retries(&ids, HOUR).await.unwrap(), [""; 0], "it may call updaters yet");
}

async fn what_waited_when_it_was_suspended_is_resumed(place: Place) {
    let store = place.open().await;
    store.accept(request(vec![unidentified(1), held("db-1"), held_resolve("db-1")])).await.unwrap();
    age(&place).await;
    store.close().await;
    let (store, found) = restored(&place).await;
    assert_eq!(found.suspended, 3);
    let claims = store.suspended(None, i64::MIN, 10).await.unwrap();
    let numbers: Vec<_> =
        claims.iter().flat_map(|claim| &claim.notifications).map(|one| one.number).collect();
    assert_eq!(numbers.len(), 3);
    store.resume(&numbers).await.unwrap();
    assert_eq!(place.check().await.notifications, [2, 0, 0, 1, 0, 0], "the resolve is held as before");
}

fn held(key: &str) -> Incoming {
    Incoming { policy: Policy { hold_down: HOUR, ..Policy::default() }, ..firing(key) }
}

fn held_resolve(key: &str) -> Incoming {
    Incoming { policy: Policy { hold_down: HOUR, ..Policy::default() }, ..resolved(key) }
}

async fn a_lost_batch_of_which_one_has_ended_is_started_again(place: Place) {
    let store = place.open().await;
    store.accept(request((0..3).map(unidentified).collect())).await.unwrap();
    let claims = start(&store, 1).await;
    let batch = claims[0].workflow_id.clone();
    let [first, second, third] = [0, 1, 2].map(|place: usize| claims[0].notifications[place].clone());
    store.end(ended(&first.id, Outcome::Delivered, b"steps")).await.unwrap();
    store.restart(&[second.number, third.number]).await.unwrap();
    let lease = Lease { host: "other".to_owned(), lease: 60 * SECOND };
    let again = store.reclaim(&lease, 10).await.unwrap();
    assert_eq!(again, [Claim { workflow_id: batch, notifications: vec![second, third] }]);
    assert_eq!(store.reclaim(&lease, 10).await.unwrap(), []);
}
