//! The store under the webhook: whose it is, what it refuses, and what outlives it.

use std::time::Duration;

use harness::alerts::{identified, with};
use harness::{Answer, Host, Plugin, Postgres, Receiver, Server, Settings, Temporal, until};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_another_store_does_not_start_and_says_the_way_out() {
    let settings = Settings::new();
    let first = settings.start().await;
    let location = first.get("/health").await.ok()["store"]["location"].as_str().expect("a file").to_owned();
    let (exit, log) = Host::refusing(&settings.clone().role("all")).await;
    let said = log.tail();
    assert!(!exit.success(), "{said}");
    for part in ["belongs to the store", &location, "[store] url", "--task-queue", "campanile-store/queue-"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(first.submit(&[identified("goes on")]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_full_refuses_until_there_is_room() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_secs(3)));
    let settings = Settings::new().and_config("\n[store]\npending = 3\n");
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let post = async |count: usize| {
        let alerts: Vec<_> = (0..count).map(|number| identified(&format!("number {number}"))).collect();
        host.post("/webhook/alerts", &json!({"alerts": alerts})).await
    };
    assert_eq!(post(3).await.status, 200);
    let refused = post(1).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("store-full")), "{refused:?}");
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{refused:?}");
    let (ready, health) = (host.get("/readyz").await, host.get("/health").await);
    assert!(ready.status == 503 && ready.text.contains("as many as it may (3)"), "{ready:?}");
    let fault = health.json()["store"]["fault"].clone();
    assert!(health.status == 503 && fault.as_str().is_some_and(|fault| fault.contains("(3)")), "{health:?}");
    until("there is room again", async || (post(1).await.status == 200).then_some(())).await;
    until("it is ready again", async || (host.get("/readyz").await.status == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_while_the_store_is_away_is_recorded_once_it_is_back() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_millis(1_500)));
    let mut postgres = Postgres::start().await;
    let config = format!("\n[store]\nurl = \"{}\"\n", postgres.database());
    let settings = Settings::new().and_config(&config).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let id = host.submit(&[identified("meanwhile")]).await.remove(0);
    receiver.wait_for("/pager", 1).await;
    postgres.kill().await;
    until("the store is missed", async || {
        let reply = host.post("/webhook/alerts", &json!({"alerts": [identified("refused")]})).await;
        (reply.json()["code"] == "store-unavailable").then_some(())
    })
    .await;
    let missing = until("readiness says so", async || {
        Some(host.get("/readyz").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert!(missing.text.contains("the store does not answer"), "{missing:?}");
    let health = host.get("/health").await;
    assert!(health.status == 503 && health.json()["store"]["fault"].is_string(), "{health:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    postgres.restart().await;
    until("it is ready again", async || (host.get("/readyz").await.status == 200).then_some(())).await;
    let found = until("it is recorded", async || {
        let reply = host.get(&format!("/alerts/{id}")).await;
        (reply.status == 200 && reply.json()["state"] == "completed").then(|| reply.json())
    })
    .await;
    assert_eq!(found["outcome"], "delivered", "{found}");
    assert_eq!(receiver.received("/pager").len(), 1, "the delivery was not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporal_that_is_restarted_refuses_no_post() {
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let settings = Settings::new().server(Server::At(server.address()));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let mut ids = host.submit(&[identified("before")]).await;
    server.kill().await;
    ids.extend(host.submit(&[identified("while it is away")]).await);
    server.restart().await;
    ids.extend(host.submit(&[identified("after")]).await);
    for id in &ids {
        assert_eq!(host.completed(id).await["outcome"], "delivered");
    }
    assert_eq!(receiver.received("/pager").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_decided_by_the_life_and_not_by_the_time() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let alert = identified("burns");
    let post = async |more: serde_json::Value| {
        let body = json!({"alerts": [with(alert.clone(), more)]});
        host.post("/webhook/alerts", &body).await.ok()["alerts"][0]["disposition"].clone()
    };
    let later = "2023-12-01T15:00:00Z";
    for (more, disposition) in [
        (json!({}), "new"),
        (json!({}), "duplicate"),
        (json!({"severity": "critical"}), "escalated"),
        (json!({}), "duplicate"),
        (json!({"starts_at": later}), "renewed"),
        (json!({"status": "resolved", "ends_at": "2023-12-01T14:00:00Z"}), "nothing-open"),
        (json!({"status": "resolved"}), "resolves"),
        (json!({"status": "resolved"}), "nothing-open"),
        (json!({}), "new"),
    ] {
        assert_eq!(post(more.clone()).await, disposition, "{more}");
    }
    receiver.wait_for("/pager", 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_embedded_server_on_one_store_is_refused() {
    let store = format!("\n[store]\nurl = \"{}\"\n", Postgres::shared().await.database());
    let settings = Settings::new().and_config(&store).server(Server::Embedded);
    let first = settings.start().await;
    let (exit, log) = Host::refusing(&settings.clone().role("all")).await;
    let said = log.tail();
    assert!(!exit.success(), "{said}");
    for part in ["another host uses the store", "embedded Temporal server of its own", "--temporal-address"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    first.stop().await;
    settings.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_the_start_is_named() {
    let mut postgres = Postgres::start().await;
    let store = format!("\n[store]\nurl = \"{}\"\n", postgres.database());
    postgres.kill().await;
    let settings = Settings::new().and_config(&store);
    let host = Host::listening(&settings).await;
    let refused = host.post("/webhook/alerts", &json!({"alerts": [identified("early")]})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("store-unavailable")), "{refused:?}");
    postgres.restart().await;
    until("it takes alerts", async || {
        let reply = host.post("/webhook/alerts", &json!({"alerts": [identified("now")]})).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_resort_says_that_the_store_is_away_and_that_the_queue_is_stuck() {
    let (receiver, mut server, postgres) =
        (Receiver::start().await, Temporal::start().await, Postgres::start().await);
    let settings = Settings::new().server(Server::At(server.address()));
    let url = settings.write("last-resort", &receiver.url("/last-resort"));
    let store = postgres.database();
    let config = format!(
        "\n[store]\nurl = \"{store}\"\n\n[last-resort]\nfile = \"{}\"\nafter = \"1s\"\n",
        url.display()
    );
    let host = settings.and_config(&config).start().await;
    server.kill().await;
    host.submit(&[identified("damaged in the store")]).await;
    let mut connection = PgConnection::connect(&store).await.expect("it runs");
    sqlx::query("UPDATE documents SET document = 'x'").execute(&mut connection).await.expect("it is written");
    drop(connection);
    // From here on it is read from the store.
    let is_over = |event: &Value| {
        event["message"].as_str().is_some_and(|text| text.starts_with("not started, tried again"))
    };
    host.log().wait_for("that the workflow was not started", is_over).await;
    server.restart().await;
    let reason = async |reason: &str| {
        until(reason, async || {
            let said = receiver.received("/last-resort").into_iter().map(|request| request.json());
            said.into_iter().find(|said| said["reason"] == reason)
        })
        .await
    };
    let said = reason("queue-stuck").await;
    assert!(said["text"].as_str().is_some_and(|text| text.contains("1 alerts wait to be started")), "{said}");
    postgres.kill().await;
    let said = reason("store-unavailable").await;
    assert!(said["text"].as_str().is_some_and(|text| text.contains("no alert can be accepted")), "{said}");
}
