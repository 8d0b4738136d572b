//! Look-ups: lists in order of acceptance over pages, what is open now, and what a text finds.

use campanile_store::life::Severity;
use campanile_store::{Disposition, Filter, Incoming, Outcome, Store, StoreReader};

use crate::on_both;
use crate::places::Place;
use crate::samples::{ended, firing, request, resolved, unidentified};

on_both!(
    pages_are_in_order_of_acceptance,
    what_is_open_is_listed_once_for_each_life,
    a_filter_takes_what_meets_all_of_it,
    a_text_is_found_as_it_is_written,
    an_alert_that_is_not_there_is_not_found,
    a_long_list_is_read_to_its_end,
    what_was_not_seen_for_long_is_stale_until_it_fires,
    open_scopes_are_counted_beside_the_host,
);

/// The ids of all pages of so many.
async fn pages(store: &Store, filter: &Filter, most: usize) -> Vec<String> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(filter, before, most).await.unwrap();
        assert!(page.found.len() <= most);
        ids.extend(page.found.into_iter().map(|found| found.id));
        match page.next {
            Some(next) => before = Some(next),
            None => return ids,
        }
    }
}

async fn pages_are_in_order_of_acceptance(place: Place) {
    let store = place.open().await;
    let mut accepted = Vec::new();
    for first in [0, 30, 60] {
        let alerts = (first..first + 30).map(unidentified).collect();
        accepted.extend(store.accept(request(alerts)).await.unwrap().alerts);
    }
    let newest_first: Vec<_> = accepted.into_iter().rev().map(|placed| placed.id).collect();
    for most in [1, 7, 90, 1_000] {
        assert_eq!(pages(&store, &Filter::default(), most).await, newest_first, "{most} a page");
    }
}

async fn what_is_open_is_listed_once_for_each_life(place: Place) {
    let store = place.open().await;
    let mut worse = firing("db-1");
    worse.post.severity = Severity { rank: 3, vendor_level: None };
    let posted =
        vec![firing("db-1"), firing("db-1"), worse, firing("db-2"), resolved("db-2"), unidentified(1)];
    let accepted = store.accept(request(posted)).await.unwrap().alerts;
    let open = Filter { open: true, ..Filter::default() };
    assert_eq!(pages(&store, &open, 10).await, [accepted[2].id.clone()]);
    let page = store.list(&open, None, 10).await.unwrap();
    let found = &page.found[0];
    assert_eq!((found.duplicates, found.severity, found.is_open), (1, 3, true));
    assert_eq!((found.key.as_deref(), &found.thread_id), (Some("db-1"), &accepted[0].id));
    assert!(!found.is_stale);
}

async fn what_was_not_seen_for_long_is_stale_until_it_fires(place: Place) {
    let store = place.open().await;
    let ids: Vec<_> = store.accept(request(vec![firing("db-1"), firing("db-2")])).await.unwrap().alerts;
    place.execute("UPDATE lives SET seen_at = seen_at - 90000000000 WHERE sender_key = 'db-1'").await;
    let open = Filter { open: true, ..Filter::default() };
    let with_stale = Filter { stale: true, ..open.clone() };
    assert_eq!(pages(&store, &open, 10).await, [ids[1].id.clone()]);
    assert_eq!(pages(&store, &with_stale, 10).await, [ids[1].id.clone(), ids[0].id.clone()]);
    assert_eq!(pages(&store, &Filter::default(), 10).await.len(), 2, "a list of all leaves nothing out");
    let page = store.list(&with_stale, None, 10).await.unwrap();
    assert_eq!(page.found.iter().map(|found| found.is_stale).collect::<Vec<_>>(), [false, true]);
    assert!(store.find(&ids[0].id).await.unwrap().unwrap().is_stale);
    // It is a duplicate as before, and the mark is gone.
    let again = store.accept(request(vec![firing("db-1")])).await.unwrap().alerts;
    assert_eq!(again[0].disposition, Disposition::Duplicate);
    assert_eq!(pages(&store, &open, 10).await.len(), 2);
    place.execute("UPDATE lives SET seen_at = seen_at - 90000000000").await;
    let ended = store.accept(request(vec![resolved("db-1")])).await.unwrap().alerts;
    assert_eq!(ended[0].disposition, Disposition::Resolves);
    assert_eq!(pages(&store, &with_stale, 10).await, [ids[1].id.clone()]);
}

