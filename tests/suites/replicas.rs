//! Two replicas of Prometheus post the same alerts, each at its own times: people are notified of one alert, and of one end.

use harness::alerts::identified;
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};

/// The starts of the two replicas, which evaluate the same rule a few seconds apart.
const A: &str = "2026-11-29T14:00:03.110Z";
const B: &str = "2026-11-29T14:00:11.482Z";

/// A host whose resolves are held long enough for what a test posts between two of them.
async fn host(receiver: &Receiver) -> Host {
    let settings = Settings::new().and_config("\n[sources.prometheus]\nreplicas = \"6s\"\n");
    let settings = settings.plugin(Plugin::shipped("prometheus"));
    settings.plugin(Plugin::recorder("pager", receiver, "")).start().await
}

/// What a replica posts, which fires until `ends_at`.
fn instance_down(starts_at: &str, ends_at: &str) -> Value {
    let labels =
        json!({"alertname": "InstanceDown", "instance": "db-9:9100", "job": "node", "severity": "page"});
    json!([{
        "labels": labels, "annotations": {"summary": "db-9:9100 is down"}, "startsAt": starts_at,
        "endsAt": ends_at, "generatorURL": "http://prom.example:9090/graph",
    }])
}

fn firing(starts_at: &str) -> Value {
    instance_down(starts_at, "2099-01-01T00:00:00Z")
}

fn resolved(starts_at: &str) -> Value {
    instance_down(starts_at, &starts_at.replace("14:00", "14:09"))
}

/// Posts what a replica does. Returns the id of its alert, and what it became.
async fn post(host: &Host, body: &Value) -> (String, String) {
    let answer = host.post("/webhook/prometheus/api/v2/alerts", body).await.ok();
    let text = |name: &str| answer["alerts"][0][name].as_str().expect("an alert").to_owned();
    (text("workflow_id"), text("disposition"))
}

/// Each status that the receiver was notified of, once a later alert has come through as well.
async fn notified(host: &Host, receiver: &Receiver) -> Vec<String> {
    let marker = host.submit(&[identified("a later one")]).await.remove(0);
    host.completed(&marker).await;
    let received = receiver.received("/pager");
    let alerts = received.iter().map(|request| request.json()["alert"].clone());
    let own = alerts.filter(|alert| alert["title"] == "db-9:9100 is down");
    own.map(|alert| alert["status"].as_str().expect("a status").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_one_notification_and_one_end() {
    let receiver = Receiver::start().await;
    let host = host(&receiver).await;
    let (id, begun) = post(&host, &firing(A)).await;
    assert_eq!(
        (begun.as_str(), post(&host, &firing(B)).await),
        ("new", (id.clone(), "duplicate".to_owned()))
    );
    let (end, disposition) = post(&host, &resolved(A)).await;
    assert_eq!(disposition, "resolves");
    assert_eq!(host.get(&format!("/alerts/{end}")).await.ok()["state"], "held");
    assert_eq!(post(&host, &resolved(B)).await, (end.clone(), "resolves".to_owned()), "held back as one");
    assert_eq!(host.completed(&end).await["outcome"], "delivered");
    assert_eq!(post(&host, &resolved(A)).await.1, "nothing-open", "it is posted again for a while");
    assert_eq!(notified(&host, &receiver).await, ["firing", "resolved"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_still_fires_supersedes_the_end_of_the_other() {
    let receiver = Receiver::start().await;
    let host = host(&receiver).await;
    let (id, _) = post(&host, &firing(A)).await;
    host.completed(&id).await;
    assert_eq!(post(&host, &firing(B)).await.1, "duplicate");
    let (first_end, _) = post(&host, &resolved(A)).await;
    let (again, disposition) = post(&host, &firing(B)).await;
    assert_eq!(disposition, "flapped");
    assert_eq!(host.completed(&again).await["outcome"], "dropped", "who has it is not notified again");
    assert_eq!(host.completed(&first_end).await["outcome"], "dropped");
    let (end, disposition) = post(&host, &resolved(B)).await;
    assert_eq!(disposition, "resolves");
    assert_ne!(end, first_end);
    assert_eq!(host.completed(&end).await["outcome"], "delivered");
    assert_eq!(notified(&host, &receiver).await, ["firing", "resolved"]);
    let open = host.get("/alerts?open=true&scope=prometheus").await.ok();
    assert_eq!(open["alerts"], json!([]));
}
