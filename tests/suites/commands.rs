//! The commands that talk to a running host.

use std::io::Write;
use std::process::Stdio;

use harness::alerts::{alert, identified, unique, with};
use harness::cli::campanile;
use harness::{Answer, Plugin, Receiver, Settings, artifacts, project, temporal};
use serde_json::{Value, json};

fn example(name: &str) -> String {
    project::root().join("examples").join(name).display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn send_posts_the_examples_and_shows_a_table() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let batch = json!({"alerts": [identified("one"), identified("two"), alert("three")], "batch_id": unique("sent-")});
    let batch_file = host.settings().write("batch.json", &batch.to_string()).display().to_string();
    let files = [example("security-login.json"), example("performance-cpu.json"), batch_file];
    let ran = campanile(&["send", &files[0], &files[1], &files[2], "--url", host.url()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.matches("alert-").count(), 5, "{}", ran.stdout);
    receiver.wait_for("/pager", 5).await;
    let ran = campanile(&["send", &files[0], "--sync", "--url", host.url()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("delivered") && ran.stdout.contains("pager"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn send_names_each_receiver_with_what_became_of_it() {
    let receiver = Receiver::start().await;
    receiver.always("/ops", Answer::status(410));
    let table = |name: &str, more: &str| {
        let url = receiver.url(&format!("/{name}"));
        format!("\n[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n{more}\n")
    };
    let tables = [table("ops", "fallback = [\"night\"]"), table("night", ""), table("desk", "")].concat();
    let config = format!("{tables}[[routes]]\nreceivers = [\"ops\", \"desk\"]\n");
    let pager = Plugin::recorder("pager", &receiver, "");
    let host = Settings::new().and_config(&config).plugin(pager).start().await;
    let ran = campanile(&["send", &example("security-login.json"), "--sync", "--url", host.url()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in
        ["\n  ops: failed: http-410: ", "\n  night: delivered as the fallback for ops", "\n  desk: delivered"]
    {
        assert!(ran.stdout.contains(line), "{line:?}: {}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_alert_refuses_what_the_webhook_refuses() {
    let settings = Settings::new().and_config("\n[webhook]\nbody-values = 1000\n").role("webhook");
    let host = settings.start().await;
    let config = settings.write("campanile.toml", settings.config_text()).display().to_string();
    let bad = with(alert("bad"), json!({"severity": "urgent", "starts_at": "yesterday"}));
    for body in [
        json!({"alerts": [alert("good"), bad]}),
        json!({"alerts": [alert("good")], "batch_id": "nightly#7", "metadata": []}),
        json!({"alerts": []}),
        json!({"alerts": [with(alert("large"), json!({"data": {"list": vec![0; 1000]}}))]}),
        alert("alone"),
    ] {
        let file = settings.write("body.json", &body.to_string()).display().to_string();
        let ran = campanile(&["explain-alert", &file, "--config", &config]).await;
        let refused = host.post("/webhook/alerts", &body).await;
        assert_eq!((ran.code, refused.status / 100), (Some(1), 4), "{body}: {ran:?} {refused:?}");
        let answer = refused.json();
        let faults = answer["errors"].as_array().expect("a list").iter().map(|fault| &fault["message"]);
        for said in faults.chain([&answer["code"]]).filter_map(Value::as_str) {
            assert!(ran.stderr.contains(said), "{said:?}: {ran:?}");
        }
    }
    let good = settings.write("body.json", &json!({"alerts": [alert("good")]}).to_string());
    let ran = campanile(&["explain-alert", &good.display().to_string(), "--config", &config]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("high, firing: good"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_alert_reads_standard_input_and_shows_the_whole_alert() {
    let mut command = harness::host::command();
    command.args(["explain-alert", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let whole =
        json!({"labels": {"team": "payments"}, "links": ["https://wiki.example/7"], "data": {"free": 2}});
    let text = json!({"alerts": [with(alert("piped"), whole)]}).to_string();
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "high, firing: piped",
        "\n  labels:\n    team: payments",
        "\n    - https://wiki.example/7",
        "free: 2",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_reads_a_list_from_standard_input() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let mut command = harness::host::command();
    command.args(["send", "-", "--url", host.url()]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    let text = json!([alert("one"), alert("two")]).to_string();
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
    receiver.wait_for("/pager", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn send_shows_every_fault_and_fails() {
    let settings = Settings::new();
    let host = settings.start().await;
    let bad = with(alert("bad"), json!({"severity": "urgent", "type": "weather"}));
    let file = settings.write("bad.json", &bad.to_string()).display().to_string();
    let ran = campanile(&["send", &file, "--url", host.url()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("alerts[0].severity") && ran.stdout.contains("alerts[0].type"),
        "{}",
        ran.stdout
    );
    let ran = campanile(&["send", "no-such-file.json", "--url", host.url()]).await;
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("no-such-file.json"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_shows_what_is_loaded_and_what_was_refused_and_why() {
    let receiver = Receiver::start().await;
    let settings =
        Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).plugin(Plugin::guest("echo"));
    settings.place("core.wasm", &artifacts::core_module());
    let host = settings.start().await;
    let ran = campanile(&["plugins", "--url", host.url()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in ["pager", "notifier", "echo", "processor", "sha256:", "core.wasm", "core module"] {
        assert!(ran.stdout.contains(words), "{words}:\n{}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_tells_by_its_exit_code() {
    let host = Settings::new().start().await;
    assert_eq!(campanile(&["healthcheck", "--url", host.url()]).await.code, Some(0));
    let nobody = format!("http://127.0.0.1:{}", temporal::free_port());
    let ran = campanile(&["healthcheck", "--url", &nobody]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(&nobody), "{}", ran.stderr);
}
