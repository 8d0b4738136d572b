//! What is claimed: the most severe first, fair over scopes, by one host alone, and after a crash the same again.

use std::collections::HashSet;

use campanile_store::life::{Policy, Severity};
use campanile_store::{Claim, Disposition, Incoming, Lease, Outcome, Request, Take};

use crate::on_both;
use crate::places::Place;
use crate::samples::{SECOND, ended, firing, request, resolved, unidentified};

on_both!(
    the_most_severe_is_claimed_first,
    a_busy_scope_does_not_starve_another,
    no_scope_waits_for_the_whole_backlog_of_another,
    many_that_wait_are_carried_together,
    what_has_ended_of_a_workflow_is_not_claimed_again,
    no_notification_is_claimed_twice,
    a_claim_that_was_not_started_is_claimed_again_as_it_was,
    a_lone_alert_is_claimed_as_it_is_accepted,
    a_held_resolve_waits_for_its_time,
    a_resolve_that_was_taken_back_is_never_claimed,
    a_resolve_is_as_urgent_as_what_it_ends,
    an_end_is_kept_with_its_ledger,
);

fn lease(host: &str) -> Lease {
    Lease { host: host.to_owned(), lease: 60 * SECOND }
}

/// Takes of all severities: up to `most` together.
fn take(host: &str, most: usize) -> Take {
    Take {
        claim: lease(host),
        severities: 0..=3,
        after: String::new(),
        most_single: 1,
        most_together: most,
        most_bytes: 1 << 20,
    }
}

fn ranked(number: usize, scope: &str, rank: i16) -> Incoming {
    let mut alert = unidentified(number);
    alert.scope = scope.to_owned();
    alert.post.severity = Severity { rank, vendor_level: None };
    alert
}

fn ids(claims: &[Claim]) -> Vec<String> {
    claims.iter().flat_map(|claim| &claim.notifications).map(|claimed| claimed.id.clone()).collect()
}

async fn the_most_severe_is_claimed_first(place: Place) {
    let store = place.open().await;
    let alerts = [0, 3, 1, 3].into_iter().enumerate().map(|(number, rank)| ranked(number, "a", rank));
    let accepted = store.accept(request(alerts.collect())).await.unwrap().alerts;
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let mut one = take("h", 1);
        one.most_single = 100;
        claimed.extend(ids(&store.claim(&one).await.unwrap()));
    }
    assert_eq!(claimed, [1, 3, 2, 0].map(|place: usize| accepted[place].id.clone()));
    assert_eq!(store.claim(&take("h", 1)).await.unwrap(), []);
    let critical = Take { severities: 3..=3, ..take("h", 1) };
    store.accept(request(vec![ranked(9, "a", 2)])).await.unwrap();
    assert_eq!(store.claim(&critical).await.unwrap(), [], "it is not critical");
}

async fn a_busy_scope_does_not_starve_another(place: Place) {
    let store = place.open().await;
    let busy = (0..300).map(|number| ranked(number, "busy", 1));
    let quiet = (300..303).map(|number| ranked(number, "quiet", 1));
    store.accept(request(busy.chain(quiet).collect())).await.unwrap();
    let claims = store.claim(&take("h", 20)).await.unwrap();
    assert_eq!(claims.len(), 1);
    let quiet = claims[0].notifications.iter().filter(|claimed| claimed.number > 2 * 300).count();
    assert_eq!((claims[0].notifications.len(), quiet), (20, 3), "{:?}", ids(&claims));
}

async fn no_scope_waits_for_the_whole_backlog_of_another(place: Place) {
    let store = place.open().await;
    let alerts = (0..30).map(|number| ranked(number, ["a", "b", "c"][number / 10], 1));
    store.accept(request(alerts.collect())).await.unwrap();
    let (mut scopes, mut after) = (Vec::new(), String::new());
    for _ in 0..5 {
        let claims = store.claim(&Take { after, ..take("h", 1) }).await.unwrap();
        after = claims[0].notifications[0].scope.clone();
        scopes.push(after.clone());
    }
    assert_eq!(scopes, ["a", "b", "c", "a", "b"]);
}

