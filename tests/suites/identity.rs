//! Identity: an alert that carries it runs once, however often and in whatever company it is posted.

use std::collections::BTreeMap;
use std::slice;

use harness::alerts::{alert, identified, unique, with};
use harness::senders::new_key;
use harness::web::client;
use harness::{Host, Plugin, Receiver, Settings, host, wait};
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
    let again = host.submit_sync(&[resolved, firing]).await;
    let dispositions: Vec<_> = again.iter().map(|result| &result["disposition"]).collect();
    assert_eq!(dispositions, ["nothing-open", "new"], "what fires after its end is another life");
    let id = first[0]["workflow_id"].as_str().expect("an id");
    assert_eq!(second[0]["workflow_id"], format!("{id}-resolved"));
    let received = receiver.received("/pager");
    let statuses: Vec<_> = received.iter().map(|request| request.json()["alert"]["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved", "firing"]);
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
async fn a_repeat_is_recognised_by_another_host_of_the_same_store() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().shared_store().plugin(Plugin::recorder("pager", &receiver, ""));
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

/// An alert with a key of its own and no start.
fn keyed(title: &str, more: Value) -> Value {
    with(alert(title), with(json!({"dedup_key": unique("key/")}), more))
}

async fn id_of(host: &Host, alert: &Value) -> String {
    let result = &host.submit_sync(slice::from_ref(alert)).await[0];
    assert_eq!(result["completed"], true, "{result}");
    result["workflow_id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_start_the_key_tells_a_repeat_while_it_runs_and_after() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().shared_store().plugin(Plugin::recorder("pager", &receiver, ""));
    let (one, other) = tokio::join!(settings.start(), async { settings.clone().role("webhook") });
    let other = other.start().await;
    let alert = keyed("no start", json!({}));
    let body = json!({"alerts": [alert]});
    let replies = futures::future::join_all((0..8).map(|n| {
        let host = if n % 2 == 0 { &one } else { &other };
        host.post("/webhook/alerts", &body)
    }))
    .await;
    let first = id_of(&one, &alert).await;
    for reply in replies {
        assert_eq!(host::ids(&reply.ok()), slice::from_ref(&first));
    }
    assert_eq!(deliveries(&receiver), [("no start".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolve_without_a_start_finds_its_firing_and_what_fires_after_it_is_new() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let firing = keyed("again and again", json!({}));
    let resolved = with(firing.clone(), json!({"status": "resolved"}));
    let first = id_of(&host, &firing).await;
    assert_eq!(id_of(&host, &resolved).await, format!("{first}-resolved"));
    let ended_nothing = id_of(&host, &resolved).await;
    assert_ne!(ended_nothing, format!("{first}-resolved"), "the resolve is repeated, and ends nothing");
    assert_eq!(id_of(&host, &resolved).await, ended_nothing, "those that end nothing are counted as one");
    let second = id_of(&host, &firing).await;
    assert_ne!(second, first, "it was resolved in between");
    assert_eq!(id_of(&host, &firing).await, second);
    assert_eq!(id_of(&host, &resolved).await, format!("{second}-resolved"));
    assert_eq!(receiver.received("/pager").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_become_worse_is_told_and_what_has_not_is_a_repeat() {
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    let warning = keyed("escalates", json!({"severity": "medium"}));
    let with_severity = |severity: &str| with(warning.clone(), json!({"severity": severity}));
    let first = id_of(&host, &warning).await;
    assert_eq!(id_of(&host, &with_severity("low")).await, first);
    let worse = id_of(&host, &with_severity("critical")).await;
    assert_ne!(worse, first);
    assert_eq!(id_of(&host, &with_severity("high")).await, first, "a duplicate has the id of its life");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolve_without_a_start_finds_a_firing_that_had_one() {
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    let firing = keyed("had a start", json!({"starts_at": "2023-12-01T14:30:22Z"}));
    let first = id_of(&host, &firing).await;
    let mut resolved = with(firing, json!({"status": "resolved"}));
    resolved.as_object_mut().expect("an object").remove("starts_at");
    let listed = format!("/alerts?key={}", resolved["dedup_key"].as_str().expect("a key"));
    wait::until("it is listed", async || {
        let page = host.get(&listed).await.ok();
        (page["alerts"][0]["workflow_id"] == first).then_some(())
    })
    .await;
    assert_eq!(id_of(&host, &resolved).await, format!("{first}-resolved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_an_idempotency_key_is_taken_once() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    for header in ["idempotency-key", "webhook-id"] {
        let (key, title) = (unique("request-"), unique("keyed "));
        for alerts in [json!([alert(&title)]), json!([alert(&title), alert("two")])] {
            let key = unique(&key);
            let send =
                |body: Value| client().post(host.at("/webhook/alerts/sync")).header(header, &key).json(&body);
            let body = json!({"alerts": alerts});
            let first = host.request(send(body.clone())).await.ok();
            let again = host.request(send(body)).await.ok();
            assert_eq!(host::ids(&first), host::ids(&again), "{header}");
            let other = host.request(send(json!({"alerts": [alert("other")]}))).await;
            assert_eq!((other.status, &other.json()["code"]), (409, &json!("batch-id-reused")), "{header}");
        }
        assert_eq!(deliveries(&receiver)[&title], 2, "{header}: once alone, once with another");
        let empty = client()
            .post(host.at("/webhook/alerts"))
            .header(header, "")
            .json(&json!({"alerts": [alert("e")]}));
        assert_eq!(host.request(empty).await.status, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_one_key_in_a_request_are_decided_in_order() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let low = keyed("in one request", json!({"severity": "low"}));
    let critical = with(low.clone(), json!({"severity": "critical"}));
    let results = host.submit_sync(&[low.clone(), critical, low]).await;
    let dispositions: Vec<_> = results.iter().map(|result| &result["disposition"]).collect();
    assert_eq!(dispositions, ["new", "escalated", "duplicate"]);
    assert_eq!(results[0]["workflow_id"], results[2]["workflow_id"]);
    assert_eq!(receiver.received("/pager").len(), 2);
}

/// Three keys, each for one thing, and what they post with.
struct Keys {
    host: Host,
    a: String,
    b: String,
    source: String,
}

impl Keys {
    async fn start(receiver: &Receiver) -> Self {
        let of = |name: &str, source: &str| new_key(name, &["--sources", source]);
        let ((a, a_lines), (b, b_lines)) = (of("a", "alerts"), of("b", "alerts"));
        let (source, source_lines) = of("c", "alertmanager");
        let config = [a_lines, b_lines, source_lines].concat();
        let settings = Settings::new().and_config(&config);
        let settings = settings.plugin(Plugin::shipped("alertmanager"));
        Self { host: settings.plugin(Plugin::recorder("pager", receiver, "")).start().await, a, b, source }
    }

    async fn post(&self, key: &str, path: &str, header: &str, body: &Value) -> Vec<String> {
        let post = client().post(self.host.at(path)).bearer_auth(key).json(body);
        let post = if header.is_empty() { post } else { post.header("idempotency-key", header) };
        host::ids(&self.host.request(post).await.ok())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ids_of_requests_of_different_keys_never_meet() {
    let receiver = Receiver::start().await;
    let keys = Keys::start(&receiver).await;
    let alerts = json!([alert("nightly")]);
    let id = unique("nightly-");
    let mut taken: Vec<String> = Vec::new();
    for (key, header, batch_id) in [
        (&keys.a, id.clone(), None),
        (&keys.b, id.clone(), None),
        (&keys.b, String::new(), Some(format!("a/{id}"))),
        (&keys.b, String::new(), Some(format!("{id}@alerts/a"))),
        (&keys.b, String::new(), Some(format!("alerts/a/{id}"))),
    ] {
        let mut body = json!({"alerts": alerts});
        if let Some(id) = batch_id {
            body["batch_id"] = id.into();
        }
        let first = keys.post(key, "/webhook/alerts", &header, &body).await;
        assert_eq!(keys.post(key, "/webhook/alerts", &header, &body).await, first, "a repeat is recognised");
        assert!(!taken.contains(&first[0]), "{first:?} is there already: {taken:?}");
        taken.extend(first);
    }
    receiver.wait_for("/pager", taken.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_alerts_does_not_end_what_a_source_fired() {
    let receiver = Receiver::start().await;
    let keys = Keys::start(&receiver).await;
    let fingerprint = unique("f");
    let of_source = |status: &str| {
        json!({"version": "4", "groupKey": "g", "status": status, "receiver": "r", "alerts": [{
            "status": status, "labels": {"alertname": "DiskFull"}, "annotations": {"summary": "disk"},
            "startsAt": "2023-12-01T14:30:22Z", "fingerprint": fingerprint,
        }]})
    };
    let firing = keys.post(&keys.source, "/webhook/alertmanager", "", &of_source("firing")).await;
    receiver.wait_for("/pager", 1).await;
    let timed = json!({"starts_at": "2023-12-01T14:30:22Z"});
    for more in [json!({}), timed.clone()] {
        let resolved = with(alert("disk"), json!({"dedup_key": fingerprint, "status": "resolved"}));
        let ids = keys.post(&keys.a, "/webhook/alerts", "", &json!({"alerts": [with(resolved, more)]})).await;
        assert_ne!(ids, [format!("{}-resolved", firing[0])]);
    }
    // Nor is what it fires taken for what the source fires, or the other way round.
    let same = with(alert("disk"), with(json!({"dedup_key": fingerprint}), timed));
    assert_ne!(keys.post(&keys.a, "/webhook/alerts", "", &json!({"alerts": [same]})).await, firing);
    let ended = keys.post(&keys.source, "/webhook/alertmanager", "", &of_source("resolved")).await;
    assert_eq!(ended, [format!("{}-resolved", firing[0])], "its own source ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_replaces_another_keeps_its_scope() {
    let (team_a, first) = new_key("team-a", &["--sources", "alerts"]);
    let (renewed, second) = new_key("team-a-2027", &["--sources", "alerts", "--scope", "team-a"]);
    let (team_b, third) = new_key("team-b", &["--sources", "alerts"]);
    let (admin, fourth) = new_key("ops", &["--admin"]);
    assert!(second.contains("\nscope = \"team-a\"\n"), "{second}");
    let receiver = Receiver::start().await;
    let settings = Settings::new().and_config(&[first, second, third, fourth].concat());
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let post = async |key: &str, alert: &Value| {
        let body = json!({"alerts": [alert], "batch_id": "nightly-1"});
        let request = client().post(host.at("/webhook/alerts")).bearer_auth(key).json(&body);
        let one = host.request(request).await.ok()["alerts"][0].clone();
        (one["disposition"].as_str().expect("one").to_owned(), one["workflow_id"].clone())
    };
    let firing = identified("of two teams");
    let again = with(firing.clone(), json!({"description": "again"}));
    let (begun, id) = post(&team_a, &firing).await;
    assert_eq!(begun, "new");
    let key = firing["id"].as_str().expect("identified");
    assert_eq!(id, format!("alert-{key}@team-a-20231201-143022"));
    assert_eq!(post(&team_b, &firing).await.0, "new", "another team's alert of the same key");
    let repeated = post(&renewed, &firing).await;
    assert_eq!(repeated, ("new".to_owned(), id.clone()), "the request is known by its id");
    let refused = client().post(host.at("/webhook/alerts")).bearer_auth(&renewed);
    let refused = host.request(refused.json(&json!({"alerts": [again], "batch_id": "nightly-1"}))).await;
    assert_eq!(refused.status, 409);
    let resolve = client().post(host.at("/webhook/alerts")).bearer_auth(&renewed);
    let resolve = resolve.json(&json!({"alerts": [with(firing, json!({"status": "resolved"}))]}));
    assert_eq!(host.request(resolve).await.ok()["alerts"][0]["disposition"], "resolves");
    let open = client().get(host.at("/alerts?open=true")).bearer_auth(&admin);
    let open = host.request(open).await.ok();
    let scopes: Vec<_> = open["alerts"].as_array().expect("a list").iter().map(|one| &one["scope"]).collect();
    assert_eq!(scopes, ["team-b"], "the life of team-a has ended");
}
