//! What takes effect when: a configuration that changes while the host runs, and what waits for its next start.

use harness::alerts::alert;
use harness::senders::new_key;
use harness::wait::until;
use harness::web::client;
use harness::{Host, Plugin, Receiver, Settings, artifacts};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What the host says when it has read its configuration again.
const TAKEN: &str = "configuration taken over from its files";

async fn post(host: &Host, path: &str, key: &str) -> u16 {
    let alerts = if path == "/webhook/am" { json!([]) } else { json!([alert("let in")]) };
    let body = json!({"alerts": alerts});
    host.request(client().post(host.at(path)).bearer_auth(key).json(&body)).await.status
}

/// Writes the configuration of a host that runs, with these lines behind it.
fn change(host: &Host, lines: &str) {
    let settings = host.settings().clone().and_config(lines);
    host.settings().write("campanile.toml", settings.config_text());
}

async fn needs_restart(host: &Host, expected: Value) {
    until(&format!("{expected} wait for a restart"), async || {
        let waiting = host.get("/health").await.json()["needs_restart"].clone();
        (waiting == expected).then_some(())
    })
    .await;
}

async fn counts_for_restart(host: &Host, keys: usize) {
    let page = host.get("/metrics").await.text;
    assert!(page.lines().any(|line| line == format!("campanile_restart_needed {keys}")), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_sources_change_without_a_restart() {
    let [(old, old_lines), (new, new_lines)] =
        ["old", "new"].map(|name| new_key(name, &["--sources", "alerts,am"]));
    let settings = Settings::new().plugin(Plugin::shipped("alertmanager"));
    let keys = settings.write("keys.toml", &old_lines.replace("[keys.", "["));
    let file = keys.display().to_string();
    let host = settings.argument("--keys-file").argument(&file).start().await;
    assert_eq!(post(&host, "/webhook/alerts", &old).await, 200);
    assert_eq!(post(&host, "/webhook/alerts", &new).await, 401);
    assert_eq!(post(&host, "/webhook/am", &old).await, 404);

    host.settings().write("keys.toml", &new_lines.replace("[keys.", "["));
    until("the new key opens", async || (post(&host, "/webhook/alerts", &new).await == 200).then_some(()))
        .await;
    assert_eq!(post(&host, "/webhook/alerts", &old).await, 401);

    change(&host, "\n[sources.am]\nplugin = \"alertmanager\"\n");
    until("the source is there", async || (post(&host, "/webhook/am", &new).await == 200).then_some(()))
        .await;

    // All or none: a source that cannot be used keeps a key out.
    change(
        &host,
        &format!("{old_lines}\n[sources.am]\n[sources.am.signature]\nscheme = \"github\"\nsecrets = []\n"),
    );
    let refused = until("the configuration is refused", async || {
        host.get("/health").await.json()["refused_configuration"]["places"][0].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(refused, "sources.am.signature.secrets");
    assert_eq!(post(&host, "/webhook/alerts", &old).await, 401);
    assert_eq!(post(&host, "/webhook/am", &new).await, 200, "what was before stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_not_opened_to_others_by_a_reload() {
    let (key, lines) = new_key("team", &["--sources", "alerts"]);
    let settings = Settings::new().role("webhook").argument("--listen").argument("0.0.0.0:0");
    let host = Host::listening(&settings.and_config(&lines)).await;
    let local = host.url().replace("0.0.0.0", "127.0.0.1");
    let status = async |key: &str| {
        let request = client().post(format!("{local}/webhook/alerts")).bearer_auth(key).body("{}");
        harness::web::send(request).await.expect("an answer").status
    };
    let open = host.settings().clone().replace_in_config(&lines, "");
    host.settings().write("campanile.toml", open.config_text());
    host.log().wait_for("the refusal", |event| event.to_string().contains("campanile keys new NAME")).await;
    assert_eq!(status("cmp_wrong").await, 401);
    assert_ne!(status(&key).await, 401, "the key is still known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_without_a_restart_and_shown_to_nobody() {
    const VALUES: [&str; 2] = ["T000/B000/hush-hush-one", "T000/B000/hush-hush-two"];
    let receiver = Receiver::start().await;
    let settings = Settings::new();
    let file = settings.write("secret", VALUES[0]);
    let config = format!("\n[secrets.PATH]\nfile = \"{}\"\nhosts = [\"127.0.0.1\"]\n", file.display());
    let sidecar = format!(
        "[config]\nurl = \"{}\"\n[grants]\nhttp = [\"POST {}\"]\nprivate-networks = [\"127.0.0.0/8\"]\nsecrets = [\"PATH\"]\n",
        receiver.url("/services/${secret:PATH}"),
        receiver.url("/**"),
    );
    let pager = Plugin::new("pager", artifacts::guest("recorder")).sidecar(&sidecar);
    let host = settings.and_config(&config).plugin(pager).start().await;
    let mut shown = vec![host.ledger(alert("before")).await.to_string()];
    host.settings().write("secret", VALUES[1]);
    host.log().message(TAKEN).await;
    shown.push(host.ledger(alert("after")).await.to_string());
    for value in VALUES {
        assert_eq!(receiver.received(&format!("/services/{value}")).len(), 1, "{value}");
    }
    assert!(shown.iter().all(|text| !text.contains("hush")), "{shown:?}");
    assert!(!host.log().has(|event| event.to_string().contains("hush")), "the log holds the secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_plugins_change_without_a_restart() {
    let receiver = Receiver::start().await;
    let none = Settings::new().and_config("\n[limits]\nrequests = 0\n");
    let own = Plugin::recorder("own", &receiver, "").and("[limits]\nrequests = 1\n");
    let host = none.plugin(Plugin::recorder("pager", &receiver, "")).plugin(own).start().await;
    assert_eq!(host.ledger(alert("too much")).await["outcome"], "partial");
    let some = host.settings().clone().replace_in_config("requests = 0", "requests = 5");
    host.settings().write("campanile.toml", some.config_text());
    host.loaded("pager", |plugin| plugin["generation"] == 2).await;
    assert_eq!(host.ledger(alert("within")).await["outcome"], "delivered");
    assert_eq!(host.loaded("own", |_| true).await["generation"], 1, "its own limit is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_restart_is_named_until_it_is_changed_back() {
    let host = Settings::new().start().await;
    needs_restart(&host, json!([])).await;
    change(
        &host,
        "\n[webhook]\nbody-limit = 2048\n[sources.sentry]\nspool = true\n[store]\nurl = \"postgres://db/alerts\"\n",
    );
    needs_restart(&host, json!(["store.url", "webhook.body-limit"])).await;
    let named = |event: &Value| {
        event["level"] == "WARN" && event.to_string().contains("store.url, webhook.body-limit")
    };
    assert!(host.log().has(named));
    counts_for_restart(&host, 2).await;
    change(&host, "");
    needs_restart(&host, json!([])).await;
    counts_for_restart(&host, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_warns_of_what_will_fail() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let (_, lines) = new_key("team", &["--sources", "pager"]);
    let chat =
        "[receivers.chat]\nplugin = \"pager\"\nconfig = { url = \"https://chat.example.com/hooks/1\" }\n";
    change(&host, &format!("{lines}\n{chat}[[routes]]\nreceivers = [\"chat\"]\n"));
    host.process().signal(Signal::HUP);
    host.log().message(TAKEN).await;
    for words in [
        "receivers.chat.config.url: is not granted; to allow it, add to [grants] of pager.toml: \
         http = [\\\"POST https://chat.example.com/hooks/1\\\"]",
        "keys.team.sources[0]: there is no source pager",
    ] {
        let is_warned = |event: &Value| event["level"] == "WARN" && event.to_string().contains(words);
        assert!(host.log().has(is_warned), "{words:?} is missing in:\n{}", host.log().tail());
    }
}
