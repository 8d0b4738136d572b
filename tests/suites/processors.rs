//! Processors: what they change, in which order, and that the alert goes on without those that fail.

use std::time::Duration;

use harness::alerts::{alert, identified, labelled, with};
use harness::{Answer, Host, Plugin, Receiver, Settings};
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
    for id in &ids {
        assert_eq!(host.completed(id).await["outcome"], "delivered");
    }
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

/// A processor that asks `/<name>` of `receiver`, and labels the alert with its own name.
fn inquirer(receiver: &Receiver, name: &str, more: &str) -> Plugin {
    let sidecar = harness::plugin::posting_to(receiver, name, more);
    let sidecar = sidecar.replace("[config]\n", &format!("[config]\nmark = \"{name}\"\n"));
    Plugin::new(name, harness::artifacts::guest("inquirer")).sidecar(&sidecar)
}

fn busy(seconds: u32) -> Answer {
    Answer::status(429).header("retry-after", &seconds.to_string())
}

fn step<'a>(ledger: &'a Value, plugin: &str) -> &'a Value {
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    steps.iter().find(|step| step["plugin"] == plugin).unwrap_or_else(|| panic!("no {plugin}: {ledger}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_asks_for_it_is_asked_again_alone() {
    let receiver = Receiver::start().await;
    receiver.script("/second", [Answer::status(503), busy(1)], Answer::status(200));
    let settings = Settings::new()
        .plugin(inquirer(&receiver, "first", "order = 1"))
        .plugin(inquirer(&receiver, "second", "order = 2"))
        .plugin(patched("third", 3, &json!({"labels": {"third": "yes"}})));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("looked up")).await;
    let labels = json!({"first": "yes", "second": "yes", "third": "yes"});
    assert_eq!(ledger["alert"]["labels"], labels, "{ledger}");
    assert_eq!(receiver.received("/pager")[0].json()["alert"]["labels"], labels);
    let (first, second) = (receiver.received("/first"), receiver.received("/second"));
    assert_eq!((first.len(), second.len()), (1, 3), "who has answered is not asked again");
    let pause = second[2].at - second[1].at;
    assert!(pause >= Duration::from_secs(1), "it asked for a second, and had {pause:?}");
    let step = step(&ledger, "second");
    assert_eq!((&step["attempts"], &step["result"]), (&json!(3), &json!("ok")), "{step}");
    let codes: Vec<_> = step["before"].as_array().into_iter().flatten().map(|one| &one["code"]).collect();
    assert_eq!(codes, ["http-503", "http-429"]);
    let names: Vec<_> =
        ledger["steps"].as_array().into_iter().flatten().map(|step| &step["plugin"]).collect();
    assert_eq!(names, ["first", "second", "third", "pager"], "each has one step");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_a_processor_outlives_the_host() {
    let receiver = Receiver::start().await;
    receiver.script("/second", [busy(3)], Answer::status(200));
    let settings = Settings::new()
        .and_config("\n[activities.processors]\nwait = \"2m\"\n")
        .plugin(inquirer(&receiver, "first", "order = 1"))
        .plugin(inquirer(&receiver, "second", "order = 2"))
        .plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let id = host.submit(&[identified("looked up after all")]).await[0].clone();
    harness::until("the alert waits", async || {
        let found = host.get(&format!("/alerts/{id}")).await.ok();
        found["steps"].to_string().contains("http-429").then_some(())
    })
    .await;
    host.kill9().await;
    let host = settings.start().await;
    let found = host.completed(&id).await;
    assert_eq!(found["ledger"]["alert"]["labels"], json!({"first": "yes", "second": "yes"}), "{found}");
    assert_eq!(step(&found["ledger"], "second")["attempts"], 2, "{found}");
    assert_eq!(receiver.received("/first").len(), 1, "its answer was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_goes_on_without_a_processor_that_never_succeeds() {
    let receiver = Receiver::start().await;
    receiver.always("/second", Answer::status(503));
    let settings = Settings::new()
        .and_config("\n[activities.processors]\nwait = \"2s\"\n")
        .plugin(inquirer(&receiver, "first", "order = 1"))
        .plugin(inquirer(&receiver, "second", "order = 2"))
        .plugin(inquirer(&receiver, "third", "order = 3"));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("passed over")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    assert_eq!(ledger["alert"]["labels"], json!({"first": "yes", "third": "yes"}), "{ledger}");
    let step = step(&ledger, "second");
    let attempts = step["attempts"].as_u64().expect("a number");
    assert!(attempts > 1 && attempts == receiver.received("/second").len() as u64, "{step}");
    assert_eq!((&step["result"], &step["error"]["code"]), (&json!("failed"), &json!("http-503")), "{step}");
    let says = format!("second: asked for another attempt and is passed over after {attempts}");
    assert!(ledger["decisions"].to_string().contains(&says), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_alert_waits_for_its_processors_less_long() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver, inquirer(&receiver, "enrich", "")).await;
    for (severity, attempts) in [("critical", 1), ("high", 2)] {
        receiver.script("/enrich", [busy(2)], Answer::status(200));
        let ledger = host.ledger(with(alert(severity), json!({"severity": severity}))).await;
        let step = step(&ledger, "enrich");
        assert_eq!(step["attempts"], attempts, "{severity}: {step}");
        assert_eq!(ledger["alert"]["labels"]["enrich"].is_null(), severity == "critical", "{ledger}");
        assert_eq!(ledger["outcome"], "delivered");
    }
}

/// Temporal's timers have the precision of a second: that would be three attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_is_asked_again_within_a_fraction_of_a_second() {
    let receiver = Receiver::start().await;
    receiver.always("/enrich", Answer::status(503));
    let quick = "[retry]\ninitial-interval = \"100ms\"\ncoefficient = 1.0\n";
    let settings = Settings::new()
        .and_config("\n[activities.processors]\nwait-critical = \"3s\"\n")
        .plugin(inquirer(&receiver, "enrich", "").and(quick));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(with(alert("in a hurry"), json!({"severity": "critical"}))).await;
    let attempts = step(&ledger, "enrich")["attempts"].as_u64();
    assert!(attempts >= Some(6), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retry_of_a_processors_own_file_is_honoured() {
    let receiver = Receiver::start().await;
    let names = ["alone", "thrice", "young"];
    names.iter().for_each(|name| receiver.always(&format!("/{name}"), Answer::status(503)));
    let retry = |name: &str, retry: &str| inquirer(&receiver, name, "").and(&format!("[retry]\n{retry}\n"));
    let settings = Settings::new()
        .plugin(retry("alone", "maximum-attempts = 1"))
        .plugin(retry("thrice", "maximum-attempts = 3\ninitial-interval = \"700ms\"\ncoefficient = 1.0"))
        .plugin(retry("young", "maximum-age = \"1ms\""));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("retried as set")).await;
    assert_eq!(names.map(|name| step(&ledger, name)["attempts"].clone()), [1, 3, 1], "{ledger}");
    let times: Vec<_> = receiver.received("/thrice").iter().map(|request| request.at).collect();
    for pair in times.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= Duration::from_millis(560), "700 ms, spread by a fifth, were {pause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_waits_for_a_processor_holds_up_no_other() {
    let receiver = Receiver::start().await;
    receiver.script("/enrich", [busy(3)], Answer::status(200));
    let host = host_with(&receiver, inquirer(&receiver, "enrich", "when = 'alert.title == \"waits\"'")).await;
    host.submit_sync(&[alert("waits"), alert("quick")]).await;
    let told = receiver.received("/pager");
    let titles: Vec<_> = told.iter().map(|request| request.json()["alert"]["title"].clone()).collect();
    assert_eq!(titles, ["quick", "waits"]);
    let between = told[1].at - told[0].at;
    assert!(between >= Duration::from_secs(1), "the other was delivered {between:?} before");
    assert_eq!(told[1].json()["alert"]["labels"]["enrich"], "yes");
}
