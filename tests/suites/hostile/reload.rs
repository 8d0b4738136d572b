//! New versions while calls run: hundreds of them, broken ones among them, and a plugin that is deleted.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use harness::{Host, Plugin, Receiver, Settings, artifacts, until};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::canary::Canaries;
use super::{asking, hostile, patient, step};

/// How many versions are written, one after the other.
const VERSIONS: u8 = 250;
/// After how many of them there is a pause in which one can be loaded.
const VOLLEY: u8 = 25;

fn version(number: u8) -> Vec<u8> {
    artifacts::version(artifacts::guest("recorder"), number)
}

fn digest(component: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(component))
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_new_versions_lose_no_alert_and_none_is_loaded_in_part() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("canary", &receiver, "")).start().await;
    let canaries = Canaries::start(&host, &receiver).await;
    let seen = storm(&host).await;
    let last = digest(&version(VERSIONS - 1));
    host.loaded("canary", |entry| entry["digest"] == *last).await;
    assert_eq!(host.plugins().await["refused"], json!([]));
    canaries.stop(&receiver).await;
    let whole: BTreeSet<_> = (0..VERSIONS).map(|number| digest(&version(number))).collect();
    let first = digest(&artifacts::guest("recorder"));
    let torn: Vec<_> = seen.iter().filter(|digest| **digest != first && !whole.contains(*digest)).collect();
    assert!(
        torn.is_empty() && seen.len() > 1,
        "of {} that were loaded these were not written: {torn:?}",
        seen.len()
    );
}

/// Writes all the versions, some into place and some over the one before, and gives the digests that were loaded.
async fn storm(host: &Host) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for number in 0..VERSIONS {
        match number % 2 {
            0 => host.settings().place("canary.wasm", &version(number)),
            _ => fs::write(host.settings().plugins().join("canary.wasm"), version(number)).expect("writable"),
        }
        sleep(Duration::from_millis(if number % VOLLEY == 0 { 400 } else { 5 })).await;
        let plugins = host.plugins().await;
        seen.extend(plugins["loaded"][0]["digest"].as_str().map(str::to_owned));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_misbehaves_in_describe_never_replaces_one_that_does_not() {
    let host = Settings::new().plugin(hostile("misbehave-notifier")).start().await;
    let good = host.loaded("misbehave-notifier", |_| true).await;
    for (deed, words) in
        [("trap", "trapping as asked"), ("exit-0", "exit with code 0"), ("spin", "within 5s")]
    {
        for place in ["describe", "initialise"] {
            let bad = artifacts::scripted(artifacts::guest("misbehave-notifier"), &format!("{place}:{deed}"));
            host.settings().place("misbehave-notifier.wasm", &bad);
            until(&format!("{place}:{deed} is refused"), async || {
                let reason = host.plugins().await["refused"][0]["reason"].to_string();
                reason.contains(words).then_some(())
            })
            .await;
            assert_eq!(host.loaded("misbehave-notifier", |_| true).await, good, "{place}:{deed}");
        }
    }
    assert_eq!(host.ledger(asking("stdin")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_deleted_during_a_call_ends_it_as_it_would_have() {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .plugin(patient("misbehave-notifier"))
        .plugin(Plugin::recorder("canary", &receiver, ""))
        .start()
        .await;
    let call = host.ledger(asking("sleep"));
    let delete = async {
        host.log().message("sleep: begun").await;
        fs::remove_file(host.settings().plugins().join("misbehave-notifier.wasm")).expect("it is there");
        until("the plugin is gone", async || {
            let plugins = host.plugins().await;
            let loaded = plugins["loaded"].as_array().into_iter().flatten();
            let names: Vec<&Value> = loaded.map(|entry| &entry["name"]).collect();
            (names == ["canary"]).then_some(())
        })
        .await;
    };
    let (ledger, ()) = tokio::join!(call, delete);
    let step = step(&ledger, "misbehave-notifier");
    assert_eq!(
        step["error"]["message"], "it did not answer within 1.5s (`deadline` in [limits])",
        "{ledger}"
    );
    assert_eq!(ledger["outcome"], "partial", "{ledger}");
}
