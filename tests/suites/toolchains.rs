//! Both ways to build a plugin, `cargo build --target wasm32-wasip2` and `cargo component build`, give components that
//! load and behave alike.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use harness::alerts::{alert, labelled, with};
use harness::plugin::posting_to;
use harness::smtp::{PASSWORD, USER};
use harness::{Plugin, Receiver, Settings, Smtp, artifacts, project, tools};
use serde_json::{Value, json};

/// The shipped plugins as `cargo component` builds them.
fn component_built(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(build);
    artifacts::read(&directory.join(format!("{}.wasm", name.replace('-', "_"))))
}

fn build() -> PathBuf {
    let target = project::target().join("guests-component");
    let mut command = Command::new(tools::cargo_component());
    command.args(["component", "build", "--release"]);
    command
        .args(artifacts::shipped_names().iter().flat_map(|name| ["-p".to_owned(), format!("plugin-{name}")]));
    command
        .current_dir(project::root())
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = command.output().expect("cargo-component can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wasm_directory(&target)
}

/// `cargo component` builds for wasip1 and adapts.
fn wasm_directory(target: &Path) -> PathBuf {
    let directories = ["wasm32-wasip1", "wasm32-wasip2"].map(|triple| target.join(triple).join("release"));
    let found = directories.into_iter().find(|directory| directory.join("triage.wasm").exists());
    found.expect("cargo component names its artefacts as cargo does")
}

/// A host with all of them, built as `component` gives them.
fn settings(component: fn(&str) -> Vec<u8>, receiver: &Receiver, smtp: &Smtp) -> Settings {
    let mail = format!(
        "\n[mail]\nhost = \"localhost\"\nport = {}\nusername = \"{USER}\"\npassword-env = \"TESTS_SMTP\"\n\
         from = \"campanile@example.com\"\nroot-certificates = [\"{}\"]\n",
        smtp.port(),
        smtp.authority().display()
    );
    let sidecar = |name: &str| match name {
        "triage" | "log" => String::new(),
        "email" => "[config]\nto = \"ops@example.com\"\n[grants]\nmail = [\"ops@example.com\"]\n".to_owned(),
        _ => posting_to(receiver, name, ""),
    };
    let settings = Settings::new().and_config(&mail).variable("TESTS_SMTP", PASSWORD);
    artifacts::shipped_names().iter().fold(settings, |settings, name| {
        settings.plugin(Plugin::new(name, component(name)).sidecar(&sidecar(name)))
    })
}

/// What is the same for the same alert, whoever built the plugins.
fn essence(ledger: &Value, receiver: &Receiver) -> Value {
    let steps: Vec<_> = ledger["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            json!([step["activity"], step["plugin"], step["result"], step["message"], step["attempts"]])
        })
        .collect();
    let bodies: Vec<_> =
        ["/slack", "/webhook", "/http-status"].iter().flat_map(|path| receiver.received(path)).collect();
    let bodies: Vec<_> = bodies.iter().map(|request| without_id(&request.json(), &ledger["id"])).collect();
    json!({"outcome": ledger["outcome"], "alert": ledger["alert"], "steps": steps, "bodies": bodies})
}

/// The body's text with the alert's id, which is another one for each alert, left out.
fn without_id(body: &Value, id: &Value) -> String {
    body.to_string().replace(id.as_str().expect("a ledger has an id"), "ID")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_artefacts_of_each_shipped_plugin_load_and_behave_alike() {
    let raised = with(
        labelled(alert("built twice"), "Team", "core"),
        json!({"context": {"environment": "production"}}),
    );
    let mut essences = Vec::new();
    let mut descriptions = Vec::new();
    for component in [artifacts::shipped as fn(&str) -> Vec<u8>, component_built] {
        let (receiver, smtp) = (Receiver::start().await, Smtp::start().await);
        let host = settings(component, &receiver, &smtp).start().await;
        let plugins = host.plugins().await;
        assert_eq!(plugins["refused"], json!([]));
        let loaded = plugins["loaded"].as_array().cloned().unwrap_or_default();
        assert_eq!(loaded.len(), artifacts::shipped_names().len());
        descriptions.push(
            loaded.iter().map(|one| json!([one["name"], one["role"], one["summary"]])).collect::<Vec<_>>(),
        );
        let ledger = host.ledger(raised.clone()).await;
        assert_eq!(ledger["outcome"], "delivered", "{ledger}");
        smtp.message_to("ops@example.com").await;
        essences.push(essence(&ledger, &receiver));
    }
    assert_eq!(descriptions[0], descriptions[1]);
    assert_eq!(essences[0], essences[1]);
}
