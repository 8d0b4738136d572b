//! A database that is gone, full or killed: what is answered, and that it comes back by itself.

use std::process::Command;
use std::time::Duration;

use campanile_store::{Limits, Location, Store, StoreError};
use harness::{Postgres, until};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::places::{Place, pending};
use crate::samples::{firing, request, unidentified};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_postgresql_refuses_fails_its_request_alone() {
    let store = Place::postgres().await.open().await;
    let posts = (0..40).map(|number| {
        let (store, mut alert) = (store.clone(), unidentified(number));
        if number == 13 {
            alert.scope = "no\0text".to_owned();
        }
        tokio::spawn(async move { store.accept(request(vec![alert])).await })
    });
    let mut refused = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        refused.extend(post.await.unwrap().err());
    }
    assert!(matches!(&refused[..], [StoreError::Refused(_)]), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_costs_nothing_that_was_accepted() {
    let mut server = Postgres::start().await;
    let location: Location = server.database().parse().unwrap();
    let store = Store::open(location.clone(), Limits::default()).await.unwrap();
    let mut accepted = 0;
    for round in 0..3 {
        let posting = tokio::spawn({
            let store = store.clone();
            async move {
                let mut accepted = 0;
                // Until the server is gone, which the last one meets.
                for number in 0.. {
                    let post = request(vec![unidentified(round * 100_000 + number)]);
                    match store.accept(post).await {
                        Ok(_) => accepted += 1,
                        Err(error) => {
                            assert!(error.is_transient(), "{error:?}");
                            return accepted;
                        }
                    }
                }
                accepted
            }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill().await;
        accepted += posting.await.unwrap();
        server.restart().await;
        until("the store accepts again", async || {
            let post = request(vec![unidentified(round * 100_000 + 99_999)]);
            store.accept(post).await.is_ok().then_some(())
        })
        .await;
        accepted += 1;
    }
    // One that was committed and not answered may be there, too.
    let kept = pending(&location).await;
    println!("{accepted} accepted, {kept} kept");
    assert!(accepted > 3 && (accepted..=accepted + 6).contains(&kept), "{accepted} accepted, {kept} kept");
}

/// A limit on the size of files does what a full disk does. It holds for a process, so this runs in one of its own, which does not
/// end by the signal that comes with it.
#[test]
fn a_full_disk_is_said_and_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "trouble::in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env("STORE_FILE", directory.path().join("store.sqlite"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("test result: ok. 1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of a_full_disk_is_said_and_left_behind"]
async fn in_a_process_of_its_own() {
    let file = std::env::var_os("STORE_FILE").unwrap();
    let location = Location::File(file.into());
    let store = Store::open(location.clone(), Limits::default()).await.unwrap();
    let first = store.accept(request(vec![firing("db-1")])).await.unwrap();
    limit(Some(64 << 10));
    let mut large = firing("db-2");
    large.document = vec![b'x'; 1 << 20];
    for _ in 0..3 {
        let error = store.accept(request(vec![large.clone()])).await.unwrap_err();
        assert!(matches!(error, StoreError::NotWritable(_)) && error.is_transient(), "{error:?}");
    }
    assert_eq!(
        store.find(&first.alerts[0].id).await.unwrap().map(|found| found.number),
        Some(first.alerts[0].number)
    );
    limit(None);
    store.accept(request(vec![large])).await.unwrap();
    assert_eq!(pending(&location).await, 2, "nothing of what failed is there");
}

fn limit(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}
