//! A backup while a host runs, and a restore: what is fresh goes on, what is old waits for an operator, nothing is sent again.

use std::path::Path;

use harness::alerts::{identified, unique};
use harness::cli::{Ran, campanile};
use harness::{Answer, Host, Plugin, Receiver, Server, Settings, Temporal, until};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::losses::sent;

const PATIENT: &str = "[retry]\nmaximum-attempts = 0\ninitial-interval = \"1s\"\nmaximum-interval = \"1s\"\n";

fn settings(receiver: &Receiver, server: Server) -> Settings {
    Settings::new().server(server).plugin(Plugin::recorder("pager", receiver, "").and(PATIENT))
}

/// Runs `campanile store …` over a data directory, and says what it printed.
async fn store(arguments: &[&str], data: &Path) -> (String, bool) {
    let data = data.to_str().expect("UTF-8");
    let arguments = [&["store"], arguments, &["--data-dir", data]].concat();
    let Ran { code, stdout, stderr } = campanile(&arguments).await;
    println!("$ campanile {}\n{stdout}{stderr}", arguments.join(" "));
    (stdout + &stderr, code == Some(0))
}

async fn check(settings: &Settings, server: &Temporal) -> (String, bool) {
    store(&["check", "--temporal-address", &server.address().to_string()], &settings.data()).await
}

async fn post(host: &Host, count: usize) -> Vec<String> {
    host.submit(&(0..count).map(|_| identified(&unique("backed up "))).collect::<Vec<_>>()).await
}

/// Has the alerts in a copy of a store be two hours older.
async fn age(directory: &Path, ids: &[String]) {
    let address = format!("sqlite://{}", directory.join("store.sqlite").display());
    let mut connection = SqliteConnection::connect(&address).await.expect("a store");
    let ids = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let sql = format!("UPDATE notifications SET accepted_at = accepted_at - 7200000000 WHERE id IN ({ids})");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("it is written");
    connection.close().await.expect("it closes");
}

async fn state(host: &Host, id: &str) -> Value {
    host.get(&format!("/alerts/{id}")).await.json()["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_sends_nothing_old_until_it_is_resumed() {
    let receiver = Receiver::start().await;
    let settings = settings(&receiver, Server::Embedded);
    let host = settings.start().await;
    let delivered = post(&host, 3).await;
    for id in &delivered {
        host.completed(id).await;
    }
    receiver.always("/pager", Answer::status(503));
    let (old, fresh) = (post(&host, 3).await, post(&host, 2).await);
    receiver.wait_for("/pager", 3 + 5).await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (backup, restored) = (place.path().join("backup"), place.path().join("data"));
    let backup_name = backup.to_str().expect("UTF-8");
    let (printed, is_done) = store(&["backup", backup_name], &settings.data()).await;
    assert!(is_done && printed.contains("store.sqlite"), "{printed}");
    let (refused, is_done) = store(&["backup", backup_name], &settings.data()).await;
    assert!(!is_done && refused.contains("is not empty"), "{refused}");
    host.kill9().await;

    age(&backup, &old).await;
    let (printed, is_done) = store(&["restore", backup_name], &restored).await;
    assert!(is_done && printed.contains("2 alerts under way go on"), "{printed}");
    assert!(printed.contains("3 alerts under way are older than 1h and are suspended"), "{printed}");
    let before = receiver.received("/pager").len();
    receiver.always("/pager", Answer::status(200));
    let host = settings.clone().and_data(&restored).start().await;
    for id in &fresh {
        assert_eq!(host.completed(id).await["outcome"], "delivered");
    }
    let listed = host.get("/alerts?outcome=suspended").await.ok();
    assert_eq!(listed["alerts"].as_array().map(Vec::len), Some(3), "{listed}");
    until("health counts them", async || {
        (host.get("/health").await.json()["store"]["suspended"] == 3).then_some(())
    })
    .await;
    // A marker: what was posted later is delivered, and nothing old was.
    let later = post(&host, 1).await;
    host.completed(&later[0]).await;
    let mut expected: Vec<String> = fresh.iter().chain(&later).cloned().collect();
    expected.sort();
    assert_eq!(sent(&receiver, before), expected, "last night's pages are not sent again");

    let (last, others) = old.split_last().expect("three");
    let gone = host.post(&format!("/store/discard?id={last}"), &Value::Null).await.ok();
    assert_eq!(gone["alerts"], json!([last]));
    let found = host.completed(last).await;
    assert!(
        found["outcome"] == "dropped" && found.to_string().contains("an operator discarded the alert"),
        "{found}"
    );
    let resumed = host.post("/store/resume?all=true", &Value::Null).await.ok();
    assert_eq!(resumed["alerts"], json!(others));
    for id in others {
        assert_eq!(host.completed(id).await["outcome"], "delivered");
    }
    assert_eq!(sent(&receiver, before + expected.len()).len(), others.len());
    for id in &delivered {
        assert_eq!(state(&host, id).await, "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_temporal_does_not_know() {
    let (receiver, server) = (Receiver::start().await, Temporal::start().await);
    let settings = settings(&receiver, Server::At(server.address()));
    receiver.always("/pager", Answer::status(503));
    let host = settings.start().await;
    let ids = post(&host, 2).await;
    receiver.wait_for("/pager", 2).await;
    let (printed, is_well) = until("the store has noted that they are started", async || {
        Some(check(&settings, &server).await).filter(|(printed, _)| printed.contains("knows 2 of 2 alerts"))
    })
    .await;
    assert!(
        is_well && printed.contains("the store is whole") && printed.contains("2 are started"),
        "{printed}"
    );
    let (printed, is_well) = check(&settings, &Temporal::start().await).await;
    assert!(!is_well && printed.contains("knows 0 of 2 alerts") && printed.contains(&ids[0]), "{printed}");
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_alerts_that_temporal_lost_are_suspended() {
    let (receiver, server) = (Receiver::start().await, Temporal::start().await);
    let settings = settings(&receiver, Server::At(server.address()));
    receiver.always("/pager", Answer::status(503));
    let host = settings.start().await;
    let ids = post(&host, 250).await;
    until("all are started", async || {
        check(&settings, &server).await.0.contains("knows 250 of 250 alerts").then_some(())
    })
    .await;
    host.kill9().await;
    let other = Temporal::start().await;
    let before = receiver.received("/pager").len();
    receiver.always("/pager", Answer::status(200));
    let host = settings.clone().server(Server::At(other.address())).start().await;
    let later = post(&host, 1).await;
    host.completed(&later[0]).await;
    assert_eq!(sent(&receiver, before), later, "nothing that was under way is sent again");
    let said = |event: &Value| {
        event["message"].as_str().is_some_and(|text| text.starts_with("suspended: Temporal does not know"))
    };
    assert!(host.log().events().iter().any(said));
    let resumed = host.post("/store/resume?all=true", &Value::Null).await.ok();
    assert_eq!(resumed["alerts"].as_array().map(Vec::len), Some(250));
    for id in &ids {
        host.completed(id).await;
    }
}
