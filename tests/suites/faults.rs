//! What a plugin may reach, and that it reaches nothing else.

use harness::alerts::alert;
use harness::{Plugin, Receiver, Settings};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_without_grants_reaches_nobody_and_the_log_says_what_to_add() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/pager");
    let sidecar = format!("[config]\nurl = \"{url}\"\n[retry]\nmaximum-attempts = 1\n");
    let host = Settings::new()
        .plugin(Plugin::new("pager", harness::artifacts::guest("recorder")).sidecar(&sidecar))
        .start()
        .await;
    let ledger = host.ledger(alert("denied")).await;
    assert_eq!(ledger["outcome"], "failed");
    assert!(receiver.received("/pager").is_empty());
    let line = format!("POST {url}");
    // The first one is there before any alert.
    let says = |event: &Value| event.to_string().contains(&line);
    for alert in [&Value::Null, &ledger["id"]] {
        let refusal = host.log().wait_for(&line, |event| says(event) && &event["alert"] == alert).await;
        assert_eq!(refusal["level"], "WARN", "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_refused_unless_granted() {
    let receiver = Receiver::start().await;
    for host_name in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host_name}:{}/pager", receiver.port());
        let grants = format!("[grants]\nhttp = [\"POST {url}\"]\n");
        let sidecar = format!("[config]\nurl = \"{url}\"\n[retry]\nmaximum-attempts = 1\n{grants}");
        let plugin = Plugin::new("pager", harness::artifacts::guest("recorder")).sidecar(&sidecar);
        let host = Settings::new().plugin(plugin).start().await;
        assert_eq!(host.ledger(alert("private")).await["outcome"], "failed", "{host_name}");
        assert!(
            host.log().has(|event| event.to_string().contains("private-networks")),
            "the log names no way out"
        );
    }
    assert!(receiver.received("/pager").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_holds_for_its_method_host_and_path_only() {
    let receiver = Receiver::start().await;
    let near_misses = [
        format!("GET {}", receiver.url("/pager")),
        format!("POST {}", receiver.url("/other")),
        format!("POST http://127.0.0.1:{}/pager", harness::temporal::free_port()),
        format!("POST http://localhost:{}/pager", receiver.port()),
    ];
    for grant in near_misses {
        let url = receiver.url("/pager");
        let sidecar = format!(
            "[config]\nurl = \"{url}\"\n[retry]\nmaximum-attempts = 1\n[grants]\nhttp = [\"{grant}\"]\n\
             private-networks = [\"127.0.0.0/8\"]\n"
        );
        let plugin = Plugin::new("pager", harness::artifacts::guest("recorder")).sidecar(&sidecar);
        let host = Settings::new().plugin(plugin).start().await;
        assert_eq!(host.ledger(alert("near miss")).await["outcome"], "failed", "{grant}");
    }
    assert!(receiver.received("/pager").is_empty());
}
