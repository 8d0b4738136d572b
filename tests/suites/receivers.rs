//! Every notifier and status updater that is shipped, through the real host, against a server that answers as the service's
//! documentation has it: what it gets, how its credentials reach it, what it is told at the end, and what becomes of its
//! refusals. One more is a file here: a `Service`, and a test of its requests.

mod alertmanager_silence;
mod alerts;
mod discord;
mod github_issue;
mod googlechat;
mod http_status;
mod jira;
mod jira_status;
mod mattermost;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod pushover;
mod service;
mod slack;
mod sns;
mod stage;
mod teams;
mod telegram;
mod webhook;

use harness::{artifacts, project};
use serde_json::{Value, json};

use alerts::{ended, raised, tracked};
use service::{Service, answer};
use stage::{Stage, step};

/// Those that are told of alerts.
const NOTIFIERS: [Service; 13] = [
    slack::SLACK,
    discord::DISCORD,
    telegram::TELEGRAM,
    mattermost::MATTERMOST,
    teams::TEAMS,
    googlechat::GOOGLECHAT,
    ntfy::NTFY,
    pushover::PUSHOVER,
    pagerduty::PAGERDUTY,
    opsgenie::OPSGENIE,
    jira::JIRA,
    sns::SNS,
    webhook::WEBHOOK,
];

/// Those that are told what became of them.
const UPDATERS: [Service; 5] = [
    pagerduty::PAGERDUTY_STATUS,
    jira_status::JIRA_STATUS,
    github_issue::GITHUB_ISSUE,
    alertmanager_silence::ALERTMANAGER_SILENCE,
    http_status::HTTP_STATUS,
];

/// Those that talk no HTTP, which `shipped.rs` has.
const ELSEWHERE: [&str; 2] = ["email", "log"];

/// Every service puts the alert off once: it is asked the same again, no sooner than it said.
async fn are_asked_again(stage: &Stage, services: &[Service], alert: Value) {
    let before: Vec<_> = services.iter().map(|service| stage.server(service.plugin).all().len()).collect();
    for Service { plugin, answers, pause, .. } in services {
        let (place, status, body) = answers[0];
        stage.server(plugin).script(place, [pause.answer()], answer(status, body));
    }
    let ledger = stage.ledger(alert).await;
    for (Service { plugin, pause, .. }, before) in services.iter().zip(before) {
        let step = step(&ledger, plugin);
        assert_eq!((&step["result"], &step["attempts"]), (&json!("ok"), &json!(2)), "{step}");
        let asked = stage.server(plugin).all();
        let [first, second] = [&asked[before], &asked[before + 1]];
        assert_eq!((first.line(), &first.body), (second.line(), &second.body), "{plugin}");
        let waited = second.at - first.at;
        assert!(waited >= pause.least(), "{plugin} was asked again after {waited:?}");
    }
}

/// Every service refuses the alert: it is given up at once, with a code, and in the service's own words.
async fn are_quoted(stage: &Stage, services: &[Service], alert: Value) {
    for Service { plugin, refusal, .. } in services {
        stage.server(plugin).always(refusal.at, answer(refusal.status, refusal.body));
    }
    let ledger = stage.ledger(alert).await;
    for Service { plugin, refusal, .. } in services {
        let step = step(&ledger, plugin);
        assert_eq!((&step["result"], &step["attempts"]), (&json!("failed"), &json!(1)), "{step}");
        assert_eq!([&step["error"]["code"], &step["error"]["retry"]], [refusal.code, "never"], "{step}");
        let message = step["error"]["message"].as_str().expect("a message");
        assert!(message.contains(refusal.words), "{plugin}: {message}");
    }
}

/// The stage of the updaters, while this alert is open.
async fn while_open(alert: &Value) -> Stage {
    let stage = Stage::of(&UPDATERS).await;
    for Service { plugin, answers, .. } in UPDATERS {
        for (place, status, body) in answers {
            stage.server(plugin).always(place, answer(*status, body));
        }
    }
    stage.ledger(alert.clone()).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn notifiers_wait_as_long_as_their_services_ask() {
    are_asked_again(&Stage::of(&NOTIFIERS).await, &NOTIFIERS, raised()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifiers_give_up_what_their_services_refuse_in_their_words() {
    are_quoted(&Stage::of(&NOTIFIERS).await, &NOTIFIERS, raised()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updaters_wait_as_long_as_their_services_ask() {
    let alert = tracked();
    are_asked_again(&while_open(&alert).await, &UPDATERS, ended(alert)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updaters_give_up_what_their_services_refuse_in_their_words() {
    let alert = tracked();
    are_quoted(&while_open(&alert).await, &UPDATERS, ended(alert)).await;
}

#[test]
fn every_receiver_that_is_shipped_is_run_by_a_test() {
    let run: Vec<_> =
        NOTIFIERS.iter().chain(&UPDATERS).map(|service| service.plugin).chain(ELSEWHERE).collect();
    for plugin in artifacts::shipped_names() {
        let source = project::text(&format!("plugins/{plugin}/src/lib.rs"));
        let is_receiver = ["::notifier! {", "::status_updater! {"].iter().any(|role| source.contains(role));
        assert_eq!(is_receiver, run.contains(&plugin.as_str()), "{plugin}");
    }
}
