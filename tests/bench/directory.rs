//! How fast plugins come to life: one that is dropped into the directory of a running host, a hundred at a warm start;
//! and how fast the webhook accepts alerts while hostile plugins run.

use std::time::{Duration, Instant};

use campanile::plugin::Registry;
use harness::alerts::{alert, labelled};
use harness::{Host, Plugin, Settings, artifacts};

use crate::measure::{Figures, milliseconds, quantile};
use crate::wall::{config, place};

/// New versions that are dropped, one after the other.
const DROPS: u8 = 5;
/// Plugins of a warm start.
const PLUGINS: u8 = 100;
/// Alerts posted one after the other.
const POSTS: usize = 300;
/// Alerts whose notifier computes without end.
const SPINNING: usize = 4;

/// Measures all of it.
pub(crate) async fn measure(figures: &mut Figures) {
    warm_start(figures).await;
    let sidecar = "[limits]\ndeadline = \"1s\"\nquarantine-after = 0\n\
                   [retry]\ninitial-interval = \"100ms\"\nmaximum-interval = \"100ms\"\nmaximum-attempts = 0\n";
    let settings = Settings::new()
        .plugin(Plugin::shipped("triage"))
        .plugin(Plugin::guest("misbehave-notifier").sidecar(sidecar));
    let host = settings.start().await;
    drops(figures, &host).await;
    accepts(figures, &host).await;
    host.kill9().await;
}

async fn warm_start(figures: &mut Figures) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for number in 0..PLUGINS {
        let component = artifacts::version(artifacts::guest("echo"), number);
        place(directory.path(), &format!("echo-{number}"), &component, "");
    }
    Registry::open(config(directory.path())).expect("an engine").first_pass().await;
    let started = Instant::now();
    let registry = Registry::open(config(directory.path())).expect("an engine");
    registry.first_pass().await;
    let taken = started.elapsed();
    assert_eq!(registry.processors().len(), usize::from(PLUGINS), "all are loaded");
    figures.at_most("100 plugins from a warm cache, in seconds", taken.as_secs_f64(), 2.0);
}

async fn drops(figures: &mut Figures, host: &Host) {
    let mut taken = Vec::new();
    for number in 1..=DROPS {
        let component = artifacts::version(artifacts::shipped("triage"), number);
        let started = Instant::now();
        host.settings().place("triage.wasm", &component);
        while host.loaded("triage", |_| true).await["generation"] != u64::from(number) + 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        taken.push(started.elapsed());
    }
    let slowest = quantile(&mut taken, 1.0).as_secs_f64();
    figures.at_most("from a dropped plugin to one that is called, in seconds", slowest, 1.0);
}

async fn accepts(figures: &mut Figures, host: &Host) {
    let alone = accepted(host).await;
    let spinning: Vec<_> = (0..SPINNING).map(|_| labelled(alert("hostile"), "do", "spin")).collect();
    host.submit(&spinning).await;
    let beside = accepted(host).await;
    figures.add("the webhook accepts an alert, p99", milliseconds(alone));
    figures.add(&format!("beside {SPINNING} notifiers that spin, p99"), milliseconds(beside));
    figures.at_most("accepting beside them: times alone", beside.as_secs_f64() / alone.as_secs_f64(), 2.0);
}

async fn accepted(host: &Host) -> Duration {
    let mut taken = Vec::new();
    for _ in 0..POSTS {
        let started = Instant::now();
        host.submit(&[alert("accepted")]).await;
        taken.push(started.elapsed());
    }
    quantile(&mut taken, 0.99)
}
