//! Rewriting what a store holds, as a host does that begins to encrypt: all of it, once, and on from where it was cut off.

use std::fs;

use campanile_store::{
    DeadLetter, DeadLetterState, End, Location, Outcome, Reached, SpoolLimits, SpooledRequest, Store,
    StoreError,
};

use harness::until;
use sqlx::Connection;

use crate::on_both;
use crate::places::Place;
use crate::samples::{ended, firing, named, request, unidentified};

on_both!(
    all_that_is_readable_is_rewritten_once,
    a_rewriting_that_is_cut_off_goes_on,
    what_was_replaced_is_in_no_file,
    a_store_says_with_which_key_it_is_encrypted,
);

const SECRET: &[u8] = b"the-vault-is-open";
const MARK: &[u8] = b"sealed\0";
/// More than several transactions rewrite.
const MANY: usize = 350;

/// What a codec would do.
fn sealed(value: &[u8]) -> Result<Vec<u8>, StoreError> {
    assert!(!value.starts_with(MARK), "it was rewritten before");
    Ok([MARK, &value.iter().map(|byte| byte ^ 0x80).collect::<Vec<_>>()].concat())
}

/// Fills every column that is rewritten with one value, the secret. Returns the id of the alert.
async fn fill(store: &Store) -> String {
    let mut alert = firing("db-1");
    (alert.document, alert.words) = (SECRET.to_vec(), Some(String::from_utf8(SECRET.to_vec()).unwrap()));
    let request = campanile_store::Request { origin: SECRET.to_vec(), ..request(vec![alert]) };
    let id = store.accept(request).await.unwrap().alerts.remove(0).id;
    let reached = Reached { receiver: "chat".to_owned(), has_it: true, receipt: SECRET.to_vec() };
    let dead_letter = DeadLetter {
        delivery_id: format!("{id}/phone"),
        alert_id: id.clone(),
        receiver: "phone".to_owned(),
        error_code: "timeout".to_owned(),
        delivery: SECRET.to_vec(),
        state: DeadLetterState::Exhausted,
    };
    let end = ended(&id, Outcome::Delivered, SECRET);
    store.end(End { reached: vec![reached], dead_letters: vec![dead_letter], ..end }).await.unwrap();
    store.acknowledge(&id, SECRET).await.unwrap();
    spool(store).await;
    id
}

/// Spools a request, and notes why it failed.
async fn spool(store: &Store) {
    let spooled = SpooledRequest {
        id: "1".to_owned(),
        source: "grafana".to_owned(),
        sender: "key grafana".to_owned(),
        failures: 0,
        request: SECRET.to_vec(),
    };
    store.spool(spooled, SpoolLimits { requests: 10, bytes: 1_000 }).await.unwrap().unwrap();
    let number = store.spooled_behind(i64::MIN, 1).await.unwrap()[0].number;
    store.note_spool_failure(number, 1, SECRET, false).await.unwrap();
}

async fn all_that_is_readable_is_rewritten_once(place: Place) {
    let store = place.open().await;
    let id = fill(&store).await;
    assert_eq!(store.rewrite(MARK, sealed).await.unwrap(), 8, "one in each column");
    assert_eq!(store.rewrite(MARK, sealed).await.unwrap(), 0);
    let (found, standing) = (store.find(&id).await.unwrap(), store.standing(&id).await.unwrap().unwrap());
    let expected = sealed(SECRET).unwrap();
    assert_eq!(found.unwrap().document, expected);
    assert_eq!((standing.acknowledgement, &standing.reached[0].receipt), (Some(expected.clone()), &expected));
    assert_eq!(store.dead_letters_of(&id).await.unwrap()[0].dead_letter.delivery, expected);
    let spooled = store.spooled_behind(i64::MIN, 1).await.unwrap().remove(0);
    assert_eq!((spooled.spooled.request, spooled.error), (expected.clone(), Some(expected)));
    store.forget_texts().await.unwrap();
    assert_eq!(place.number("SELECT count(*) FROM texts").await, 0);
}

