//! The spool, for senders that never post again, and the last resort, which needs neither Temporal nor plugins.

use std::time::Duration;

use harness::alerts::{identified, unique, with};
use harness::cli::campanile;
use harness::host::ids;
use harness::{Answer, Host, Plugin, Postgres, Receiver, Server, Settings, Temporal, until};
use serde_json::{Value, json};

const SPOOLED: &str = "\n[sources.grafana]\nspool = true\n";

fn group(name: &str, status: &str) -> Value {
    json!({"version": "1", "alerts": [{
        "status": status, "labels": {"alertname": name}, "annotations": {"summary": name},
        "startsAt": "2026-01-22T11:47:17.11Z",
    }]})
}

fn settings(temporal: &Temporal, receiver: &Receiver, more: &str) -> Settings {
    Settings::new()
        .server(Server::At(temporal.address()))
        .plugin(Plugin::shipped("grafana"))
        .plugin(Plugin::recorder("pager", receiver, ""))
        .and_config(SPOOLED)
        .and_config(more)
}

/// The titles and states that the receiver got, in the order in which the alerts were handed over.
fn told(receiver: &Receiver) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = receiver.received("/pager").into_iter().map(|request| {
        let alert = request.json()["alert"].clone();
        (text(&alert["title"]), text(&alert["status"]))
    });
    told.collect()
}

