//! What routing adds to an alert, and whether a critical alert overtakes a storm of low ones.

use std::hint::black_box;
use std::time::{Duration, Instant};

use campanile::routing::{Router, RoutesConfig};
use harness::alerts::{identified, with};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::measure::{Figures, quantile};

/// Routes of the tree, one below the other.
const ROUTES: usize = 200;
/// Alerts that are routed, one after the other.
const ALERTS: usize = 2_000;

/// Measures all of it.
pub(crate) fn measure(figures: &mut Figures) {
    let router = router();
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
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    figures.at_most(
        "routing by the last of 200 routes, µs per alert, p50",
        micros(quantile(&mut samples, 0.5)),
        50.0,
    );
    figures.add("the same, p99", format!("{:.1} µs", micros(quantile(&mut samples, 0.99))));
}

/// Each route asks for another team.
fn router() -> Router {
    let route = |index: usize| {
        json!({
            "name": format!("team {index}"), "receivers": [format!("team-{index}")],
            "when": format!("alert.labels.team == 'team-{index}' && alert.severity in ['high', 'critical']"),
        })
    };
    let routes: Vec<Value> = (0..ROUTES).map(route).collect();
    let config: RoutesConfig = serde_json::from_value(json!({"routes": routes})).expect("a configuration");
    let (router, _) = Router::load(&config, &|_| true, true, Timestamp::now()).expect("routes that work");
    router
}
