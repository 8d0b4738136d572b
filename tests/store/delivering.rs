//! What deliveries read and leave: acknowledgements, whom a life reached, dead letters, and who waits for an end.

use std::time::Duration;

use campanile_store::life::{Policy, Severity};
use campanile_store::{
    DeadLetter, DeadLetterFilter, DeadLetterState, Disposition, End, Incoming, Outcome, Reached, Store,
};
use harness::until;
use tokio::time::Instant;

use crate::on_both;
use crate::places::Place;
use crate::samples::{SECOND, START, ended, firing, request, resolved};

on_both!(
    an_acknowledgement_is_the_first_and_of_the_life,
    an_acknowledged_life_is_renewed_without_a_notification,
    an_acknowledgement_during_posts_is_kept,
    a_resolve_goes_to_all_whom_the_life_reached,
    an_alert_is_resolved_when_its_resolve_is_due,
    a_dead_letter_is_retried_by_one_alone,
    a_dead_letter_that_is_over_stays_so,
    a_life_with_a_dead_letter_is_not_forgotten,
    an_end_wakes_who_waits_for_it,
    an_end_at_another_host_is_found,
);

async fn accept(store: &Store, alert: Incoming) -> (String, Disposition) {
    let placed = store.accept(request(vec![alert])).await.unwrap().alerts.remove(0);
    (placed.id, placed.disposition)
}

fn worse(key: &str) -> Incoming {
    let mut alert = firing(key);
    alert.post.severity = Severity { rank: 3, vendor_level: None };
    alert
}

fn later(key: &str) -> Incoming {
    let mut alert = firing(key);
    alert.post.starts_at = Some(START + 600 * SECOND);
    alert
}

async fn an_acknowledgement_is_the_first_and_of_the_life(place: Place) {
    let store = place.open().await;
    let (first, _) = accept(&store, firing("db-1")).await;
    let (second, _) = accept(&store, worse("db-1")).await;
    assert_eq!(store.acknowledge(&second, b"alice").await.unwrap().as_deref(), Some(&b"alice"[..]));
    assert_eq!(store.acknowledge(&first, b"bob").await.unwrap().as_deref(), Some(&b"alice"[..]));
    assert_eq!(store.acknowledge("alert-none", b"bob").await.unwrap(), None);
    accept(&store, resolved("db-1")).await;
    let (again, _) = accept(&store, firing("db-1")).await;
    assert_eq!(
        store.standing(&again).await.unwrap().unwrap().acknowledgement,
        None,
        "it ended with the life"
    );
}

async fn an_acknowledged_life_is_renewed_without_a_notification(place: Place) {
    let store = place.open().await;
    let (id, _) = accept(&store, firing("db-1")).await;
    store.acknowledge(&id, b"alice").await.unwrap();
    let (renewed, disposition) = accept(&store, later("db-1")).await;
    assert_eq!(disposition, Disposition::Renewed);
    let found = store.find(&renewed).await.unwrap().unwrap();
    assert_eq!(found.outcome, Some(Outcome::Dropped));
    let (escalated, disposition) = accept(&store, worse("db-1")).await;
    assert_eq!(disposition, Disposition::Escalated);
    assert_eq!(store.find(&escalated).await.unwrap().unwrap().outcome, None, "it is notified all the same");
}

async fn an_acknowledgement_during_posts_is_kept(place: Place) {
    let store = place.open().await;
    for round in 0..20 {
        let key = format!("k{round}");
        let (id, _) = accept(&store, firing(&key)).await;
        let posting = async {
            for _ in 0..4 {
                accept(&store, worse(&key)).await;
            }
        };
        let (_, first) = tokio::join!(posting, store.acknowledge(&id, b"alice"));
        assert_eq!(first.unwrap().as_deref(), Some(&b"alice"[..]));
        let standing = store.standing(&id).await.unwrap().unwrap();
        assert_eq!(standing.acknowledgement.as_deref(), Some(&b"alice"[..]));
    }
}