async fn spooled(host: &Host) -> Value {
    host.get("/health").await.json()["spool"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_temporal_is_away_outlives_the_host_and_is_handed_over_in_its_order() {
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let settings = settings(&server, &receiver, "");
    let host = settings.start().await;
    assert_eq!(host.post("/webhook/grafana", &group("before", "firing")).await.status, 200);
    server.kill().await;
    host.without_temporal().await;
    let name = unique("outage ");
    for (name, status) in [(&*name, "firing"), (&name, "resolved"), ("after", "firing")] {
        let reply = host.post("/webhook/grafana", &group(name, status)).await;
        assert_eq!((reply.status, &reply.json()["success"]), (202, &json!(true)), "{reply:?}");
    }
    assert_eq!(
        host.post("/webhook/grafana", &json!({"alerts": 7})).await.status,
        400,
        "what the source cannot read does not wait"
    );
    assert_eq!(spooled(&host).await["requests"], 3);
    assert_eq!(host.get("/readyz").await.json()["reasons"], json!([]), "it can take requests");
    host.kill9().await;

    let host = Host::listening(&settings).await;
    assert_eq!(spooled(&host).await["requests"], 3);
    server.restart().await;
    receiver.wait_for("/pager", 4).await;
    let taken: Vec<String> = host
        .log()
        .events()
        .iter()
        .filter(|event| event["message"] == "accepted")
        .filter_map(|event| event["alert"].as_str().map(str::to_owned))
        .collect();
    assert_eq!((taken.len(), &taken[1]), (3, &format!("{}-resolved", taken[0])), "as they came: {taken:?}");
    let mut told: Vec<_> = told(&receiver).into_iter().filter(|(title, _)| *title == name).collect();
    told.sort();
    let expected = ["firing", "resolved"].map(|status| (name.clone(), status.to_owned()));
    assert_eq!(told, expected);
    until("the spool is empty", async || (spooled(&host).await["requests"] == 0).then_some(())).await;
    assert_eq!(host.post("/webhook/grafana", &group("straight", "firing")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_says_so_and_a_source_without_one_is_refused() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    let settings = settings(&server, &receiver, "[spool]\nrequests = 4\n");
    let host = settings.plugin(Plugin::shipped("alertmanager")).start().await;
    server.kill().await;
    host.without_temporal().await;
    for expected in [202, 202, 503] {
        let reply = host.post("/webhook/grafana", &group("full", "firing")).await;
        assert_eq!(reply.status, expected, "{reply:?}");
        assert!(expected == 202 || reply.json()["code"] == "spool-full", "{reply:?}");
    }
    assert_eq!(host.post("/webhook/alertmanager", &group("none", "firing")).await.status, 503);
    let metrics = host.get("/metrics").await.text;
    assert!(metrics.contains("campanile_spool_requests 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_broken_loses_nothing_either() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    let host = settings(&server, &receiver, "").start().await;
    let plugins = host.settings().plugins();
    std::fs::remove_file(plugins.join("grafana.wasm")).expect("it is there");
    until("it is gone", async || {
        let loaded = host.plugins().await["loaded"].to_string();
        (!loaded.contains("grafana")).then_some(())
    })
    .await;
    assert_eq!(host.post("/webhook/grafana", &group("meanwhile", "firing")).await.status, 202);
    host.drop_plugin(&Plugin::shipped("grafana"));
    receiver.wait_for("/pager", 1).await;
    assert_eq!(told(&receiver), [("meanwhile".to_owned(), "firing".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_resort_is_told_what_nobody_else_can_say_and_not_again_and_again() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(404));
    let server = Temporal::start().await;
    let settings = settings(&server, &receiver, "");
    let url = settings.write("last-resort", &receiver.url("/last-resort"));
    let config = format!("[last-resort]\nfile = \"{}\"\nafter = \"1s\"\n", url.display());
    let host = settings.and_config(&config).start().await;
    let failing = with(identified("nobody is told"), json!({"severity": "critical"}));
    let id = ids(&host.post("/webhook/alerts", &json!({"alerts": [failing]})).await.ok()).remove(0);
    host.completed(&id).await;
    let told = receiver.wait_for("/last-resort", 1).await[0].json();
    assert_eq!(told["reason"], "deliveries-given-up");
    assert!(told["text"].as_str().unwrap_or_default().contains("1 deliveries were given up"), "{told}");
    server.kill().await;
    host.without_temporal().await;
    let told = receiver.wait_for("/last-resort", 2).await[1].json();
    assert_eq!(told["reason"], "temporal-unreachable");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(receiver.received("/last-resort").len(), 2, "it was said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_resort_in_clear_text_over_the_network_is_refused() {
    let settings = Settings::new();
    let url = settings.write("last-resort", "http://hooks.example.com/");
    let config = format!("[last-resort]\nfile = \"{}\"\n", url.display());
    let (exit, log) = Host::refusing(&settings.and_config(&config)).await;
    assert!(!exit.success() && log.tail().contains("is not https://"), "{}", log.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_others_wait_does_not_overtake_them() {
    const WAITING: usize = 150;
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let host = settings(&server, &receiver, "").start().await;
    server.kill().await;
    host.without_temporal().await;
    for number in 0..WAITING {
        let reply = host.post("/webhook/grafana", &group(&format!("waits {number}"), "firing")).await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    server.restart().await;
    host.log().message("spooled request handed over").await;
    let late = host.post("/webhook/grafana", &group("comes late", "firing")).await;
    assert_eq!(late.status, 202, "Temporal answers, and others were first: {late:?}");
    let told = receiver.wait_for("/pager", WAITING + 1).await;
    assert_eq!(told.len(), WAITING + 1);
    let handed = host.log().events().into_iter().filter(|event| event["message"] == "accepted").count();
    assert_eq!(handed, WAITING + 1, "each was handed over once");
}

/// A notification with so many labels that a starved source fails on it.
fn heavy(name: &str) -> Value {
    let labels: Value = (0..19_000)
        .map(|number| (format!("label {number}"), json!(name)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({"version": "1", "alerts": [{"status": "firing", "labels": labels}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_by_its_content_is_set_aside_and_holds_up_nothing() {
    /// More than are read at once.
    const BEHIND: usize = 60;
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let settings = Settings::new()
        .server(Server::At(server.address()))
        .plugin(Plugin::shipped("grafana").sidecar("[limits]\nmemory = \"3MiB\"\n"))
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .and_config(SPOOLED);
    let host = settings.start().await;
    let status = async |body: &Value| host.post("/webhook/grafana", body).await.status;
    assert_eq!(status(&heavy("alone")).await, 202, "grafana never posts it again");
    server.kill().await;
    host.without_temporal().await;
    for name in ["first", "second"] {
        assert_eq!(status(&heavy(name)).await, 202);
    }
    for number in 0..BEHIND {
        assert_eq!(status(&group(&format!("behind {number}"), "firing")).await, 202);
    }
    host.kill9().await;

    let host = Host::listening(&settings).await;
    assert_eq!(spooled(&host).await["requests"], 3 + BEHIND);
    server.restart().await;
    receiver.wait_for("/pager", BEHIND).await;
    let told = told(&receiver);
    assert!(told.len() == BEHIND && told.iter().all(|(title, _)| title.starts_with("behind ")), "{told:?}");
    until("the others are set aside", async || (spooled(&host).await["set_aside"] == 3).then_some(())).await;
    let events = host.log().events();
    let begins =
        |event: &Value, text: &str| event["message"].as_str().is_some_and(|said| said.starts_with(text));
    let set_aside = events.iter().rposition(|event| begins(event, "a spooled request is set aside"));
    let handed_over = events.iter().rposition(|event| begins(event, "spooled request handed over"));
    assert!(
        set_aside.is_some() && set_aside < handed_over,
        "set aside at {set_aside:?} of the log, and the last handed over at {handed_over:?}"
    );
    assert_eq!(spooled(&host).await["requests"], 0);
    let metrics = host.get("/metrics").await.text;
    assert!(metrics.contains("campanile_spool_set_aside 3"), "{metrics}");
    let listed = host.get("/spool").await.ok();
    let first = &listed["set_aside"][0];
    assert_eq!((&first["source"], &first["failures"]), (&json!("grafana"), &json!(3)), "{first}");
    assert!(
        first["error"].as_str().is_some_and(|text| text.contains("memory limit 3 MiB reached")),
        "{first}"
    );
    assert_eq!(host.post("/webhook/grafana", &group("after", "firing")).await.status, 200, "straight");

    let command =
        async |arguments: &[&str]| campanile(&[&["spool"], arguments, &["--url", host.url()]].concat()).await;
    let list = command(&["list"]).await;
    assert!(list.stdout.contains("memory limit") && list.stdout.contains("3 are set aside"), "{list:?}");
    host.drop_plugin(&Plugin::shipped("grafana").sidecar("[limits]\nmemory = \"64MiB\"\n"));
    host.loaded("grafana", |entry| entry["generation"] == 2).await;
    let id = first["id"].as_str().expect("an id");
    assert_eq!(command(&["retry", id]).await.stdout.trim(), format!("{id}\n1 requests"));
    receiver.wait_for("/pager", BEHIND + 2).await;
    assert_eq!(command(&["discard", "--all"]).await.stdout.lines().last(), Some("2 requests"));
    assert_eq!(spooled(&host).await["set_aside"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_spooled_another_one_hands_over() {
    let receiver = Receiver::start().await;
    let (mut server, database) = (Temporal::start().await, Postgres::shared().await.database());
    let settings = settings(&server, &receiver, &format!("[store]\nurl = \"{database}\"\n"));
    let (first, second) = (settings.start().await, settings.clone().role("all").start().await);
    server.kill().await;
    first.without_temporal().await;
    assert_eq!(first.post("/webhook/grafana", &group("orphaned", "firing")).await.status, 202);
    first.kill9().await;
    until("the other host sees it", async || (spooled(&second).await["requests"] == 1).then_some(())).await;
    server.restart().await;
    receiver.wait_for("/pager", 1).await;
    assert_eq!(told(&receiver), [("orphaned".to_owned(), "firing".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_refuses_until_it_is_back() {
    let receiver = Receiver::start().await;
    let (server, mut postgres) = (Temporal::start().await, Postgres::start().await);
    let database = postgres.database();
    let settings = settings(&server, &receiver, &format!("[store]\nurl = \"{database}\"\n"));
    postgres.kill().await;
    let host = Host::listening(&settings).await;
    server.kill().await;
    host.without_temporal().await;
    let reply = host.post("/webhook/grafana", &group("early", "firing")).await;
    assert_eq!((reply.status, &reply.json()["code"]), (503, &json!("store-unavailable")), "{reply:?}");
    let (ready, health) = (host.get("/readyz").await, host.get("/health").await);
    assert_eq!((ready.status, health.status), (503, 503));
    assert!(ready.text.contains("the store does not answer"), "{}", ready.text);
    assert!(health.json()["store"]["fault"].is_string(), "{}", health.text);
    postgres.restart().await;
    until("the store is open", async || {
        (host.post("/webhook/grafana", &group("late", "firing")).await.status == 202).then_some(())
    })
    .await;
    assert!(host.get("/health").await.json()["store"].get("fault").is_none());
}
