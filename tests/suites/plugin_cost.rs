//! What the worst admitted input costs: every shipped plugin takes every admitted body and alert within a tenth of its
//! deadline, within its memory, and with an answer that the host takes. Counted in instructions (wasmtime's fuel), never in
//! time.

mod corpus;
mod engine;

use fastrand::Rng;
use harness::artifacts;
use harness::chance::variable;

use engine::{Cost, Engine, Input};

/// Instructions of WebAssembly in a second of a processor's time. Most of them cost a processor nothing: one of a small virtual
/// machine was measured to execute 16 to 18 billion a second of what the worst inputs lead to (comparing texts).
const PER_SECOND: u64 = 12_000_000_000;
/// What part of its deadline a plugin may take: one of so many.
const SHARE: u64 = 10;
/// How many generated inputs each plugin gets.
const ROUNDS: usize = 12;
/// How many seconds the roles have (`docs/sandbox.md`).
const SOURCE: u64 = 5;
const PROCESSOR: u64 = 1;
const RECEIVER: u64 = 15;

/// The inputs that cost a plugin too much, one line each.
async fn faults(engine: &Engine, name: &str, seconds: u64, inputs: Vec<(String, Input)>) -> Vec<String> {
    let (plugin, most) = (engine.plugin(name), seconds * PER_SECOND / SHARE);
    let (mut faults, mut worst) = (Vec::new(), (0, String::new()));
    for (what, input) in inputs {
        let Cost { instructions, fault } = plugin.call(input, most).await;
        if let Some(fault) = fault {
            faults.push(format!("{name}: {what}: {fault}"));
        }
        if instructions > worst.0 {
            worst = (instructions, what);
        }
    }
    println!("{name}: at most {} % of its share, for {}", worst.0 * 100 / most, worst.1);
    faults
}

/// What the inputs are made from: the same in each run, so that a failure is one of the change that is tested. Set
/// `TESTS_SEED` to a number to look for more.
fn seed() -> u64 {
    variable("TESTS_SEED").unwrap_or(1)
}

/// Gives each plugin that `inputs` knows inputs for what they make for it.
async fn check(seconds: u64, inputs: impl Fn(&str, &mut Rng) -> Vec<(String, Input)>) {
    let (engine, seed) = (Engine::new(), seed());
    println!("TESTS_SEED={seed}");
    let mut all = Vec::new();
    for name in artifacts::shipped_names() {
        let inputs = inputs(&name, &mut Rng::with_seed(seed));
        if !inputs.is_empty() {
            all.extend(faults(&engine, &name, seconds, inputs).await);
        }
    }
    assert!(all.is_empty(), "TESTS_SEED={seed}: {} inputs cost too much:\n{}", all.len(), all.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_take_every_admitted_body_in_a_tenth_of_their_deadline() {
    check(SOURCE, |name, random| match corpus::payloads(name) {
        payloads if payloads.is_empty() => Vec::new(),
        payloads => {
            let mut requests = corpus::requests(&payloads, random, ROUNDS);
            requests.extend((name == "datadog").then(corpus::many_tags).into_iter().flatten());
            requests
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triage_takes_every_admitted_alert_in_a_tenth_of_its_deadline() {
    check(PROCESSOR, |name, random| match name {
        "triage" => {
            let alerts = corpus::alerts(random, 2 * ROUNDS).chain([corpus::many_labels()]);
            alerts.map(|(what, alert)| (what, Input::Process(alert))).collect()
        }
        _ => Vec::new(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_take_every_admitted_alert_in_a_tenth_of_their_deadline() {
    // The source `json` has no payloads of a vendor.
    let is_receiver = |name: &str| !["triage", "json"].contains(&name) && corpus::payloads(name).is_empty();
    check(RECEIVER, |name, random| match is_receiver(name) {
        true => {
            corpus::alerts(random, ROUNDS / 3).map(|(what, alert)| (what, Input::Receive(alert))).collect()
        }
        false => Vec::new(),
    })
    .await;
}
