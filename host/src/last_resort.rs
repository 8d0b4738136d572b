//! The message that needs neither Temporal nor plugins: the host itself calls one URL when alerts cannot be accepted or do not go on, a
//! plugin was put into quarantine, or deliveries exhausted their retries.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Position;

use crate::disk::Disks;
use crate::fault::Fault;
use crate::plugin::{Credential, Registry, read_secret};
use crate::store::StoreHandle;
use crate::telemetry::metric;
use crate::temporal::Link;
use crate::time;
use crate::webhook::Spool;

/// How often it is looked whether all is well.
const LOOK: Duration = Duration::from_secs(2);
/// How long a message may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The delay after a message that did not get through.
const AGAIN: Duration = Duration::from_secs(30);

/// `[last-resort]`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LastResortConfig {
    /// The environment variable that holds the URL. Either this or `file`.
    #[serde(default)]
    pub env: Option<String>,
    /// The file that holds the URL.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// How long Temporal or the store may be away, and the queue may stand still, before it is said.
    #[serde(default = "after")]
    #[schemars(with = "String")]
    pub after: SignedDuration,
    /// How long the same is not said again.
    #[serde(default = "interval")]
    #[schemars(with = "String")]
    pub interval: SignedDuration,
}

fn after() -> SignedDuration {
    SignedDuration::from_mins(1)
}

fn interval() -> SignedDuration {
    SignedDuration::from_mins(15)
}

/// Who is told, and how often.
#[derive(Debug)]
pub struct LastResort {
    url: SecretString,
    after: Duration,
    interval: Duration,
}

