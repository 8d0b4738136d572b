//! Plugins that mean harm, one deed after the other, beside a plugin that must not feel it: the list is in
//! `docs/sandbox.md`.

mod calls;
mod canary;
pub(crate) mod crafted;
mod deeds;
mod handmade;
mod isolation;
mod loading;
mod reload;

use std::fs;
use std::path::Path;

use harness::alerts::{alert, labelled, with};
use harness::{Host, Plugin, Receiver, Settings, artifacts, project};
use serde_json::{Value, json};

/// What a hostile plugin may use up here: little, so that the tests are quick.
const LIMITS: &str = "[retry]\nmaximum-attempts = 1\n[limits]\nquarantine-after = 0\nmemory = \"32MiB\"\ndeadline = \"900ms\"\n";

/// The hostile guests, one of each role.
const GUESTS: [&str; 3] = ["misbehave", "misbehave-notifier", "misbehave-updater"];

/// A hostile guest under its own name, called only for alerts that ask it for something.
fn hostile(guest: &str) -> Plugin {
    Plugin::guest(guest).sidecar(&format!("when = 'alert.source.name == \"hostile\"'\n{LIMITS}"))
}

/// The same, with more time, for tests of what it does with it.
fn patient(guest: &str) -> Plugin {
    let Plugin { name, component, sidecar } = hostile(guest);
    Plugin { name, component, sidecar: sidecar.replace("900ms", "1500ms") }
}

/// Settings with all hostile guests, and the canary that posts to `/canary`.
fn settings(receiver: &Receiver, plugin: fn(&str) -> Plugin) -> Settings {
    let settings = Settings::new().plugin(Plugin::recorder("canary", receiver, ""));
    GUESTS.into_iter().fold(settings, |settings, guest| settings.plugin(plugin(guest)))
}

/// An alert that asks every hostile guest for this deed.
fn asking(deed: &str) -> Value {
    labelled(with(alert(deed), json!({"source": {"name": "hostile", "type": "test"}})), "do", deed)
}

/// Panics with all of the faults, if there are any.
fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The one step of a plugin.
fn step<'a>(ledger: &'a Value, plugin: &str) -> &'a Value {
    let mut steps = ledger["steps"].as_array().into_iter().flatten().filter(|step| step["plugin"] == plugin);
    steps.next().unwrap_or_else(|| panic!("{plugin} was not called: {ledger}"))
}

/// What a hostile guest printed in its call for one alert, line by line, once the host has said that the last one of them
/// has ended.
async fn printed(host: &Host, guest: &str, alert: &Value) -> Vec<String> {
    let ended = |event: &Value| event["receiver"] == GUESTS[2] && event["alert"] == *alert;
    host.log().wait_for("the end of the last call", ended).await;
    let of = |event: &Value| event["plugin"] == guest && event["alert"] == *alert;
    let lines = host.log().events().into_iter().filter(|event| of(event) && event["target"] == "plugin");
    lines.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_guest_is_run_by_a_test() {
    let root = project::root().join("tests");
    let sources: String =
        ["suites", "suites/hostile", "harness", "bench"].map(|place| texts(&root.join(place))).concat();
    for guest in artifacts::guest_names() {
        let named = format!("\"{guest}\"");
        assert!(sources.contains(&named), "no test runs tests/guests/{guest}");
    }
}

#[test]
fn every_deed_is_in_the_documentation() {
    let page = project::text("docs/sandbox.md");
    let missing = deeds::names().chain(handmade::names()).filter(|name| !page.contains(&format!("`{name}`")));
    assert_none(missing.map(|name| format!("docs/sandbox.md does not say what `{name}` does")).collect());
}

/// The Rust files of a directory, one after the other.
fn texts(directory: &Path) -> String {
    let entries = fs::read_dir(directory).expect("it is readable").flatten().map(|entry| entry.path());
    let sources = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources.map(|path| fs::read_to_string(path).expect("it is readable")).collect()
}
