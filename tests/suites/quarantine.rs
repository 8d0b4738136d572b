//! A plugin that keeps failing is left alone for a while, and everybody is told.

use std::time::{Duration, Instant};

use harness::alerts::{alert, labelled, unique};
use harness::cli::campanile;
use harness::wait::until;
use harness::{Host, Plugin, Receiver, Settings, artifacts};
use serde_json::{Value, json};

/// A host with a notifier that crashes on demand and is quarantined for it, and one that does not.
async fn host_with(receiver: &Receiver) -> Host {
    let crashing = Plugin::guest("misbehave-notifier")
        .sidecar("[limits]\nquarantine-after = 3\n[retry]\nmaximum-attempts = 1\n");
    Settings::new().plugin(crashing).plugin(Plugin::recorder("pager", receiver, "")).start().await
}

/// The code of the crashing notifier's step for an alert with this label; `ok` if there is none.
async fn code(host: &Host, deed: &str) -> Value {
    let ledger = host.ledger(labelled(alert(&unique(deed)), "do", deed)).await;
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    let step = steps.iter().find(|step| step["plugin"] == "misbehave-notifier").expect("it was called");
    step["error"].get("code").cloned().unwrap_or("ok".into())
}

async fn quarantine(host: &Host) -> Value {
    host.loaded("misbehave-notifier", |_| true).await["quarantine"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_in_a_row_lead_to_it_and_a_release_ends_it() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    for deed in ["trap", "trap", "well", "trap", "trap", "trap"] {
        assert_eq!(code(&host, deed).await, if deed == "well" { "ok" } else { "trap" });
    }
    assert_eq!(code(&host, "well").await, "quarantined");
    let status = quarantine(&host).await;
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("failed on 3 different inputs in a row, at last: it crashed"), "{status}");
    assert!(status["seconds_left"].as_u64().is_some_and(|left| (1..=30).contains(&left)), "{status}");
    let metrics = host.get("/metrics").await.text;
    assert!(metrics.contains("campanile_plugin_quarantined{plugin=\"misbehave-notifier\"} 1"), "{metrics}");
    assert!(
        host.log()
            .has(|event| event["level"] == "ERROR" && event.to_string().contains("quarantined for 30s"))
    );

    let released = host.post("/plugins/misbehave-notifier/release", &json!({})).await.ok();
    assert_eq!(released, json!({"plugin": "misbehave-notifier", "was_quarantined": true}));
    assert_eq!(code(&host, "well").await, "ok");
    assert_eq!(quarantine(&host).await, Value::Null);
    assert_eq!(receiver.received("/pager").len(), 8, "the other receiver had every alert");
    let command = async |name: &str| campanile(&["plugin", "release", name, "--url", host.url()]).await;
    let again = command("misbehave-notifier").await;
    assert_eq!((again.code, again.stdout.trim()), (Some(0), "misbehave-notifier was not in quarantine"));
    let nobody = command("nobody").await;
    assert!(nobody.code == Some(1) && nobody.stderr.contains("no plugin nobody is loaded"), "{nobody:?}");
    let unknown = host.post("/plugins/nobody/release", &json!({})).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("unknown-plugin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_starts_with_a_clean_slate() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    for _ in 0..3 {
        assert_eq!(code(&host, "trap").await, "trap");
    }
    assert_eq!(code(&host, "well").await, "quarantined");
    let released = campanile(&["plugin", "release", "misbehave-notifier", "--url", host.url()]).await;
    assert_eq!(released.stdout.trim(), "misbehave-notifier is called again", "{released:?}");
    for _ in 0..3 {
        assert_eq!(code(&host, "trap").await, "trap");
    }
    assert_eq!(code(&host, "well").await, "quarantined");
    let fixed = artifacts::version(artifacts::guest("misbehave-notifier"), 2);
    host.settings().place("misbehave-notifier.wasm", &fixed);
    host.loaded("misbehave-notifier", |entry| entry["generation"] == 2).await;
    assert_eq!(code(&host, "well").await, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_in_is_told_at_once_while_a_receiver_is_in_quarantine() {
    let receiver = Receiver::start().await;
    let crashing = Plugin::guest("misbehave-notifier").sidecar("[limits]\nquarantine-after = 3\n");
    let routes = "[receivers.crashing]\nplugin = \"misbehave-notifier\"\nfallback = [\"pager\"]\n\
                  [[routes]]\nreceivers = [\"crashing\"]\n";
    let settings = Settings::new().and_config(routes).plugin(crashing);
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    for number in 0..3 {
        host.submit(&[labelled(alert(&format!("trap {number}")), "do", "trap")]).await;
    }
    until("it is in quarantine", async || (!quarantine(&host).await.is_null()).then_some(())).await;
    let began = Instant::now();
    let ledger = host.ledger(labelled(alert("well"), "do", "well")).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "a quarantine is 30 s, and took {:?}",
        began.elapsed()
    );
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    assert_eq!(
        (&steps[0]["error"]["code"], &steps[0]["attempts"]),
        (&json!("quarantined"), &json!(1)),
        "{ledger}"
    );
    assert_eq!(
        (&steps[1]["instead_of"], &steps[1]["result"]),
        (&json!("crashing"), &json!("ok")),
        "{ledger}"
    );
    assert_eq!(ledger["outcome"], "delivered");
}
