//! Recorded histories run through today's workflow code: a change that would strand workflows under way fails here, and
//! needs `ctx.patched`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use campanile::temporal::{
    AcknowledgementWorkflow, AlertProcessingWorkflow, BatchAlertProcessingWorkflow, LateDeliveryWorkflow,
};
use harness::alerts::{alert, identified, labelled, with};
use harness::receiver::Received;
use harness::{Answer, Host, Plugin, Receiver, Settings, Temporal, project, until};
use serde_json::{Value, json};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, UntypedWorkflow, Url, WorkflowFetchHistoryOptions,
    WorkflowHistory,
};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

fn directory() -> PathBuf {
    project::root().join("tests/histories")
}

fn replayer() -> WorkflowReplayer {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<AlertProcessingWorkflow>()
        .and_then(|options| options.register_workflow::<BatchAlertProcessingWorkflow>())
        .and_then(|options| options.register_workflow::<LateDeliveryWorkflow>())
        .and_then(|options| options.register_workflow::<AcknowledgementWorkflow>())
        .expect("each workflow is registered once");
    WorkflowReplayer::new(options.build()).expect("there are workflows")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_history_replays() {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory()).expect("readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let history = WorkflowHistory::from_json(&fs::read(entry.path()).expect("readable"));
        let history = history.unwrap_or_else(|error| panic!("{name}: {error}"));
        let replayed = replayer().replay_workflow(history).await;
        replayed.unwrap_or_else(|error| panic!("{name} does not replay: {error}"));
        names.push(name);
    }
    assert!(names.len() >= 24, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_this_code_would_not_have_written_does_not_replay() {
    let text = fs::read_to_string(directory().join("alert-retried.json")).expect("readable");
    let other = text.replace("\"send_notification\"", "\"send_telegram\"");
    assert_ne!(text, other);
    let history = WorkflowHistory::from_json(other.as_bytes()).expect("a history");
    assert!(replayer().replay_workflow(history).await.is_err());
}

/// Records anew what is in `tests/histories`, with `cargo test -p tests -- --ignored record`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "records tests/histories"]
async fn record_histories() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", Answer::status(410));
    let settings =
        Settings::new().plugin(Plugin::guest("misbehave")).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::status_recorder("status", &receiver)).start().await;
    record("alert-delivered", &host.submit_sync(&[identified("delivered")]).await).await;
    record("alert-dropped", &host.submit_sync(&[labelled(alert("dropped"), "do", "drop")]).await).await;
    record("alert-processor-traps", &host.submit_sync(&[labelled(alert("trapped"), "do", "trap")]).await)
        .await;
    let asks_again = with(labelled(alert("asks again"), "do", "backoff"), json!({"severity": "critical"}));
    record("alert-processor-retried", &host.submit_sync(&[asks_again]).await).await;
    receiver.fail("/pager", 2, 503);
    receiver.fail("/status", 1, 503);
    record("alert-retried", &host.submit_sync(&[alert("retried")]).await).await;
    receiver.script("/pager", [Answer::status(429).header("retry-after", "1")], Answer::status(410));
    record("alert-failed", &host.submit_sync(&[alert("failed")]).await).await;
    receiver.script("/pager", [Answer::status(200).after(Duration::from_secs(3))], Answer::status(200));
    record("alert-slow", &host.submit_sync(&[alert("slow")]).await).await;
    let late = Answer::status(200).after(Duration::from_millis(900));
    receiver.script("/pager", [Answer::status(200)], late.clone());
    receiver.always("/status", late);
    record_batch("batch-later", &host, &vec![alert("later"); 10]).await;
    receiver.always("/pager", Answer::status(200));
    receiver.always("/status", Answer::status(200));
    let slow = Plugin::guest("misbehave").sidecar("[limits]\ndeadline = \"3s\"\n");
    let patient = Settings::new().plugin(slow).plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let spinning = labelled(alert("processed durably"), "do", "spin");
    record("alert-processed-durably", &patient.submit_sync(&[spinning]).await).await;
    receiver.fail("/pager", 1, 503);
    let mixed: Vec<_> = (0..10).map(|number| identified(&format!("number {number}"))).collect();
    record_batch("batch-mixed", &host, &mixed).await;
}

