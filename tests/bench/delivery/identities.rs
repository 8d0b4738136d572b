//! Alerts with an identity, as real senders post them: how many are delivered a second, posted together and singly.

use std::time::{Duration, Instant};

use futures::StreamExt;
use harness::alerts::{identified, unique};
use harness::{Host, Plugin, Receiver, Server, Settings};
use serde_json::Value;

use crate::measure::Figures;

/// Alerts that are posted together, and how many of them a request has.
const TOGETHER: usize = 500;
const REQUEST: usize = 50;
/// Alerts that are posted singly, and from how many connections.
const SINGLE: usize = 2_000;
const CONNECTIONS: usize = 64;
/// How many a second are to be delivered: ten times what a workflow for each came to (45).
const LEAST: f64 = 450.0;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn measure(figures: &mut Figures) {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .server(Server::Embedded)
        .argument("--log=warn,campanile::app=info,campanile::temporal::worker=info")
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .start()
        .await;
    for (what, count, request, at_once) in
        [("in requests of 50", TOGETHER, REQUEST, 1), ("singly, from 64 connections", SINGLE, 1, CONNECTIONS)]
    {
        let rate = delivered(&host, &receiver, count, request, at_once).await;
        figures.at_least(
            &format!("{count} alerts with an identity, {what}: delivered a second"),
            rate,
            LEAST,
        );
    }
    host.stop().await;
}

async fn delivered(host: &Host, receiver: &Receiver, count: usize, request: usize, at_once: usize) -> f64 {
    let before = receiver.received("/pager").len();
    let began = Instant::now();
    let alerts: Vec<Value> = (0..count).map(|_| identified(&unique("identity "))).collect();
    let posting = futures::stream::iter(alerts.chunks(request).map(|alerts| host.submit(alerts)));
    posting.buffer_unordered(at_once).for_each(|_| async {}).await;
    while receiver.received("/pager").len() < before + count && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (receiver.received("/pager").len() - before) as f64 / began.elapsed().as_secs_f64()
}
