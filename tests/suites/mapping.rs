//! The source `json`: any JSON, by the mapping that its page shows.

use std::fs;

use harness::cli::campanile;
use harness::{Host, Plugin, Settings, project};
use serde_json::{Value, json};

/// The code blocks of the plugin's page in this language.
fn shown(language: &str) -> String {
    let page = fs::read_to_string(project::root().join("plugins/json/README.md")).expect("it is there");
    let (_, code) = page.split_once(&format!("```{language}\n")).expect("the page shows it");
    code.split_once("```").expect("the code ends").0.to_owned()
}

fn settings() -> Settings {
    Settings::new()
        .plugin(Plugin::shipped("log"))
        .plugin(Plugin::shipped("json").sidecar(&shown("toml")))
        .and_config("[sources.acme]\nplugin = \"json\"\n")
}

async fn posted(host: &Host, path: &str, body: &Value) -> Value {
    let reply = host.post(path, body).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.json());
    reply.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_source_shows_a_mapping_that_works() {
    let host = settings().start().await;
    let firing: Value = serde_json::from_str(&shown("json")).expect("the page shows JSON");
    let mut ended = firing.clone();
    ended["events"][0]["state"] = json!("UP");
    for path in ["/webhook/json/acme", "/webhook/json", "/webhook/acme/acme"] {
        for (body, status) in [(&firing, "firing"), (&ended, "resolved")] {
            let answer = posted(&host, path, body).await;
            assert_eq!(answer["warnings"], Value::Null, "{path}: {answer}");
            let id = answer["workflow_ids"][0].as_str().expect("an id").to_owned();
            let ledger = host.completed(&id).await;
            let alert = &ledger["alert"];
            assert_eq!(
                (&alert["title"], &alert["severity"], &alert["status"], &alert["labels"]["team"]),
                (
                    &json!(format!("db-1 is {}", if status == "firing" { "down" } else { "up" })),
                    &json!("critical"),
                    &json!(status),
                    &json!("storage")
                ),
                "{path}: {ledger}"
            );
        }
    }
    let unknown = host.post("/webhook/json/other", &firing).await;
    assert_eq!(unknown.status, 400, "{}", unknown.json());
    let message = unknown.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("[config.mappings.other]") && message.contains("are acme"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_tried_without_a_host() {
    let settings = settings();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let body = directory.path().join("body.json");
    fs::write(&body, shown("json")).expect("writable");
    let (body, plugins) = (body.display().to_string(), settings.plugins().display().to_string());
    let explained =
        campanile(&["explain-alert", &body, "--source", "json", "--path", "/acme", "--plugins", &plugins])
            .await;
    for part in ["critical, firing: db-1 is down", "is known by dedup_key \"acme/7\""] {
        assert!(explained.stdout.contains(part), "{part}: {explained:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_by_which_all_alerts_would_be_one_is_refused() {
    let constant = shown("toml").replace("key = \"/id\"", "key = \"id\"").replace("\"/state\"", "\"state\"");
    let settings = Settings::new().plugin(Plugin::shipped("json").sidecar(&constant));
    let plugins = settings.plugins().display().to_string();
    let checked = campanile(&["check", "--plugins", &plugins]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    for part in [
        "config.mappings.acme.key: \"id\" does not match",
        "write such as \"/id\" or \"{{ entry.host }}/{{ entry.check }}\"",
        "config.mappings.acme.status: \"state\" does not match",
    ] {
        assert!(checked.stdout.contains(part), "{part}: {checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_entry_lacks_neither_ends_it_nor_makes_it_another() {
    let sidecar = shown("toml")
        .replace("key = \"/id\"", "key = \"{{ entry.host }}/{{ entry.id }}\"")
        .replace("\"ok, up\"", "\"ok, up,\"")
        .replace("\"critical\"", "\"Critical\"");
    let host = Settings::new()
        .plugin(Plugin::shipped("log"))
        .plugin(Plugin::shipped("json").sidecar(&sidecar))
        .start()
        .await;
    let mut body: Value = serde_json::from_str(&shown("json")).expect("the page shows JSON");
    let entry = body["events"][0].as_object_mut().expect("an entry");
    entry.retain(|name, _| !["host", "state"].contains(&name.as_str()));
    let answer = posted(&host, "/webhook/json/acme", &body).await;
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("has no `key`: its template failed"), "{answer}");
    let ledger = host.completed(answer["workflow_ids"][0].as_str().expect("an id")).await;
    let alert = &ledger["alert"];
    assert_eq!(
        (&alert["status"], &alert["severity"], &alert["dedup_key"]),
        (&json!("firing"), &json!("critical"), &Value::Null),
        "{ledger}"
    );
}
