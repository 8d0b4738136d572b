//! What the toolchains make of plugins: both ways for Rust, `cargo build --target wasm32-wasip2` and `cargo component
//! build`, give components that load and behave alike; Python's and JavaScript's work within the default limits; and what
//! is no component of this contract is refused with what would be one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::alerts::{alert, labelled, with};
use harness::plugin::posting_to;
use harness::smtp::{PASSWORD, USER};
use harness::wait::until_within;
use harness::{Answer, Host, Plugin, Receiver, Settings, Smtp, artifacts, languages, project, tools};
use serde_json::{Value, json};

use crate::hostile::crafted::processor_for;

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
        "email" => "[config]\nto = \"ops@example.com\"\n[grants]\nmail = [\"ops@example.com\"]\n".to_owned(),
        "slack" | "webhook" | "http-status" => posting_to(receiver, name, ""),
        // The others have nobody to talk to here: they are loaded, and not called.
        _ => shipped_sidecar(name)
            .map(|text| text.replace("enabled = true", "enabled = false"))
            .unwrap_or_default(),
    };
    let settings = Settings::new().and_config(&mail).variable("TESTS_SMTP", PASSWORD);
    artifacts::shipped_names().iter().fold(settings, |settings, name| {
        settings.plugin(Plugin::new(name, component(name)).sidecar(&sidecar(name)))
    })
}

/// The file beside a shipped plugin that shows how to grant it what it needs.
fn shipped_sidecar(name: &str) -> Option<String> {
    std::fs::read_to_string(project::root().join(format!("plugins/{name}/{name}.toml"))).ok()
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

/// Compiling a whole interpreter takes the host a while.
const INTERPRETER: Duration = Duration::from_secs(240);
/// Others build thirty plugins meanwhile: the limit is for a machine that has nothing else to do.
const PATIENT: &str = "\n[compilation]\ntimeout = \"200s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn notifiers_in_python_and_javascript_work_within_the_default_limits() {
    let receiver = Receiver::start().await;
    let host = Settings::new().and_config(PATIENT).start().await;
    let built = [("in-python", Some(languages::python())), ("in-javascript", languages::javascript())];
    for (name, component) in built.into_iter().filter_map(|(name, component)| Some((name, component?))) {
        let (size, dropped) = (component.len() >> 20, Instant::now());
        let sidecar = format!("{}[retry]\nmaximum-attempts = 1\n", posting_to(&receiver, name, ""));
        host.drop_plugin(&Plugin::new(name, component).sidecar(&sidecar));
        until_within("the plugin is loaded or refused", INTERPRETER, async || {
            let plugins = host.plugins().await;
            assert_eq!(plugins["refused"], json!([]));
            plugins["loaded"].as_array()?.iter().find(|plugin| plugin["name"] == name).cloned()
        })
        .await;
        let ready = dropped.elapsed();
        let step = step_of(&host, name, alert(name)).await;
        assert_eq!(step["message"], "posted, 200", "{step}");
        assert!(step["warnings"].is_null(), "{step}");
        assert_eq!(receiver.received(&format!("/{name}"))[0].json(), json!({"title": name}));
        println!(
            "{name}: {size} MiB, ready after {ready:.1?}, one call: {} ms, {}",
            step["duration_ms"], step["usage"]
        );
        let written = if name == "in-javascript" { "ping" } else { "forget" };
        forgets(&host, &receiver, name, written).await;
    }
    let raised = step_of(&host, "in-python", labelled(alert("raises"), "do", "raise")).await;
    fails(&raised, "trap", "its last words: KeyError: 'channel' (File \"");
    let dropped = step_of(&host, "in-python", labelled(alert("drops"), "do", "drop")).await;
    assert!(
        dropped["warnings"][0].as_str().is_some_and(|text| text.contains("it dropped POST")),
        "{dropped}"
    );
    if languages::javascript().is_some() {
        let thrown = step_of(&host, "in-javascript", labelled(alert("throws"), "do", "throw")).await;
        fails(&thrown, "trap", "its last words: expected a string, received [undefined] (");
        // It writes the body while the plugin waits for the answer.
        let forgotten = step_of(&host, "in-javascript", labelled(alert("forgets"), "do", "forget")).await;
        fails(&forgotten, "request-not-awaited", "did not finish the request's body");
    }
}

/// The step of one plugin for an alert.
async fn step_of(host: &Host, plugin: &str, alert: Value) -> Value {
    let ledger = host.ledger(alert).await;
    let step = ledger["steps"].as_array().into_iter().flatten().find(|step| step["plugin"] == plugin);
    step.unwrap_or_else(|| panic!("{plugin} was not called: {ledger}")).clone()
}

/// A request that the plugin does not wait for arrives all the same, and what becomes of it is what becomes of the call.
async fn forgets(host: &Host, receiver: &Receiver, name: &str, mistake: &str) {
    let path = format!("/{name}");
    let forgetting = || labelled(alert("forgets"), "do", mistake);
    let before = receiver.received(&path).len();
    receiver.always(&path, Answer::status(200).after(Duration::from_millis(100)));
    let step = step_of(host, name, forgetting()).await;
    assert_eq!((&step["result"], &step["message"]), (&json!("ok"), &json!("posted, probably")), "{step}");
    let warning = step["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("without waiting for POST") && warning.contains("answered 200"), "{step}");
    assert_eq!(receiver.received(&path).len(), before + 1);
    receiver.always(&path, Answer::status(500));
    let step = step_of(host, name, forgetting()).await;
    fails(&step, "request-not-awaited", "it was answered 500");
    assert!(step["attempts"] == 1 && step["dead_letter"].is_string(), "{step}");
    receiver.always(&path, Answer::status(200));
}

fn fails(step: &Value, code: &str, words: &str) {
    let error = &step["error"];
    let says = error["message"].as_str().is_some_and(|text| text.contains(words));
    assert!(error["code"] == code && says, "it should fail with {code}, {words:?}: {step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_of_this_contract_is_refused_with_what_would_be_one() {
    let triage = artifacts::shipped("triage");
    let machine_code = wasmtime::Engine::default().precompile_component(&triage).expect("triage compiles");
    let host = Settings::new().start().await;
    let made = [
        (
            "core",
            artifacts::core_module(),
            "this is a core module, not a component: build it with `cargo build",
        ),
        ("text", b"(component)".to_vec(), "this is WebAssembly text: turn it into a binary component"),
        ("machine-code", machine_code, "this is machine code that wasmtime compiled earlier (.cwasm)"),
        (
            "next",
            processor_for("0.2.0"),
            "processor@0.2.0, but this host serves version 0.1.0: rebuild the plugin",
        ),
        (
            "next-major",
            processor_for("1.0.0"),
            "processor@1.0.0, but this host serves version 0.1.0: rebuild",
        ),
        ("previous", processor_for("0.0.9"), "processor@0.0.9, but this host serves version 0.1.0: rebuild"),
    ];
    for (name, component, _) in &made {
        host.drop_plugin(&Plugin::new(name, component.clone()));
    }
    for (name, _, words) in made {
        let refused = host.refused(&format!("{name}.wasm")).await;
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains(words)), "{refused}");
    }
    // The same by the same means for the version that is served.
    host.drop_plugin(&Plugin::new("served", processor_for("0.1.0")));
    host.loaded("served", |_| true).await;
}
