//! What Temporal's limits allow at most: the largest alerts for the most receivers, while everything fails. Each alert that was
//! answered with 200 comes to an outcome, and each delivery that exhausted its attempts is a dead letter.

use harness::alerts::{alert, unique, with};
use harness::wait::until;
use harness::{Answer, Host, Plugin, Receiver, Settings, Temporal};
use serde_json::{Value, json};

/// The most receivers and updaters that one alert may have.
const RECEIVERS: usize = 32;
const UPDATERS: usize = 8;
/// The largest alert, in bytes of JSON.
const LARGEST: usize = 512 << 10;
/// How often a dead letter is tried again: with the largest alert, more often than one run of its workflow does it.
const ROUNDS: usize = 4;

/// Receivers and updaters that all fail, as routes name them; `more` is set for each receiver.
fn failing(receiver: &Receiver, updaters: usize, more: &str) -> String {
    let table = |kind: &str, plugin: &str, name: &str, more: &str| {
        let url = receiver.url(&format!("/{name}"));
        receiver.always(&format!("/{name}"), Answer::status(503));
        format!("[{kind}.{name}]\nplugin = \"{plugin}\"\nconfig = {{ url = \"{url}\" }}\n{more}\n")
    };
    let receivers: Vec<String> = (0..RECEIVERS).map(|number| format!("pager{number}")).collect();
    let updaters: Vec<String> = (0..updaters).map(|number| format!("status{number}")).collect();
    let tables = receivers.iter().map(|name| table("receivers", "pager", name, more));
    let tables: String =
        tables.chain(updaters.iter().map(|name| table("updaters", "status", name, ""))).collect();
    format!("\n[[routes]]\nreceivers = {receivers:?}\nupdaters = {updaters:?}\n{tables}")
}

async fn start(receiver: &Receiver, updaters: usize, more: &str) -> Host {
    Settings::new()
        .replace_in_config("maximum-attempts = 4", "maximum-attempts = 2")
        .and_config(&failing(receiver, updaters, more))
        .plugin(Plugin::recorder("pager", receiver, ""))
        .plugin(Plugin::status_recorder("status", receiver))
        .start()
        .await
}

/// An alert of this many bytes as JSON.
fn sized(bytes: usize) -> Value {
    let small = with(alert(&unique("large ")), json!({"data": {"text": ""}}));
    let room = bytes - small.to_string().len();
    with(small, json!({"data": {"text": "x".repeat(room)}}))
}

/// How many steps of a ledger are dead letters.
fn dead_letters(ledger: &Value) -> usize {
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    steps.iter().filter(|step| step["dead_letter"].is_string()).count()
}

