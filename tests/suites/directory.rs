//! A plugin directory in trouble: files that are not files, links that lead nowhere, deletions that are none, compilations that
//! do not end. What runs goes on, what is new is said, and nothing waits.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use harness::alerts::alert;
use harness::cli::campanile;
use harness::process::{Process, children};
use harness::{Host, Plugin, Receiver, Settings, artifacts, until};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Puts something else at the first path, with the help of the second.
type Place = fn(&Path, &Path);

/// What lies where a file should be, made at one path to lie at another, and words of the refusal.
const IN_ITS_PLACE: [(Place, &str); 4] = [
    (|at, _| symlink("no-such-file", at).expect("writable"), "a link that leads to nothing"),
    (|at, file| symlink(file, at).expect("writable"), "symbolic links"),
    (|at, _| fs::create_dir(at).expect("writable"), "a directory"),
    (|at, _| mknodat(CWD, at, FileType::Fifo, Mode::RUSR, 0).expect("writable"), "a named pipe"),
];

/// Puts each file where the other was, so that neither is ever missing.
fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("the file system can do that");
}

async fn nothing_refused(host: &Host) {
    until("nothing is refused", async || (host.plugins().await["refused"] == json!([])).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_keeps_what_runs() {
    let receiver = Receiver::start().await;
    let plugin = Plugin::recorder("pager", &receiver, "order = 7");
    let host = Settings::new().plugin(plugin.clone()).start().await;
    let good = host.loaded("pager", |_| true).await;
    let directory = host.settings().plugins();
    for file in ["pager.wasm", "pager.toml"] {
        let path = directory.join(file);
        for (place, words) in IN_ITS_PLACE {
            let aside = directory.join(".aside");
            place(&aside, &path);
            exchange(&aside, &path);
            let refused = host.refused(file).await;
            assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains(words)), "{refused}");
            assert_eq!(
                host.loaded("pager", |_| true).await["generation"],
                good["generation"],
                "{file}: {words}"
            );
            assert_eq!(host.ledger(alert(words)).await["outcome"], "delivered");
            exchange(&aside, &path);
            fs::remove_file(&aside).or_else(|_| fs::remove_dir(&aside)).expect("it is ours");
            nothing_refused(&host).await;
        }
    }
    let before = directory.with_file_name("before");
    fs::rename(&directory, &before).expect("writable");
    fs::create_dir(&directory).expect("writable");
    let refused = host.refused("pager.wasm").await;
    assert!(
        refused["reason"].as_str().is_some_and(|reason| reason.contains("another directory")),
        "{refused}"
    );
    assert_eq!(host.ledger(alert("replaced")).await["outcome"], "delivered");
    fs::remove_dir(&directory).expect("empty");
    fs::rename(&before, &directory).expect("writable");
    nothing_refused(&host).await;
    assert_eq!(host.loaded("pager", |_| true).await, good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_switched_off_stays_off_while_its_sidecar_is_away() {
    let off = Plugin::new("pager", artifacts::guest("echo")).sidecar("enabled = false");
    let host = Settings::new().plugin(off.clone()).start().await;
    let is_off = async |host: &Host| host.loaded("pager", |_| true).await["enabled"] == false;
    assert!(is_off(&host).await);
    let directory = host.settings().plugins();
    let other = directory.with_file_name("other");
    fs::create_dir(&other).expect("writable");
    fs::write(other.join("pager.wasm"), &off.component).expect("writable");
    exchange(&directory, &other);
    let refused = host.refused("pager.toml").await;
    assert!(
        refused["reason"].as_str().is_some_and(|reason| reason.contains("another directory")),
        "{refused}"
    );
    assert!(is_off(&host).await);
    exchange(&directory, &other);
    nothing_refused(&host).await;
    let sidecar = directory.join("pager.toml");
    fs::remove_file(&sidecar).expect("it is there");
    symlink("no-such-file", &sidecar).expect("writable");
    host.refused("pager.toml").await;
    assert!(is_off(&host).await);
    // `rm *` deletes the sidecar first. A plugin that is loaded later shows that the directory was looked at in between.
    fs::remove_file(&sidecar).expect("it is there");
    host.drop_plugin(&Plugin::shipped("log"));
    host.loaded("log", |_| true).await;
    assert!(is_off(&host).await);
    fs::remove_file(directory.join("pager.wasm")).expect("it is there");
    until("the plugin is unloaded", async || {
        let loaded = host.plugins().await["loaded"].as_array().map(Vec::len);
        (loaded == Some(1)).then_some(())
    })
    .await;
    // One that stays without a sidecar runs without, in the end.
    host.drop_plugin(&off);
    host.loaded("pager", |entry| entry["enabled"] == false).await;
    fs::remove_file(&sidecar).expect("it is there");
    host.loaded("pager", |entry| entry["enabled"] == true).await;
}

/// The compiling process of a host, once it has one.
async fn compiler(process: &Process) -> Pid {
    until("a component is compiled", async || {
        let compiles = |id: &i32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"compile")
        };
        Pid::from_raw(children(process.id()).into_iter().find(compiles)?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_answers_while_its_plugins_are_compiled_and_works_once_they_are() {
    let settings = Settings::new().plugin(Plugin::shipped("alertmanager"));
    let host = Host::listening(&settings).await;
    let compiler = compiler(host.process()).await;
    kill_process(compiler, Signal::STOP).expect("it runs");
    assert_eq!(host.get("/livez").await.status, 200);
    let ready = host.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["reasons"].to_string().contains("plugins are being loaded: alertmanager"),
        "{ready:?}"
    );
    let body = json!({"alerts": []});
    let early = host.post("/webhook/alertmanager", &body).await;
    assert_eq!((early.status, &early.json()["code"]), (503, &json!("plugin-loading")), "{early:?}");
    assert_eq!(early.header("retry-after"), "2");
    assert_eq!(host.post("/webhook/no-such-source", &body).await.status, 404);
    let ids = until("Temporal is reached", async || {
        let taken = host.post("/webhook/alerts", &json!({"alerts": [alert("early")]})).await;
        (taken.status == 200).then(|| harness::host::ids(&taken.json()))
    })
    .await;
    assert!(!host.log().has(|event| event["message"] == "worker polling"), "it works without its plugins");
    kill_process(compiler, Signal::CONT).expect("it runs");
    assert_eq!(host.completed(&ids[0]).await["outcome"], "unrouted");
    assert_eq!(host.post("/webhook/alertmanager", &body).await.status, 200);
    let order = host.log().events();
    let at = |message: &str| order.iter().position(|event| event["message"] == message);
    assert!(at("plugin loaded").is_some() && at("plugin loaded") < at("worker polling"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compilation_that_took_too_long_is_tried_again_without_a_change() {
    let settings = Settings::new().and_config("\n[compilation]\ntimeout = \"4s\"\n");
    let host = settings.start().await;
    host.drop_plugin(&Plugin::shipped("log"));
    let compiler = compiler(host.process()).await;
    kill_process(compiler, Signal::STOP).expect("it runs");
    let refused = host.refused("log.wasm").await;
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("longer than 4s")), "{refused}");
    assert!(refused["next_attempt"].is_string(), "{refused}");
    host.loaded("log", |_| true).await;
    nothing_refused(&host).await;
}

fn warnings(plugins: &Value) -> String {
    plugins["warnings"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_ignored_names_are_warned_of_and_another_role_is_refused() {
    let receiver = Receiver::start().await;
    let pager = Plugin::recorder("pager", &receiver, "");
    let settings = Settings::new().plugin(pager.clone());
    let mistyped = Plugin::recorder("pager", &receiver, "when = 'alert.severty == \"high\"'\n");
    settings.drop_plugin(&Plugin { name: "pager.old".to_owned(), ..mistyped });
    let older = artifacts::version(pager.component.clone(), 2);
    settings.drop_plugin(&Plugin { name: "pager.older".to_owned(), component: older, ..pager.clone() });
    settings.place("UPPER.WASM", &pager.component);
    let said = [
        "it is the same component as pager",
        "it calls itself",
        "UPPER.WASM",
        "when: reads alert.severty, which",
    ];
    let config = settings.write("campanile.toml", settings.config_text()).display().to_string();
    let plugins = settings.plugins().display().to_string();
    let checked = campanile(&["check", "--config", &config, "--plugins", &plugins]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let host = settings.start().await;
    let listed = campanile(&["plugins", "--url", host.url()]).await;
    let text = warnings(&host.plugins().await);
    for words in said {
        assert!(text.contains(words), "{words:?} is missing in {text}");
        assert!(listed.stdout.contains(words) && checked.stdout.contains(words), "{listed:?} {checked:?}");
        assert!(host.log().has(|event| event["level"] == "WARN" && event.to_string().contains(words)));
    }
    for copy in ["pager.old", "pager.older"] {
        fs::remove_file(settings.plugins().join(format!("{copy}.wasm"))).expect("it is there");
        fs::remove_file(settings.plugins().join(format!("{copy}.toml"))).expect("it is there");
    }
    fs::remove_file(settings.plugins().join("UPPER.WASM")).expect("it is there");
    until("nothing is warned of", async || (warnings(&host.plugins().await) == "[]").then_some(())).await;

    host.settings().place("pager.wasm", &artifacts::guest("echo"));
    let refused = host.refused("pager.wasm").await;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("it is a processor, and a notifier of this name runs"), "{reason}");
    assert_eq!(host.ledger(alert("as before")).await["outcome"], "delivered");
    fs::remove_file(settings.plugins().join("pager.wasm")).expect("it is there");
    until("it is unloaded", async || (host.plugins().await["loaded"] == json!([])).then_some(())).await;
    settings.place("pager.toml", b"");
    host.settings().place("pager.wasm", &artifacts::guest("echo"));
    assert_eq!(host.loaded("pager", |_| true).await["role"], "processor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_plugins_is_not_reported_as_good() {
    let settings = Settings::new();
    settings.place("PAGER.WASM", &artifacts::guest("echo"));
    let plugins = settings.plugins().display().to_string();
    for role in ["all", "webhook"] {
        let ran = campanile(&["check", "--plugins", &plugins, "--role", role]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(!ran.stdout.contains("every plugin"), "{}", ran.stdout);
        assert!(ran.stdout.contains("warning: PAGER.WASM: its name"), "{}", ran.stdout);
    }
}