async fn a_resolve_goes_to_all_whom_the_life_reached(place: Place) {
    let store = place.open().await;
    let reach = |id: &str, receivers: &[&str]| {
        let reached = receivers.iter().map(|name| Reached {
            receiver: (*name).to_owned(),
            has_it: true,
            receipt: b"ts\0".to_vec(),
        });
        End { reached: reached.collect(), ..ended(id, Outcome::Delivered, b"") }
    };
    let (first, _) = accept(&store, firing("db-1")).await;
    let (second, _) = accept(&store, worse("db-1")).await;
    store.end(reach(&first, &["chat"])).await.unwrap();
    store.end(reach(&second, &["phone", "chat"])).await.unwrap();
    let (end, _) = accept(&store, resolved("db-1")).await;
    let standing = store.standing(&end).await.unwrap().unwrap();
    assert_eq!(standing.pending, 0);
    let receivers: Vec<_> = standing.reached.iter().map(|one| (&*one.receiver, &*one.receipt)).collect();
    assert_eq!(receivers, [("chat", &b"ts\0"[..]), ("phone", b"ts\0")]);
}

async fn an_alert_is_resolved_when_its_resolve_is_due(place: Place) {
    let store = place.open().await;
    let held =
        |alert: Incoming, hold_down| Incoming { policy: Policy { hold_down, ..alert.policy }, ..alert };
    let (id, _) = accept(&store, firing("db-1")).await;
    let is_resolved = async || store.standing(&id).await.unwrap().unwrap().is_resolved;
    assert!(!is_resolved().await && store.standing(&id).await.unwrap().unwrap().pending == 1);
    accept(&store, held(resolved("db-1"), 300_000)).await;
    assert!(!is_resolved().await, "it is held back");
    until("its resolve is due", async || {
        store.release().await.unwrap();
        is_resolved().await.then_some(())
    })
    .await;
}

fn letter(alert_id: &str, id: &str, receiver: &str) -> DeadLetter {
    DeadLetter {
        delivery_id: id.to_owned(),
        alert_id: alert_id.to_owned(),
        receiver: receiver.to_owned(),
        error_code: "timeout".to_owned(),
        delivery: b"{}".to_vec(),
        state: DeadLetterState::Exhausted,
    }
}

fn by_id(id: &str) -> DeadLetterFilter {
    DeadLetterFilter { id: Some(id.to_owned()), ..DeadLetterFilter::default() }
}

async fn a_dead_letter_is_retried_by_one_alone(place: Place) {
    let store = place.open().await;
    let (id, _) = accept(&store, firing("db-1")).await;
    for one in 0..20 {
        let letter = letter(&id, &format!("d{one:02}"), ["chat", "phone"][one % 2]);
        assert!(store.put_dead_letter(letter, None).await.unwrap());
    }
    let chat = DeadLetterFilter {
        receiver: Some("chat".to_owned()),
        id: Some(id.clone()),
        error_code: Some("timeout".to_owned()),
        severity: Some(1),
        since: Some(0),
    };
    let listed = async |filter: &DeadLetterFilter, are_over, most| {
        let page = store.dead_letters(filter, are_over, most).await.unwrap();
        page.into_iter().map(|kept| kept.dead_letter.delivery_id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&chat, false, 3).await, ["d18", "d16", "d14"]);
    assert_eq!(listed(&by_id("d07"), false, 3).await, ["d07"]);
    for nothing in [
        DeadLetterFilter { severity: Some(3), ..chat.clone() },
        DeadLetterFilter { since: Some(i64::MAX), ..chat.clone() },
        DeadLetterFilter { receiver: Some("mail".to_owned()), ..chat.clone() },
    ] {
        assert!(listed(&nothing, false, 3).await.is_empty(), "{nothing:?}");
    }
    let retried = store.change_dead_letters(&chat, DeadLetterState::Retrying, 4).await.unwrap();
    assert_eq!(retried.len(), 4);
    let others = store.change_dead_letters(&chat, DeadLetterState::Retrying, 100).await.unwrap();
    assert_eq!(others.len(), 6, "each is retried by one alone");
    let behind = store.retrying_dead_letters(0, "d04", 2).await.unwrap();
    let behind: Vec<_> = behind.iter().map(|kept| &*kept.dead_letter.delivery_id).collect();
    assert_eq!(behind, ["d06", "d08"]);
    assert_eq!(store.retrying_dead_letters(60_000_000, "", 2).await.unwrap().len(), 0, "they are too young");
    store.exhaust_again("d04").await.unwrap();
    assert_eq!(store.retrying_dead_letters(0, "", 100).await.unwrap().len(), 9);
    assert_eq!(store.count_dead_letters().await.unwrap(), 20);
}

