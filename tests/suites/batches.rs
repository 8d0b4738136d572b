//! Many alerts in one request.

use std::collections::BTreeSet;

use harness::alerts::{alert, identified, unique, with};
use harness::host::ids;
use harness::{Answer, Host, Plugin, Receiver, Settings};
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
async fn every_alert_of_a_request_has_an_id_of_its_own() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let known = identified("known");
    let request =
        json!({"alerts": [alert("unknown"), known, alert("unknown too")], "batch_id": unique("mixed-")});
    let answer = host.post("/webhook/alerts", &request).await.ok();
    let own = format!("alert-{}-20231201-143022", known["id"].as_str().expect("identified"));
    let all = ids(&answer);
    assert_eq!((all.iter().collect::<BTreeSet<_>>().len(), &all[1]), (3, &own));
    let accepted: Vec<_> = all.iter().map(|id| json!({"workflow_id": id, "disposition": "new"})).collect();
    assert_eq!(answer["alerts"], json!(accepted));
    for (id, title) in all.iter().zip(["unknown", "known", "unknown too"]) {
        let found = host.completed(id).await;
        assert_eq!((&found["outcome"], &found["alert"]["title"]), (&json!("delivered"), &json!(title)));
        assert!(found["carried_by"].is_string(), "{found}");
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
    assert_eq!(second["results"][69]["outcome"], "delivered");
    assert_eq!(receiver.received("/pager").len(), 70, "nobody was told twice");
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
async fn a_repeated_batch_is_answered_with_the_first_ids() {
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
async fn many_alerts_share_workflows_and_are_found_by_themselves() {
    let receiver = Receiver::start().await;
    let ui = "\n[temporal]\nui-url = \"http://temporal.example\"\n";
    let settings = Settings::new().and_config(ui).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let alerts: Vec<_> = (0..150).map(|number| identified(&format!("number {number}"))).collect();
    let answer = host.post("/webhook/alerts/sync?timeout=60s", &json!({"alerts": alerts})).await.ok();
    let mut carriers = BTreeSet::new();
    for id in ids(&answer) {
        let found = host.get(&format!("/alerts/{id}")).await.ok();
        assert_eq!((&found["outcome"], &found["workflow_id"]), (&json!("delivered"), &json!(id)));
        let carrier = found["carried_by"].as_str().expect("it was carried");
        let url = found["temporal_url"].as_str().expect("a link to what carries it");
        assert!(url.contains(&format!("/workflows/{carrier}")), "{found}");
        carriers.insert(carrier.to_owned());
    }
    assert!(carriers.len() < 20, "{carriers:?}");
    assert!(carriers.iter().any(|carrier| carrier.starts_with("batch-")), "{carriers:?}");
    for end in ["~2", "#0"] {
        let request = json!({"alerts": numbered(2), "batch_id": format!("part{end}")});
        let reply = host.post("/webhook/alerts", &request).await;
        assert_eq!((reply.status, &reply.json()["errors"][0]["path"]), (400, &json!("batch_id")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_no_worker_has_taken_up_can_be_asked_for() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let webhook = settings.clone().role("webhook");
    let worker = webhook.clone().role("worker");
    let webhook = webhook.start().await;
    let own = webhook.submit(&[identified("a"), identified("b")]).await;
    for id in &own {
        let waiting = webhook.get(&format!("/alerts/{id}")).await.ok();
        assert!(["waiting", "running"].contains(&waiting["state"].as_str().expect("a state")), "{waiting}");
        assert_eq!(waiting["alert"]["severity"], "high", "{waiting}");
    }
    let _worker = worker.start().await;
    for id in &own {
        assert_eq!(webhook.completed(id).await["outcome"], "delivered");
    }
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
    assert!(results.iter().all(|result| result["outcome"] == "delivered"), "{:?}", results[0]);
    let runbook = |result: &Value| result["ledger"]["alert"]["data"]["runbook"].as_str().map(str::len);
    assert!(results.iter().all(|result| runbook(result) == Some(15 << 10)), "each is kept whole");
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
    for id in ids(&answer) {
        assert_eq!(host.get(&format!("/alerts/{id}")).await.ok()["outcome"], "delivered");
    }
}

/// What Alertmanager posts of a group of so many alerts, named from this number on.
fn group(first: usize, count: usize) -> Value {
    let alert = |number: usize| {
        json!({
            "status": "firing", "labels": {"alertname": "TargetDown", "instance": format!("node-{number}")},
            "annotations": {}, "startsAt": "2026-11-29T14:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        })
    };
    json!({
        "version": "4", "groupKey": "{}:{alertname=\"TargetDown\"}", "status": "firing", "receiver": "campanile",
        "groupLabels": {"alertname": "TargetDown"}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager.example", "truncatedAlerts": 0,
        "alerts": (first..first + count).map(alert).collect::<Vec<_>>(),
    })
}

/// How many alerts the host has listed.
async fn listed(host: &Host) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = host.get(&format!("/alerts?limit=1000{cursor}")).await.ok();
        count += page["alerts"].as_array().expect("a list").len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_takes_three_thousand_alerts_of_one_request() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::shipped("alertmanager"));
    let only_one = "when = 'alert.labels.instance == \"node-2999\"'";
    let host = settings.plugin(Plugin::recorder("pager", &receiver, only_one)).start().await;
    let answer = host.post("/webhook/alertmanager", &group(0, 3_000)).await.ok();
    assert_eq!((answer["processed_count"].as_u64(), ids(&answer).len()), (Some(3_000), 3_000));
    let are_new = answer["alerts"].as_array().expect("a list").iter().all(|one| one["disposition"] == "new");
    assert!(are_new && answer.get("warnings").is_none_or(|warnings| *warnings == json!([])), "{answer}");
    assert_eq!(listed(&host).await, 3_000);
    let received = receiver.wait_for("/pager", 1).await;
    assert_eq!(received[0].json()["alert"]["labels"]["instance"], "node-2999");

    let reply = host.post("/webhook/alertmanager", &group(3_000, 10_001)).await;
    assert_eq!((reply.status, &reply.json()["code"]), (413, &json!("too-many-alerts")), "{}", reply.text);
    assert_eq!(listed(&host).await, 3_000, "of what is refused nothing is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_room_for_all_takes_none() {
    let full = "\n[store]\npending = 2500\n";
    let host = Settings::new().and_config(full).plugin(Plugin::shipped("alertmanager")).start().await;
    let reply = host.post("/webhook/alertmanager", &group(0, 3_000)).await;
    assert_eq!((reply.status, &reply.json()["code"]), (503, &json!("store-full")), "{}", reply.text);
    assert_eq!(listed(&host).await, 0);
    let answer = host.post("/webhook/alertmanager", &group(0, 2_000)).await.ok();
    assert_eq!(ids(&answer).len(), 2_000);
    assert_eq!(listed(&host).await, 2_000);
}
