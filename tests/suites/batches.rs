//! Many alerts in one request.

use std::collections::BTreeSet;

use harness::alerts::{alert, identified, unique, with};
use harness::host::ids;
use harness::{Plugin, Receiver, Settings};
use serde_json::{Value, json};

fn numbered(count: usize) -> Vec<Value> {
    (0..count).map(|number| alert(&format!("number {number}"))).collect()
}

fn titles(receiver: &Receiver, path: &str) -> BTreeSet<String> {
    let received = receiver.received(path);
    received.iter().map(|request| request.json()["alert"]["title"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_three_hundred_is_delivered_in_full_and_answered_in_order() {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .plugin(Plugin::guest("echo"))
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .start()
        .await;
    let alerts = numbered(300);
    let request = json!({"alerts": alerts, "batch_id": unique("three-hundred-")});
    let answer = host.post("/webhook/alerts/sync?timeout=90s", &request).await.ok();
    assert_eq!(answer["processed_count"], 300);
    assert_eq!(ids(&answer).len(), 300);
    let results = answer["results"].as_array().expect("results");
    for (result, alert) in results.iter().zip(&alerts) {
        assert_eq!(result["outcome"], "delivered", "{result}");
        assert_eq!(result["ledger"]["alert"]["title"], alert["title"]);
    }
    assert_eq!(results.len(), 300);
    assert_eq!(titles(&receiver, "/pager").len(), 300);
    assert_eq!(receiver.received("/pager").len(), 300, "nobody was told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_without_identity_are_told_apart_by_their_place() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let batch = unique("places-");
    let request = json!({"alerts": numbered(3), "batch_id": batch});
    let answer = host.post("/webhook/alerts/sync", &request).await.ok();
    assert_eq!(ids(&answer), vec![format!("batch-{batch}"); 3]);
    for (index, result) in answer["results"].as_array().into_iter().flatten().enumerate() {
        assert_eq!(result["id"], format!("batch-{batch}#{index}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_batch_id_finds_the_first_one_again() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let large = json!({"data": {"filler": "x".repeat(8 << 10)}});
    let alerts: Vec<_> = numbered(70).into_iter().map(|alert| with(alert, large.clone())).collect();
    let request = json!({"alerts": alerts, "batch_id": unique("again-")});
    let first = host.post("/webhook/alerts/sync", &request).await.ok();
    let second = host.post("/webhook/alerts/sync", &request).await.ok();
    assert_eq!(ids(&first), ids(&second));
    assert!(ids(&first).iter().collect::<BTreeSet<_>>().len() > 1, "half a megabyte is more than one chunk");
    assert_eq!(second["results"][69]["outcome"], "delivered");
    assert_eq!(receiver.received("/pager").len(), 70, "nobody was told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_of_a_mixed_batch_is_held_by_the_workflow_that_is_named_for_it() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let batch = unique("mixed-");
    let known = identified("known");
    let request = json!({"alerts": [alert("unknown"), known, alert("unknown too")], "batch_id": batch});
    let answer = host.post("/webhook/alerts/sync", &request).await.ok();
    let own = format!("alert-{}-20231201-143022", known["id"].as_str().expect("identified"));
    assert_eq!(ids(&answer), [format!("batch-{batch}"), own.clone(), format!("batch-{batch}")]);
    assert_eq!(answer["results"][1]["id"], own);
    for (result, title) in
        answer["results"].as_array().expect("results").iter().zip(["unknown", "known", "unknown too"])
    {
        assert_eq!(result["ledger"]["alert"]["title"], title);
    }
    let held = host.completed(&own).await;
    assert_eq!(held["outcome"], "delivered");
    let held = host.completed(&format!("batch-{batch}")).await;
    let carried: Vec<_> = held["alerts"].as_array().into_iter().flatten().map(|one| &one["id"]).collect();
    assert_eq!(carried, [&format!("batch-{batch}#0"), &format!("batch-{batch}#2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_receiver_does_not_hold_up_the_rest_of_a_batch() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", harness::Answer::status(410));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let when = r#"when = 'alert.title == "number 7"'"#;
    let host = settings.plugin(Plugin::recorder("gone", &receiver, when)).start().await;
    let results = host.submit_sync(&numbered(20)).await;
    for (number, result) in results.iter().enumerate() {
        let expected = if number == 7 { "partial" } else { "delivered" };
        assert_eq!(result["outcome"], expected, "{result}");
    }
}
