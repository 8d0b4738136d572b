//! Requests that come at a fixed rate, however long the answers take: a monitoring system waits for nothing. The time of each counts
//! from when it was due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Requests that wait for their answers at the same time, at most: what is due beyond waits, and its time counts.
const CONNECTIONS: usize = 512;
/// How often what is due is sent.
const TICK: Duration = Duration::from_millis(1);

/// What to post, and how often.
pub(super) struct OpenLoop<'a> {
    pub(super) url: String,
    pub(super) per_second: u32,
    pub(super) time: Duration,
    /// `%s` in it becomes the name of the request.
    pub(super) body: &'a str,
    pub(super) name: String,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Answered {
    /// How long each 200 took.
    pub(super) taken: Vec<Duration>,
    /// Other answers by status, and requests that failed.
    pub(super) others: BTreeMap<String, usize>,
    /// From the first request to the last answer.
    pub(super) took: Duration,
}

impl OpenLoop<'_> {
    pub(super) async fn run(&self) -> Answered {
        let client = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS).build();
        let client = client.expect("a client without settings");
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let (began, mut sent, mut asking) = (Instant::now(), 0_u32, JoinSet::new());
        let total = self.per_second * u32::try_from(self.time.as_secs()).expect("seconds of a bench");
        let mut answered = Answered::default();
        while sent < total {
            let due = (began.elapsed().as_secs_f64() * f64::from(self.per_second)) as u32;
            while sent < due.min(total) {
                let at = began + Duration::from_secs_f64(f64::from(sent) / f64::from(self.per_second));
                let body = self.body.replace("%s", &format!("{}-{sent}", self.name));
                let request = client.post(&self.url).header("content-type", "application/json").body(body);
                asking.spawn(ask(request, at, room.clone()));
                sent += 1;
            }
            while let Some(one) = asking.try_join_next() {
                answered.note(one.expect("it does not panic"));
            }
            tokio::time::sleep(TICK).await;
        }
        while let Some(one) = asking.join_next().await {
            answered.note(one.expect("it does not panic"));
        }
        answered.took = began.elapsed();
        answered
    }
}

impl Answered {
    fn note(&mut self, one: Result<Duration, String>) {
        match one {
            Ok(taken) => self.taken.push(taken),
            Err(kind) => *self.others.entry(kind).or_default() += 1,
        }
    }
}

async fn ask(
    request: reqwest::RequestBuilder,
    due: Instant,
    room: Arc<Semaphore>,
) -> Result<Duration, String> {
    let _place = room.acquire().await.expect("it is never closed");
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    response.bytes().await.map_err(|error| error.to_string())?;
    if status == reqwest::StatusCode::OK { Ok(due.elapsed()) } else { Err(status.to_string()) }
}
