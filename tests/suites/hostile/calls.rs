//! Every deed in every call, and at the instantiation that comes before it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::iter;
use harness::alerts::alert;
use harness::process::{Holdings, holdings};
use harness::wait::PATIENCE;
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::Value;
use tokio::time::sleep;

use super::canary::Canaries;
use super::deeds::{self, ANSWERS, DEEDS, End};
use super::{GUESTS, LIMITS, asking, assert_none, hostile, printed, settings, step};

/// How many alerts that ask for a deed run at once.
const AT_ONCE: usize = 3;

/// Every deed and answer with how it ends for a processor and for the others.
fn all() -> impl Iterator<Item = (&'static str, End, End)> {
    DEEDS.into_iter().map(|(deed, end)| (deed, end, end)).chain(ANSWERS)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deed_in_every_role_ends_as_it_must_and_the_canary_sings_on() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, hostile).start().await;
    // Threads and buffers that the host makes once are none that the guests made it keep.
    host.ledger(asking("grow")).await;
    let before = holdings(host.process().id());
    let canaries = Canaries::start(&host, &receiver).await;
    let asked = iter(all()).map(async |(deed, first, others)| {
        let ledger = host.ledger(asking(deed)).await;
        let ends = GUESTS.into_iter().zip([first, others, others]);
        let faults =
            ends.filter_map(|(guest, end)| Some(format!("{deed}: {}", end.fault(step(&ledger, guest))?)));
        faults.chain(canary_fault(deed, &ledger)).collect::<Vec<_>>()
    });
    let faults: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    assert_none(faults.concat());
    canaries.stop(&receiver).await;
    back_to(&host, before).await;
}

fn canary_fault(deed: &str, ledger: &Value) -> Option<String> {
    (step(ledger, "canary")["result"] != "ok").then(|| format!("{deed}: the canary was not told: {ledger}"))
}

/// Waits until the host holds no more than before, but for what it keeps to be quick.
async fn back_to(host: &Host, before: Holdings) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = holdings(host.process().id());
        let fits = now.memory <= before.memory + 64
            && now.files <= before.files + 8
            && now.threads <= before.threads + 2;
        if fits {
            return;
        }
        assert!(Instant::now() < deadline, "the host keeps what the guests used: {before:?}, now {now:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deed_at_the_instantiation_before_a_call_ends_as_it_must() {
    let receiver = Receiver::start().await;
    let roles = GUESTS.into_iter().cycle();
    let plugins: Vec<_> =
        DEEDS.into_iter().zip(roles).map(|((deed, end), guest)| (format!("at-{deed}"), end, guest)).collect();
    let mut settings = Settings::new().plugin(Plugin::recorder("canary", &receiver, ""));
    for (name, _, guest) in &plugins {
        let deed = &name["at-".len()..];
        let sidecar =
            format!("when = 'alert.title == \"{name}\"'\n{LIMITS}[config]\nscript = \"initialise:{deed}\"\n");
        settings = settings.plugin(Plugin { name: name.clone(), ..Plugin::guest(guest) }.sidecar(&sidecar));
    }
    let host = settings.start().await;
    let asked = iter(plugins).map(async |(name, end, _)| {
        let ledger = host.ledger(alert(&name)).await;
        let fault = end.fault(step(&ledger, &name)).map(|fault| format!("{name}: {fault}"));
        fault.into_iter().chain(canary_fault(&name, &ledger)).collect::<Vec<_>>()
    });
    let faults: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
    assert_none(faults.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deed_that_a_guest_knows_is_tested() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, hostile).start().await;
    let ledger = host.ledger(asking("names")).await;
    let printed = printed(&host, GUESTS[0], &ledger["id"]).await;
    let known: BTreeSet<_> = printed.iter().filter_map(|line| line.strip_prefix("names: ")).collect();
    let tested: BTreeSet<_> = deeds::names().chain(["names"]).collect();
    assert_eq!(known, tested, "`names` prints what the guests know");
}
