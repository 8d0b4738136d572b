//! The commands that say what a host would make of plugins and configuration, without starting one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::alerts::{alert, identified};
use harness::cli::{Ran, campanile};
use harness::senders::new_key;
use harness::{Plugin, Receiver, Settings, artifacts};

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// Checks one plugin of these settings, with their configuration.
async fn check_plugin(settings: &Settings, name: &str) -> Ran {
    let file = text(settings.plugins().join(format!("{name}.wasm")));
    let config = text(settings.write("campanile.toml", settings.config_text()));
    campanile(&["plugin", "check", &file, "--config", &config]).await
}

/// Checks the whole of these settings.
async fn check(settings: &Settings, more: &[&str]) -> Ran {
    let config = text(settings.write("campanile.toml", settings.config_text()));
    let plugins = text(settings.plugins());
    campanile(&[&["check", "--config", &config, "--plugins", &plugins], more].concat()).await
}

/// The lines of a table that a command printed for pasting, to the next empty one.
fn pasted(ran: &Ran, table: &str) -> String {
    let start = ran.stdout.find(&format!("\n{table}\n"));
    let start = start.unwrap_or_else(|| panic!("no {table} in:\n{}", ran.stdout)) + 1;
    ran.stdout[start..].split("\n\n").next().unwrap_or_default().to_owned() + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_lacks_is_shown_as_lines_that_grant_it_when_pasted() {
    let settings = Settings::new().plugin(Plugin::shipped("slack"));
    let ran = check_plugin(&settings, "slack").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in [
        "slack.wasm: a host would load it",
        "notifier, contract 0.1.0",
        "digest   sha256:",
        "KiB",
        "called   for every alert",
        "limits   128 MiB, 15s per call, 8 calls at once",
        "asks for POST https://hooks.slack.com/services/**: not granted by slack.toml",
        "asks for the secret SLACK_PATH: not granted",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is missing in:\n{}", ran.stdout);
    }
    settings.place("slack.toml", format!("order = 2\n{}", pasted(&ran, "[grants]")).as_bytes());
    let settings = settings.and_config(&pasted(&ran, "[secrets.SLACK_PATH]"));
    let ran = check_plugin(&settings, "slack").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.matches(": granted").count(), 2, "{}", ran.stdout);
    assert!(!ran.stdout.contains("[grants]\n") && !ran.stdout.contains("[secrets"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_needs_settings_says_which_and_is_good_once_it_has_them() {
    let settings = Settings::new().plugin(Plugin::shipped("email"));
    let ran = check_plugin(&settings, "email").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in
        ["a host would refuse it", "config.to: is required", "asks for mail: not granted by email.toml"]
    {
        assert!(ran.stdout.contains(words), "{words:?} is missing in:\n{}", ran.stdout);
    }
    let sidecar = pasted(&ran, "[config]") + &pasted(&ran, "[grants]");
    assert!(sidecar.contains("to = ") && sidecar.contains("mail = "), "{sidecar}");
    let filled = sidecar.replace("\"…\"", "\"ops@example.com\"");
    settings.place("email.toml", filled.as_bytes());
    let ran = check_plugin(&settings, "email").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_would_refuse_has_the_hosts_own_words_and_an_exit_code() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, "colour = 1"));
    settings.place("core.wasm", &artifacts::core_module());
    let host = settings.start().await;
    for name in ["core", "pager"] {
        let ran = check_plugin(&settings, name).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let file = if name == "pager" { "pager.toml" } else { "core.wasm" };
        let refused = host.refused(file).await;
        let words = format!("{file}: {}", refused["reason"].as_str().expect("a text"));
        assert!(ran.stdout.contains(&words), "{words:?} is missing in:\n{}", ran.stdout);
    }
    let nothing = campanile(&["plugin", "check", "no-such.wasm", "plugin.so"]).await;
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.stdout.contains("there is no file no-such.wasm"), "{}", nothing.stdout);
    assert!(nothing.stdout.contains("plugin.so is not named like a plugin"), "{}", nothing.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_with_configuration_and_plugins_is_told_at_once() {
    let receiver = Receiver::start().await;
    let good = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).plugin(Plugin::guest("echo"));
    let ran = check(&good, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("every plugin (2)"), "{}", ran.stdout);

    let bad = good
        .and_config("\n[routing]\ncatch-all = [\"pager\", \"echo\", \"nobody\"]\n")
        .and_config("[secrets.KEY]\nenv = \"TESTS_NO_SUCH\"\nhosts = [\"example.com\"]\n")
        .and_config("[trust]\ntrusted-keys = [\"nonsense\"]\n")
        .plugin(Plugin::recorder("second", &receiver, "").and("secrets = [\"KEY\", \"OTHER\"]"));
    bad.place("core.wasm", &artifacts::core_module());
    bad.place("lost.toml", b"order = 1\n");
    bad.place("echo.toml", b"colour = 1\n");
    let ran = check(&bad, &[]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in [
        "secrets.KEY.env: the environment variable TESTS_NO_SUCH is not set",
        "trust.trusted-keys[0]: is not a public key",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is missing in:\n{}", ran.stdout);
    }
    let bad = bad.replace_in_config("[trust]\ntrusted-keys = [\"nonsense\"]\n", "");
    for (more, is_secret_told) in [(&[][..], true), (&["--without-secrets"][..], false)] {
        let ran = check(&bad, more).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for words in [
            "core.wasm: this is a core module",
            "lost.toml: there is no lost.wasm",
            "echo.toml: colour: is not a known key",
            "second.toml: grants.secrets: the configuration has no [secrets.OTHER]",
            "routing.catch-all[1]: there is no notifier echo",
            "routing.catch-all[2]: there is no notifier nobody",
        ] {
            assert!(ran.stdout.contains(words), "{words:?} is missing in:\n{}", ran.stdout);
        }
        assert_eq!(ran.stdout.contains("TESTS_NO_SUCH"), is_secret_told, "{}", ran.stdout);
    }
    let ran = check(&bad.and_config("lsten = 1\n"), &[]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("lsten"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_everybody_may_change_is_warned_about_and_used() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    fs::set_permissions(settings.plugins(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let warning = format!("every user of this machine may change {}", text(settings.plugins()));
    let ran = check(&settings, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(&format!("warning: {warning}")), "{}", ran.stdout);
    let host = settings.start().await;
    assert!(host.log().has(|event| event["level"] == "WARN" && event.to_string().contains(&warning)));
    assert_eq!(host.ledger(alert("all the same")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_trusted_is_not_checked_any_further() {
    let settings =
        Settings::new().plugin(Plugin::guest("echo")).and_config("\n[trust]\nrequire-lock = true\n");
    let ran = check_plugin(&settings, "echo").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("campanile.lock cannot be read"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("processor"), "nobody has looked into it: {}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_fail_is_named_with_what_mends_it() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let hook = text(settings.write("hook", "T000/B000/hush-hush"));
    let (_, key) = new_key("prometheus", &["--sources", "grafnaa"]);
    let spare = key.replace("keys.prometheus", "keys.spare").replace("grafnaa", "alerts");
    let config = format!(
        "{key}{spare}\n[receivers.chat]\nplugin = \"pager\"\nsecrets = [\"HOOK\"]\n\
         config = {{ url = \"https://chat.example.com/hooks/${{secret:HOOK}}\" }}\n\
         [receivers.bare]\nplugin = \"pager\"\nconfig = {{ url = \"{bare}/${{secret:HOOK}}\" }}\n\
         [secrets.HOOK]\nfile = \"{hook}\"\nhosts = [\"chat.example.com\", \"127.0.0.1\"]\n\
         [secrets.SPARE]\nfile = \"{hook}\"\nhosts = [\"chat.example.com\"]\n\
         [[routes]]\nreceivers = [\"chat\", \"bare\"]\n[[routes.routes]]\nmute = [\"office\"]\n\
         [windows.office]\ntimes = []\n",
        bare = receiver.url(""),
    );
    let bad = settings.clone().and_config(&config).plugin(Plugin::shipped("grafana"));
    let ran = check(&bad, &[]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in [
        "receivers.chat.config.url: is not granted; to allow it, add to [grants] of pager.toml: \
         http = [\"POST https://chat.example.com/hooks/**\"]",
        "receivers.bare.config.url: the secret HOOK is not granted; to allow it, add",
        "keys.prometheus.sources[0]: there is no source grafnaa in the plugin directory or under [sources]: did you mean grafana?",
        "keys.spare.hash: is the hash of keys.prometheus, too",
        "warning: secrets.SPARE: is granted to no plugin, receiver or updater",
        "warning: routes[0].routes[0]: notifies no receiver in window office, and then routes[0] does not notify chat, bare",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is missing in:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("secrets.HOOK:"), "a receiver uses it: {}", ran.stdout);
    let without = check(&bad, &["--without-secrets"]).await;
    assert!(without.stdout.contains("receivers.chat.config.url: is not granted"), "{}", without.stdout);

    let good = bad
        .replace_in_config("grafnaa", "grafana")
        .replace_in_config(&spare.replace("grafnaa", "grafana"), "\n")
        .replace_in_config("https://chat.example.com/hooks", &receiver.url("/hooks"))
        .replace_in_config("[receivers.bare]\n", "[receivers.bare]\nsecrets = [\"HOOK\"]\n");
    for more in [&[][..], &["--without-secrets"]] {
        let ran = check(&good, more).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_plugins_own_file_that_lead_to_nothing_are_faults() {
    let receiver = Receiver::start().await;
    let lines = "[config]\nurl = \"http://127.0.0.1:9/${secret:HOOK}\"\n[grants]\nhttp = [\"POST https://a.example.com/**\"]\n";
    let settings = Settings::new()
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::guest("recorder").sidecar(&lines.replace("/${secret:HOOK}", "/x")));
    let lacks = "recorder.toml: config.url: is not granted, and leads to 127.0.0.1, which is loopback; to allow it, add to [grants] \
                 of recorder.toml: http = [\"POST http://127.0.0.1:9/x\"] and private-networks = [\"127.0.0.1\"]";
    let ran = check(&settings, &[]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains(lacks) && !ran.stdout.contains("warning: recorder.toml"), "{}", ran.stdout);
    let one = check_plugin(&settings, "recorder").await;
    assert!(one.stdout.contains("would load it, and calls with its settings would fail"), "{}", one.stdout);
    assert!(one.stdout.contains(lacks), "{}", one.stdout);
    let host = settings.start().await;
    host.log().wait_for("the warning", |event| event.to_string().contains("leads to 127.0.0.1")).await;
    assert_eq!(host.get("/health").await.status, 200, "it goes on");

    let elsewhere = settings.clone().and_config(
        "\n[receivers.chat]\nplugin = \"recorder\"\nconfig = { url = \"https://a.example.com/x\" }\n\
         [[routes]]\nreceivers = [\"chat\", \"pager\"]\n",
    );
    let ran = check(&elsewhere, &[]).await;
    assert_eq!(ran.code, Some(0), "no call has these settings: {ran:?}");
    assert!(ran.stdout.contains(&format!("warning: {lacks}")), "{}", ran.stdout);

    settings.place("recorder.toml", lines.as_bytes());
    let ran = check(&settings, &[]).await;
    let secret = "recorder.toml: config.url: the secret HOOK is not granted; to allow it, add";
    assert!(ran.code == Some(1) && ran.stdout.contains(secret), "{ran:?}");
    settings.place("recorder.toml", format!("enabled = false\n{lines}").as_bytes());
    assert_eq!(check(&settings, &[]).await.code, Some(0), "it is not called");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_sidecar_is_told_at_once_and_how_little_memory_works() {
    let settings = Settings::new().plugin(Plugin::shipped("slack"));
    let wrong = "colour = 1\nwhen = \"alert.\"\n[config]\nurl = 3\n[limits]\nmemory = \"64KiB\"\ndeadline = \"soon\"\n";
    settings.place("slack.toml", wrong.as_bytes());
    let ran = check(&settings, &[]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in [
        "colour: is not a known key (line 1",
        "when: is not a CEL expression",
        "config.url: 3 is a number",
        "limits.memory: 64 KiB is less than the",
        "limits.deadline: \"soon\"",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is missing in:\n{}", ran.stdout);
    }
    let least = ran.stdout.split("set at least memory = ").nth(1).and_then(|rest| rest.split('"').nth(1));
    let least = least.unwrap_or_else(|| panic!("no least value in:\n{}", ran.stdout));
    settings.place("slack.toml", format!("[limits]\nmemory = \"{least}\"\n").as_bytes());
    assert_eq!(check(&settings, &[]).await.code, Some(0), "{least} works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_a_word_that_no_alert_has_is_warned_about() {
    let receiver = Receiver::start().await;
    let settings = Settings::new()
        .plugin(Plugin::recorder("pager", &receiver, "when = \"alert.severity == 'HIGH'\""))
        .and_config(
            "\n[[routes]]\nwhen = \"alert.status in ['Firing']\"\nreceivers = [\"pager\"]\n\
             [[mutes]]\nwhen = \"alert.type == 'Custom'\"\nuntil = \"2999-01-01T00:00:00Z\"\nreason = \"none\"\n",
        );
    let ran = check(&settings, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (place, meant) in
        [("pager.toml: when", "high"), ("routes[0].when", "firing"), ("mutes[0].when", "custom")]
    {
        let line =
            ran.stdout.lines().find(|line| line.starts_with(&format!("warning: {place}: compares alert.")));
        let line = line.unwrap_or_else(|| panic!("{place} is missing in:\n{}", ran.stdout));
        assert!(line.ends_with(&format!("did you mean \"{meant}\"?")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_whose_sender_is_gone_is_named_while_the_host_runs() {
    let settings = Settings::new();
    let data = text(settings.data());
    let host = settings.start().await;
    host.submit(&[identified("open"), alert("has no end")]).await;
    let (_, key) = new_key("team-a", &["--sources", "alerts"]);
    let changed = settings.clone().and_config(&key);
    let warning = "warning: the scope alerts has 1 open alerts, and no key or source posts to it: give the key of its sender \
                   scope = \"alerts\"";
    let ran = check(&changed, &["--data-dir", &data]).await;
    assert_eq!((ran.code, ran.stdout.contains(warning)), (Some(0), true), "{ran:?}");
    let kept =
        changed.replace_in_config("sources = [\"alerts\"]", "sources = [\"alerts\"]\nscope = \"alerts\"");
    let ran = check(&kept, &["--data-dir", &data]).await;
    assert!(ran.code == Some(0) && !ran.stdout.contains("the scope"), "{ran:?}");
}
