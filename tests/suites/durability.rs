//! What was acknowledged is delivered, whatever dies in between.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::alerts::{alert, identified};
use harness::web::{client, send};
use harness::{Answer, Host, Plugin, Receiver, Server, Settings, until};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::{Value, json};

/// Answers so late that whoever asked has been killed by then.
fn never() -> Answer {
    Answer::status(200).after(Duration::from_secs(600))
}

fn titles(receiver: &Receiver) -> BTreeSet<String> {
    let received = receiver.received("/pager");
    received
        .iter()
        .filter_map(|request| request.json()["alert"]["title"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_between_acceptance_and_delivery_delivers_after_its_restart() {
    let receiver = Receiver::start().await;
    receiver.script("/pager", [never()], Answer::status(200));
    let settings = Settings::new().server(Server::Embedded).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let ids = host.submit(&[identified("survivor")]).await;
    let first = receiver.wait_for("/pager", 1).await;
    host.kill9().await;

    let host = settings.start().await;
    let state = host.completed(&ids[0]).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    let second = receiver.wait_for("/pager", 2).await;
    assert_eq!(first[0].json()["delivery_id"], second[1].json()["delivery_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_under_way_outlive_the_host() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(503));
    let retry = "[retry]\ninitial-interval = \"200ms\"\nmaximum-interval = \"1s\"\nmaximum-attempts = 0\n";
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, "").and(retry));
    let host = settings.start().await;
    let ids = host.submit(&[alert("retried for long")]).await;
    receiver.wait_for("/pager", 3).await;
    host.kill9().await;
    receiver.always("/pager", Answer::status(200));
    let host = settings.start().await;
    let state = host.completed(&ids[0]).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    let attempts = &state["ledger"]["steps"][0]["attempts"];
    assert!(attempts.as_u64() > Some(3), "attempts before the restart count: {attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_taken_by_a_webhook_alone_wait_for_a_worker() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let webhook = settings.clone().role("webhook").start().await;
    let ids = webhook.submit(&[identified("early")]).await;
    let state = webhook.get(&format!("/alerts/{}", ids[0])).await.ok();
    assert_eq!(state["state"], "running", "{state}");
    let _worker = settings.clone().role("worker").start().await;
    let state = webhook.completed(&ids[0]).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_webhook_and_two_workers_lose_a_worker_and_no_alert() {
    const ALERTS: usize = 60;
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_millis(150)));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let webhook = settings.clone().role("webhook").start().await;
    let workers = tokio::join!(async { settings.clone().role("worker").start().await }, async {
        settings.clone().role("worker").start().await
    });
    let mut ids = Vec::new();
    for number in 0..ALERTS {
        ids.extend(webhook.submit(&[identified(&format!("alert {number}"))]).await);
    }
    receiver.wait_for("/pager", ALERTS / 4).await;
    workers.0.kill9().await;
    for id in &ids {
        let state = webhook.completed(id).await;
        assert_eq!(state["outcome"], "delivered", "{state}");
    }
    assert_eq!(titles(&receiver).len(), ALERTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_told_to_stop_finishes_what_runs_and_exits_with_success() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_secs(1)));
    let settings = Settings::new().shared_store().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let ids = host.submit(&[identified("last orders")]).await;
    receiver.wait_for("/pager", 1).await;
    let status = host.stop().await;
    assert!(status.success(), "{status}");
    let webhook = settings.clone().role("webhook").start().await;
    let worker = settings.clone().role("worker").start().await;
    let state = webhook.completed(&ids[0]).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    drop(worker);
    assert_eq!(receiver.received("/pager").len(), 1, "the delivery that ran was finished, not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_replaced_while_alerts_flow_loses_none() {
    const ALERTS: usize = 120;
    let receiver = Receiver::start().await;
    let pager = |version| {
        let mut plugin = Plugin::recorder("pager", &receiver, "");
        plugin.component = harness::artifacts::version(plugin.component, version);
        plugin
    };
    let host = Settings::new().plugin(pager(0)).start().await;
    let flow = async {
        let mut ledgers = Vec::new();
        for number in 0..ALERTS {
            ledgers.push(host.ledger(alert(&format!("alert {number}"))).await);
        }
        ledgers
    };
    let replace = async {
        for generation in 2..=4 {
            host.drop_plugin(&pager(generation));
            host.loaded("pager", |entry| entry["generation"] == json!(generation)).await;
        }
    };
    let (ledgers, ()) = tokio::join!(flow, replace);
    assert!(ledgers.iter().all(|ledger| ledger["outcome"] == "delivered"));
    assert_eq!(titles(&receiver).len(), ALERTS);
    assert_eq!(receiver.received("/pager").len(), ALERTS);
    let last = host.ledger(alert("the last")).await;
    assert_eq!(last["steps"][0]["generation"], 4);
    let digests: BTreeSet<_> =
        ledgers.iter().map(|ledger| ledger["steps"][0]["digest"].to_string()).collect();
    assert!(digests.len() > 1, "the ledger names the version that ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_plugin_heals_the_deliveries_that_were_retrying() {
    let receiver = Receiver::start().await;
    let retry = "[retry]\ninitial-interval = \"200ms\"\nmaximum-interval = \"500ms\"\nmaximum-attempts = 0\n";
    let broken = Plugin::new("pager", harness::artifacts::guest("misbehave-notifier")).sidecar(retry);
    let host = Settings::new().plugin(broken).start().await;
    let ids = host.submit(&[harness::alerts::labelled(alert("heal me"), "do", "backoff")]).await;
    harness::until("the broken plugin is tried twice", async || {
        let state = host.get(&format!("/alerts/{}", ids[0])).await.ok();
        (state["pending"][0]["attempt"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    host.drop_plugin(&Plugin::recorder("pager", &receiver, "").and(retry));
    let state = host.completed(&ids[0]).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    receiver.wait_for("/pager", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_answer_gets_it_from_a_host_that_is_told_to_stop() {
    let receiver = Receiver::start().await;
    // The second attempt is the worker's to poll for: it must still be there.
    receiver.fail("/pager", 1, 503);
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let waiting = host.ledger(alert("last answer"));
    let stopping = async {
        receiver.wait_for("/pager", 1).await;
        host.process().signal(Signal::INT);
    };
    let (ledger, ()) = tokio::join!(waiting, stopping);
    assert_eq!(ledger["outcome"], "delivered");
    let status = host.process().wait(Duration::from_secs(20)).await.expect("it stops");
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", never());
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let request = client().post(host.at("/webhook/alerts/sync")).json(&json!({"alerts": [alert("stuck")]}));
    let waiting = tokio::spawn(send(request));
    receiver.wait_for("/pager", 1).await;
    host.process().signal(Signal::INT);
    host.log().message("stopping").await;
    host.process().signal(Signal::INT);
    let status = host.process().wait(Duration::from_secs(3)).await.expect("it stops at once");
    assert!(!status.success());
    assert!(waiting.await.expect("no panic").is_err(), "nobody is told that all is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_not_found_its_server_can_be_stopped() {
    let host = Host::listening(&Settings::new().server(Server::At("127.0.0.1:1".to_owned()))).await;
    host.process().signal(Signal::INT);
    let status = host.process().wait(Duration::from_secs(3)).await.expect("it stops at once");
    assert!(status.success());
}

/// How many files a host may have open from now on; as many as it had at first if none.
fn allow_files(host: &Host, most: Option<u64>) {
    // It has what the tests have.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: most.or(maximum), maximum };
    prlimit(Pid::from_raw(host.process().id()), Resource::Nofile, limit).expect("the limit can be set");
}

/// A host whose worker finds no file descriptor for what it starts with, so that the SDK panics.
async fn without_files(settings: &Settings) -> Host {
    for _ in 0..10 {
        let host = Host::listening(settings).await;
        // The worker begins once all plugins are loaded.
        host.log().message("plugin loaded").await;
        let open = std::fs::read_dir(format!("/proc/{}/fd", host.process().id())).expect("it runs").count();
        allow_files(&host, Some(open as u64));
        // It panics where the worker is made, or where it runs.
        let panicked = |event: &Value| {
            event["message"] == "temporal worker panicked: the log above says why"
                || event["message"] == "no worker" && event["error"].to_string().contains("the SDK panicked")
        };
        if host.log().find_within(Duration::from_secs(10), panicked).await.is_some() {
            return host;
        }
        // It was quicker than this.
        host.kill9().await;
    }
    panic!("the worker found what it needs each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_outlives_a_lack_of_file_descriptors() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = without_files(&settings).await;
    // It is made again after a second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    allow_files(&host, None);
    until("the worker polls again", async || (host.get("/readyz").await.status == 200).then_some(())).await;
    let ids = host.submit(&[identified("after the lack")]).await;
    assert_eq!(host.completed(&ids[0]).await["outcome"], "delivered");
}