impl LastResort {
    /// Reads the URL, which is a secret for most services.
    ///
    /// # Errors
    ///
    /// There is none, or it is not one that may be called.
    pub fn read(config: &LastResortConfig) -> Result<Self, Fault> {
        let fault = |message: String| Fault { path: "last-resort".to_owned(), value: None, message };
        let text = read_secret(config.env.as_deref(), config.file.as_deref()).map_err(fault)?;
        let url = Url::parse(&text).map_err(|error| fault(format!("leads to what is no URL: {error}")))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(fault("leads to a URL that is not https://, except on this machine".to_owned()));
        }
        Ok(Self {
            url: text.into(),
            after: config.after.unsigned_abs(),
            interval: config.interval.unsigned_abs(),
        })
    }

    /// What of the URL its server could repeat: path and query, where services have their tokens. What is shorter than every
    /// token has none.
    pub fn credential(&self) -> Option<Credential> {
        let url = Url::parse(self.url.expose_secret()).ok()?;
        let value = Some(url[Position::BeforePath..].trim_matches('/')).filter(|value| value.len() > 12)?;
        Some(Credential { name: "last-resort.url", value: value.into(), host: url.host()?.to_owned() })
    }

    /// Watches, and tells, for as long as the host runs.
    pub async fn watch(self, watched: Watched, roots: Vec<Certificate>) {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .timeout(TIMEOUT)
            .tls_certs_merge(roots)
            .build();
        let client = match client {
            Ok(client) => client,
            Err(error) => return tracing::error!(%error, "no last resort: its HTTP client cannot be made"),
        };
        // What was there before the start was told before it.
        let failed = watched.spool.as_ref().map_or(0, |spool| spool.status().set_aside);
        let mut memory = Memory { given_up: metric::given_up_so_far(), failed, ..Memory::default() };
        loop {
            tokio::time::sleep(LOOK).await;
            for (reason, text) in watched.reasons(&mut memory, self.after).await {
                if memory.may_tell(reason) {
                    let told = self.tell(&client, reason, &text).await;
                    memory.told(reason, if told { self.interval } else { AGAIN });
                    if told {
                        memory.forget(reason);
                    }
                }
            }
        }
    }

    /// Whether the message got through. The `text` is what chat services show.
    async fn tell(&self, client: &Client, reason: &str, text: &str) -> bool {
        let at = time::text(jiff::Timestamp::now());
        let body = json!({"text": format!("campanile: {text}"), "reason": reason, "timestamp": at});
        match client.post(self.url.expose_secret()).json(&body).send().await {
            Ok(answer) if answer.status().is_success() => {
                tracing::warn!(reason, "told the last resort: {text}");
                true
            }
            Ok(answer) => {
                tracing::error!(reason, status = answer.status().as_u16(), "the last resort refuses: {text}");
                false
            }
            Err(error) => {
                let error = error.without_url();
                tracing::error!(reason, %error, "the last resort cannot be reached: {text}");
                false
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// What is watched.
pub struct Watched {
    /// The connection to Temporal.
    pub link: Link,
    /// The plugins.
    pub registry: Registry,
    /// The spool, if there is one.
    pub spool: Option<Spool>,
    /// The store.
    pub store: StoreHandle,
    /// What has to be written to.
    pub disks: Disks,
}

/// What was seen and said so far.
#[derive(Default)]
struct Memory {
    away_since: Option<Instant>,
    store_away_since: Option<Instant>,
    waiting_since: Option<Instant>,
    /// The oldest alert that waits to be started, and since when it is the oldest.
    oldest: Option<(i64, Instant)>,
    /// Deliveries given up that were told.
    given_up: u64,
    /// Spooled requests that failed and were told.
    failed: u64,
    /// When each reason may be told again.
    quiet_until: HashMap<&'static str, Instant>,
    seen: HashMap<&'static str, u64>,
}

const AWAY: &str = "temporal-unreachable";
const STORE: &str = "store-unavailable";
const QUEUE: &str = "queue-stuck";
const STUCK: &str = "spool-stuck";
const DISK: &str = "disk-not-writable";
const QUARANTINED: &str = "plugin-quarantined";
const GIVEN_UP: &str = "deliveries-given-up";
const SPOOL_FAILED: &str = "spool-failed";

impl Memory {
    fn may_tell(&self, reason: &str) -> bool {
        self.quiet_until.get(reason).is_none_or(|until| Instant::now() >= *until)
    }

    fn told(&mut self, reason: &'static str, quiet: Duration) {
        self.quiet_until.insert(reason, Instant::now() + quiet);
    }

    /// What was told is no news any more.
    fn forget(&mut self, reason: &'static str) {
        let Some(seen) = self.seen.get(reason).copied() else { return };
        match reason {
            GIVEN_UP => self.given_up = seen,
            SPOOL_FAILED => self.failed = seen,
            _ => {}
        }
    }
}

impl Watched {
    fn store_is_away(&self, memory: &mut Memory, after: Duration) -> Option<(&'static str, String)> {
        let Some(fault) = self.store.fault() else {
            memory.store_away_since = None;
            return None;
        };
        let since = memory.store_away_since.get_or_insert_with(Instant::now).elapsed();
        let (location, seconds) = (self.store.location(), since.as_secs());
        let text = || {
            format!("the store {location} takes nothing for {seconds} s: no alert can be accepted; {fault}")
        };
        (since >= after).then(|| (STORE, text()))
    }

    /// The alert that waits longest to be started is the same for so long.
    fn queue_is_stuck(&self, memory: &mut Memory, after: Duration) -> Option<(&'static str, String)> {
        let queue = self.store.get().map(|store| store.queue()).unwrap_or_default();
        let Some(oldest) = queue.oldest else {
            memory.oldest = None;
            return None;
        };
        let (_, since) =
            memory.oldest.filter(|(known, _)| *known == oldest).unwrap_or((oldest, Instant::now()));
        memory.oldest = Some((oldest, since));
        let (count, seconds) = (queue.count, since.elapsed().as_secs());
        let text = || {
            format!(
                "{count} alerts wait to be started, the oldest for {seconds} s, though temporal answers: the log says why"
            )
        };
        (since.elapsed() >= after).then(|| (QUEUE, text()))
    }

    /// What is wrong now, with a text for a person.
    async fn reasons(&self, memory: &mut Memory, after: Duration) -> Vec<(&'static str, String)> {
        let mut reasons = Vec::new();
        match self.link.is_reachable().await {
            true => memory.away_since = None,
            false => _ = memory.away_since.get_or_insert_with(Instant::now),
        }
        let spool = self.spool.as_ref().map(Spool::status).unwrap_or_default();
        if let Some(since) = memory.away_since.filter(|since| since.elapsed() >= after) {
            let seconds = since.elapsed().as_secs();
            let address = &self.link.address;
            let waiting = spool.requests;
            let text = format!(
                "temporal at {address} has not answered for {seconds} s: no alert can be handed over; {waiting} requests wait in the spool"
            );
            reasons.push((AWAY, text));
        }
        reasons.extend(self.store_is_away(memory, after));
        if memory.away_since.is_none() {
            reasons.extend(self.queue_is_stuck(memory, after));
        }
        let faults = self.disks.faults();
        if !faults.is_empty() {
            reasons.push((DISK, format!("no alert can be taken: {}", faults.join("; "))));
        }
        match spool.requests {
            0 => memory.waiting_since = None,
            _ => _ = memory.waiting_since.get_or_insert_with(Instant::now),
        }
        let is_stuck = memory.waiting_since.is_some_and(|since| since.elapsed() >= after);
        if is_stuck && memory.away_since.is_none() {
            let waiting = spool.requests;
            reasons.push((
                STUCK,
                format!("{waiting} requests wait in the spool, though temporal answers: the log says why"),
            ));
        }
        let quarantined: Vec<String> = self
            .registry
            .inventory()
            .loaded
            .into_iter()
            .filter_map(|plugin| Some(format!("{} ({})", plugin.name, plugin.quarantine?.reason)))
            .collect();
        if !quarantined.is_empty() {
            reasons.push((QUARANTINED, format!("in quarantine: {}", quarantined.join(", "))));
        }
        let given_up = metric::given_up_so_far();
        memory.seen.extend([(GIVEN_UP, given_up), (SPOOL_FAILED, spool.set_aside)]);
        if given_up > memory.given_up {
            let count = given_up - memory.given_up;
            reasons.push((GIVEN_UP, format!("{count} deliveries were given up: see `campanile alerts list --outcome failed` and `--outcome partial`")));
        }
        // Less once a person has dropped some.
        memory.failed = memory.failed.min(spool.set_aside);
        if spool.set_aside > memory.failed {
            let count = spool.set_aside - memory.failed;
            reasons.push((
                SPOOL_FAILED,
                format!("{count} spooled requests cannot be handed over: see `campanile spool list`"),
            ));
        }
        reasons
    }
}