/// How many bytes the history of a workflow's latest run has.
async fn history_size(id: &str) -> usize {
    let history = Temporal::shared().await.ask(&["workflow", "describe", "--workflow-id", id]).await;
    let size = history.expect("it is known")["workflowExecutionInfo"]["historySizeBytes"].clone();
    size.as_str().and_then(|size| size.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_alert_ends_when_all_receivers_of_one_queue_fail() {
    let receiver = Receiver::start().await;
    let host = start(&receiver, 0, "task-queue = \"lane\"").await;
    let ledger = host.ledger(sized(LARGEST - 100)).await;
    assert_eq!(ledger["outcome"], "failed");
    assert_eq!(dead_letters(&ledger), RECEIVERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_alert_ends_when_receivers_and_updaters_fail() {
    let receiver = Receiver::start().await;
    let host = start(&receiver, UPDATERS, "").await;
    let results = host.submit_sync(&[sized(LARGEST - 100)]).await;
    let ledger = &results[0]["ledger"];
    assert_eq!(ledger["outcome"], "failed");
    assert_eq!(dead_letters(ledger), RECEIVERS);
    let size = history_size(results[0]["workflow_id"].as_str().expect("an id")).await;
    assert!(size < 50 << 20, "Temporal ends a workflow at 50 MB: {size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_alerts_of_a_batch_end_when_all_their_receivers_fail() {
    let receiver = Receiver::start().await;
    let host = start(&receiver, UPDATERS, "task-queue = \"lane\"").await;
    let alerts: Vec<Value> = (0..6).map(|_| sized(40 << 10)).collect();
    let results = host.submit_sync(&alerts).await;
    for result in &results {
        assert_eq!(result["ledger"]["outcome"], "failed", "{}", result["ledger"]["steps"]);
        assert_eq!(dead_letters(&result["ledger"]), RECEIVERS);
    }
}

/// Has a dead letter tried again, once it is listed.
async fn try_again(host: &Host, id: &str) {
    until("the dead letter takes an order", async || {
        let answer = host.post(&format!("/deliveries/retry?id={id}"), &json!({})).await.ok();
        answer["deliveries"].as_array().is_some_and(|ids| !ids.is_empty()).then_some(())
    })
    .await;
}

/// The only dead letter of a receiver, once it is listed in this state.
async fn listed(host: &Host, receiver: &str, state: &str) -> Value {
    until(&format!("the dead letter is listed as {state}"), async || {
        let ended = state == "delivered";
        let page = host.get(&format!("/deliveries?receiver={receiver}&ended={ended}")).await.ok();
        let found = page["deliveries"].as_array().expect("a list");
        (found.len() == 1 && found[0]["state"] == state).then(|| found[0].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_dead_letter_is_retried_until_it_is_delivered() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(410));
    let (name, url) = (unique("chat"), receiver.url("/chat"));
    let config = format!(
        "\n[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n[[routes]]\nreceivers = [\"{name}\"]\n"
    );
    let settings = Settings::new().and_config(&config).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let ledger = host.ledger(sized(LARGEST - 12_000)).await;
    let id = ledger["steps"][0]["dead_letter"].as_str().expect("it is a dead letter");
    for round in 1..=ROUNDS {
        try_again(&host, id).await;
        receiver.wait_for("/chat", round + 1).await;
    }
    let waits = listed(&host, &name, "exhausted").await;
    assert_eq!((&waits["id"], &waits["error"]), (&json!(id), &json!("http-410")), "{waits}");
    assert!(waits["title"].is_string() && waits["severity"].is_string(), "{waits}");
    let ended = host.get(&format!("/deliveries?receiver={name}&ended=true")).await.ok();
    assert_eq!(ended["deliveries"], json!([]), "a retry that fails is no end");

    receiver.always("/chat", Answer::status(200));
    try_again(&host, id).await;
    assert_eq!(listed(&host, &name, "delivered").await["id"], json!(id));
    let delivered = receiver.received("/chat").last().expect("a request").json();
    assert_eq!(delivered["delivery_id"], json!(id));
    assert!(delivered["attempt"].as_u64() > Some(ROUNDS as u64), "{}", delivered["attempt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_beyond_the_limit_is_refused_and_one_of_failed_conditions_bounded() {
    let receiver = Receiver::start().await;
    let names: Vec<String> = (0..4).map(|number| format!("team{number}")).collect();
    let route = |name: &String| {
        format!("[[routes]]\nwhen = 'alert.labels.team == \"{name}\"'\nreceivers = [\"{name}\"]\n")
    };
    let table = |name: &String| {
        let url = receiver.url(&format!("/{name}"));
        format!("[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n")
    };
    let config: String = names.iter().map(route).chain(names.iter().map(table)).collect();
    let settings = Settings::new().and_config("\n[limits]\nreceivers = 2\n").and_config(&config);
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(alert("no labels")).await;
    assert_eq!(ledger["outcome"], "delivered");
    let decisions = ledger["decisions"].to_string();
    assert!(decisions.contains("team2: left out: an alert has at most 2 receivers"), "{decisions}");
    assert_eq!(receiver.all().len(), 2);

    let wide = format!("{}[[routes]]\nreceivers = {names:?}\n", host.settings().config_text());
    let (status, log) = Host::refusing(&Settings::new().config(&wide)).await;
    assert!(!status.success());
    let text = log.tail();
    assert!(text.contains("one alert can have 4 receivers"), "{text}");
}
