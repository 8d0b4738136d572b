//! The three example alerts, as they are, single and together, asynchronous and synchronous.

use harness::{Host, Plugin, Receiver, Settings, host, project};
use serde_json::{Value, json};

const EXAMPLES: [&str; 3] = ["security-login", "performance-cpu", "infrastructure-database"];

fn example(name: &str) -> Value {
    serde_json::from_str(&project::text(&format!("examples/{name}.json"))).expect("an example is JSON")
}

async fn host_with(receiver: &Receiver) -> Host {
    Settings::new().plugin(Plugin::recorder("pager", receiver, "")).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_is_acknowledged_and_delivered() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    for (count, name) in EXAMPLES.iter().enumerate() {
        let alert = example(name);
        let answer = host.post("/webhook/alerts", &json!({"alerts": [alert]})).await.ok();
        assert_eq!(answer["success"], true);
        assert_eq!(answer["message"], "Processed 1 alerts successfully");
        assert_eq!(answer["processed_count"], 1);
        assert_eq!(answer["errors"], json!([]));
        let delivered = receiver.wait_for("/pager", count + 1).await;
        let document = &delivered[count].json()["alert"]["document"];
        for (field, value) in alert.as_object().expect("an example is an object") {
            assert_eq!(&document[field], value, "{name}: {field}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_is_answered_with_its_ledger_when_the_sender_waits() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    for name in EXAMPLES {
        let answer =
            host.post("/webhook/alerts/sync?timeout=60s", &json!({"alerts": [example(name)]})).await.ok();
        let result = &answer["results"][0];
        assert_eq!(result["completed"], true, "{name}: {answer}");
        assert_eq!(result["outcome"], "delivered");
        assert_eq!(result["workflow_id"], answer["workflow_ids"][0]);
        assert_eq!(answer["message"], "1 of 1 alert delivered");
        let step = &result["ledger"]["steps"][0];
        assert_eq!(step["activity"], "send_notification");
        assert_eq!(step["plugin"], "pager");
        assert_eq!(step["result"], "ok");
        assert_eq!(step["attempts"], 1);
        assert!(step["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{step}");
        assert!(step["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_examples_are_accepted_together() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    let alerts: Vec<_> = EXAMPLES.iter().map(|name| example(name)).collect();
    let answer = host.post("/webhook/alerts", &json!({"alerts": alerts})).await.ok();
    assert_eq!(answer["message"], "Processed 3 alerts successfully");
    assert_eq!(answer["processed_count"], 3);
    let ids = host::ids(&answer);
    assert!(ids.iter().all(|id| id.starts_with("alert-")) && ids.len() == 3, "{ids:?}");
    receiver.wait_for("/pager", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_request_is_accepted_with_its_batch_id_and_metadata() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    let request = example("batch");
    let answer = host.post("/webhook/alerts", &request).await.ok();
    let known = ["alert-login-4711-20231201-143022", "alert-web-1/cpu-20231201-143105"];
    assert_eq!(host::ids(&answer)[..2], known);
    assert_eq!(host::ids(&host.post("/webhook/alerts", &request).await.ok()), host::ids(&answer));
    for delivered in receiver.wait_for("/pager", 3).await {
        assert_eq!(delivered.json()["alert"]["metadata"], request["metadata"]);
    }
    for id in host::ids(&answer) {
        let state = host.completed(&id).await;
        assert_eq!(state["ledger"]["metadata"], request["metadata"], "{id}: {state}");
    }
}
