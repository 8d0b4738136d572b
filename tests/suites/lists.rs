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
    until("all three are listed as done", async || {
        (titles(&host, "state=completed").await.len() == 3).then_some(())
    })
    .await;
    for (query, expected) in [
        ("", vec!["other", "disk", "disk"]),
        ("severity=critical", vec!["disk", "disk"]),
        ("severity=critical&status=resolved", vec!["disk"]),
        ("type=database&outcome=delivered&source=Disks", vec!["disk", "disk"]),
        ("outcome=failed", vec![]),
        ("outcome=running", vec![]),
        ("outcome=completed", vec![]),
        ("outcome=handed-on", vec![]),
        ("since=1h&status=resolved", vec!["disk"]),
        ("until=1h", vec![]),
        ("since=2100-01-01T00:00:00Z", vec![]),
        (&format!("key={}", key.replace('\'', "%27")), vec!["disk", "disk"]),
        ("key=x%27%20OR%201%3D1%20OR%20%27x", vec![]),
    ] {
        let mut found = titles(&host, query).await;
        found.sort_by_key(|title| *title != "other");
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(titles(&host, "").await[0], "other", "the one that was accepted last");
    let first = host.get("/alerts?limit=2").await.ok();
    let next = first["next"].as_str().expect("there is more");
    assert_eq!(titles(&host, &format!("limit=2&cursor={next}")).await.len(), 1);

    let listed = campanile(&["alerts", "list", "--severity", "critical", "--url", host.url()]).await;
    assert!(listed.stdout.contains("Disks") && !listed.stdout.contains("other"), "{listed:?}");
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
    assert!(missing.stderr.contains("temporal knows no workflow"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_started_its_alerts_is_found_by_what_is_shown_for_it() {
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    host.submit_sync(&[identified("one of two"), identified("two of two")]).await;
    let listed = until("it is listed", async || {
        let ran = campanile(&["alerts", "list", "--outcome", "handed on", "--url", host.url()]).await;
        (ran.stdout.lines().count() == 2).then_some(ran)
    })
    .await;
    assert!(listed.stdout.contains("\thanded on\t"), "{listed:?}");
    let page = host.get("/alerts?outcome=handed_on").await.ok();
    assert_eq!(page["alerts"][0]["is_batch"], true, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_none_is_told() {
    let host = Settings::new().role("webhook").start().await;
    for (query, part) in [
        ("severity=urgent", "severity: \\\"urgent\\\" is not one of low, medium, high, critical"),
        ("outcome=lost", "delivered, partial, failed, dropped, unrouted, handed_on"),
        ("serverity=high", "did you mean `severity`"),
        ("colour=red", "colour: is not a parameter here: known are outcome"),
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
