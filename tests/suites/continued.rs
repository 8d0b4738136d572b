//! Calls that outlast their local activity, and answers that a crash must not repeat: one request is one request.

use std::time::Duration;

use futures::future::join_all;
use harness::alerts::{alert, identified, labelled};
use harness::plugin::posting_to;
use harness::{Answer, Host, Plugin, Receiver, Server, Settings, Temporal, artifacts, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// N of ADR 0016: an answer that was given longer ago is not asked for again, whatever dies.
const RECORDED: Duration = Duration::from_secs(2);

fn after(millis: u64) -> Answer {
    Answer::status(200).after(Duration::from_millis(millis))
}

/// Longer than the recorder waits, which is 5 s.
fn never() -> Answer {
    after(60_000)
}

/// Returns once an activity of this type is pending for an alert.
async fn pending(host: &Host, id: &str, activity: &str) {
    until(&format!("{activity} is pending"), async || {
        let found = host.get(&format!("/alerts/{id}")).await.ok();
        let pending = found["pending"].as_array().expect("a list");
        pending.iter().any(|one| one["activity"] == activity).then_some(())
    })
    .await;
}

/// A notifier that sleeps if an alert asks for it, until a deadline that no test waits for.
fn sleeper(name: &str) -> Plugin {
    Plugin::new(name, harness::artifacts::guest("misbehave-notifier"))
        .sidecar("[limits]\ndeadline = \"29s\"\n")
}

fn step(ledger: &Value, name: &str) -> Value {
    let mut steps = ledger["steps"].as_array().into_iter().flatten();
    let found = steps.rfind(|step| step["plugin"] == name || step["receiver"] == name);
    found.unwrap_or_else(|| panic!("no step of {name}: {ledger}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_gets_one_request_an_alert() {
    const POSTS: usize = 20;
    let receiver = Receiver::start().await;
    receiver.always("/slow", after(3_000));
    let host = Settings::new().plugin(Plugin::recorder("slow", &receiver, "")).start().await;
    let posts = (0..POSTS).map(|number| host.ledger(alert(&format!("post {number}"))));
    for ledger in join_all(posts).await {
        assert_eq!(ledger["outcome"], "delivered", "{ledger}");
        assert_eq!(step(&ledger, "slow")["attempts"], 1, "{ledger}");
    }
    assert_eq!(receiver.received("/slow").len(), POSTS);
    let ledger = host.ledger(alert("planned as slow")).await;
    assert!(ledger["decisions"].to_string().contains("its first attempt is a durable one"), "{ledger}");
    assert_eq!(step(&ledger, "slow")["attempts"], 1, "{ledger}");
    assert_eq!(receiver.received("/slow").len(), POSTS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_of_every_speed_get_one_request_an_alert() {
    const ALERTS: usize = 12;
    let receiver = Receiver::start().await;
    let speeds = [("quick", 0), ("later", 1_200), ("durable", 2_500)];
    let mut settings = Settings::new();
    for (name, millis) in speeds {
        receiver.always(&format!("/{name}"), after(millis));
        settings = settings.plugin(Plugin::recorder(name, &receiver, ""));
    }
    let host = settings.start().await;
    let batch: Vec<Value> = (0..ALERTS).map(|number| alert(&format!("one of {number}"))).collect();
    for result in host.submit_sync(&batch).await {
        let ledger = &result["ledger"];
        assert_eq!(ledger["outcome"], "delivered", "{ledger}");
        speeds.iter().for_each(|(name, _)| assert_eq!(step(ledger, name)["attempts"], 1, "{ledger}"));
    }
    for (name, _) in speeds {
        assert_eq!(receiver.received(&format!("/{name}")).len(), ALERTS, "{name}");
    }
}

async fn slow_updater() {
    let receiver = Receiver::start().await;
    receiver.always("/status", after(2_500));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::status_recorder("status", &receiver)).start().await;
    let ledger = host.ledger(alert("slow updater")).await;
    assert_eq!(step(&ledger, "status")["attempts"], 1, "{ledger}");
    assert_eq!(step(&ledger, "status")["result"], "ok", "{ledger}");
    assert_eq!(receiver.received("/status").len(), 1);
}

/// It has its whole deadline, once, and then fails open.
async fn slow_processor() {
    let receiver = Receiver::start().await;
    let slow = Plugin::guest("misbehave").sidecar("[limits]\ndeadline = \"3s\"\n");
    let host = Settings::new().plugin(slow).plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ledger = host.ledger(labelled(alert("spins"), "do", "spin")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    let processed = step(&ledger, "misbehave");
    assert_eq!(processed["error"]["code"], "deadline", "{ledger}");
    assert!(processed["duration_ms"].as_f64() >= Some(2_900.0), "it had its whole deadline: {ledger}");
    let metrics = host.get("/metrics").await.text;
    let is_count = |line: &&str| line.starts_with("campanile_plugin_call_duration_seconds_count");
    let calls: Vec<_> = metrics.lines().filter(is_count).filter(|line| line.contains("misbehave")).collect();
    let made = calls.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
    assert_eq!(made.sum::<u32>(), 1, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_updater_or_processor_is_called_once() {
    tokio::join!(slow_updater(), slow_processor());
}

/// The call is made again, by another process.
async fn process_dies() {
    let receiver = Receiver::start().await;
    receiver.script("/pager", [never()], Answer::status(200));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let id = host.submit(&[identified("process dies")]).await[0].clone();
    pending(&host, &id, "continue_attempt").await;
    host.kill9().await;
    let host = settings.start().await;
    let state = host.completed(&id).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    assert_eq!(step(&state["ledger"], "pager")["attempts"], 2, "{state}");
    assert_eq!(step(&state["ledger"], "pager")["before"][0]["code"], "process-lost", "{state}");
    let received = receiver.received("/pager");
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].json()["delivery_id"], received[1].json()["delivery_id"]);
}

/// The process finishes the call before it ends.
async fn process_stops() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", after(4_000));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let id = host.submit(&[identified("stops in between")]).await[0].clone();
    pending(&host, &id, "continue_attempt").await;
    let status = host.stop().await;
    assert!(status.success(), "{status}");
    let host = settings.start().await;
    let state = host.completed(&id).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    assert_eq!(receiver.received("/pager").len(), 1, "{state}");
}

/// The process ends the call, and another one makes it again.
async fn call_outlasts_the_grace() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(sleeper("pager"));
    let first = settings.clone().role("worker").start().await;
    let webhook = settings.clone().role("webhook").start().await;
    let id = webhook.submit(&[labelled(alert("outlasts the grace"), "do", "sleep")]).await[0].clone();
    pending(&webhook, &id, "continue_attempt").await;
    webhook.drop_plugin(&Plugin::recorder("pager", &receiver, ""));
    let second = settings.clone().role("worker").start().await;
    first.process().signal(Signal::TERM);
    let state = webhook.completed(&id).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    assert_eq!(step(&state["ledger"], "pager")["attempts"], 2, "{state}");
    assert_eq!(receiver.received("/pager").len(), 1);
    let status = first.process().wait(Duration::from_secs(10)).await.expect("it stops");
    assert!(status.success(), "{status}");
    drop(second);
}

/// Heartbeats that Temporal missed since it was away itself: no other worker makes the attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_temporal_that_stalls_has_no_other_worker_call_again() {
    let (server, receiver) = (Temporal::start().await, Receiver::start().await);
    receiver.always("/pager", after(25_000));
    let sidecar = posting_to(&receiver, "pager", "[limits]\ndeadline = \"29s\"\n");
    let pager = Plugin::new("pager", artifacts::shipped("webhook")).sidecar(&sidecar);
    let settings = Settings::new().shared_store().server(Server::At(server.address())).plugin(pager);
    let host = settings.start().await;
    let _other = settings.clone().role("worker").start().await;
    let id = host.submit(&[identified("temporal stalls")]).await[0].clone();
    pending(&host, &id, "continue_attempt").await;
    let has_missed = async || server.history(&id).await.to_string().contains("TIMEOUT_TYPE_HEARTBEAT");
    // A heartbeat that comes first once the server goes on is not missed.
    for _ in 0..3 {
        server.signal(Signal::STOP);
        // More than the heartbeats' timeout.
        tokio::time::sleep(Duration::from_secs(6)).await;
        server.signal(Signal::CONT);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if has_missed().await {
            break;
        }
    }
    let state = host.completed(&id).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    assert_eq!(receiver.received("/pager").len(), 1, "{state}");
    let made = step(&state["ledger"], "pager");
    assert_eq!(
        (&made["attempts"], &made["before"]),
        (&json!(1), &Value::Null),
        "no attempt was lost: {made}"
    );
    assert!(has_missed().await, "temporal missed no heartbeat");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_process_ends_is_finished_or_made_elsewhere() {
    tokio::join!(process_dies(), process_stops(), call_outlasts_the_grace());
}

/// The call ends on the version that began it.
async fn plugin_is_replaced() {
    let receiver = Receiver::start().await;
    receiver.script("/pager", [after(4_000)], Answer::status(200));
    let pager = |version| {
        let mut plugin = Plugin::recorder("pager", &receiver, "");
        plugin.component = harness::artifacts::version(plugin.component, version);
        plugin
    };
    let host = Settings::new().plugin(pager(0)).start().await;
    let id = host.submit(&[identified("swapped")]).await[0].clone();
    pending(&host, &id, "continue_attempt").await;
    host.drop_plugin(&pager(1));
    host.loaded("pager", |entry| entry["generation"] == json!(2)).await;
    let state = host.completed(&id).await;
    let pager = step(&state["ledger"], "pager");
    assert_eq!((&pager["generation"], &pager["attempts"]), (&json!(1), &json!(1)), "{state}");
    assert_eq!(receiver.received("/pager").len(), 1);
}

/// A call that is soon over still counts; one that is not is ended.
async fn alert_is_acknowledged() {
    let receiver = Receiver::start().await;
    receiver.always("/quick", after(4_000));
    let settings = Settings::new().plugin(Plugin::recorder("quick", &receiver, ""));
    let host = settings.plugin(sleeper("stuck")).start().await;
    let id = host.submit(&[labelled(identified("acknowledged"), "do", "sleep")]).await[0].clone();
    pending(&host, &id, "continue_attempt").await;
    host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    let state = host.completed(&id).await;
    assert_eq!(state["ledger"]["acknowledged"]["by"], "alice", "{state}");
    assert_eq!(step(&state["ledger"], "quick")["result"], "ok", "{state}");
    assert_eq!(step(&state["ledger"], "stuck")["error"]["code"], "acknowledged", "{state}");
    assert_eq!(receiver.received("/quick").len(), 1);
}

/// A call that goes on keeps its place among those of its plugin.
async fn places_are_taken() {
    const CALL: Duration = Duration::from_millis(2_500);
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(CALL));
    let one = Plugin::recorder("pager", &receiver, "").and("[limits]\nconcurrency = 1\n");
    let host = Settings::new().plugin(one).start().await;
    let posts = ["one", "two", "three"].map(|title| host.ledger(alert(title)));
    for ledger in join_all(posts).await {
        assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    }
    let received = receiver.received("/pager");
    assert_eq!(received.len(), 3);
    assert!(received.windows(2).all(|pair| pair[1].at - pair[0].at >= CALL), "two calls ran at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_whatever_changes_meanwhile() {
    tokio::join!(plugin_is_replaced(), alert_is_acknowledged(), places_are_taken());
}

/// A signal that comes while a workflow task is under way has Temporal refuse its completion: its local activities are run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_task_that_is_run_again_joins_its_calls() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", after(1_500));
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let id = host.submit(&[identified("refused completion")]).await[0].clone();
    receiver.wait_for("/pager", 1).await;
    let input = json!({"alert": id, "acknowledgement": {"by": "alice", "at": "2026-11-29T00:00:00Z"}});
    let input = input.to_string();
    let signal = ["workflow", "signal", "--workflow-id", &id, "--name", "acknowledge", "--input", &input];
    let server = Temporal::shared().await;
    // It prints no JSON.
    let _ = server.ask(&signal).await;
    let state = host.completed(&id).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
    let history = server.history(&id).await.to_string();
    assert!(history.contains("EVENT_TYPE_WORKFLOW_TASK_FAILED"), "the signal came too late: {history}");
    assert_eq!(receiver.received("/pager").len(), 1);
}

/// What an answer has beside it when its process is killed.
#[derive(Clone, Copy, Debug)]
enum Beside {
    /// A receiver that does not answer.
    StuckReceiver,
    /// A receiver that fails, and fallbacks that fail one after the other.
    Fallbacks,
    /// An updater that does not answer.
    StuckUpdater,
    /// Alerts of the same batch whose processor takes its time.
    Batch,
}

/// Posts an alert to a quick receiver, kills the host once that has answered and N has passed, and gives the requests to it.
async fn killed_after_an_answer(beside: Beside, more: Duration) -> (Beside, Duration, usize) {
    let receiver = Receiver::start().await;
    receiver.always("/stuck", never());
    (0..9).for_each(|number| {
        receiver.always(&format!("/f{number}"), Answer::status(410).after(Duration::from_millis(400)))
    });
    let plugin = |name: &str| Plugin::recorder(name, &receiver, "when = 'alert.title == \"quick\"'");
    let settings = Settings::new().plugin(plugin("pager"));
    let settings = match beside {
        Beside::StuckReceiver => settings.plugin(plugin("stuck")),
        Beside::StuckUpdater => settings.plugin(Plugin::status_recorder("stuck", &receiver)),
        Beside::Batch => settings.plugin(Plugin::guest("misbehave").sidecar("[limits]\ndeadline = \"6s\"\n")),
        Beside::Fallbacks => {
            let table = |number: usize| {
                let next: Vec<String> = (number + 1..9).map(|next| format!("f{next}")).collect();
                let fallback = if number == 0 { format!("fallback = {next:?}") } else { String::new() };
                let url = receiver.url(&format!("/f{number}"));
                format!(
                    "[receivers.f{number}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n{fallback}\n"
                )
            };
            let tables: String = (0..9).map(table).collect();
            settings.and_config(&format!("\n{tables}\n[[routes]]\nreceivers = [\"pager\", \"f0\"]\n"))
        }
    };
    let host = settings.start().await;
    let spinning = labelled(alert("spins"), "do", "spin");
    let alerts = match beside {
        Beside::Batch => vec![alert("quick"), spinning],
        _ => vec![alert("quick")],
    };
    let id = host.submit(&alerts).await[0].clone();
    receiver.wait_for("/pager", 1).await;
    // From the answer on, which comes at once.
    tokio::time::sleep(RECORDED + more).await;
    host.kill9().await;
    // What the other calls do from now on is of no interest.
    receiver.always("/stuck", Answer::status(200));
    let host = settings.start().await;
    host.completed(&id).await;
    (beside, more, receiver.received("/pager").len())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_recorded_within_n_whatever_is_beside_it() {
    let all = [Beside::StuckReceiver, Beside::Fallbacks, Beside::StuckUpdater, Beside::Batch];
    let moments = [0, 700].map(Duration::from_millis);
    let killed = all.iter().flat_map(|beside| moments.map(|more| killed_after_an_answer(*beside, more)));
    for (beside, more, requests) in join_all(killed).await {
        assert_eq!(requests, 1, "beside {beside:?}, killed {more:?} after N");
    }
}
