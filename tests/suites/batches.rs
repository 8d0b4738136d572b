//! Many alerts in one request.

use std::collections::BTreeSet;

use harness::alerts::{alert, identified, unique, with};
use harness::host::ids;
use harness::{Answer, Plugin, Receiver, Settings};
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
    receiver.always("/gone", Answer::status(410));
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let when = r#"when = 'alert.title == "number 7"'"#;
    let host = settings.plugin(Plugin::recorder("gone", &receiver, when)).start().await;
    let results = host.submit_sync(&numbered(20)).await;
    for (number, result) in results.iter().enumerate() {
        let expected = if number == 7 { "partial" } else { "delivered" };
        assert_eq!(result["outcome"], expected, "{result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_batch_is_answered_with_the_ids_that_temporal_holds() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    // An identity without a start: the id has the time of receipt in it, and that of the first post counts.
    let known = |title: &str| with(alert(title), json!({"id": unique("no-start-")}));
    for alerts in [vec![known("alone")], vec![known("one"), alert("nameless"), known("two")]] {
        let request = json!({"alerts": alerts, "batch_id": unique("held-")});
        let first = host.post("/webhook/alerts/sync", &request).await.ok();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let second = host.post("/webhook/alerts/sync", &request).await.ok();
        assert_eq!(ids(&first), ids(&second));
        for result in second["results"].as_array().expect("results") {
            assert_eq!(result["outcome"], "delivered", "{result}");
        }
    }
    assert_eq!(receiver.received("/pager").len(), 4, "nobody was told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_id_that_was_used_for_other_alerts_is_refused() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let batch = unique("reused-");
    let post = async |titles: &[&str]| {
        let alerts: Vec<_> = titles.iter().map(|title| alert(title)).collect();
        host.post("/webhook/alerts/sync", &json!({"alerts": alerts, "batch_id": batch})).await
    };
    // A single alert and several are held by different workflow types under the same id.
    assert_eq!(post(&["first"]).await.status, 200);
    for others in [&["first", "second"][..], &["other"], &["other", "others"]] {
        let reply = post(others).await;
        assert_eq!(reply.status, 409, "{reply:?}");
        let refused = reply.json();
        assert_eq!((&refused["code"], &refused["success"]), (&json!("batch-id-reused"), &json!(false)));
        assert_eq!(refused["errors"][0]["path"], "batch_id");
        assert_eq!(refused["errors"][0]["value"], batch);
    }
    assert_eq!(post(&["first"]).await.status, 200, "the same alert again is a repeat");
    assert_eq!(titles(&receiver, "/pager").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_batches_and_of_their_parts_do_not_meet() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let batch = unique("part-");
    let large = json!({"alerts": numbered(150), "batch_id": batch});
    let answer = host.post("/webhook/alerts/sync?timeout=60s", &large).await.ok();
    let parts: BTreeSet<_> = ids(&answer).into_iter().collect();
    assert_eq!(parts, [format!("batch-{batch}"), format!("batch-{batch}~2")].into());
    for end in ["~2", "#0"] {
        let request = json!({"alerts": numbered(2), "batch_id": format!("{batch}{end}")});
        let reply = host.post("/webhook/alerts", &request).await;
        assert_eq!((reply.status, &reply.json()["errors"][0]["path"]), (400, &json!("batch_id")));
    }
    let other = json!({"alerts": numbered(2), "batch_id": format!("{batch}-2")});
    assert_eq!(host.post("/webhook/alerts/sync", &other).await.ok()["results"][1]["outcome"], "delivered");
    let part = host.get(&format!("/alerts/batch-{batch}~2%23120")).await.ok();
    assert_eq!(part["alert"]["title"], "number 120", "{part}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_names_its_alerts_that_run_on_their_own() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let webhook = settings.clone().role("webhook").start().await;
    let batch = unique("family-");
    let request = json!({"alerts": [identified("a"), identified("b")], "batch_id": batch});
    let own = ids(&webhook.post("/webhook/alerts", &request).await.ok());
    let waiting = webhook.get(&format!("/alerts/batch-{batch}")).await.ok();
    assert_eq!((&waiting["state"], &waiting["children"]), (&json!("running"), &json!(own)));
    let unknown = webhook.get(&format!("/alerts/{}", own[0])).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["message"].to_string().contains("once a worker"), "{unknown:?}");
    let _worker = settings.role("worker").start().await;
    let done = webhook.completed(&format!("batch-{batch}")).await;
    assert_eq!((&done["alerts"], &done["children"]), (&json!([]), &json!(own)));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_wait_for_ever_do_not_hide_those_that_are_done() {
    let receiver = Receiver::start().await;
    receiver.always("/stuck", Answer::status(503));
    let stuck = Plugin::recorder("stuck", &receiver, r#"when = 'alert.title == "stuck"'"#);
    let retry = "[retry]\ninitial-interval = \"60s\"\nmaximum-interval = \"60s\"\n";
    let settings = Settings::new().plugin(stuck.and(retry));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let alerts: Vec<_> =
        (0..70).map(|number| identified(if number < 66 { "stuck" } else { "quick" })).collect();
    let answer = host.post("/webhook/alerts/sync?timeout=20s", &json!({"alerts": alerts})).await.ok();
    for (number, result) in answer["results"].as_array().expect("results").iter().enumerate() {
        assert_eq!(result["completed"], number >= 66, "{number}: {result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_ledgers_are_too_large_is_done_all_the_same() {
    let receiver = Receiver::start().await;
    let patch = json!({"data": {"runbook": "x".repeat(15 << 10)}});
    let sidecar = format!("[config]\npatch = '{patch}'\n");
    let enrich = Plugin::new("enrich", harness::artifacts::guest("echo")).sidecar(&sidecar);
    let host = Settings::new().plugin(enrich).plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let results = host.submit_sync(&numbered(100)).await;
    let is_abridged = |result: &&Value| {
        result["ledger"]["decisions"].to_string().contains("abridged")
            && result["ledger"]["alert"]["data"].is_null()
    };
    assert!(results.iter().all(|result| result["outcome"] == "delivered"), "{:?}", results[0]);
    let abridged = results.iter().filter(is_abridged).count();
    assert!((20..80).contains(&abridged), "{abridged} of 100 are abridged");
    assert_eq!(titles(&receiver, "/pager").len(), 100);
}

/// Temporal lets 2,000 activities wait at once in one workflow.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_more_deliveries_than_one_workflow_is_to_have_is_delivered_in_full() {
    let receiver = Receiver::start().await;
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let table = |name: &String| format!("[receivers.{name}]\nplugin = \"pager\"\n");
    let tables: String = names.iter().map(table).collect();
    let settings = Settings::new().and_config(&format!("\n{tables}\n[[routes]]\nreceivers = {names:?}\n"));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let request = json!({"alerts": numbered(100), "batch_id": unique("wide-")});
    let answer = host.post("/webhook/alerts/sync?timeout=120s", &request).await.ok();
    for result in answer["results"].as_array().expect("results") {
        assert_eq!(result["outcome"], "delivered", "{result}");
        assert_eq!(result["ledger"]["steps"].as_array().map(Vec::len), Some(names.len()), "{result}");
    }
    assert_eq!(receiver.received("/pager").len(), 100 * names.len(), "nobody was told twice");
    let batch = host.get(&format!("/alerts/{}", ids(&answer)[0])).await.ok();
    let children = batch["children"].as_array().expect("those that there was no room for");
    assert_eq!(children.len(), 17, "1,000 deliveries are 83 alerts of 12");
    let last = children[0].as_str().expect("an id");
    let found = host.get(&format!("/alerts/{}", last.replace('#', "%23"))).await.ok();
    assert_eq!((&found["outcome"], &found["workflow_id"]), (&json!("delivered"), &json!(last)));
}
