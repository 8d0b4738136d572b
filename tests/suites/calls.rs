//! What a call uses up and when it ends: receipts, turns, replacement, cancellation.

use std::time::{Duration, Instant};

use harness::alerts::{alert, labelled, with};
use harness::plugin::posting_to;
use harness::{Answer, Host, Plugin, Receiver, Settings, Temporal, artifacts, until};
use serde_json::{Value, json};

fn step<'a>(ledger: &'a Value, plugin: &str) -> &'a Value {
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    steps.iter().find(|step| step["plugin"] == plugin).unwrap_or_else(|| panic!("no {plugin}: {ledger}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_a_receipt_in_the_ledger_and_in_the_metrics() {
    let receiver = Receiver::start().await;
    let denied = format!("[config]\nurl = \"{}\"\n[retry]\nmaximum-attempts = 1\n", receiver.url("/denied"));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let host =
        settings.plugin(Plugin::new("denied", artifacts::guest("recorder")).sidecar(&denied)).start().await;
    let ledger = host.ledger(alert("counted")).await;
    let usage = &step(&ledger, "pager")["usage"];
    let number = |name: &str| usage[name].as_u64().unwrap_or_default();
    assert_eq!((number("http_requests"), number("denied")), (1, 0), "{ledger}");
    assert!(number("cpu_us") > 0 && number("config_reads") > 0, "{usage}");
    assert!((1 << 16..64 << 20).contains(&number("memory")), "{usage}");
    assert!(number("bytes_out") > 100 && number("bytes_in") > 10, "{usage}");
    assert_eq!(step(&ledger, "denied")["usage"]["denied"], 1, "{ledger}");
    let metrics = host.get("/metrics").await.text;
    for line in [
        "campanile_plugin_http_requests_total{plugin=\"pager\"} 1",
        "campanile_plugin_denied_total{plugin=\"denied\"} 1",
        "campanile_plugin_cpu_seconds_count{plugin=\"pager\"} 1",
        "campanile_plugin_memory_bytes_count{plugin=\"pager\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_severe_does_not_wait_behind_what_is_not() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_millis(100)));
    let one_at_a_time = Plugin::recorder("pager", &receiver, "").and("[limits]\nconcurrency = 1\n");
    let host = Settings::new().plugin(one_at_a_time).start().await;
    let of = |severity: &str, title: &str| with(alert(title), json!({"severity": severity}));
    let mut alerts: Vec<_> = (0..5).map(|_| of("low", "low")).collect();
    alerts.push(of("critical", "critical"));
    host.submit(&alerts).await;
    let received = receiver.wait_for("/pager", 6).await;
    let titles: Vec<_> = received.iter().map(|one| one.json()["alert"]["title"].clone()).collect();
    let place = titles.iter().position(|title| title == "critical").expect("it was delivered");
    assert!(place <= 1, "only the call that ran already came first: {titles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_ends_on_the_version_it_began_with() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_secs(1)));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ids = host.submit(&[alert("under way")]).await;
    receiver.wait_for("/pager", 1).await;
    replace(&host).await;
    let state = host.completed(&ids[0]).await;
    let ledger = &state["ledger"];
    assert_eq!((&ledger["outcome"], &step(ledger, "pager")["generation"]), (&json!("delivered"), &json!(1)));
    assert_eq!(receiver.received("/pager").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outstays_its_version_is_ended_and_tried_on_the_next() {
    let receiver = Receiver::start().await;
    receiver.script("/pager", [Answer::status(200).after(Duration::from_secs(30))], Answer::status(200));
    let settings = Settings::new().and_config("[calls]\ndrain = \"100ms\"\n");
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ids = host.submit(&[alert("outstaying")]).await;
    receiver.wait_for("/pager", 1).await;
    replace(&host).await;
    let state = host.completed(&ids[0]).await;
    let ledger = &state["ledger"];
    assert_eq!((&ledger["outcome"], &step(ledger, "pager")["generation"]), (&json!("delivered"), &json!(2)));
    assert!(host.log().has(|event| event["message"] == "attempt failed" && event["code"] == "replaced"));
}

async fn replace(host: &Host) {
    host.settings().place("pager.wasm", &artifacts::version(artifacts::guest("recorder"), 2));
    host.loaded("pager", |entry| entry["generation"] == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_ends_its_call_within_two_seconds() {
    let receiver = Receiver::start().await;
    receiver.always("/slow", Answer::status(200).after(Duration::from_secs(60)));
    let one = "[limits]\nconcurrency = 1\ndeadline = \"50s\"\n";
    let settings = Settings::new().plugin(Plugin::guest("misbehave-notifier").sidecar(one));
    let host = settings.plugin(Plugin::recorder("slow", &receiver, "").and(one)).start().await;
    let ids = host.submit(&[labelled(alert("for ever"), "do", "spin")]).await;
    let temporal = Temporal::shared().await;
    until("both durable attempts run", async || {
        let described = temporal.ask(&["workflow", "describe", "--workflow-id", &ids[0]]).await?;
        let pending = described["pendingActivities"].as_array()?;
        let started = pending.iter().filter(|one| one["state"] == "PENDING_ACTIVITY_STATE_STARTED").count();
        (started == 2).then_some(())
    })
    .await;
    let cancelled = Instant::now();
    temporal.ask(&["workflow", "cancel", "--workflow-id", &ids[0]]).await;
    let ended = |plugin: &'static str| {
        host.log().wait_for("the end of a call", move |event| {
            event["receiver"] == plugin && event["message"] == "call ended: temporal cancelled the attempt"
        })
    };
    ended("misbehave-notifier").await;
    ended("slow").await;
    assert!(cancelled.elapsed() < Duration::from_secs(2), "{:?}", cancelled.elapsed());
    let well = host.ledger(labelled(alert("its place is free"), "do", "well")).await;
    assert_eq!(step(&well, "misbehave-notifier")["result"], "ok", "{well}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_waited_for_decides_how_the_call_ends() {
    let receiver = Receiver::start().await;
    let sidecar = format!("[retry]\nmaximum-attempts = 3\n{}", posting_to(&receiver, "late", ""));
    let host = Settings::new().plugin(Plugin::guest("misbehave-notifier").sidecar(&sidecar)).start().await;
    let forgetting = || labelled(alert("not waited for"), "do", "late-future");
    receiver.always("/late", Answer::status(200).after(Duration::from_millis(200)));
    let ledger = host.ledger(forgetting()).await;
    let own = step(&ledger, "misbehave-notifier");
    let warning = own["warnings"][0].as_str().unwrap_or_default();
    assert!(own["result"] == "ok" && warning.contains("the host waited in its place"), "{ledger}");
    assert_eq!(receiver.received("/late").len(), 1);
    receiver.always("/late", Answer::status(503));
    let ledger = host.ledger(forgetting()).await;
    let own = step(&ledger, "misbehave-notifier");
    assert_eq!(
        (&own["error"]["code"], &own["attempts"]),
        (&json!("request-not-awaited"), &json!(1)),
        "{ledger}"
    );
    assert!(own["dead_letter"].is_string() && ledger["outcome"] == "failed", "{ledger}");
    let silent = host.ledger(labelled(alert("nothing sent"), "do", "well")).await;
    let warning = &step(&silent, "misbehave-notifier")["warnings"];
    assert_eq!(*warning, json!(["it returned ok without sending any request or mail"]), "{silent}");
}
