//! Finding alerts by what they are, and whether a host is alive and ready.

use harness::alerts::{alert, identified, unique, with};
use harness::cli::campanile;
use harness::wait::until;
use harness::{Host, Plugin, Server, Settings, Temporal};
use serde_json::{Value, json};

/// The titles of a list, newest first.
async fn titles(host: &Host, query: &str) -> Vec<String> {
    let page = host.get(&format!("/alerts?{query}")).await.ok();
    let alerts = page["alerts"].as_array().expect("a list").clone();
    alerts.iter().map(|alert| alert["title"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_found_by_what_they_are() {
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    let key = unique("it's/");
    let disk = json!({"severity": "critical", "type": "database", "dedup_key": key, "source": {"name": "Disks", "type": "x"}});
    host.submit_sync(&[with(alert("disk"), disk.clone())]).await;
    host.submit_sync(&[with(alert("disk"), with(disk, json!({"status": "resolved"})))]).await;
    host.submit_sync(&[alert("other")]).await;
    for (query, expected) in [
        ("", vec!["other", "disk", "disk"]),
        ("severity=critical", vec!["disk", "disk"]),
        ("outcome=delivered&scope=alerts", vec!["other", "disk", "disk"]),
        ("scope=grafana", vec![]),
        ("outcome=failed", vec![]),
        ("outcome=running", vec![]),
        ("open=true", vec![]),
        ("acknowledged=false&text=DIS", vec!["disk", "disk"]),
        ("acknowledged=true", vec![]),
        ("receiver=log&severity=critical", vec!["disk", "disk"]),
        ("receiver=pager", vec![]),
        ("since=1h&text=other", vec!["other"]),
        ("until=1h", vec![]),
        ("since=2100-01-01T00:00:00Z", vec![]),
        (&format!("key={}", key.replace('\'', "%27")), vec!["disk", "disk"]),
        ("key=x%27%20OR%201%3D1%20OR%20%27x", vec![]),
        ("text=%25", vec![]),
    ] {
        assert_eq!(titles(&host, query).await, expected, "{query}");
    }
    assert_eq!(titles(&host, "").await[0], "other", "the one that was accepted last");
    let first = host.get("/alerts?limit=2").await.ok();
    let next = first["next"].as_str().expect("there is more");
    assert_eq!(titles(&host, &format!("limit=2&cursor={next}")).await.len(), 1);

    let listed = campanile(&["alerts", "list", "--severity", "critical", "--url", host.url()]).await;
    assert!(listed.stdout.contains("disk") && !listed.stdout.contains("other"), "{listed:?}");
    let id = first["alerts"][0]["workflow_id"].as_str().expect("an id");
    let shown = campanile(&["alerts", "show", id, "--url", host.url()]).await;
    for part in [id, "completed", "outcome: delivered", "send_notification", "log"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let json: Value =
        serde_json::from_str(&campanile(&["alerts", "show", id, "--json", "--url", host.url()]).await.stdout)
            .expect("JSON");
    assert_eq!(json["workflow_id"], id);
    let missing = campanile(&["alerts", "show", "nothing", "--url", host.url()]).await;
    assert!(missing.stderr.contains("no alert \"nothing\" is known"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_says_how_often_it_came_and_who_has_it() {
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    let (burning, over) = (identified("burns"), identified("is over"));
    host.submit_sync(&[burning.clone(), over.clone()]).await;
    host.submit_sync(&[with(burning.clone(), json!({"severity": "critical"}))]).await;
    host.submit_sync(&[burning, with(over, json!({"status": "resolved"}))]).await;
    let page = host.get("/alerts?open=true").await.ok();
    let [open] = page["alerts"].as_array().expect("a list").as_slice() else { panic!("{page}") };
    assert_eq!((&open["disposition"], &open["repeats"]), (&json!("escalated"), &json!(1)), "{open}");
    let id = open["workflow_id"].as_str().expect("an id");
    host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    let listed = campanile(&["alerts", "list", "--open", "--url", host.url()]).await;
    let row = listed.stdout.lines().nth(1).unwrap_or_default();
    for part in ["critical", "alice", "burns", id] {
        assert!(row.contains(part), "{part}: {listed:?}");
    }
    assert!(!listed.stdout.contains("is over"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_none_is_told() {
    let host = Settings::new().role("webhook").start().await;
    for (query, part) in [
        ("severity=urgent", "severity: \\\"urgent\\\" is not one of low, medium, high, critical"),
        ("outcome=lost", "delivered, partial, failed, dropped, unrouted, running"),
        ("serverity=high", "did you mean `severity`"),
        ("colour=red", "colour: is not a parameter here: known are open"),
        ("since=soon", "RFC 3339"),
        ("limit=0", "between 1 and 1000"),
        ("limit=many", "limit"),
        ("cursor=%21%21", "`next` of a page"),
        ("cursor=AAAA", "`next` of a page"),
    ] {
        let reply = host.get(&format!("/alerts?{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        assert!(reply.text.contains(part), "{query}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn being_alive_is_not_being_ready() {
    let temporal = Temporal::start().await;
    let settings = Settings::new().server(Server::At(temporal.address())).plugin(Plugin::shipped("log"));
    let host = settings.start().await;
    for path in ["/livez", "/readyz", "/health", "/livez/"] {
        assert_eq!(host.get(path).await.status, 200, "{path}");
    }
    let id = host.submit(&[alert("linked")]).await.remove(0);
    assert!(host.get(&format!("/alerts/{id}")).await.ok().get("temporal_url").is_none(), "no UI is known");
    drop(temporal);
    let ready = until("it is not ready", async || {
        let reply = host.get("/readyz").await;
        (reply.status == 503).then(|| reply.json())
    })
    .await;
    assert!(ready["reasons"][0].as_str().unwrap_or_default().contains("does not answer"), "{ready}");
    assert_eq!(host.get("/livez").await.status, 200);
}