async fn what_has_ended_of_a_workflow_is_not_claimed_again(place: Place) {
    let store = place.open().await;
    store.accept(request((0..4).map(unidentified).collect())).await.unwrap();
    let expired = Take { claim: Lease { lease: 0, ..lease("dead") }, ..take("dead", 4) };
    let claims = store.claim(&expired).await.unwrap();
    // Its host died before it could note the start; the workflow has ended one of its alerts.
    let first = &claims[0].notifications[0].id;
    assert!(store.end(ended(first, Outcome::Delivered, b"")).await.unwrap());
    let again = store.reclaim(&lease("alive"), 100).await.unwrap();
    let rest = claims[0].notifications[1..].to_vec();
    assert_eq!(again, [Claim { workflow_id: claims[0].workflow_id.clone(), notifications: rest }]);
}

async fn many_that_wait_are_carried_together(place: Place) {
    let store = place.open().await;
    store.accept(request((0..5).map(unidentified).collect())).await.unwrap();
    let few = Take { most_single: 5, ..take("h", 5) };
    let singles = store.claim(&few).await.unwrap();
    assert_eq!(singles.len(), 5);
    assert!(singles.iter().all(|claim| claim.workflow_id == claim.notifications[0].id));
    store.accept(request((5..11).map(unidentified).collect())).await.unwrap();
    let together = store.claim(&Take { most_single: 5, ..take("h", 100) }).await.unwrap();
    assert_eq!((together.len(), together[0].notifications.len()), (1, 6));
    assert!(together[0].workflow_id.starts_with("batch-"));
    assert!(together[0].notifications.is_sorted_by_key(|claimed| claimed.number));
    assert_eq!(together[0].notifications[0].origin, b"{}");
}

async fn no_notification_is_claimed_twice(place: Place) {
    let first = place.open().await;
    let second = if place.is_shared { place.open().await } else { first.clone() };
    first.accept(request((0..400).map(unidentified).collect())).await.unwrap();
    let last = first.clone();
    let claiming = [first, second].into_iter().enumerate().flat_map(|(host, store)| {
        (0..3).map(move |_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut all = Vec::new();
                loop {
                    match store.claim(&take(&format!("h{host}"), 7)).await.unwrap() {
                        claims if claims.is_empty() => return all,
                        claims => all.extend(ids(&claims)),
                    }
                }
            })
        })
    });
    let mut all = Vec::new();
    for claimed in claiming.collect::<Vec<_>>() {
        all.extend(claimed.await.unwrap());
    }
    // A claim leaves alone what another one has locked, and may end early: what is left comes now.
    while let claims = last.claim(&take("h", 100)).await.unwrap()
        && !claims.is_empty()
    {
        all.extend(ids(&claims));
    }
    assert_eq!(all.len(), 400);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 400);
}

async fn a_claim_that_was_not_started_is_claimed_again_as_it_was(place: Place) {
    let store = place.open().await;
    store.accept(request((0..6).map(unidentified).collect())).await.unwrap();
    let expired = |most| Take { claim: Lease { lease: 0, ..lease("dead") }, ..take("dead", most) };
    let batch = store.claim(&expired(4)).await.unwrap();
    let running = store.claim(&expired(2)).await.unwrap();
    let running: Vec<_> = running[0].notifications.iter().map(|claimed| claimed.number).collect();
    store.started(&running).await.unwrap();
    let again = store.reclaim(&lease("alive"), 2).await.unwrap();
    assert_eq!(again, batch, "whole, though less was asked for");
    assert_eq!(store.reclaim(&lease("alive"), 100).await.unwrap(), [], "its lease holds now");
}

async fn a_lone_alert_is_claimed_as_it_is_accepted(place: Place) {
    let store = place.open().await;
    let lone = Request { claim: Some(lease("h")), ..request(vec![firing("db-1")]) };
    let accepted = store.accept(lone.clone()).await.unwrap();
    let [claim] = &accepted.claims[..] else { panic!("{accepted:?}") };
    assert_eq!(
        (&claim.workflow_id, &claim.notifications[0].id),
        (&accepted.alerts[0].id, &accepted.alerts[0].id)
    );
    let claimed = &claim.notifications[0];
    assert_eq!((&claimed.document, &claimed.origin), (&lone.alerts[0].document, &lone.origin));
    assert_eq!(store.claim(&take("h", 10)).await.unwrap(), [], "nothing is left to claim");
    assert_eq!(store.accept(lone).await.unwrap().claims, [], "a duplicate has nothing to start");
    let found = store.find(&accepted.alerts[0].id).await.unwrap().unwrap();
    assert_eq!(found.carried_by.as_deref(), Some(&*found.id));
}