/// The same for what routes bring: fallbacks, dead letters, what waits or is acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "records tests/histories"]
async fn record_histories_of_routes() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(410));
    let table = |name: &str, more: &str| {
        let url = receiver.url(&format!("/{name}"));
        format!("[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n{more}\n")
    };
    let routes = "[[routes]]\nreceivers = [\"chat\"]\nupdaters = [\"status\"]\n";
    let config = [
        table("chat", "fallback = [\"phone\"]\nretry = { initial-interval = \"2s\" }"),
        table("phone", ""),
        routes.to_owned(),
    ];
    let settings = Settings::new().and_config("\n").and_config(&config.concat());
    let settings = settings.plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::status_recorder("status", &receiver)).start().await;
    record("alert-stood-in", &host.submit_sync(&[identified("stood in")]).await).await;
    receiver.always("/phone", Answer::status(410));
    let failed = host.submit_sync(&[identified("exhausted")]).await;
    record("alert-dead-letter", &failed).await;
    let delivery = failed[0]["ledger"]["steps"][0]["dead_letter"].clone();
    receiver.always("/chat", Answer::status(200));
    until("it is listed", async || {
        let path = format!("/deliveries/retry?id={}", delivery.as_str().expect("an id"));
        let told = host.post(&path, &Value::Null).await.ok();
        (told["deliveries"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    receiver.wait_until("/chat", "the resumed delivery", |received| received.len() >= 3).await;
    until("it is at its end", async || {
        let page =
            host.get(&format!("/deliveries?ended=true&id={}", delivery.as_str().expect("an id"))).await.ok();
        page["deliveries"].as_array().is_some_and(|found| !found.is_empty()).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    record("delivery-late", &[json!({"workflow_id": delivery})]).await;

    receiver.script("/chat", [Answer::status(503)], Answer::status(200));
    let firing = with(identified("a life"), json!({"starts_at": "2026-11-26T05:00:00Z"}));
    let resolved = with(firing.clone(), json!({"status": "resolved"}));
    host.submit(&[firing]).await;
    record("alert-resolved", &host.submit_sync(&[resolved]).await).await;

    receiver.script("/chat", [Answer::status(503)], Answer::status(200));
    let id = host.submit(&[identified("taken over")]).await[0].clone();
    until("it is being tried again", async || {
        let found = host.get(&format!("/alerts/{id}")).await.ok();
        found["steps"].as_array().is_some_and(|steps| !steps.is_empty()).then_some(())
    })
    .await;
    host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    host.completed(&id).await;
    record("alert-acknowledged", &[json!({"workflow_id": id})]).await;
}

/// The same for lives that are more than one alert: what comes and goes, repeats in company, one who stands in for two, and
/// what is taken over after its end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "records tests/histories"]
async fn record_histories_of_lives() {
    let receiver = Receiver::start().await;
    let table = |name: &str, more: &str| {
        let url = receiver.url(&format!("/{name}"));
        format!("[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n{more}\n")
    };
    let config = [
        "[routing]\nhold-down = \"2s\"\n".to_owned(),
        table("chat", "fallback = [\"phone\"]"),
        table("mail", "fallback = [\"phone\"]"),
        table("phone", ""),
        "[[routes]]\nreceivers = [\"chat\", \"mail\"]\nupdaters = [\"status\"]\n".to_owned(),
    ];
    let settings = Settings::new().and_config(&config.concat());
    let settings = settings.plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::status_recorder("status", &receiver)).start().await;
    let start = |alert: &Value, at: &str| with(alert.clone(), json!({"starts_at": at}));
    let resolved = |alert: &Value| with(alert.clone(), json!({"status": "resolved"}));
    let first = start(&identified("comes and goes"), "2026-11-26T05:00:00Z");
    host.submit_sync(std::slice::from_ref(&first)).await;
    let end = host.submit(&[resolved(&first)]).await[0].clone();
    until("it is held back", async || {
        let found = host.get(&format!("/alerts/{end}")).await.ok();
        (found["state"] == "held").then_some(())
    })
    .await;
    let second = start(&first, "2026-11-26T05:01:00Z");
    record("alert-goes-on", &host.submit_sync(std::slice::from_ref(&second)).await).await;
    record("alert-held-back", &host.submit_sync(&[resolved(&second)]).await).await;

    receiver.always("/chat", Answer::status(410));
    receiver.always("/mail", Answer::status(410));
    let shared = host.submit_sync(&[identified("stands in for two")]).await;
    record("alert-stood-in-for-two", &shared).await;
    let id = shared[0]["workflow_id"].as_str().expect("an id");
    host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    until("the updaters are told", async || {
        let found = host.get(&format!("/alerts/{id}")).await.ok();
        (found["ledger"]["acknowledged"]["by"] == "alice").then_some(())
    })
    .await;
    receiver
        .wait_until("/status", "the last word", |received| {
            received.last().is_some_and(|last| last.json()["document"]["acknowledgement"].is_object())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    record("alert-acknowledged-afterwards", &[json!({"workflow_id": format!("ack-{id}")})]).await;
}

/// The same for what came later: a batch with more deliveries than it may have, alerts that are taken over in the middle of
/// something, a delivery that is made after all, and a task queue of a receiver's own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "records tests/histories"]
async fn record_histories_of_late_words() {
    let receiver = Receiver::start().await;
    let stand_ins: Vec<String> = (0..31).map(|number| format!("s{number}")).collect();
    let table = |name: &str, more: &str| {
        let url = receiver.url(&format!("/{name}"));
        format!("[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n{more}\n")
    };
    let route = |title: &str| {
        format!(
            "[[routes]]\nwhen = 'alert.title == \"{title}\"'\nreceivers = [\"{title}\"]\nupdaters = [\"status\"]\n"
        )
    };
    let mut config = vec![
        table("wide", &format!("fallback = {stand_ins:?}")),
        table("queued", "rate-limit = 100"),
        table("chat", "retry = { initial-interval = \"1s\", maximum-attempts = 9 }"),
        table("gone", ""),
    ];
    config.extend(stand_ins.iter().map(|name| table(name, "")));
    config.extend(["wide", "queued", "chat", "gone"].map(route));
    let settings = Settings::new().and_config(&config.concat());
    let settings = settings.plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::status_recorder("status", &receiver)).start().await;
    record_batch("batch-wide", &host, &vec![alert("wide"); 40]).await;
    record("alert-queued", &host.submit_sync(&[alert("queued")]).await).await;

    receiver.always("/chat", Answer::status(503));
    let ids = host.submit(&vec![alert("chat"); 10]).await;
    receiver.wait_for("/chat", 12).await;
    host.post(&format!("/alerts/{}/ack", ids[0]), &json!({"by": "alice"})).await.ok();
    receiver.always("/chat", Answer::status(200));
    for id in &ids {
        host.completed(id).await;
    }
    let batch = host.carrier(&json!({"workflow_id": ids[0]})).await;
    record("batch-acknowledged", &[json!({"workflow_id": batch})]).await;

    receiver.script("/chat", [Answer::status(503)], Answer::status(200));
    let told = receiver.received("/status").len();
    receiver.script("/status", [Answer::status(200), Answer::status(503)], Answer::status(200));
    let id = host.submit(&[alert("chat")]).await[0].clone();
    receiver.wait_for("/status", told + 2).await;
    host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    host.completed(&id).await;
    record("alert-acknowledged-meanwhile", &[json!({"workflow_id": id})]).await;

    receiver.always("/gone", Answer::status(410));
    let failed = host.submit_sync(&[identified("gone")]).await;
    let delivery =
        failed[0]["ledger"]["steps"][0]["dead_letter"].as_str().expect("it is a dead letter").to_owned();
    receiver.always("/gone", Answer::status(200));
    until("it is listed", async || {
        let told = host.post(&format!("/deliveries/retry?id={delivery}"), &Value::Null).await.ok();
        (told["deliveries"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    until("it is at its end", async || {
        let page = host.get(&format!("/deliveries?ended=true&id={delivery}")).await.ok();
        page["deliveries"].as_array().is_some_and(|found| !found.is_empty()).then_some(())
    })
    .await;
    let late =
        |received: &[Received]| received.last().is_some_and(|last| last.json()["outcome"] == "delivered");
    receiver.wait_until("/status", "the late report", late).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    record("delivery-made-after-all", &[json!({"workflow_id": delivery})]).await;
}

/// The same of the workflow that carries several alerts, once they are at their end.
async fn record_batch(name: &str, host: &Host, alerts: &[Value]) {
    let results = host.submit_sync(alerts).await;
    let batch = host.carrier(&results[0]).await;
    assert!(batch.starts_with("batch-"), "{name}: {batch}");
    // It is closed a moment later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    record(name, &[json!({"workflow_id": batch})]).await;
}

/// Writes the history of the workflow that holds the first of these results, in the SDK's own JSON.
async fn record(name: &str, results: &[Value]) {
    let id = results[0]["workflow_id"].as_str().expect("an id");
    let handle = client().await.get_workflow_handle::<UntypedWorkflow>(id);
    let json =
        handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await.expect("a history");
    let history: Value = serde_json::from_slice(&json).expect("JSON");
    let text = serde_json::to_string_pretty(&history).expect("JSON");
    fs::write(directory().join(format!("{name}.json")), text + "\n").expect("writable");
}

/// A client of the server that all tests share.
pub(crate) async fn client() -> Client {
    let address = format!("http://{}", Temporal::shared().await.address());
    let options = ConnectionOptions::new(Url::parse(&address).expect("an address")).build();
    let connection = Connection::connect(options).await.expect("the server is there");
    Client::new(connection, ClientOptions::new("default").build()).expect("a client")
}
