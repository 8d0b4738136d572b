//! Who may put code into the plugin directory: with `[trust]`, being able to write there is not enough.

use std::fs;
use std::path::Path;

use harness::alerts::alert;
use harness::cli::{Ran, campanile};
use harness::{Host, Plugin, Receiver, Settings, artifacts, until};
use serde_json::{Value, json};

async fn run(arguments: &[&str]) -> Ran {
    let ran = campanile(arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// A key in the directory of these settings, and the configuration that `keygen` says trusts it.
async fn trusting(settings: Settings) -> Settings {
    let key = text(settings.directory().join("campanile.key"));
    let ran = run(&["plugin", "keygen", "--key", &key]).await;
    let table = ran.stdout.find("[trust]").unwrap_or_else(|| panic!("nothing to paste: {}", ran.stdout));
    settings.and_config(&ran.stdout[table..])
}

/// Signs files of the plugin directory.
async fn sign(settings: &Settings, files: &[&str]) {
    let key = text(settings.directory().join("campanile.key"));
    let files: Vec<_> = files.iter().map(|file| text(settings.plugins().join(file))).collect();
    let mut arguments = vec!["plugin", "sign", "--key", &key];
    arguments.extend(files.iter().map(String::as_str));
    run(&arguments).await;
}

async fn refused_for(host: &Host, file: &str, words: &str) -> String {
    until(&format!("{file} is refused for {words:?}"), async || {
        let plugins = host.plugins().await;
        let refused = plugins["refused"].as_array().into_iter().flatten();
        let mut reasons =
            refused.filter(|entry| entry["file"] == file).filter_map(|entry| entry["reason"].as_str());
        reasons.find(|reason| reason.contains(words)).map(str::to_owned)
    })
    .await
}

async fn nothing_refused(host: &Host) {
    until("nothing is refused", async || (host.plugins().await["refused"] == json!([])).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_trusted_key_signed_is_loaded_and_a_late_signature_heals() {
    let receiver = Receiver::start().await;
    let settings = trusting(Settings::new().plugin(Plugin::recorder("pager", &receiver, ""))).await;
    let host = settings.start().await;
    let reason = refused_for(&host, "pager.wasm", "it is not signed").await;
    assert!(reason.contains("campanile plugin sign --key campanile.key"), "{reason}");
    assert_eq!(host.ledger(alert("unsigned")).await["outcome"], "unrouted");

    sign(&settings, &["pager.wasm"]).await;
    refused_for(&host, "pager.toml", "it is not signed").await;
    sign(&settings, &["pager.toml"]).await;
    host.loaded("pager", |_| true).await;
    nothing_refused(&host).await;
    assert_eq!(host.ledger(alert("signed")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_after_it_was_signed_is_refused_and_the_old_one_stays() {
    let receiver = Receiver::start().await;
    let settings = trusting(Settings::new().plugin(Plugin::recorder("pager", &receiver, ""))).await;
    sign(&settings, &["pager.wasm", "pager.toml"]).await;
    let host = settings.start().await;
    let good = host.loaded("pager", |_| true).await;
    let sidecar = fs::read_to_string(settings.plugins().join("pager.toml")).expect("it is there");

    settings.place("pager.toml", format!("{sidecar}# more\n").as_bytes());
    refused_for(&host, "pager.toml", "it is not what key").await;
    fs::remove_file(settings.plugins().join("pager.toml")).expect("it is there");
    refused_for(&host, "pager.wasm", "there is no pager.toml beside it").await;
    settings.place("pager.toml", sidecar.as_bytes());
    nothing_refused(&host).await;
    settings.place("pager.wasm", &artifacts::version(artifacts::guest("recorder"), 2));
    refused_for(&host, "pager.wasm", "it is not what key").await;
    assert_eq!(host.loaded("pager", |_| true).await, good);
    assert_eq!(host.ledger(alert("all the same")).await["outcome"], "delivered");

    sign(&settings, &["pager.wasm"]).await;
    host.loaded("pager", |entry| entry["generation"] == 2).await;
    nothing_refused(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_plugin_under_another_name_or_of_another_key_is_refused() {
    let receiver = Receiver::start().await;
    let stranger = trusting(Settings::new().plugin(Plugin::guest("echo"))).await;
    sign(&stranger, &["echo.wasm"]).await;
    let settings = trusting(Settings::new().plugin(Plugin::recorder("pager", &receiver, ""))).await;
    sign(&settings, &["pager.wasm", "pager.toml"]).await;
    for end in ["wasm", "wasm.minisig", "toml", "toml.minisig"] {
        let from = settings.plugins().join(format!("pager.{end}"));
        fs::copy(from, settings.plugins().join(format!("second.{end}"))).expect("it is there");
    }
    for file in ["echo.wasm", "echo.wasm.minisig"] {
        fs::copy(stranger.plugins().join(file), settings.plugins().join(file)).expect("it is there");
    }
    let host = settings.start().await;
    refused_for(&host, "second.wasm", "it was signed as pager.wasm").await;
    refused_for(&host, "echo.wasm", "which is not trusted").await;
    host.loaded("pager", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_lock_lists_is_loaded_and_a_new_lock_heals() {
    let receiver = Receiver::start().await;
    let settings = Settings::new()
        .and_config("\n[trust]\nrequire-lock = true\n")
        .plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let reason = refused_for(&host, "pager.wasm", "campanile.lock cannot be read").await;
    assert!(reason.contains("`campanile plugin lock --plugins "), "{reason}");

    let (config, plugins) = (text(settings.directory().join("campanile.toml")), text(settings.plugins()));
    let lock = ["plugin", "lock", "--config", &config, "--plugins", &plugins];
    let written = run(&lock).await.stdout;
    assert!(written.contains("+ pager: component sha256:"), "{written}");
    let first = host.loaded("pager", |_| true).await;
    nothing_refused(&host).await;

    settings.place("pager.wasm", &artifacts::version(artifacts::guest("recorder"), 2));
    let reason = refused_for(&host, "pager.wasm", "campanile.lock admits").await;
    let digest = |entry: &Value| entry["digest"].as_str().expect("a text").to_owned();
    assert!(reason.contains(&digest(&first)), "{reason}");
    assert_eq!(host.ledger(alert("the old one")).await["steps"][0]["digest"], first["digest"]);

    let written = run(&lock).await.stdout;
    assert!(written.contains(&format!("- pager: component {}", digest(&first))), "{written}");
    let second = host.loaded("pager", |entry| entry["generation"] == 2).await;
    assert!(written.contains(&format!("+ pager: component {}", digest(&second))), "{written}");
    nothing_refused(&host).await;
    assert!(run(&lock).await.stdout.contains("already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_trusts_nobody_stops_the_host_at_once() {
    let settings = Settings::new().and_config("\n[trust]\nrequire-signature = true\n");
    let (status, log) = Host::refusing(&settings).await;
    assert!(!status.success());
    assert!(log.tail().contains("campanile plugin keygen"), "{}", log.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_verify_what_they_signed() {
    let settings = trusting(Settings::new().plugin(Plugin::guest("echo").sidecar("order = 3\n"))).await;
    let (wasm, toml) =
        (text(settings.plugins().join("echo.wasm")), text(settings.plugins().join("echo.toml")));
    let config = text(settings.write("trusting.toml", settings.config_text()));
    let key = text(settings.directory().join("campanile.key"));
    let ran = run(&["plugin", "sign", &wasm, "--key", &key]).await;
    assert!(ran.stdout.contains("echo.toml is beside it and has no signature"), "{}", ran.stdout);
    let ran = campanile(&["plugin", "verify", &wasm, &toml, "--config", &config]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("file:echo.wasm") && ran.stdout.contains("it is not signed"),
        "{}",
        ran.stdout
    );
    sign(&settings, &["echo.toml"]).await;
    run(&["plugin", "verify", &wasm, &toml, "--config", &config]).await;
    let ran = campanile(&["plugin", "verify", &wasm, "--public-key", "RWnonsense"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("is no file, and is not a public key"), "{}", ran.stderr);
    let ran = campanile(&["plugin", "keygen", "--key", &key]).await;
    assert!(ran.stderr.contains("is there already"), "{}", ran.stderr);
}
