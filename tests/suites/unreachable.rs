//! Temporal away: nothing is acknowledged, the answer is quick and honest, and all is well when it is back.

use std::time::{Duration, Instant};

use harness::alerts::{alert, identified};
use harness::{Host, Plugin, Receiver, Server, Settings, Temporal, temporal, until};
use rustix::process::Signal;
use serde_json::json;

async fn refuses(host: &Host, cause: &str) {
    host.without_temporal().await;
    let started = Instant::now();
    let reply = host.post("/webhook/alerts", &json!({"alerts": [alert("into the void")]})).await;
    let elapsed = started.elapsed();
    assert_eq!(reply.status, 500, "{reply:?}");
    assert!(elapsed < Duration::from_secs(2), "the answer took {elapsed:?}");
    assert!(reply.header("retry-after").parse::<u32>().is_ok(), "{reply:?}");
    let body = reply.json();
    assert_eq!(body["code"], "temporal-unavailable");
    assert_eq!(body["success"], false);
    assert_eq!(body["workflow_ids"], json!([]));
    let error = &body["errors"][0];
    assert_eq!(error["path"], "temporal", "{body}");
    assert!(
        error["value"].as_str().is_some_and(|address| address.starts_with("http://127.0.0.1:")),
        "{body}"
    );
    assert!(error["message"].as_str().is_some_and(|message| message.starts_with(cause)), "{cause}: {body}");
    let health = host.get("/health").await;
    assert_eq!(health.status, 503, "{health:?}");
    assert_eq!(health.json()["temporal"]["reachable"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_said_so_and_missed_no_longer_than_it_is_away() {
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let settings = Settings::new().server(Server::At(server.address()));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    assert_eq!(host.ledger(alert("before")).await["outcome"], "delivered");
    server.kill().await;
    refuses(&host, "it refused the connection (").await;
    server.restart().await;
    until("the host is healthy again", async || (host.get("/health").await.status == 200).then_some(()))
        .await;
    let ids = host.submit(&[identified("after")]).await;
    assert_eq!(host.completed(&ids[0]).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_whose_server_never_was_there_starts_and_refuses() {
    let nobody = format!("127.0.0.1:{}", temporal::free_port());
    let host = Host::listening(&Settings::new().server(Server::At(nobody)).role("webhook")).await;
    until("the first attempt to connect", async || {
        let reply = host.post("/webhook/alerts", &json!({"alerts": [alert("early")]})).await;
        (!reply.text.contains("none was made yet")).then_some(())
    })
    .await;
    refuses(&host, "it refused the connection (").await;
}

/// What listens takes connections, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_from_the_start_on_is_not_called_a_wrong_address() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("a bound socket has an address").to_string();
    let host = Host::listening(&Settings::new().server(Server::At(address.clone())).role("webhook")).await;
    until("the first attempt to connect", async || {
        let reply = host.post("/webhook/alerts", &json!({"alerts": [alert("early")]})).await;
        (!reply.text.contains("none was made yet")).then_some(())
    })
    .await;
    refuses(&host, "it did not answer within 6000 ms: it hangs").await;
    let ready = host.get("/readyz").await;
    assert!(
        ready.text.contains(&address) && ready.text.contains("did not answer within 6000 ms"),
        "{ready:?}"
    );
    assert!(host.log().has(|event| event["level"] == "WARN"
        && event["address"].as_str().is_some_and(|named| named.contains(&address))
        && event["error"].as_str().is_some_and(|error| error.contains("did not answer within 6 s"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_as_good_as_none() {
    let server = Temporal::start().await;
    let host = Settings::new().server(Server::At(server.address())).role("webhook").start().await;
    server.signal(Signal::STOP);
    refuses(&host, "it did not answer within 1000 ms").await;
    server.signal(Signal::CONT);
    until("the host is healthy again", async || (host.get("/health").await.status == 200).then_some(()))
        .await;
}
