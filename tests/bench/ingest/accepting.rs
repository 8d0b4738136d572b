//! How quick alerts are accepted while others are dispatched and delivered: at a fixed rate, and from connections that each wait for
//! their answer. Beside it the floor: HTTP, JSON, one writer, group commit, and nothing else.

use std::time::Duration;

use harness::load::Load;
use harness::{Host, Plugin, Receiver, Server, Settings};

use super::open_loop::{Answered, OpenLoop};
use super::plain::{COMMITTING, Plain};
use super::{CONNECTIONS, direct};
use crate::measure::{Figures, milliseconds, quantile};

/// The rates that are tried, alerts a second, the highest first: each for a short time, the first that holds its bounds for a long one.
const RATES: [u32; 7] = [2_000, 1_400, 1_000, 700, 500, 350, 250];
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);
/// What accepting may take, in milliseconds.
const P50: f64 = 15.0;
const P99: f64 = 100.0;
/// How long connections that wait post.
const CLOSED: Duration = Duration::from_secs(10);

pub(super) async fn measure(figures: &mut Figures) {
    let floor = Plain::start(COMMITTING);
    let body = direct(&["%s".to_owned()]);
    let receiver = Receiver::start().await;
    let host = host(&receiver).await;
    let at_floor = floor.url();
    let at_host = host.at("/webhook/alerts");
    for connections in CONNECTIONS {
        let floor = closed(figures, "floor", &at_floor, connections, &body).await;
        let Some((floor, ours)) = floor.zip(closed(figures, "host", &at_host, connections, &body).await)
        else {
            return;
        };
        figures.add(
            &format!("host, {connections} connections: accepted per second, share of the floor"),
            format!("{:.3}", ours / floor),
        );
    }
    open(figures, "floor", &at_floor, &body).await;
    open(figures, "host", &at_host, &body).await;
    host.stop().await;
}

async fn host(receiver: &Receiver) -> Host {
    let settings = Settings::new()
        .server(Server::Embedded)
        .argument("--log=warn,campanile::app=info,campanile::temporal::worker=info")
        .and_config("\n[store]\npending = 10_000_000\n")
        .plugin(Plugin::shipped("triage"));
    let webhook = Plugin::shipped("webhook").sidecar(&harness::plugin::posting_to(receiver, "webhook", ""));
    let status = Plugin::shipped("http-status").sidecar(&harness::plugin::posting_to(receiver, "status", ""));
    settings.plugin(webhook).plugin(status).start().await
}

/// Posts from connections that wait, and returns how many were accepted a second.
async fn closed(figures: &mut Figures, who: &str, url: &str, connections: usize, body: &str) -> Option<f64> {
    let load = Load {
        url: url.to_owned(),
        headers: vec![("content-type", "application/json".to_owned())],
        name: format!("{who}{connections}").leak(),
        body: body.to_owned(),
        connections,
        requests: usize::MAX / 2,
        time: CLOSED,
        pause: Duration::ZERO,
    };
    let answers = load.run().await?;
    let what = format!("{who}, {connections} connections");
    let mut taken: Vec<Duration> = answers.accepted.iter().map(|(_, taken)| *taken).collect();
    let rate = taken.len() as f64 / answers.took.as_secs_f64();
    figures.add(&format!("{what}: accepted per second"), format!("{rate:.0}"));
    figures.add(&format!("{what}: p50, p99"), quantiles(&mut taken));
    figures.at_most(&format!("{what}: other answers than 200"), answers.refused(|_| true) as f64, 0.0);
    Some(rate)
}

/// Posts at the highest rate that holds the bounds.
async fn open(figures: &mut Figures, who: &str, url: &str, body: &str) {
    let run = async |per_second, time| {
        let name = format!("{who}-open-{per_second}-{}", Duration::as_secs(&time));
        OpenLoop { url: url.to_owned(), per_second, time, body, name }.run().await
    };
    let mut highest = RATES[RATES.len() - 1];
    for rate in RATES {
        let mut answered = run(rate, SHORT).await;
        let holds = bounds(&mut answered);
        let what = format!("{who}, {rate} a second for {} s: p50, p99", SHORT.as_secs());
        figures.add(&what, quantiles(&mut answered.taken));
        if holds {
            highest = rate;
            break;
        }
    }
    let mut answered = run(highest, LONG).await;
    let what = format!("{who}, {highest} a second for {} s", LONG.as_secs());
    let (p50, p99) = (quantile(&mut answered.taken, 0.5), quantile(&mut answered.taken, 0.99));
    figures.at_most(&format!("{what}: p50 in ms"), p50.as_secs_f64() * 1_000.0, P50);
    figures.at_most(&format!("{what}: p99 in ms"), p99.as_secs_f64() * 1_000.0, P99);
    figures.at_most(&format!("{what}: other answers than 200"), others(&answered), 0.0);
    let rate = answered.taken.len() as f64 / answered.took.as_secs_f64();
    figures.add(&format!("{what}: accepted per second"), format!("{rate:.0}"));
}

fn bounds(answered: &mut Answered) -> bool {
    let within = |taken: Duration, most: f64| taken.as_secs_f64() * 1_000.0 <= most;
    let (p50, p99) = (quantile(&mut answered.taken, 0.5), quantile(&mut answered.taken, 0.99));
    within(p50, P50) && within(p99, P99) && others(answered) == 0.0
}

fn others(answered: &Answered) -> f64 {
    answered.others.values().sum::<usize>() as f64
}

fn quantiles(taken: &mut [Duration]) -> String {
    format!("{}, {}", milliseconds(quantile(taken, 0.5)), milliseconds(quantile(taken, 0.99)))
}