async fn a_rewriting_that_is_cut_off_goes_on(place: Place) {
    let store = place.open().await;
    store.accept(request((0..MANY).map(unidentified).collect())).await.unwrap();
    let mut room = 250;
    let cut_off = store.rewrite(MARK, |value| {
        room -= 1;
        if room < 0 { Err(StoreError::Unreadable("cut off".to_owned())) } else { sealed(value) }
    });
    assert_eq!(cut_off.await.unwrap_err().to_string(), "cut off");
    store.close().await;
    let store = place.open().await;
    assert_eq!(place.check().await.faults, [""; 0]);
    // The requests' origin is one more; the third transaction was not committed.
    assert_eq!(store.rewrite(MARK, sealed).await.unwrap(), MANY as u64 - 200 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_changes_meanwhile_is_left_alone() {
    let place = Place::postgres().await;
    let store = place.open().await;
    let id = fill(&store).await;
    let rewritten = |value: &[u8]| {
        let change = place.execute("UPDATE documents SET document = 'newer'");
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(change));
        sealed(value)
    };
    assert_eq!(store.rewrite(MARK, rewritten).await.unwrap(), 7);
    assert_eq!(store.find(&id).await.unwrap().unwrap().document, b"newer");
}

/// The bytes of a store's files.
fn bytes(place: &Place) -> Vec<u8> {
    let Location::File(file) = &place.location else { return Vec::new() };
    let files = fs::read_dir(file.parent().unwrap()).unwrap().flatten();
    files.flat_map(|file| fs::read(file.path()).unwrap()).collect()
}

async fn what_was_replaced_is_in_no_file(place: Place) {
    let store = place.open().await;
    fill(&store).await;
    let holds = || bytes(&place).windows(SECRET.len()).any(|window| window == SECRET);
    assert_eq!(holds(), !place.is_shared);
    store.rewrite(MARK, sealed).await.unwrap();
    store.forget_texts().await.unwrap();
    store.compact().await.unwrap();
    assert!(!holds());
    assert_eq!(place.check().await.faults, [""; 0]);
    store.accept(request(vec![firing("db-2")])).await.unwrap();
}

async fn a_store_says_with_which_key_it_is_encrypted(place: Place) {
    let store = place.open().await;
    assert_eq!(store.encryption().await.unwrap(), None);
    store.write_in_the_clear();
    store.accept(request(vec![firing("db-1")])).await.unwrap();
    store.begin_encryption("one", b"proof", None).await.unwrap();
    let refused = store.accept(request(vec![firing("db-2")])).await.unwrap_err();
    let text = refused.to_string();
    assert!(refused.is_transient() && text.contains("is encrypted with the key \"one\""), "{text}");
    let raced = store.begin_encryption("two", b"proof", None).await;
    assert!(raced.is_err_and(|error| error.to_string().contains("another host")));
    let one = store.encryption().await.unwrap().unwrap();
    assert_eq!((&*one.key, &*one.proof, one.is_whole), ("one", &b"proof"[..], false));
    store.end_encryption("one").await.unwrap();
    assert!(store.encryption().await.unwrap().unwrap().is_whole);
    store.begin_encryption("two", b"other", Some(&one)).await.unwrap();
    store.end_encryption("one").await.unwrap();
    assert!(!store.encryption().await.unwrap().unwrap().is_whole, "it is the other key's now");
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_waits_for_what_is_written_in_the_clear() {
    let place = Place::postgres().await;
    let (keyless, keyed) = (place.open().await, place.open().await);
    keyless.write_in_the_clear();
    // Another transaction has the request's id, so that the keyless host waits in the middle of its own.
    let post = named("held-up", vec![firing("db-1")]);
    let mut connection = place.connection().await;
    let mut other = connection.begin().await.unwrap();
    let sql = "INSERT INTO requests (number, digest, content, origin, answer, received_at) VALUES (-1, $1, $1, $1, $1, 0)";
    let digest = post.id.unwrap().digest;
    sqlx::query(sql).bind(digest.as_slice()).execute(&mut *other).await.unwrap();
    let accepting = tokio::spawn({
        let keyless = keyless.clone();
        async move { keyless.accept(post).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("the keyless host waits", async || (place.number(waiting).await == 1).then_some(())).await;
    let mut encrypting = std::pin::pin!(keyed.begin_encryption("key", b"proof", None));
    tokio::select! {
        _ = &mut encrypting => panic!("it did not wait"),
        () = until("the keyed host waits", async || (place.number(waiting).await == 2).then_some(())) => {}
    }
    other.rollback().await.unwrap();
    accepting.await.unwrap().unwrap();
    encrypting.await.unwrap();
    let refused = keyless.accept(request(vec![firing("db-2")])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Encrypted { .. }), "{refused:?}");
}
