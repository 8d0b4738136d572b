//! What routing adds to an alert, how many alerts with an identity are delivered a second, how long critical ones take while others
//! drain, and what becomes of a storm.

mod critical;
mod identities;
mod pending;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use campanile::routing::{Router, RoutesConfig};
use harness::alerts::{identified, unique, with};
use harness::process::holdings;
use harness::receiver::Received;
use harness::{Plugin, Receiver, Server, Settings};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::measure::{Figures, quantile};

/// Routes of the tree, one below the other.
const ROUTES: usize = 200;
/// Alerts that are routed, one after the other.
const ALERTS: usize = 2_000;

/// Requests of a storm, and alerts in each; one in [`CRITICAL`] is critical.
const STORM: usize = 10;
const TOGETHER: usize = 1_000;
const CRITICAL: usize = 100;
/// How long a storm may take to drain.
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures all of it.
pub(crate) async fn measure(figures: &mut Figures) {
    routing(figures);
    identities::measure(figures).await;
    critical::measure(figures).await;
    pending::measure(figures).await;
    storm(figures).await;
}

/// Ten thousand alerts at once, each a workflow of its own, on the server that a small team has.
async fn storm(figures: &mut Figures) {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .server(Server::Embedded)
        .argument("--log=warn,campanile::temporal::embedded=info,campanile::app=info,campanile::temporal::worker=info")
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .start()
        .await;
    let memory = || holdings(host.process().id()).memory;
    let (began, before) = (Instant::now(), memory());
    let mut accepted = BTreeSet::new();
    for _ in 0..STORM {
        let alerts: Vec<Value> = (0..TOGETHER).map(one_of_a_storm).collect();
        accepted.extend(host.submit(&alerts).await);
    }
    let posted = began.elapsed();
    // At the start, and after each quarter of the alerts.
    let mut memories = vec![before];
    while memories.len() <= 4 && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if receiver.received("/pager").len() * 4 >= accepted.len() * memories.len() {
            memories.push(memory());
        }
    }
    let took = began.elapsed();
    let arrived = receiver.received("/pager");
    let text = |request: &Received, field: &str| request.json()["alert"][field].as_str().map(str::to_owned);
    let ids: BTreeSet<String> = arrived.iter().filter_map(|request| text(request, "id")).collect();
    let is_critical = |request: &Received| text(request, "severity").as_deref() == Some("critical");
    let last = arrived.iter().rposition(is_critical).map_or(0, |index| index + 1);
    let what = format!("a storm of {} alerts", accepted.len());
    figures.at_most(&format!("{what}: posted within, s"), posted.as_secs_f64(), 60.0);
    figures.add(&format!("{what}: delivered within"), format!("{:.0} s", took.as_secs_f64()));
    figures.at_most(&format!("{what}: lost"), accepted.difference(&ids).count() as f64, 0.0);
    figures.add(&format!("{what}: delivered more than once"), format!("{}", arrived.len() - ids.len()));
    figures.at_most(
        &format!("{what}: the last of {} critical ones, as a share of all", STORM * TOGETHER / CRITICAL),
        last as f64 / accepted.len() as f64,
        0.8,
    );
    figures.add(
        &format!("{what}: resident memory before, and after each quarter of it"),
        format!("{memories:?} MiB"),
    );
    let growth =
        memories.last().copied().unwrap_or(u64::MAX) as f64 / memories[1.min(memories.len() - 1)] as f64;
    figures.at_most(&format!("{what}: memory at its end, as a share of that after a quarter"), growth, 1.25);
    host.stop().await;
}

fn one_of_a_storm(number: usize) -> Value {
    let severity = if number.is_multiple_of(CRITICAL) { "critical" } else { "low" };
    with(identified(&unique("storm ")), json!({"severity": severity}))
}

fn routing(figures: &mut Figures) {
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    let mut usual = routed(&|index| {
        format!(
            "alert.labels.team == 'team-{index}' && (alert.severity in ['high', 'critical'] || alert.title.startsWith('page'))"
        )
    });
    let what = "routing by the last of 200 routes, µs per alert, p50";
    figures.at_most(what, micros(quantile(&mut usual, 0.5)), 50.0);
    figures.add("the same, p99", format!("{:.1} µs", micros(quantile(&mut usual, 0.99))));
    let mut matched = routed(&|index| format!("alert.labels.team.matches('^team-{index}$')"));
    figures.add("by 200 regular expressions, p50", format!("{:.1} µs", micros(quantile(&mut matched, 0.5))));
    let mut computed =
        routed(&|index| format!("alert.metrics.cpu > 90.0 && size(alert.labels.team) + {index} == 207"));
    let computed = micros(quantile(&mut computed, 0.5));
    figures.add("by 200 that compute, p50", format!("{computed:.0} µs"));
}

/// How long it takes to route an alert that only the last of the routes takes, many times.
fn routed(condition: &dyn Fn(usize) -> String) -> Vec<Duration> {
    let router = router(condition);
    let alert = with(
        identified("routed"),
        json!({
            "severity": "critical", "labels": {"team": "team-199", "region": "eu-central-1"},
            "context": {"environment": "production", "service": "payments"},
            "links": ["https://run.example/payments"], "metrics": {"cpu": 95.5},
            "data": {"triage": {"priority": "P1", "tags": ["payments", "production"]}},
        }),
    );
    let now = Timestamp::now();
    let mut samples: Vec<Duration> = Vec::with_capacity(ALERTS);
    for _ in 0..ALERTS {
        let began = Instant::now();
        let (routed, _) = black_box(router.route(black_box(&alert), now));
        samples.push(began.elapsed());
        assert_eq!(routed.receivers, ["team-199"]);
    }
    samples
}

/// Each route asks for another team.
fn router(condition: &dyn Fn(usize) -> String) -> Router {
    let route = |index: usize| {
        json!({
            "name": format!("team {index}"), "receivers": [format!("team-{index}")], "when": condition(index),
        })
    };
    let routes: Vec<Value> = (0..ROUTES).map(route).collect();
    let config: RoutesConfig = serde_json::from_value(json!({"routes": routes})).expect("a configuration");
    let (router, _) = Router::load(&config, &|_| true, true, Timestamp::now()).expect("routes that work");
    router
}
