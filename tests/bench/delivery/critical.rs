//! Critical alerts that come while ten thousand low ones drain: to a receiver that takes its time, and while the low ones' receiver
//! hangs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use harness::alerts::{identified, unique, with};
use harness::{Answer, Host, Plugin, Receiver, Server, Settings};
use serde_json::{Value, json};

use crate::measure::{Figures, milliseconds, quantile};

/// Low alerts, and how many of them a request has.
const LOW: usize = 10_000;
const REQUEST: usize = 1_000;
/// Critical alerts, and the pause between two.
const CRITICAL: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);
/// What each may take, in seconds, of 99 in a hundred.
const P99: f64 = 5.0;
/// How long the last ones may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(figures: &mut Figures) {
    let slow = Answer::status(200).after(Duration::from_millis(100));
    // Longer than the receiver has.
    let hanging = Answer::status(200).after(Duration::from_secs(600));
    for (what, low, critical) in [
        ("a receiver that takes 100 ms", slow.clone(), slow),
        ("low ones that hang", hanging, Answer::status(200)),
    ] {
        let receiver = Receiver::start().await;
        receiver.always("/low", low);
        receiver.always("/critical", critical);
        let host = start(&receiver).await;
        let mut taken = run(&host, &receiver).await;
        let lost = (CRITICAL - taken.len()) as f64;
        figures.at_most(&format!("{CRITICAL} critical alerts, {what}: not delivered"), lost, 0.0);
        let p50 = milliseconds(quantile(&mut taken, 0.5));
        figures.add(&format!("{CRITICAL} critical alerts, {what}: p50"), p50);
        let p99 = quantile(&mut taken, 0.99).as_secs_f64();
        figures.at_most(&format!("{CRITICAL} critical alerts, {what}: p99 in s"), p99, P99);
        let low = receiver.received("/low").len();
        figures
            .add(&format!("{CRITICAL} critical alerts, {what}: low ones attempted by then"), low.to_string());
        host.stop().await;
    }
}

async fn start(receiver: &Receiver) -> Host {
    let route = |severity: &str, name: &str| {
        let url = receiver.url(&format!("/{name}"));
        format!(
            "[[routes]]\nwhen = 'alert.severity {severity} \"critical\"'\nreceivers = [\"{name}\"]\n\
             [receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n"
        )
    };
    let routes = format!("\n{}{}", route("==", "critical"), route("!=", "low"));
    let settings = Settings::new()
        .server(Server::Embedded)
        .argument("--log=warn,campanile::app=info,campanile::temporal::worker=info")
        .and_config(&routes);
    settings.plugin(Plugin::recorder("pager", receiver, "")).start().await
}

/// How long the critical alerts took from when they were posted until they arrived.
async fn run(host: &Host, receiver: &Receiver) -> Vec<Duration> {
    for _ in 0..LOW / REQUEST {
        let alerts: Vec<Value> = (0..REQUEST).map(|_| one("low")).collect();
        host.submit(&alerts).await;
    }
    let (mut posted, mut taken) = (HashMap::new(), Vec::new());
    let mut look = |posted: &mut HashMap<String, Instant>| {
        for received in receiver.received("/critical") {
            let id = received.json()["alert"]["id"].as_str().unwrap_or_default().to_owned();
            taken.extend(posted.remove(&id).map(|at| at.elapsed()));
        }
    };
    let began = Instant::now();
    for number in 0..CRITICAL {
        let at = Instant::now();
        let id = host.submit(&[one("critical")]).await.remove(0);
        posted.insert(id, at);
        let next = began + PAUSE * u32::try_from(number + 1).expect("a small number");
        while Instant::now() < next {
            look(&mut posted);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let ended = Instant::now();
    while !posted.is_empty() && ended.elapsed() < PATIENCE {
        look(&mut posted);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    taken
}

fn one(severity: &str) -> Value {
    with(identified(&unique("drained ")), json!({"severity": severity}))
}
