//! Deliveries: retries that end well, that end badly, and that must not happen.

use std::time::Duration;

use harness::alerts::{alert, identified, unique};
use harness::receiver::Received;
use harness::{Answer, Host, Plugin, Receiver, Settings};
use serde_json::Value;

fn step<'a>(ledger: &'a Value, plugin: &str) -> &'a Value {
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    steps
        .iter()
        .rfind(|step| step["plugin"] == plugin)
        .unwrap_or_else(|| panic!("no step of {plugin}: {ledger}"))
}

fn field(received: &[Received], name: &str) -> Vec<Value> {
    received.iter().map(|request| request.json()[name].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_twice_and_then_works_has_the_alert() {
    let receiver = Receiver::start().await;
    receiver.fail("/pager", 2, 503);
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("twice")).await;
    assert_eq!(ledger["outcome"], "delivered");
    assert_eq!(step(&ledger, "pager")["attempts"], 3);
    assert_eq!(step(&ledger, "pager")["message"], "answered 200");
    let received = receiver.received("/pager");
    assert_eq!(field(&received, "attempt"), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_carries_the_same_delivery_id_and_each_receiver_its_own() {
    let receiver = Receiver::start().await;
    receiver.fail("/one", 2, 503);
    let settings = Settings::new().plugin(Plugin::recorder("one", &receiver, ""));
    let host = settings.plugin(Plugin::recorder("two", &receiver, "")).start().await;
    let results = host.submit_sync(&[identified("delivery ids")]).await;
    let id = results[0]["workflow_id"].as_str().expect("a result has its id");
    assert_eq!(field(&receiver.received("/one"), "delivery_id"), vec![format!("{id}/one"); 3]);
    assert_eq!(field(&receiver.received("/two"), "delivery_id"), [format!("{id}/two")]);
    let traces = field(&receiver.received("/one"), "traceparent");
    let trace = traces[0].as_str().expect("a traceparent is text");
    assert_eq!(trace.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receiver_that_fails_for_good_leaves_the_other_its_alert() {
    let receiver = Receiver::start().await;
    receiver.always("/broken", Answer::status(503));
    let settings = Settings::new().plugin(Plugin::recorder("broken", &receiver, ""));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("partial")).await;
    assert_eq!(ledger["outcome"], "partial");
    assert_eq!(step(&ledger, "pager")["result"], "ok");
    let broken = step(&ledger, "broken");
    assert_eq!(broken["result"], "failed");
    assert_eq!(broken["attempts"], 4, "the settings allow four: {broken}");
    assert_eq!(broken["error"]["code"], "http-503");
    assert_eq!(receiver.received("/broken").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_is_not_retried() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", Answer::status(410));
    let host = Settings::new().plugin(Plugin::recorder("gone", &receiver, "")).start().await;
    let ledger = host.ledger(alert("gone")).await;
    assert_eq!(ledger["outcome"], "failed");
    let gone = step(&ledger, "gone");
    assert_eq!(gone["attempts"], 1);
    assert_eq!(gone["error"]["code"], "http-410");
    assert_eq!(gone["error"]["retry"], "never");
    assert_eq!(receiver.received("/gone").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_turns_permanent_ends_the_retries() {
    let receiver = Receiver::start().await;
    receiver.script("/pager", [Answer::status(503), Answer::status(503)], Answer::status(404));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("turned")).await;
    assert_eq!(ledger["outcome"], "failed");
    assert_eq!(step(&ledger, "pager")["attempts"], 3);
    assert_eq!(step(&ledger, "pager")["error"]["code"], "http-404");
    assert_eq!(receiver.received("/pager").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let receiver = Receiver::start().await;
    let busy = || Answer::status(429).header("retry-after", "2");
    receiver.script("/pager", [busy(), busy()], Answer::status(200));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("patience")).await;
    assert_eq!(ledger["outcome"], "delivered");
    let times: Vec<_> = receiver.received("/pager").iter().map(|request| request.at).collect();
    for pair in times.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= Duration::from_millis(1900), "came back after {pause:?}");
        assert!(pause < Duration::from_secs(10), "came back after {pause:?} only");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_kept_in_the_ledger() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(202).header("x-receipt", "incident-77"));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("receipt")).await;
    assert_eq!(step(&ledger, "pager")["receipt_id"], "incident-77");
    assert_eq!(step(&ledger, "pager")["message"], "answered 202");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_too_late_is_tried_again_and_holds_nobody_up() {
    let receiver = Receiver::start().await;
    receiver.script("/slow", [Answer::status(200).after(Duration::from_secs(30))], Answer::status(200));
    let settings = Settings::new().plugin(Plugin::recorder("slow", &receiver, ""));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ids = host.submit(&[alert("late")]).await;
    receiver.wait_for("/pager", 1).await;
    let state = host.completed(&ids[0]).await;
    let ledger = &state["ledger"];
    assert_eq!(ledger["outcome"], "delivered", "{state}");
    assert_eq!(step(ledger, "slow")["attempts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_updater_hears_the_outcome_and_every_receivers_part_in_it() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", Answer::status(410));
    let host = Settings::new()
        .plugin(Plugin::recorder("gone", &receiver, ""))
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::status_recorder("status", &receiver))
        .start()
        .await;
    let results = host.submit_sync(&[alert("status")]).await;
    assert_eq!(step(&results[0]["ledger"], "status")["activity"], "update_alert_status");
    let changes = receiver.received("/status");
    assert_eq!(changes.len(), 1, "one change of the outcome, one update");
    let change = changes[0].json();
    assert_eq!(change["outcome"], "partial");
    assert_eq!(change["alert_id"], results[0]["workflow_id"]);
    let states: Vec<_> = change["deliveries"].as_array().into_iter().flatten().map(|d| &d["state"]).collect();
    assert_eq!(states, ["failed", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_updater_hears_again_when_retries_change_the_outcome() {
    let receiver = Receiver::start().await;
    receiver.fail("/pager", 2, 503);
    let host = updated(&receiver, &["pager"]).await;
    let ledger = host.ledger(alert("pending, then delivered")).await;
    assert_eq!(ledger["outcome"], "delivered");
    assert_eq!(field(&receiver.received("/status"), "outcome"), ["pending", "delivered"]);
    let ids = field(&receiver.received("/status"), "change_id");
    assert_ne!(ids[0], ids[1], "another outcome is another change");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_keeps_its_change_id_until_it_succeeds() {
    let receiver = Receiver::start().await;
    receiver.fail("/status", 2, 503);
    let host = updated(&receiver, &["pager"]).await;
    let ledger = host.ledger(alert("reported at the third attempt")).await;
    assert_eq!(step(&ledger, "status")["attempts"], 3, "{ledger}");
    let told = receiver.received("/status");
    assert_eq!(field(&told, "outcome"), ["delivered", "delivered", "delivered"]);
    assert_eq!(field(&told, "attempt"), [1, 2, 3]);
    let ids = field(&told, "change_id");
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
}

/// An update that failed is not repeated once there is a newer state.
#[tokio::test(flavor = "multi_thread")]
async fn an_updater_hears_the_newest_state_instead_of_one_it_missed() {
    let receiver = Receiver::start().await;
    receiver.fail("/pager", 2, 503);
    receiver.fail("/status", 1, 503);
    let host = updated(&receiver, &["pager"]).await;
    let ledger = host.ledger(alert("the newest state")).await;
    assert_eq!(field(&receiver.received("/status"), "outcome"), ["pending", "delivered"]);
    let steps = ledger["steps"].as_array().expect("steps").iter();
    let updates: Vec<_> =
        steps.filter(|step| step["plugin"] == "status").map(|step| &step["result"]).collect();
    assert_eq!(updates, ["failed", "ok"], "{ledger}");
}

/// A host with these receivers and an updater.
async fn updated(receiver: &Receiver, names: &[&str]) -> Host {
    let settings = names
        .iter()
        .fold(Settings::new(), |settings, name| settings.plugin(Plugin::recorder(name, receiver, "")));
    settings.plugin(Plugin::status_recorder("status", receiver)).start().await
}

fn states(update: &Received) -> Vec<Value> {
    let deliveries = update.json()["deliveries"].as_array().expect("a list").clone();
    deliveries.iter().map(|delivery| delivery["state"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_updater_hears_how_a_receiver_ended_while_the_outcome_stays_partial() {
    let receiver = Receiver::start().await;
    receiver.always("/broken", Answer::status(503));
    receiver.always("/gone", Answer::status(410));
    receiver.fail("/late", 1, 503);
    let host = updated(&receiver, &["broken", "gone", "late", "pager"]).await;
    let ledger = host.ledger(alert("partial, and partial")).await;
    assert_eq!(ledger["outcome"], "partial");
    let told = receiver.received("/status");
    assert!(field(&told, "outcome").iter().all(|outcome| outcome == "partial"), "{ledger}");
    assert_eq!(states(&told[0]), ["pending", "failed", "pending", "delivered"]);
    let last = told.last().expect("an update");
    assert_eq!(states(last), ["failed", "failed", "delivered", "delivered"]);
    assert_ne!(told[0].json()["change_id"], last.json()["change_id"], "another state is another change");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_one_alert_are_five_seconds_apart_until_the_last() {
    let receiver = Receiver::start().await;
    for (name, seconds) in [("one", "1"), ("two", "2"), ("three", "3"), ("four", "15")] {
        let busy = Answer::status(429).header("retry-after", seconds);
        receiver.script(&format!("/{name}"), [busy], Answer::status(200));
    }
    let host = updated(&receiver, &["one", "two", "three", "four"]).await;
    host.ledger(alert("one after the other")).await;
    let told = receiver.received("/status");
    let (last, before) = told.split_last().expect("updates");
    assert_eq!(states(last), ["delivered"; 4]);
    for pair in before.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_secs(5), "{pause:?}");
        assert_ne!(states(&pair[0]), states(&pair[1]), "nothing is told twice");
    }
    assert!((3..=4).contains(&told.len()), "of four changes: {:?}", field(&told, "deliveries"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_receivers_whose_condition_holds_are_told_and_the_ledger_says_why() {
    let receiver = Receiver::start().await;
    let when = r#"when = 'alert.severity == "critical" || alert.source.name == "tests"'"#;
    let settings = Settings::new().plugin(Plugin::recorder("chosen", &receiver, when));
    let never = r#"when = 'alert.severity == "critical"'"#;
    let settings = settings.plugin(Plugin::recorder("passed-over", &receiver, never));
    let host = settings.plugin(Plugin::recorder("disabled", &receiver, "enabled = false")).start().await;
    let ledger = host.ledger(alert("routed")).await;
    assert_eq!(ledger["outcome"], "delivered");
    assert_eq!(receiver.received("/chosen").len(), 1);
    assert!(receiver.received("/passed-over").is_empty() && receiver.received("/disabled").is_empty());
    let decisions = ledger["decisions"].to_string();
    assert!(decisions.contains("passed-over") && decisions.contains("when"), "{decisions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_nobody_takes_is_unrouted_and_goes_to_the_catch_all() {
    let receiver = Receiver::start().await;
    let never = "when = 'false'";
    let catch_all = "\n[routing]\ncatch-all = [\"net\"]\n";
    let settings = Settings::new().and_config(catch_all).plugin(Plugin::recorder("net", &receiver, never));
    let host = settings.plugin(Plugin::recorder("other", &receiver, never)).start().await;
    let title = unique("nobody's ");
    let ledger = host.ledger(alert(&title)).await;
    assert_eq!(ledger["outcome"], "unrouted");
    assert_eq!(receiver.received("/net")[0].json()["alert"]["title"], title);
    assert!(receiver.received("/other").is_empty());
}
