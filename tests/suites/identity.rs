//! Identity: an alert that carries it runs once, however often and in whatever company it is posted.

use std::collections::BTreeMap;
use std::slice;

use harness::alerts::{alert, identified, unique, with};
use harness::{Plugin, Receiver, Settings, host};
use serde_json::{Value, json};

/// How often each title was delivered.
fn deliveries(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in receiver.received("/pager") {
        *counts
            .entry(request.json()["alert"]["title"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_alert_posted_twice_runs_once() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let alert = [identified("once")];
    let (first, second) = tokio::join!(host.submit_sync(&alert), host.submit_sync(&alert));
    let third = host.submit_sync(&alert).await;
    for result in [&first[0], &second[0], &third[0]] {
        assert_eq!(result["workflow_id"], first[0]["workflow_id"]);
        assert_eq!(result["outcome"], "delivered", "a repeat is answered with the first one's ledger");
    }
    assert_eq!(deliveries(&receiver), [("once".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_alert_alone_and_in_two_overlapping_batches_runs_once() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let shared = [identified("shared a"), identified("shared b"), identified("shared c")];
    let batch = |own: &str, alerts: &[Value]| {
        let alerts = [alerts, &[identified(own)]].concat();
        json!({"alerts": alerts, "batch_id": unique("overlap-")})
    };
    let (one, two) = (batch("only one", &shared[..2]), batch("only two", &shared[1..]));
    let (first, second, alone) = tokio::join!(
        host.post("/webhook/alerts/sync", &one),
        host.post("/webhook/alerts/sync", &two),
        host.submit_sync(&shared[1..2]),
    );
    let (first, second) = (first.ok(), second.ok());
    assert_eq!(first["workflow_ids"][1], second["workflow_ids"][0]);
    assert_eq!(first["workflow_ids"][1], alone[0]["workflow_id"]);
    for result in
        [&first["results"], &second["results"]].into_iter().flat_map(|r| r.as_array().expect("results"))
    {
        assert_eq!(result["outcome"], "delivered", "{result}");
    }
    let expected = ["shared a", "shared b", "shared c", "only one", "only two"];
    assert_eq!(deliveries(&receiver), expected.map(|title| (title.to_owned(), 1)).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resolve_of_an_alert_runs_too_and_once() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let firing = identified("comes and goes");
    let resolved = with(firing.clone(), json!({"status": "resolved", "ends_at": "2023-12-01T14:45:00Z"}));
    let first = host.submit_sync(slice::from_ref(&firing)).await;
    let second = host.submit_sync(slice::from_ref(&resolved)).await;
    host.submit_sync(&[resolved, firing]).await;
    let id = first[0]["workflow_id"].as_str().expect("an id");
    assert_eq!(second[0]["workflow_id"], format!("{id}-resolved"));
    let received = receiver.received("/pager");
    let statuses: Vec<_> = received.iter().map(|request| request.json()["alert"]["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    assert_ne!(received[0].json()["delivery_id"], received[1].json()["delivery_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_alert_twice_in_one_request_runs_once() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let twin = identified("twin");
    let results = host.submit_sync(&[twin.clone(), alert("between"), twin]).await;
    assert_eq!(results[0]["workflow_id"], results[2]["workflow_id"]);
    assert_eq!(results[0]["ledger"], results[2]["ledger"]);
    assert_eq!(deliveries(&receiver), [("twin".to_owned(), 1), ("between".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_identity_with_another_start_is_another_alert() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let first = identified("again");
    let later = with(first.clone(), json!({"starts_at": "2023-12-02T14:30:22Z"}));
    let ids = [host.submit_sync(&[first]).await, host.submit_sync(&[later]).await].concat();
    assert_ne!(ids[0]["workflow_id"], ids[1]["workflow_id"]);
    assert_eq!(deliveries(&receiver)["again"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_recognised_by_another_host_of_the_same_temporal() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let one = settings.start().await;
    let alert = identified("two doors");
    let first = one.submit_sync(slice::from_ref(&alert)).await;
    let other = settings.clone().role("webhook").start().await;
    let again = other.post("/webhook/alerts", &json!({"alerts": [alert]})).await.ok();
    assert_eq!(host::ids(&again)[0], first[0]["workflow_id"]);
    let state = other.completed(&host::ids(&again)[0]).await;
    assert_eq!(state["outcome"], "delivered");
    assert_eq!(receiver.received("/pager").len(), 1);
}
