//! The plugin that must not feel what its neighbours do: a light, steady load of alerts to one receiver, and questions after
//! the host's health, each with its time. Beside it, the same on a host that has no such neighbours: what the machine itself
//! or the Temporal server does to the one it does to the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::alerts::{alert, unique};
use harness::receiver::Received;
use harness::wait::PATIENCE;
use harness::web::{client, send};
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// A pause between two requests of [`TOGETHER`] alerts: some 12 alerts a second.
const PAUSE: Duration = Duration::from_millis(250);
/// How many alerts one request has: one workflow for them all leaves Temporal its breath.
const TOGETHER: usize = 3;
/// How much later than in peace the canary may have its alerts, at the 90th percentile: of a few dozen alerts, the 99th is the one that
/// met the worst moment of a busy machine. Generous, since tests run beside each other on few processors; `cargo xtask bench` measures
/// what it really is.
const LATER: Duration = Duration::from_millis(300);
/// The longest that the host may take to say how it is.
const PROMPT: Duration = Duration::from_secs(1);

/// Two canaries that sing until they are told to stop: one among hostile plugins, one in peace.
pub(super) struct Canaries {
    among_them: Song,
    in_peace: Song,
    _peaceful: Host,
}

/// How a canary fared.
#[derive(Debug)]
struct Fare {
    /// From the post of an alert to its arrival, at the 90th percentile.
    p90: Duration,
    /// How many alerts that was.
    alerts: usize,
    /// The longest that the host took to say how it is.
    health: Duration,
}

impl Canaries {
    /// Has them sing to the receiver that the host calls `canary`, and to one of a host of its own.
    pub(super) async fn start(host: &Host, receiver: &Receiver) -> Self {
        let peaceful = Settings::new().plugin(Plugin::recorder("peace", receiver, "")).start().await;
        Self { among_them: Song::start(host), in_peace: Song::start(&peaceful), _peaceful: peaceful }
    }

    /// Has them stop, waits until all their alerts have come, and panics if the one fared worse than the other.
    pub(super) async fn stop(self, receiver: &Receiver) {
        let among_them = self.among_them.stop(receiver, "/canary").await;
        let in_peace = self.in_peace.stop(receiver, "/peace").await;
        let shown = format!("{among_them:?}, in peace {in_peace:?}");
        assert!(among_them.p90 <= in_peace.p90 + LATER, "the canary felt its neighbours: {shown}");
        assert!(among_them.health <= PROMPT, "the host was slow to say how it is: {shown}");
        assert!(among_them.alerts > 10, "the canary hardly sang: {shown}");
    }
}

struct Song {
    stop: watch::Sender<bool>,
    posts: JoinHandle<BTreeMap<String, Instant>>,
    health: JoinHandle<Duration>,
}

impl Song {
    fn start(host: &Host) -> Self {
        let (stop, stopped) = watch::channel(false);
        let posts = tokio::spawn(sing(host.at("/webhook/alerts"), stopped.clone()));
        let health = tokio::spawn(feel(host.at("/health"), stopped));
        Self { stop, posts, health }
    }

    async fn stop(self, receiver: &Receiver, path: &str) -> Fare {
        self.stop.send_replace(true);
        let sent = self.posts.await.expect("every alert is accepted");
        let health = self.health.await.expect("the host says how it is");
        let all_here = |received: &[Received]| latencies(&sent, received).len() == sent.len();
        let received = receiver.wait_until(path, "every alert of the canary", all_here).await;
        let mut times = latencies(&sent, &received);
        times.sort();
        Fare { p90: times[(times.len() * 9).div_ceil(10) - 1], alerts: times.len(), health }
    }
}

async fn sing(url: String, mut stopped: watch::Receiver<bool>) -> BTreeMap<String, Instant> {
    let mut posts = JoinSet::new();
    let mut sent = BTreeMap::new();
    while timeout(PAUSE, stopped.wait_for(|stopped| *stopped)).await.is_err() {
        let titles: Vec<_> = (0..TOGETHER).map(|_| unique("canary ")).collect();
        let alerts: Vec<_> = titles.iter().map(|title| alert(title)).collect();
        posts.spawn(post(url.clone(), json!({"alerts": alerts, "batch_id": unique("canaries-")})));
        sent.extend(titles.into_iter().map(|title| (title, Instant::now())));
    }
    posts.join_all().await;
    sent
}

/// Posts as a sender should: again, if the host says that it, or Temporal, has too much to do. With a `batch_id` that is safe.
async fn post(url: String, request: Value) {
    let until = Instant::now() + PATIENCE;
    loop {
        let reply = send(client().post(&url).json(&request)).await.expect("the host answers");
        match reply.status {
            200 => return,
            500 | 503 if reply.headers.contains_key("retry-after") && Instant::now() < until => {
                sleep(PAUSE).await
            }
            _ => panic!("the host refuses an alert: {reply:?}"),
        }
    }
}

/// The longest answer.
async fn feel(url: String, mut stopped: watch::Receiver<bool>) -> Duration {
    let mut longest = Duration::ZERO;
    while timeout(PAUSE, stopped.wait_for(|stopped| *stopped)).await.is_err() {
        let asked = Instant::now();
        send(client().get(&url)).await.expect("the host answers");
        longest = longest.max(asked.elapsed());
    }
    longest
}

/// How long each alert took that has come; one that came twice counts once.
fn latencies(sent: &BTreeMap<String, Instant>, received: &[Received]) -> Vec<Duration> {
    let mut times = BTreeMap::new();
    for request in received {
        let title = request.json()["alert"]["title"].as_str().unwrap_or_default().to_owned();
        if let Some(posted) = sent.get(&title) {
            times.entry(title).or_insert(request.at - *posted);
        }
    }
    times.into_values().collect()
}
