//! Every deed while a plugin is loaded: at its instantiation and in `describe`.

use harness::wait::{PATIENCE, until_within};
use harness::{Host, Plugin, Receiver, artifacts};
use serde_json::Value;

use super::canary::Canaries;
use super::deeds::{DEEDS, DESCRIPTIONS, End};
use super::{GUESTS, assert_none, hostile, settings};

/// Deeds at the instantiation while a plugin is loaded: one of each end, since each is a component of its own to compile.
/// That before a call has them all.
const AT_INSTANTIATION: [&str; 8] =
    ["spin", "sleep", "trap", "eat", "exit-0", "field-flood", "recurse", "files"];
/// Those that take up to the deadline of `describe`, which is long: it computes, it waits, it calls the host.
const LONG: [&str; 3] = ["spin", "sleep", "busy-poll"];

/// The longest reason that an operator is shown, in bytes.
const LONGEST_REASON: usize = 10_000;

/// A plugin's name, and the words of its refusal; none if it is to be loaded.
pub(super) type Expected = (String, Option<&'static str>);

fn plugins() -> Vec<(Plugin, Expected)> {
    let quick = |deed: &str, end: End| !matches!(end, End::Deadline) || LONG.contains(&deed);
    let described = DEEDS.into_iter().filter(|(deed, end)| quick(deed, *end));
    let instantiated = DEEDS.into_iter().filter(|(deed, _)| AT_INSTANTIATION.contains(deed));
    let deeds = described.map(|(deed, end)| ("describe", deed, end.refusal()));
    let deeds = deeds.chain(instantiated.map(|(deed, end)| ("initialise", deed, end.refusal())));
    let all = deeds.chain(DESCRIPTIONS.into_iter().map(|(what, words)| ("describe", what, words)));
    let scripted = all.zip(GUESTS.into_iter().cycle()).map(|((place, deed, words), guest)| {
        let name = format!("{place}-{deed}");
        let component = artifacts::scripted(artifacts::guest(guest), &format!("{place}:{deed}"));
        (Plugin::new(&name, component).sidecar("enabled = false\n"), (name, words))
    });
    scripted.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deed_while_a_plugin_is_loaded_ends_as_it_must_and_the_canary_sings_on() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, hostile).and_config("[limits]\nmemory = \"32MiB\"\n").start().await;
    let canaries = Canaries::start(&host, &receiver).await;
    let (plugins, expected): (Vec<_>, Vec<_>) = plugins().into_iter().unzip();
    plugins.iter().for_each(|plugin| host.drop_plugin(plugin));
    let inventory = settled(&host, &expected).await;
    let faults = expected.iter().filter_map(|(name, words)| fault(&inventory, name, *words));
    assert_none(faults.collect());
    canaries.stop(&receiver).await;
}

/// The inventory, once each plugin is either loaded or refused.
pub(super) async fn settled(host: &Host, expected: &[Expected]) -> Value {
    until_within("every plugin is loaded or refused", 2 * PATIENCE, async || {
        let inventory = host.plugins().await;
        let known = |(name, _): &Expected| loaded(&inventory, name) || refusal(&inventory, name).is_some();
        expected.iter().all(known).then_some(inventory)
    })
    .await
}

/// What is wrong with what became of a plugin.
pub(super) fn fault(inventory: &Value, name: &str, words: Option<&str>) -> Option<String> {
    match (words, refusal(inventory, name)) {
        (None, None) => None,
        (Some(words), Some(reason)) if reason.contains(words) && reason.len() <= LONGEST_REASON => None,
        (words, reason) => {
            let shown = reason.map(|reason| reason.chars().take(400).collect::<String>());
            Some(format!("{name}: refused with {shown:?}, not {words:?}"))
        }
    }
}

fn loaded(inventory: &Value, name: &str) -> bool {
    inventory["loaded"].as_array().into_iter().flatten().any(|entry| entry["name"] == name)
}

fn refusal(inventory: &Value, name: &str) -> Option<String> {
    let file = format!("{name}.wasm");
    let mut refused = inventory["refused"].as_array().into_iter().flatten();
    let entry = refused.find(|entry| entry["file"] == file || entry["file"] == format!("{name}.toml"));
    entry.map(|entry| entry["reason"].as_str().unwrap_or_default().to_owned())
}
