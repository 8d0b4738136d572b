//! What the front door costs: a host that only accepts, and a Temporal that is not there. A request is let in, unpacked, read
//! by its source, checked and planned, and then refused. Beside it, a server that reads JSON and writes JSON.

use std::time::Duration;

use harness::load::{Load, cpu};
use harness::senders::new_key;
use harness::{Host, Plugin, Server, Settings};
use sha2::{Digest, Sha256};

use super::plain::Plain;
use super::{direct, group};
use crate::measure::Figures;

/// Requests of each kind, and connections for them.
const POSTS: usize = 5_000;
const CLIENTS: usize = 8;
/// How long they may take.
const TIME: Duration = Duration::from_secs(20);
/// Alerts in a request.
const ALERTS: [usize; 2] = [1, 20];
/// The processor's time for a request, at most, in times of the plain server's.
const MOST: f64 = 12.0;
const SECRET: &str = "hush, hush";

/// Measures each way in.
pub(super) async fn measure(figures: &mut Figures) {
    let (key, lines) = new_key("load", &["--sources", "alerts,alertmanager"]);
    let settings = Settings::new().role("webhook").server(Server::At("127.0.0.1:1".to_owned()));
    let secret = settings.write("secret", SECRET);
    let signature = format!(
        "[sources.signed]\nplugin = \"alertmanager\"\n[sources.signed.signature]\nscheme = \"github\"\n\
         secrets = [{{ file = \"{}\" }}]\n",
        secret.display()
    );
    let settings = settings.and_config(&lines).and_config(&signature).plugin(Plugin::shipped("alertmanager"));
    let host = Host::listening(&settings).await;
    host.loaded("alertmanager", |_| true).await;
    let bearer = || ("authorization", format!("Bearer {key}"));
    let plain = Plain::reading();
    let at_host = |source: &str| (host.at(&format!("/webhook/{source}")), host.process().id());
    if post(at_host("alertmanager"), bearer(), group(&ids(1))).await.is_none() {
        return;
    }
    for alerts in ALERTS {
        let (direct, group) = (direct(&ids(alerts)), group(&ids(alerts)));
        let signed = ("x-hub-signature-256", format!("sha256={}", hmac(SECRET.as_bytes(), group.as_bytes())));
        let Some(floor) = post((plain.url(), plain.id()), bearer(), direct.clone()).await else { return };
        let beside = format!("floor: a server that reads and writes JSON, {alerts} a request");
        figures.add(&format!("{beside}: CPU per request"), format!("{floor:.1} µs"));
        for (what, source, header, body) in [
            ("key", "alerts", bearer(), direct),
            ("key", "alertmanager", bearer(), group.clone()),
            ("signature", "signed", signed, group),
        ] {
            let Some(each) = post(at_host(source), header, body).await else { return };
            let source = if source == "signed" { "alertmanager" } else { source };
            let of = format!("door: {source} by {what}, {alerts} a request");
            figures.add(&format!("{of}: CPU per alert"), format!("{:.1} µs", each / alerts as f64));
            figures.at_most(&format!("{of}: CPU, times the floor"), each / floor, MOST);
        }
    }
    host.stop().await;
}

/// The processor's time that a request takes the server, in microseconds.
async fn post((url, process): (String, i32), header: (&'static str, String), body: String) -> Option<f64> {
    let load = Load {
        url,
        headers: vec![("content-type", "application/json".to_owned()), header],
        name: "door",
        body,
        connections: CLIENTS,
        requests: POSTS,
        time: TIME,
        pause: Duration::ZERO,
    };
    let before = cpu(process);
    let answers = load.run().await?;
    let taken = cpu(process) - before;
    let refused = answers.refused(|kind| kind.ends_with(" temporal-unavailable"));
    assert_eq!(refused, answers.sent, "all came as far as Temporal: {:?}", answers.refused);
    Some(taken.as_secs_f64() * 1_000_000.0 / refused as f64)
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("door-{number}")).collect()
}

/// HMAC-SHA256 (RFC 2104), in hex, with a key that is no longer than a block.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let padded = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}