/// A pair of alerts whose resolve is held back so long.
fn held(key: &str, hold_down: i64) -> [Incoming; 2] {
    [firing(key), resolved(key)]
        .map(|alert| Incoming { policy: Policy { hold_down, ..alert.policy }, ..alert })
}

async fn a_held_resolve_waits_for_its_time(place: Place) {
    let store = place.open().await;
    store.accept(request(held("soon", 1).into())).await.unwrap();
    store.accept(request(held("later", 3_600 * SECOND).into())).await.unwrap();
    assert_eq!(ids(&store.claim(&take("h", 10)).await.unwrap()).len(), 2, "the two that fire");
    harness::until("the hold of one is over", async || (store.release().await.unwrap() == 1).then_some(()))
        .await;
    let claims = store.claim(&take("h", 10)).await.unwrap();
    assert_eq!(ids(&claims), ["alert-soon@grafana-20261129-100000-resolved"]);
    assert_eq!(claims[0].notifications[0].thread_id, "alert-soon@grafana-20261129-100000");
    // Its life is over: it fires anew. The other one is taken back.
    let again = store.accept(request(vec![firing("soon"), firing("later")])).await.unwrap();
    let again: Vec<_> = again.alerts.iter().map(|placed| placed.disposition).collect();
    assert_eq!(again, [Disposition::New, Disposition::Flapped]);
}

async fn a_resolve_that_was_taken_back_is_never_claimed(place: Place) {
    let store = place.open().await;
    let [fires, ends] = held("db-1", 1);
    store.accept(request(vec![fires.clone(), ends, fires])).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(store.release().await.unwrap(), 0);
    let claimed = ids(&store.claim(&take("h", 10)).await.unwrap());
    assert!(claimed.len() == 2 && !claimed.iter().any(|id| id.ends_with("-resolved")), "{claimed:?}");
    let taken_back = "SELECT count(*) FROM notifications WHERE state = 5 AND superseded_by IS NOT NULL";
    assert_eq!(place.number(taken_back).await, 1);
}

async fn a_resolve_is_as_urgent_as_what_it_ends(place: Place) {
    let store = place.open().await;
    let mut critical = firing("db-1");
    critical.post.severity.rank = 3;
    store.accept(request(vec![critical, resolved("db-1"), ranked(1, "grafana", 2)])).await.unwrap();
    let claims = store.claim(&Take { severities: 3..=3, ..take("h", 10) }).await.unwrap();
    assert_eq!(ids(&claims).len(), 2);
}

async fn an_end_is_kept_with_its_ledger(place: Place) {
    let store = place.open().await;
    let accepted = store.accept(request((0..50).map(unidentified).collect())).await.unwrap().alerts;
    assert_eq!(place.pending().await, 50);
    let ending = accepted.iter().take(40).map(|placed| {
        let end = ended(&placed.id, Outcome::Partial, b"\0steps");
        let store = store.clone();
        tokio::spawn(async move { store.end(end).await.unwrap() })
    });
    for ended in ending.collect::<Vec<_>>() {
        ended.await.unwrap();
    }
    assert_eq!(place.pending().await, 10);
    let found = store.find(&accepted[7].id).await.unwrap().unwrap();
    assert_eq!((found.outcome, found.ledger.as_deref()), (Some(Outcome::Partial), Some(&b"\0steps"[..])));
    assert!(found.ended_at.is_some_and(|at| at >= found.accepted_at));
    let unknown = store.end(ended("alert-of-another-store", Outcome::Failed, b"")).await.unwrap();
    assert!(!unknown && place.number("SELECT count(*) FROM ledgers").await == 40);
    let claims = store.claim(&take("h", 100)).await.unwrap();
    assert_eq!(ids(&claims).len(), 10, "what has ended is not started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_takes_up_at_once_what_it_had_claimed_before_its_end() {
    let place = Place::file();
    let store = place.open().await;
    store.accept(request(vec![firing("db-1")])).await.unwrap();
    let claimed = store.claim(&take("dead", 1)).await.unwrap();
    assert_eq!(store.reclaim(&lease("alive"), 100).await.unwrap(), [], "its lease holds");
    store.close().await;
    assert_eq!(place.open().await.reclaim(&lease("alive"), 100).await.unwrap(), claimed);
}
