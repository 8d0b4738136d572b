//! The way out: what happens to a plugin's `wasi:http/outgoing-handler` request. The URL is normalised, secrets are
//! filled in, the grant is checked, the name is looked up once and its addresses are checked, and the request goes to
//! one of them, as HTTP/1.1, each phase within the time of the call. Redirects are the plugin's to follow, as a new
//! request; proxies are not used.

mod addresses;
mod body;
mod call;
mod connect;
mod exchange;
mod failure;
mod fetch;
mod journal;
mod off_limits;
mod outgoing;
mod request_body;
mod resolver;
mod searchable;
mod settle;
mod steering;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use url::Host;
use wasmtime_wasi_http::{Error, WasiBody};

use self::call::Times;
use self::exchange::Exchange;
use self::failure::Failure;
use self::journal::{Entry, Journal};
use self::outgoing::{Outgoing, announced_length};
use self::request_body::{drain, read_whole};
use super::grants::Grants;
use super::limits::HttpBounds;
use super::secrets::{LiveSecrets, Scrubber};

pub(super) use self::addresses::special;
pub(super) use self::call::EgressCall;
pub(super) use self::connect::{Connector, read_roots};
pub use self::fetch::Fetcher;
pub use self::off_limits::OffLimits;
pub(super) use self::settle::{Settled, abort_bodies};

/// How long a plugin whose request is refused may take to finish the body. Reading it lets the plugin come to the point
/// where it learns why.
const REFUSED_BODY: Duration = Duration::from_secs(1);

/// The table `[egress]` of the host's configuration: how all plugins get out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EgressConfig {
    /// How long looking a name up, connecting and the TLS handshake may take in all, such as `5s`. A plugin can ask for
    /// less, and the deadline of its call goes first.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// PEM files with certificate authorities to trust beside those of the system.
    pub root_certificates: Vec<PathBuf>,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), root_certificates: Vec::new() }
    }
}

/// One plugin's way out; shared by all its calls.
pub(super) struct Egress {
    plugin: Arc<str>,
    grants: Grants,
    secrets: LiveSecrets,
    bounds: HttpBounds,
    places: Arc<Semaphore>,
    connector: Connector,
}

impl Egress {
    /// `plugin` is its name in the log; `secrets` are the host's, of which `grants` picks.
    pub(super) fn new(
        plugin: &str,
        grants: Grants,
        secrets: impl Into<LiveSecrets>,
        bounds: HttpBounds,
        connector: Connector,
    ) -> Self {
        let places = Arc::new(Semaphore::new(bounds.connections as usize));
        Self { plugin: plugin.into(), grants, secrets: secrets.into(), bounds, places, connector }
    }

    /// The same way out, and its places, with these secrets besides.
    pub(super) fn with_secrets(&self, names: &[String]) -> Self {
        Self {
            plugin: self.plugin.clone(),
            grants: self.grants.and_secrets(names),
            secrets: self.secrets.clone(),
            bounds: self.bounds,
            places: self.places.clone(),
            connector: self.connector.clone(),
        }
    }

    /// What the plugin may reach.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The host's secrets, of which the grants pick.
    pub(super) fn secrets(&self) -> &LiveSecrets {
        &self.secrets
    }

    /// What keeps secrets out of the answers of this host.
    pub(super) fn scrubber(&self, host: Option<&Host<String>>) -> Scrubber {
        self.secrets.current().scrubber(&self.grants, host)
    }

    fn journal(&self, alert: Arc<str>) -> Journal {
        Journal::new(self.plugin.clone(), alert, self.bounds.requests)
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        admitted: Result<(), Failure>,
        times: Times,
        entry: &Entry,
    ) -> Result<Response<WasiBody>, Failure> {
        let (head, body) = request.into_parts();
        let announced = announced_length(&head.headers);
        let prepared = admitted.and_then(|()| Outgoing::prepare(head, &self.grants, entry.secrets()));
        let mut outgoing = match prepared {
            Ok(outgoing) => outgoing,
            Err(failure) => {
                drain(body, self.bounds.request_body, times.deadline.min(Instant::now() + REFUSED_BODY))
                    .await;
                return Err(failure);
            }
        };
        let most = self.bounds.request_body;
        let body = read_whole(body, announced, most, times.deadline).await?;
        let body = outgoing.fill_body(body, &self.grants, entry.secrets(), entry.mark(), most)?;
        if entry.scrubber().is_needed() {
            outgoing.ask_for_searchable_answer();
        }
        let url = outgoing.url().clone();
        let request = outgoing.into_request(body)?;
        let place = self.place(times.deadline).await?;
        let connected_by = times.deadline.min(Instant::now() + times.connect.min(self.connector.timeout()));
        let stream = self.connector.connect(&url, &self.grants, connected_by).await?;
        let exchange = Exchange { bounds: &self.bounds, times, entry };
        exchange.run(stream, place, request).await
    }

    /// Waits for a place among the plugin's connections.
    async fn place(&self, by: Instant) -> Result<OwnedSemaphorePermit, Failure> {
        let place = timeout_at(by, self.places.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or_else(|| {
            let text = "no other connection of the plugin was closed in time";
            Failure::limit(Error::ConnectionLimitReached, text, "connections", self.bounds.connections)
        })
    }
}

#[cfg(test)]
mod tests;
