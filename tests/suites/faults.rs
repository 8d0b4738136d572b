//! Notifiers that misbehave hurt only themselves.

use harness::alerts::{alert, labelled};
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};

/// A host whose first receiver misbehaves on demand, with one attempt and a short deadline, and whose second does not.
async fn host_with(receiver: &Receiver) -> Host {
    let sidecar = "[limits]\ndeadline = \"500ms\"\nmemory = \"32MiB\"\nquarantine-after = 0\n[retry]\nmaximum-attempts = 1\n";
    let settings = Settings::new().plugin(Plugin::guest("misbehave-notifier").sidecar(sidecar));
    settings.plugin(Plugin::recorder("pager", receiver, "")).start().await
}

fn misbehaved(ledger: &Value) -> &Value {
    let steps = ledger["steps"].as_array().expect("a ledger has steps");
    steps.iter().find(|step| step["plugin"] == "misbehave-notifier").expect("it was called")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_misdeed_has_its_code_and_the_other_receiver_its_alert() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    let expected = [
        ("trap", "trap"),
        ("spin", "deadline"),
        ("eat", "memory"),
        ("recurse", "trap"),
        ("never", "as-asked"),
        ("backoff", "as-asked"),
        ("big", "invalid-output"),
    ];
    for (deed, code) in expected {
        let ledger = host.ledger(labelled(alert(deed), "do", deed)).await;
        assert_eq!(ledger["outcome"], "partial", "{deed}: {ledger}");
        assert_eq!(misbehaved(&ledger)["error"]["code"], code, "{deed}: {ledger}");
    }
    assert_eq!(receiver.received("/pager").len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talkative_plugin_is_cut_short_and_still_heard() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver).await;
    let ledger = host.ledger(labelled(alert("chatter"), "do", "chatter")).await;
    let step = misbehaved(&ledger);
    let finished = step["result"] == "ok" || step["error"]["code"] == "deadline";
    assert!(finished, "output alone is no crash: {step}");
    let lines =
        host.log().events().iter().filter(|event| event.to_string().contains("of far too many")).count();
    assert!((1..=1000).contains(&lines), "{lines} lines of a plugin's output in the log");
}

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
    let refusal = host.log().wait_for(&line, |event| event.to_string().contains(&line)).await;
    assert_eq!(refusal["level"], "WARN", "{refusal}");
    assert_eq!((&refusal["plugin"], &refusal["alert"]), (&json!("pager"), &ledger["id"]), "{refusal}");
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
