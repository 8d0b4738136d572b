//! Processors: what they change, in which order, and that the alert goes on without those that fail.

use harness::alerts::{alert, identified, labelled, with};
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};

async fn host_with(receiver: &Receiver, processor: Plugin) -> Host {
    Settings::new().plugin(processor).plugin(Plugin::recorder("pager", receiver, "")).start().await
}

fn patched(name: &str, order: i64, patch: &Value) -> Plugin {
    let sidecar = format!("order = {order}\n[config]\npatch = '{patch}'\n");
    Plugin::new(name, harness::artifacts::guest("echo")).sidecar(&sidecar)
}

/// The step of the processor under test.
fn processed(ledger: &Value) -> &Value {
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    steps
        .iter()
        .find(|step| step["activity"] == "process_alert")
        .unwrap_or_else(|| panic!("no processor ran: {ledger}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processors_patch_reaches_the_receivers_and_the_ledger() {
    let receiver = Receiver::start().await;
    let patch =
        json!({"severity": "critical", "labels": {"team": "core", "gone": null}, "data": {"seen": [1, 2]}});
    let host = host_with(&receiver, patched("enrich", 0, &patch)).await;
    let raised = labelled(labelled(alert("plain"), "gone", "soon"), "stays", "yes");
    let ledger = host.ledger(raised).await;
    let seen = receiver.wait_for("/pager", 1).await[0].json();
    assert_eq!(seen["alert"]["severity"], "critical");
    assert_eq!(seen["alert"]["labels"], json!({"stays": "yes", "team": "core"}));
    assert_eq!(seen["alert"]["document"]["data"], json!({"seen": [1, 2]}));
    assert_eq!(ledger["alert"]["severity"], "critical");
    assert_eq!(processed(&ledger)["result"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_run_one_after_the_other_in_their_order_and_routes_see_the_result() {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .plugin(patched("a-last", 20, &json!({"labels": {"seen": "last", "last": "1"}})))
        .plugin(patched("z-first", 10, &json!({"labels": {"seen": "first", "first": "1"}})))
        .plugin(Plugin::recorder("pager", &receiver, r#"when = 'alert.labels.seen == "last"'"#))
        .start()
        .await;
    let ledger = host.ledger(alert("in order")).await;
    assert_eq!(ledger["outcome"], "delivered");
    assert_eq!(ledger["alert"]["labels"], json!({"first": "1", "last": "1", "seen": "last"}));
    let names: Vec<_> =
        ledger["steps"].as_array().into_iter().flatten().map(|step| &step["plugin"]).collect();
    assert_eq!(names, ["z-first", "a-last", "pager"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_fails_in_any_way_lets_the_alert_through() {
    let receiver = Receiver::start().await;
    let never = "[limits]\nquarantine-after = 0\n";
    let host = host_with(&receiver, Plugin::guest("misbehave").sidecar(never)).await;
    let expected = [
        ("trap", "trap"),
        ("spin", "deadline"),
        ("eat", "memory"),
        ("recurse", "trap"),
        ("garbage", "invalid-output"),
        ("scalar", "invalid-output"),
        ("invalid", "invalid-output"),
        ("strip", "invalid-output"),
        ("identity", "invalid-output"),
        ("huge", "invalid-output"),
        ("fail", "no-mood"),
        ("shout", "plugin-error"),
    ];
    for (deed, code) in expected {
        let raised = labelled(alert(deed), "do", deed);
        let ledger = host.ledger(raised.clone()).await;
        assert_eq!(ledger["outcome"], "delivered", "{deed}: {ledger}");
        let step = processed(&ledger);
        assert_eq!(step["result"], "failed", "{deed}: {step}");
        assert_eq!(step["error"]["code"], code, "{deed}: {step}");
        assert_eq!(step["plugin"], "misbehave", "{deed}");
        let seen = receiver.received("/pager").last().expect("it was delivered").json();
        assert_eq!(seen["alert"]["title"], deed, "the alert went on unprocessed");
        assert_eq!(seen["alert"]["severity"], raised["severity"], "{deed}");
    }
    assert_eq!(host.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_processor_does_not_spoil_the_next_one() {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .plugin(Plugin::guest("misbehave").sidecar("order = 1\n"))
        .plugin(patched("enrich", 2, &json!({"labels": {"enriched": "yes"}})))
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .start()
        .await;
    let ledger = host.ledger(labelled(alert("bumpy"), "do", "trap")).await;
    assert_eq!(ledger["alert"]["labels"]["enriched"], "yes");
    assert_eq!(ledger["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_alert_reaches_nobody_and_the_ledger_says_why() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver, Plugin::guest("misbehave")).await;
    let ledger = host.ledger(labelled(alert("noise"), "do", "drop")).await;
    assert_eq!(ledger["outcome"], "dropped");
    let message = processed(&ledger)["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("the label asked for it"), "{message}");
    assert!(receiver.received("/pager").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_processor_does_not_hold_up_other_alerts() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver, Plugin::guest("misbehave")).await;
    let spinning: Vec<_> = (0..4).map(|n| labelled(alert(&format!("spin {n}")), "do", "spin")).collect();
    let ids = host.submit(&spinning).await;
    for number in 0..5 {
        let ledger = host.ledger(alert(&format!("quick {number}"))).await;
        assert_eq!(ledger["outcome"], "delivered");
    }
    assert_eq!(host.get("/health").await.status, 200);
    let state = host.completed(&ids[0]).await;
    assert!(
        state["alerts"].as_array().is_some_and(|all| all.iter().all(|one| one["outcome"] == "delivered")),
        "{state}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_are_only_called_for_alerts_that_meet_their_condition() {
    let receiver = Receiver::start().await;
    let conditional =
        Plugin::guest("misbehave").sidecar(r#"when = 'has(alert.data) && alert.data.careful == false'"#);
    let host = host_with(&receiver, conditional).await;
    let careful = with(labelled(alert("careful"), "do", "drop"), json!({"data": {"careful": true}}));
    assert_eq!(host.ledger(careful).await["outcome"], "delivered");
    let careless = with(labelled(alert("careless"), "do", "drop"), json!({"data": {"careful": false}}));
    assert_eq!(host.ledger(careless).await["outcome"], "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_updaters_are_told_of_a_dropped_alert() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::guest("misbehave"));
    let settings = settings.plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::status_recorder("status", &receiver)).start().await;
    let ledger = host.ledger(labelled(alert("noise"), "do", "drop")).await;
    assert_eq!(ledger["outcome"], "dropped");
    assert_eq!(receiver.wait_for("/status", 1).await[0].json()["outcome"], "dropped");
    assert!(receiver.received("/pager").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_needs_longer_than_a_local_attempt_gets_the_time() {
    let receiver = Receiver::start().await;
    let patient = Plugin::guest("misbehave").sidecar("[limits]\ndeadline = \"4s\"\n");
    let host = host_with(&receiver, patient).await;
    let ledger = host.ledger(labelled(alert("slow"), "do", "spin")).await;
    let step = processed(&ledger);
    assert_eq!(step["error"]["code"], "deadline", "{step}");
    assert!(step["duration_ms"].as_f64() > Some(3_900.0), "it had its four seconds: {step}");
    assert_eq!(ledger["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_alerts_wait_for_a_processor_instead_of_passing_it_by() {
    let receiver = Receiver::start().await;
    let one_at_a_time =
        Plugin::guest("misbehave").sidecar("[limits]\nconcurrency = 1\ndeadline = \"500ms\"\n");
    let host = host_with(&receiver, one_at_a_time).await;
    let alerts: Vec<_> = (0..6).map(|number| labelled(alert(&format!("{number}")), "do", "spin")).collect();
    for result in host.submit_sync(&alerts).await {
        let step = processed(&result["ledger"]);
        assert_eq!(step["error"]["code"], "deadline", "each had its turn: {step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_alert_is_told_whatever_a_processor_drops() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver, Plugin::guest("misbehave")).await;
    let firing = identified("told");
    assert_eq!(host.ledger(firing.clone()).await["outcome"], "delivered");
    let end = with(labelled(firing, "do", "drop"), json!({"status": "resolved"}));
    let ledger = host.ledger(end).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    assert!(
        ledger["decisions"].to_string().contains("drops the end, which is told all the same"),
        "{ledger}"
    );
    assert_eq!(receiver.received("/pager").len(), 2);
}
