//! What the host needs in memory while alerts wait: ten times as many are to need little more.

use std::time::Duration;

use harness::alerts::{identified, unique, with};
use harness::process::holdings;
use harness::{Answer, Host, Plugin, Receiver, Server, Settings};
use serde_json::{Value, json};

use crate::measure::Figures;

/// How many alerts are pending at first, and then.
const FEW: usize = 10_000;
const MANY: usize = 100_000;
const REQUEST: usize = 1_000;
/// No alert comes to its end.
const RETRY: &str = "[retry]\nmaximum-attempts = 0\ninitial-interval = \"1h\"\nmaximum-interval = \"1h\"\n";
/// How long the host works on them before it is looked at.
const REST: Duration = Duration::from_secs(20);
/// How much more it may need.
const MOST: f64 = 1.25;

pub(super) async fn measure(figures: &mut Figures) {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(503));
    let host = Settings::new()
        .server(Server::Embedded)
        .argument("--log=error,campanile::app=info,campanile::temporal::worker=info")
        .and_config("\n[store]\npending = 200_000\n")
        .plugin(Plugin::recorder("pager", &receiver, "").and(RETRY))
        .start()
        .await;
    let few = memory_with(&host, FEW).await;
    let many = memory_with(&host, MANY - FEW).await;
    figures.add("resident memory with 10,000 and 100,000 pending", format!("{few}, {many} MiB"));
    figures.at_most(
        "resident memory with 100,000 pending, of that with 10,000",
        many as f64 / few as f64,
        MOST,
    );
    host.stop().await;
}

/// The memory once so many more alerts were posted, in MiB.
async fn memory_with(host: &Host, more: usize) -> u64 {
    for _ in 0..more / REQUEST {
        let alert = |_| with(identified(&unique("pending ")), json!({"severity": "low"}));
        host.submit(&(0..REQUEST).map(alert).collect::<Vec<Value>>()).await;
    }
    tokio::time::sleep(REST).await;
    holdings(host.process().id()).memory
}
