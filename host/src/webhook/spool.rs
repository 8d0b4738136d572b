//! Requests that were taken while Temporal was away, for senders that never post again: in the store before they are answered, as
//! ciphertext where the host has keys, handed over in the order in which they came once Temporal is back. What fails by its content is
//! set aside.

mod set_aside;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use campanile_store::{KeptRequest, SpoolFull, SpoolLimits, SpooledRequest, StoreError};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Notify;
use tokio::time::timeout;
use utoipa::ToSchema;
use uuid::Uuid;

pub use set_aside::SetAside;

use super::request::{Arrival, Known};
use super::sources::Post;
use crate::plugin::{ByteSize, SourceRequest};
use crate::records::{RecordError, Records};
use crate::telemetry::metric;

/// How often the host looks for what others have put in.
const LOOK: Duration = Duration::from_secs(1);
/// The lease on handing over, and how long one lasts, in microseconds: one host hands over for all.
const LEASE: &str = "spool";
const LEASE_TIME: i64 = 30_000_000;

/// `[spool]`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// How many requests it holds at most, half of them of one sender; as many again are set aside.
    #[schemars(range(min = 1))]
    pub requests: u64,
    /// How many bytes they have at most together, half of them of one sender.
    #[schemars(with = "String")]
    pub bytes: ByteSize,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { requests: 10_000, bytes: ByteSize(256 << 20) }
    }
}

/// A request as it waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spooled {
    /// The source that it was posted to.
    pub(super) source: String,
    /// The sender's own id of the request, or one of ours: the same each time it is handed over.
    pub(super) id: String,
    /// A digest of what was signed, if no id was.
    #[serde(default)]
    pub(super) digest: Option<String>,
    /// When and how it came.
    pub(super) arrival: Arrival,
    /// The method.
    pub(super) method: String,
    /// Path and query behind the source's address.
    pub(super) path: String,
    /// The headers.
    pub(super) headers: Vec<(String, String)>,
    /// The body.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub(super) body: Vec<u8>,
}

fn to_base64<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(body))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

impl Spooled {
    pub(super) fn new(source: &str, id: String, post: Post) -> Self {
        let SourceRequest { method, path, headers, body } = post.request;
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        Self {
            source: source.to_owned(),
            id,
            digest: post.known.digest,
            arrival: post.arrival,
            method,
            path,
            headers: headers.into_iter().map(|(name, value)| (name, text(value))).collect(),
            body,
        }
    }

    /// The request as it came.
    pub(super) fn post(&self) -> Post {
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes()));
        let request = SourceRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: headers.collect(),
            body: self.body.clone(),
        };
        let known = Known { id: Some(self.id.clone()), digest: self.digest.clone() };
        Post { known, request, arrival: self.arrival.clone() }
    }
}

/// How full the spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpoolStatus {
    /// Requests that wait to be handed over.
    pub requests: u64,
    /// Their size.
    pub bytes: u64,
    /// Requests that failed by their content: `GET /spool` lists them.
    pub set_aside: u64,
}

/// Why a request was not spooled.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// There is no room for it.
    #[error(transparent)]
    Full(SpoolFull),
    /// The store cannot take it now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be encrypted.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The spool. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    records: Records,
    /// This process, for the lease.
    holder: Arc<str>,
    limits: SpoolLimits,
    /// How many requests each source could read since the process started.
    decoded: Arc<Mutex<BTreeMap<String, u64>>>,
    filled: Arc<Notify>,
}

impl Spool {
    /// The spool among these records.
    pub fn new(records: Records, config: &SpoolConfig) -> Self {
        Self {
            records,
            holder: Uuid::new_v4().to_string().into(),
            limits: SpoolLimits { requests: config.requests, bytes: config.bytes.0 },
            decoded: Arc::default(),
            filled: Arc::default(),
        }
    }

    /// How full it is; nothing where the store is not open.
    pub fn status(&self) -> SpoolStatus {
        let size = self.records.store().map(|store| store.spool_size()).unwrap_or_default();
        SpoolStatus { requests: size.requests, bytes: size.bytes, set_aside: size.set_aside }
    }

    /// Whether requests of this source wait: what comes now must not overtake them. A store that does not say holds nothing up.
    pub(super) async fn holds(&self, source: &str) -> bool {
        let Ok(store) = self.records.store() else { return false };
        store.holds_spooled(source).await.unwrap_or_default()
    }

    /// Takes notice that a source could read a request.
    pub(super) fn note_decoded(&self, source: &str) {
        *self.decoded.lock().entry(source.to_owned()).or_default() += 1;
    }

    /// How many requests a source could read so far.
    pub(super) fn decoded(&self, source: &str) -> u64 {
        self.decoded.lock().get(source).copied().unwrap_or_default()
    }

    /// Puts a request in on which its source failed so often; when this returns, it is committed and synced.
    pub(super) async fn put(&self, spooled: Spooled, failures: u32) -> Result<(), SpoolError> {
        let (store, limits) = (self.records.store()?, self.limits);
        let request = SpooledRequest {
            id: spooled.id.clone(),
            source: spooled.source.clone(),
            sender: spooled.arrival.sender().to_string(),
            failures,
            request: self.records.write(&spooled)?,
        };
        // It goes on also if the sender hangs up.
        let put = tokio::spawn(async move { store.spool(request, limits).await });
        let put = put.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.measure();
        put?.map_err(SpoolError::Full)?;
        self.filled.notify_one();
        Ok(())
    }

    /// Waits until something is in it.
    pub(super) async fn filled(&self) {
        loop {
            self.measure();
            if self.status().requests > 0 {
                return;
            }
            _ = timeout(LOOK, self.filled.notified()).await;
        }
    }

    /// Whether this host hands over now: of several that share a store, one does.
    pub(super) async fn lease(&self) -> Result<bool, StoreError> {
        self.records.store()?.lease(LEASE, &self.holder, LEASE_TIME).await
    }

    /// The next requests behind this one, in their order.
    pub(super) async fn behind(&self, number: i64, most: usize) -> Result<Vec<KeptRequest>, StoreError> {
        self.records.store()?.spooled_behind(number, most).await
    }

    /// A request that was kept, as it came.
    pub(super) fn read(&self, kept: &SpooledRequest) -> Result<Spooled, RecordError> {
        self.records.read(&kept.request)
    }

    /// Takes out a request that was handed over.
    pub(super) async fn remove(&self, number: i64) -> Result<(), StoreError> {
        self.records.store()?.remove_spooled(number).await?;
        self.measure();
        Ok(())
    }

    fn measure(&self) {
        let SpoolStatus { requests, bytes, set_aside } = self.status();
        metric::spool(requests, bytes, set_aside);
    }
}
