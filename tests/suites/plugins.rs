//! The plugin directory: what appears, changes or goes takes effect at once, and a bad file never replaces a good one.

use std::fs;

use harness::alerts::{alert, unique};
use harness::{Plugin, Receiver, Settings, Temporal, artifacts, until};
use serde_json::{Value, json};

fn names(plugins: &Value) -> Vec<&str> {
    plugins["loaded"].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_dropped_in_works_at_once() {
    let receiver = Receiver::start().await;
    let host = Settings::new().start().await;
    assert_eq!(host.ledger(alert("too early")).await["outcome"], "unrouted");
    host.drop_plugin(&Plugin::recorder("pager", &receiver, ""));
    let entry = host.loaded("pager", |_| true).await;
    assert_eq!(entry["role"], "notifier");
    assert_eq!(entry["generation"], 1);
    assert_eq!(entry["file"], "pager.wasm");
    let ledger = host.ledger(alert("now")).await;
    assert_eq!(ledger["outcome"], "delivered");
    assert_eq!(ledger["steps"][0]["digest"], entry["digest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_copied_slowly_is_waited_for() {
    let receiver = Receiver::start().await;
    let host = Settings::new().start().await;
    let plugin = Plugin::recorder("pager", &receiver, "");
    let path = host.settings().plugins().join("pager.wasm");
    fs::write(host.settings().plugins().join("pager.toml"), &plugin.sidecar).expect("writable");
    let half = plugin.component.len() / 2;
    fs::write(&path, &plugin.component[..half]).expect("writable");
    host.refused("pager.wasm").await;
    fs::write(&path, &plugin.component).expect("writable");
    host.loaded("pager", |_| true).await;
    assert_eq!(host.plugins().await["refused"], json!([]));
    assert_eq!(host.ledger(alert("whole")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_deleted_is_not_called_any_more() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    assert_eq!(host.ledger(alert("before")).await["outcome"], "delivered");
    fs::remove_file(host.settings().plugins().join("pager.wasm")).expect("it is there");
    until("the plugin is gone", async || names(&host.plugins().await).is_empty().then_some(())).await;
    assert_eq!(host.ledger(alert("after")).await["outcome"], "unrouted");
    assert_eq!(receiver.received("/pager").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_sidecar_takes_effect_and_a_bad_one_does_not() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let moved = Plugin::recorder("pager", &receiver, "").sidecar.replace("/pager", "/elsewhere");
    host.settings().place("pager.toml", moved.as_bytes());
    host.loaded("pager", |entry| entry["generation"] == 2).await;
    host.ledger(alert("moved")).await;
    assert_eq!((receiver.received("/pager").len(), receiver.received("/elsewhere").len()), (0, 1));

    host.settings().place("pager.toml", format!("colour = \"red\"\n{moved}").as_bytes());
    let refused = host.refused("pager.toml").await;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("colour") && reason.contains("line 1"), "{reason}");
    assert_eq!(host.ledger(alert("still there")).await["outcome"], "delivered");
    assert_eq!(receiver.received("/elsewhere").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_version_never_replaces_a_good_old_one() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let good = host.loaded("pager", |_| true).await;
    let bad: [(&str, Vec<u8>, &str); 4] = [
        ("truncated", artifacts::truncated(artifacts::guest("recorder")), "truncated"),
        ("a core module", artifacts::core_module(), "core module"),
        ("no WebAssembly", b"GIF89a".to_vec(), "not WebAssembly"),
        ("another world", artifacts::guest("wrong-world"), "elsewhere:greeting"),
    ];
    for (what, bytes, words) in bad {
        host.settings().place("pager.wasm", &bytes);
        until(&format!("{what} is refused"), async || {
            let plugins = host.plugins().await;
            plugins["refused"][0]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(words))
                .then_some(())
        })
        .await;
        assert_eq!(host.loaded("pager", |_| true).await, good, "{what}");
        assert_eq!(host.ledger(alert(what)).await["outcome"], "delivered");
    }
    host.settings().place("pager.wasm", &artifacts::version(artifacts::guest("recorder"), 2));
    let better = host.loaded("pager", |entry| entry["generation"] == 2).await;
    assert_ne!(better["digest"], good["digest"]);
    assert_eq!(host.plugins().await["refused"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_plugins_are_reported_together_at_start_and_do_not_stop_the_host() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    settings.place("core.wasm", &artifacts::core_module());
    settings.place("cut.wasm", &artifacts::truncated(artifacts::guest("echo")));
    settings.place("empty.wasm", b"");
    settings.place("text.wasm", b"(component)");
    settings.place("other.wasm", &artifacts::guest("wrong-world"));
    settings
        .drop_plugin(&Plugin::guest("echo").sidecar("[config]\nnumber = 0\npatch = 5\ncolour = \"red\"\n"));
    settings.drop_plugin(
        &Plugin::new("greedy", artifacts::guest("echo")).sidecar("[grants]\nhttp = [\"everything\"]\n"),
    );
    let host = settings.start().await;
    let plugins = host.plugins().await;
    assert_eq!(names(&plugins), ["pager"]);
    let reason = |file: &str| {
        let refused = plugins["refused"].as_array().into_iter().flatten();
        let found = refused.into_iter().find(|entry| entry["file"] == file);
        found.unwrap_or_else(|| panic!("{file} is not refused: {plugins}"))["reason"].to_string()
    };
    assert!(reason("core.wasm").contains("wasm32-wasip2"), "{}", reason("core.wasm"));
    assert!(reason("cut.wasm").contains("truncated"));
    assert!(reason("empty.wasm").contains("empty"));
    assert!(reason("text.wasm").contains("text"));
    assert!(
        reason("other.wasm").contains("campanile:notifier/notifier@0.1.0"),
        "the reason names what would fit"
    );
    for key in ["config.number", "config.patch", "config.colour"] {
        assert!(reason("echo.toml").contains(key), "every fault at once: {}", reason("echo.toml"));
    }
    assert!(reason("greedy.toml").contains("everything"));
    assert_eq!(host.ledger(alert("all the same")).await["outcome"], "delivered");
    let logged =
        |file: &str| host.log().has(|event| event["level"] == "WARN" && event.to_string().contains(file));
    assert!(["core.wasm", "cut.wasm", "echo.toml"].into_iter().all(logged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_takes_too_long_to_compile_is_refused_and_nothing_else_happens() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    drop(host);
    let impatient = settings.clone().and_config("[compilation]\ntimeout = \"1ms\"\n");
    let host = impatient.plugin(Plugin::shipped("triage")).start().await;
    let refused = host.refused("triage.wasm").await;
    assert_eq!(refused["reason"], "compiling it takes longer than 1ms ([compilation] timeout)");
    host.loaded("pager", |_| true).await;
    assert_eq!(host.ledger(alert("compiled before")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_compile_cache_costs_time_and_nothing_else() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    drop(settings.start().await);
    let cache = settings.data().join("cache");
    let is_entry = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "code");
    let mut files = fs::read_dir(&cache).expect("a cache").map(|file| file.expect("an entry").path());
    let entry = files.find(is_entry).expect("an entry of the pager");
    let mut bytes = fs::read(&entry).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&entry, bytes).expect("writable");

    let host = settings.start().await;
    assert_eq!(host.ledger(alert("compiled again")).await["outcome"], "delivered");
    assert!(host.log().has(|event| event.to_string().contains("was damaged")));
    drop(host);

    fs::remove_dir_all(&cache).expect("a directory of ours");
    fs::write(&cache, "no directory").expect("writable");
    let host = settings.start().await;
    assert_eq!(host.ledger(alert("without a cache")).await["outcome"], "delivered");
    assert!(host.log().has(|event| event.to_string().contains("cannot be used as cache")));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_plugins_are_left_alone() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let component = artifacts::guest("echo");
    for name in [".hidden.wasm", "half.wasm.tmp", "half.wasm.part", "README.md", "notes.txt"] {
        fs::write(settings.plugins().join(name), &component).expect("writable");
    }
    fs::create_dir(settings.plugins().join("deeper")).expect("writable");
    fs::write(settings.plugins().join("deeper/inner.wasm"), &component).expect("writable");
    let host = settings.start().await;
    let plugins = host.plugins().await;
    assert_eq!(names(&plugins), ["pager"]);
    assert_eq!(plugins["refused"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_swaps_its_link_is_noticed() {
    let receiver = Receiver::start().await;
    let settings = Settings::new();
    let versions =
        [Plugin::recorder("pager", &receiver, ""), Plugin::recorder("pager", &receiver, "order = 7")];
    for (number, plugin) in versions.iter().enumerate() {
        let directory = settings.directory().join(format!("..version{number}"));
        fs::create_dir(&directory).expect("writable");
        fs::write(directory.join("pager.toml"), &plugin.sidecar).expect("writable");
        fs::write(directory.join("pager.wasm"), &plugin.component).expect("writable");
    }
    let data = settings.plugins().join("..data");
    std::os::unix::fs::symlink("../..version0", &data).expect("writable");
    for file in ["pager.toml", "pager.wasm"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), settings.plugins().join(file))
            .expect("writable");
    }
    let host = settings.start().await;
    host.loaded("pager", |entry| entry["order"] == 0).await;
    let next = settings.plugins().join("..data_tmp");
    std::os::unix::fs::symlink("../..version1", &next).expect("writable");
    fs::rename(next, data).expect("one directory");
    host.loaded("pager", |entry| entry["order"] == 7).await;
    assert_eq!(host.ledger(alert("linked")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_directory_that_comes_late_is_picked_up() {
    let receiver = Receiver::start().await;
    let settings = Settings::new();
    fs::remove_dir(settings.plugins()).expect("empty");
    let host = settings.start().await;
    assert!(host.log().has(|event| event["level"] == "WARN" && event.to_string().contains("plugins.d")));
    fs::create_dir(settings.plugins()).expect("writable");
    host.drop_plugin(&Plugin::recorder("pager", &receiver, ""));
    host.loaded("pager", |_| true).await;
    let title = unique("late ");
    assert_eq!(host.ledger(alert(&title)).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grant_leads_to_the_host_itself_or_to_temporal() {
    let host = Settings::new().start().await;
    let temporal = format!("http://{}", Temporal::shared().await.address());
    for (name, target) in [("inward", host.url()), ("sideward", &temporal)] {
        let sidecar = format!(
            "[config]\nurl = \"{target}/webhook/alerts\"\n[retry]\nmaximum-attempts = 1\n\
             [grants]\nhttp = [\"POST {target}/**\"]\nprivate-networks = [\"127.0.0.0/8\"]\n"
        );
        host.drop_plugin(&Plugin::new(name, artifacts::guest("recorder")).sidecar(&sidecar));
        host.loaded(name, |_| true).await;
    }
    let ledger = host.ledger(alert("out of reach")).await;
    assert_eq!(ledger["outcome"], "failed", "{ledger}");
    for what in ["this host itself", "Temporal"] {
        let words = format!("leads to {what}, which no plugin may reach");
        assert!(ledger.to_string().contains(&words), "{words}: {ledger}");
    }
}