async fn a_dead_letter_that_is_over_stays_so(place: Place) {
    use DeadLetterState::{Delivered, Discarded, Exhausted};
    let store = place.open().await;
    let (id, _) = accept(&store, firing("db-1")).await;
    let put = async |state| {
        let letter = DeadLetter { state, ..letter(&id, "d1", "chat") };
        let reached =
            Reached { receiver: "chat".to_owned(), has_it: state == Delivered, receipt: b"7".to_vec() };
        assert!(store.put_dead_letter(letter, (state == Delivered).then_some(reached)).await.unwrap());
        store.dead_letters_of(&id).await.unwrap()[0].dead_letter.state
    };
    assert_eq!(put(Exhausted).await, Exhausted);
    store.change_dead_letters(&by_id("d1"), Discarded, 1).await.unwrap();
    assert_eq!(put(Exhausted).await, Discarded, "an attempt that was under way failed");
    assert_eq!(put(Delivered).await, Delivered, "one that was under way arrived");
    assert_eq!(put(Exhausted).await, Delivered);
    assert_eq!(store.standing(&id).await.unwrap().unwrap().reached.len(), 1, "its resolve goes there");
    assert_eq!(store.change_dead_letters(&by_id("d1"), Discarded, 1).await.unwrap().len(), 0);
    assert_eq!(store.dead_letters(&by_id(&id), true, 9).await.unwrap().len(), 1);
    assert_eq!(store.count_dead_letters().await.unwrap(), 0);
    let unknown = letter("alert-of-another-store", "d2", "chat");
    assert!(!store.put_dead_letter(unknown, None).await.unwrap());
}

async fn a_life_with_a_dead_letter_is_not_forgotten(place: Place) {
    let store = place.open().await;
    let (id, _) = accept(&store, firing("db-1")).await;
    let (end, _) = accept(&store, resolved("db-1")).await;
    let dead_letters = vec![letter(&id, "d1", "chat")];
    store.end(End { dead_letters, ..ended(&id, Outcome::Failed, b"") }).await.unwrap();
    store.end(ended(&end, Outcome::Delivered, b"")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.prune(1).await.unwrap(), 0);
    store.change_dead_letters(&DeadLetterFilter::default(), DeadLetterState::Discarded, 9).await.unwrap();
    assert_eq!(store.prune(1).await.unwrap(), 1);
    assert_eq!(place.number("SELECT count(*) FROM dead_letters").await, 0);
}

async fn an_end_wakes_who_waits_for_it(place: Place) {
    let store = place.open().await;
    let (id, _) = accept(&store, firing("db-1")).await;
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(store.wait(&[&id], soon).await.unwrap()[0].ended_at, None, "it is not at its end");
    let (over, _) = accept(&store, firing("db-2")).await;
    store.end(ended(&over, Outcome::Failed, b"")).await.unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let waiting = (0..3).map(|_| {
        let (store, id, over) = (store.clone(), id.clone(), over.clone());
        tokio::spawn(async move { store.wait(&[&id, &over, "unknown"], until).await })
    });
    let waiting = waiting.collect::<Vec<_>>();
    tokio::time::sleep(Duration::from_millis(300)).await;
    store.end(ended(&id, Outcome::Delivered, b"steps")).await.unwrap();
    let at = Instant::now();
    for one in waiting {
        let found = one.await.unwrap().unwrap();
        let outcomes: Vec<_> = found.iter().map(|found| found.outcome).collect();
        assert_eq!(outcomes, [Some(Outcome::Failed), Some(Outcome::Delivered)]);
    }
    assert!(at.elapsed() < Duration::from_secs(1), "it was looked for, and woke nothing");
    assert_eq!(place.pending().await, 0);
}

async fn an_end_at_another_host_is_found(place: Place) {
    if !place.is_shared {
        return;
    }
    let (store, other) = (place.open().await, place.open().await);
    let (id, _) = accept(&store, firing("db-1")).await;
    let waiting = tokio::spawn({
        let (store, id) = (store.clone(), id.clone());
        async move { store.wait(&[&id], Instant::now() + Duration::from_secs(60)).await }
    });
    other.end(ended(&id, Outcome::Partial, b"")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()[0].outcome, Some(Outcome::Partial));
}