async fn open_scopes_are_counted_beside_the_host(place: Place) {
    assert!(StoreReader::open(&place.location).await.unwrap().is_none(), "it is not there");
    let store = place.open().await;
    let elsewhere = Incoming { scope: "team-a".to_owned(), ..firing("db-3") };
    let alerts = vec![firing("db-1"), firing("db-2"), resolved("db-2"), elsewhere, unidentified(1)];
    store.accept(request(alerts)).await.unwrap();
    let mut reader = StoreReader::open(&place.location).await.unwrap().unwrap();
    let scopes = reader.open_scopes().await.unwrap();
    assert_eq!(scopes, [("grafana".to_owned(), 1), ("team-a".to_owned(), 1)].into());
}

async fn a_filter_takes_what_meets_all_of_it(place: Place) {
    let store = place.open().await;
    let alerts = (0..40).map(|number| {
        let mut alert = unidentified(number);
        alert.scope = ["a", "b"][number % 2].to_owned();
        alert.post.severity.rank = (number % 4) as i16;
        alert
    });
    let accepted = store.accept(request(alerts.collect())).await.unwrap().alerts;
    for placed in &accepted[..20] {
        store.end(ended(&placed.id, Outcome::Failed, b"")).await.unwrap();
    }
    let filter = Filter {
        scope: Some("a".to_owned()),
        severity: Some(2),
        outcome: Some(Outcome::Failed),
        since: Some(accepted[0].at),
        ..Filter::default()
    };
    let expected =
        (0..20).rev().filter(|number| number % 4 == 2).map(|number: usize| accepted[number].id.clone());
    assert_eq!(pages(&store, &filter, 3).await, expected.collect::<Vec<_>>());
    let later = Filter { since: Some(accepted[0].at + 1), ..Filter::default() };
    assert!(pages(&store, &later, 3).await.is_empty());
}

async fn a_text_is_found_as_it_is_written(place: Place) {
    let store = place.open().await;
    let words = ["disk of db_4 is 91 % full", "disk of dbx4 is 910 full", "größe \\ straße"];
    let alerts = words.iter().enumerate().map(|(number, words)| {
        let mut alert = unidentified(number);
        alert.words = Some((*words).to_owned());
        alert
    });
    let accepted = store.accept(request(alerts.collect())).await.unwrap().alerts;
    for (text, expected) in
        [("DB_4", &[0][..]), ("91 %", &[0]), ("disk", &[1, 0]), ("GRÖßE \\", &[2]), ("'", &[])]
    {
        let filter = Filter { text: Some(text.to_owned()), ..Filter::default() };
        let expected: Vec<_> = expected.iter().map(|place| accepted[*place].id.clone()).collect();
        assert_eq!(pages(&store, &filter, 10).await, expected, "{text}");
    }
}

async fn an_alert_that_is_not_there_is_not_found(place: Place) {
    assert_eq!(place.open().await.find("alert-1-20261129-100000").await.unwrap(), None);
}

async fn a_long_list_is_read_to_its_end(place: Place) {
    let store = place.open().await;
    // More than one statement reads.
    let first = store.accept(request(vec![firing("db-1")])).await.unwrap().alerts.remove(0).id;
    for thousand in 0..21 {
        let alerts = (0..1_000).map(|number| unidentified(thousand * 1_000 + number)).collect();
        store.accept(request(alerts)).await.unwrap();
    }
    let open = Filter { open: true, ..Filter::default() };
    assert_eq!(pages(&store, &open, 10).await, std::slice::from_ref(&first));
    let text = Filter { text: Some("db-1".to_owned()), ..Filter::default() };
    assert_eq!(pages(&store, &text, 10).await, [first]);
    assert_eq!(pages(&store, &Filter::default(), 5_000).await.len(), 21_001);
    let later = Filter { since: Some(i64::MAX), ..Filter::default() };
    assert_eq!(store.list(&later, None, 10).await.unwrap().next, None);
}
