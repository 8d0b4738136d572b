//! A plugin that is written outside this repository, by somebody who has nothing but `wit/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::alerts::alert;
use harness::plugin::posting_to;
use harness::{Plugin, Receiver, Settings, artifacts, project};

const MANIFEST: &str = r#"[package]
name = "outsider"
version = "3.2.1"
edition = "2024"

[lib]
crate-type = ["cdylib"]

[dependencies]
wit-bindgen = "0.61.1"
"#;

const SOURCE: &str = r##"use exports::campanile::notifier::notifier::{Delivery, Description, Failure, Guest, Receipt};

wit_bindgen::generate!({ path: "wit", world: "campanile:notifier/plugin@0.1.0", generate_all });

struct Outsider;

impl Guest for Outsider {
    fn describe() -> Description {
        Description {
            name: "outsider".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Written far away.".into(),
            config_schema: r#"{"properties": {"url": {"type": "string"}}}"#.into(),
            http: vec![],
            secrets: vec![],
        }
    }

    fn notify(delivery: Delivery) -> Result<Receipt, Failure> {
        let url = wasi::config::store::get("url").ok().flatten().unwrap_or_default();
        let (authority, path) = url.trim_start_matches("http://").split_once('/').unwrap_or_default();
        let json = format!("{{\"title\": {:?}, \"padding\": {:?}}}", delivery.alert.title, "x".repeat(10_000));
        let status = post(&Scheme::Http, authority, &format!("/{path}"), json.as_bytes());
        let message = format!("answered {status:?}");
        Ok(Receipt { id: Some(delivery.delivery_id), message })
    }
}

export!(Outsider);
"##;

/// The request that the page for authors shows.
fn documented() -> String {
    let page = fs::read_to_string(project::root().join("docs/authors.md")).expect("it is there");
    let (_, code) = page.split_once("```rust\n").expect("it shows a request in Rust");
    code.split_once("```").expect("the code ends").0.to_owned()
}

/// Writes the crate into `directory`, with a copy of `wit/` and nothing else of ours, and builds it.
fn build(directory: &Path) -> Vec<u8> {
    fs::create_dir(directory.join("src")).expect("a new directory");
    fs::write(directory.join("Cargo.toml"), MANIFEST).expect("writable");
    fs::write(directory.join("src/lib.rs"), format!("{SOURCE}{}", documented())).expect("writable");
    copy(&project::root().join("wit"), &directory.join("wit"));
    let target = project::target().join("guests-outside");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--target", "wasm32-wasip2", "--target-dir"]).arg(&target);
    command.current_dir(directory).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    let output = command.output().expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    artifacts::read(&target.join("wasm32-wasip2/release/outsider.wasm"))
}

fn copy(from: &Path, to: &PathBuf) {
    fs::create_dir(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("wit/ is readable").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("writable");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_built_elsewhere_with_nothing_but_the_contract_is_dropped_in_and_runs() {
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let path = elsewhere.path().to_owned();
    let component = tokio::task::spawn_blocking(move || build(&path)).await.expect("it builds");
    let receiver = Receiver::start().await;
    let host = Settings::new().start().await;
    host.drop_plugin(&Plugin::new("outsider", component).sidecar(&posting_to(&receiver, "outsider", "")));
    let loaded = host.loaded("outsider", |_| true).await;
    assert_eq!((&loaded["version"], &loaded["summary"]), (&"3.2.1".into(), &"Written far away.".into()));
    let ledger = host.ledger(alert("strangers")).await;
    assert_eq!(ledger["outcome"], "delivered");
    assert_eq!(ledger["steps"][0]["message"], "answered Ok(200)");
    let received = receiver.received("/outsider");
    assert_eq!((received.len(), &received[0].json()["title"]), (1, &"strangers".into()));
    assert_eq!(
        ledger["steps"][0]["receipt_id"],
        format!("{}/outsider", ledger["id"].as_str().expect("an id"))
    );
}
