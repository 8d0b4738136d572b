//! Requests that were taken while Temporal was away, for senders that never post again: on disk and synced before they are
//! answered, handed over in the order in which they came once Temporal is back. What fails by its content is set aside.

mod set_aside;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Notify;
use utoipa::ToSchema;

pub use set_aside::SetAside;

use super::request::{Arrival, Known};
use super::sources::Post;
use crate::alert::Sender;
use crate::plugin::{ByteSize, SourceRequest};
use crate::telemetry::metric;

/// What is to be handed over, by when it came.
const WAITING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("waiting");
/// What failed by its content, for a person to look at.
const SET_ASIDE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("set-aside");

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
    /// How often its source crashed or hit a limit on it.
    #[serde(default)]
    pub(super) failures: u32,
    /// Why it cannot be handed over, once it is set aside.
    #[serde(default)]
    pub(super) error: Option<String>,
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
            failures: 0,
            error: None,
        }
    }

    fn sender(&self) -> Sender {
        self.arrival.sender()
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
    /// It holds as much as it may.
    #[error("the spool holds {0} requests of {1} together, as much as it may (`[spool]`)")]
    Full(u64, ByteSize),
    /// It holds as much of this sender as it may.
    #[error(
        "the spool holds {requests} requests of {bytes} together of one sender ({sender}), which may have half of it (`[spool]`)"
    )]
    Share {
        /// Whose they are.
        sender: Sender,
        /// How many.
        requests: u64,
        /// Their size.
        bytes: ByteSize,
    },
    /// Of those that failed it has set aside as many as it may.
    #[error(
        "{0} requests that failed are set aside, as many as may be (`[spool]`): see `campanile spool list`"
    )]
    SetAsideFull(u64),
    /// The disk says no.
    #[error("the spool cannot be written")]
    Disk(#[source] Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for SpoolError {
    fn from(error: E) -> Self {
        Self::Disk(Box::new(error.into()))
    }
}

/// The spool. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    database: Arc<Database>,
    state: Arc<Mutex<State>>,
    config: Arc<SpoolConfig>,
    filled: Arc<Notify>,
}

#[derive(Default)]
struct State {
    next: u64,
    status: SpoolStatus,
    /// What waits, by number.
    waiting: BTreeMap<u64, Waiting>,
    /// How many wait, by source.
    sources: BTreeMap<String, u64>,
    /// How much waits, by sender.
    senders: BTreeMap<Sender, Held>,
    /// The size of what is set aside.
    set_aside_bytes: u64,
    /// How many requests each source could read since the process started.
    decoded: BTreeMap<String, u64>,
}

/// A request that waits, as it is counted.
struct Waiting {
    /// Its source and its sender, if it can be read.
    of: Option<(String, Sender)>,
    bytes: u64,
}

/// What waits of one sender.
#[derive(Clone, Copy, Default)]
struct Held {
    requests: u64,
    bytes: u64,
}

impl Spool {
    /// Opens it; what was there before waits again.
    ///
    /// # Errors
    ///
    /// The file cannot be used, or another process has it open.
    pub fn open(file: &Path, config: SpoolConfig) -> Result<Self, redb::Error> {
        if !file.exists() {
            // Under another name until it is whole: one that was cut off in its making could not be opened again.
            let new = file.with_extension("new");
            _ = std::fs::remove_file(&new);
            drop(Self::on(Database::create(&new)?, config.clone())?);
            std::fs::rename(&new, file)?;
            let directory =
                file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::File::open(directory)?.sync_all()?;
        }
        Self::on(Database::create(file)?, config)
    }

    fn on(database: Database, config: SpoolConfig) -> Result<Self, redb::Error> {
        let mut state = State::default();
        let transaction = database.begin_write()?;
        {
            let waiting = transaction.open_table(WAITING)?;
            for entry in waiting.iter()? {
                let (number, bytes) = entry?;
                state.next = number.value() + 1;
                let spooled = serde_json::from_slice::<Spooled>(bytes.value()).ok();
                state.add(number.value(), spooled.as_ref(), bytes.value().len() as u64);
            }
            let set_aside = transaction.open_table(SET_ASIDE)?;
            for entry in set_aside.iter()? {
                let (number, bytes) = entry?;
                // Never a number that something is kept under.
                state.next = state.next.max(number.value() + 1);
                state.status.set_aside += 1;
                state.set_aside_bytes += bytes.value().len() as u64;
            }
        }
        transaction.commit()?;
        state.measure();
        let (state, filled) = (Arc::new(Mutex::new(state)), Arc::new(Notify::new()));
        Ok(Self { database: Arc::new(database), state, config: Arc::new(config), filled })
    }

    /// How full it is.
    pub fn status(&self) -> SpoolStatus {
        self.state.lock().status
    }

    /// Whether requests of this source wait: what comes now must not overtake them.
    pub(super) fn holds(&self, source: &str) -> bool {
        self.state.lock().sources.contains_key(source)
    }

    /// Takes notice that a source could read a request.
    pub(super) fn note_decoded(&self, source: &str) {
        *self.state.lock().decoded.entry(source.to_owned()).or_default() += 1;
    }

    /// How many requests a source could read so far.
    pub(super) fn decoded(&self, source: &str) -> u64 {
        self.state.lock().decoded.get(source).copied().unwrap_or_default()
    }

    /// Puts a request in; when this returns, it is on the disk.
    pub(super) async fn put(&self, spooled: Spooled) -> Result<(), SpoolError> {
        let spool = self.clone();
        // It goes on also when nobody waits for it any more: a sender that hung up.
        let put = tokio::task::spawn_blocking(move || spool.put_now(&spooled)).await;
        put.unwrap_or_else(|error| Err(redb::Error::Io(std::io::Error::other(error)).into()))
    }

    fn put_now(&self, spooled: &Spooled) -> Result<(), SpoolError> {
        let bytes = serde_json::to_vec(spooled).map_err(|error| redb::Error::Io(error.into()))?;
        let number = self.reserve(spooled, bytes.len() as u64)?;
        let written = self.write(number, &bytes);
        if written.is_err() {
            self.forget(number);
        }
        written?;
        self.filled.notify_one();
        Ok(())
    }

    fn write(&self, number: u64, bytes: &[u8]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(WAITING)?.insert(number, bytes)?;
        Ok(transaction.commit()?)
    }

    /// The place of a request of this size, if there is room for it. What failed already takes none of the room of others.
    fn reserve(&self, spooled: &Spooled, bytes: u64) -> Result<u64, SpoolError> {
        let SpoolConfig { requests, bytes: ByteSize(most) } = *self.config;
        let mut state = self.state.lock();
        let State { status, set_aside_bytes, .. } = &*state;
        if spooled.failures > 0 && (status.set_aside >= requests || *set_aside_bytes + bytes > most) {
            return Err(SpoolError::SetAsideFull(status.set_aside));
        }
        if status.requests >= requests || status.bytes + bytes > most {
            return Err(SpoolError::Full(status.requests, ByteSize(status.bytes)));
        }
        // One that posts as fast as it can does not take the room of others.
        let sender = spooled.sender();
        let held = state.senders.get(&sender).copied().unwrap_or_default();
        if held.requests >= requests.div_ceil(2) || held.bytes + bytes > most.div_ceil(2) {
            return Err(SpoolError::Share { sender, requests: held.requests, bytes: ByteSize(held.bytes) });
        }
        let number = state.next;
        state.next += 1;
        state.add(number, Some(spooled), bytes);
        state.measure();
        Ok(number)
    }

    fn forget(&self, number: u64) {
        let mut state = self.state.lock();
        state.remove(number);
        state.measure();
    }

    /// Waits until something is put in.
    pub(super) async fn filled(&self) {
        if self.status().requests == 0 {
            self.filled.notified().await;
        }
    }

    /// The next requests behind this one, in their order.
    pub(super) fn behind(
        &self,
        number: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        let first = number.map_or(0, |number| number + 1);
        let transaction = self.database.begin_read()?;
        let waiting = transaction.open_table(WAITING)?;
        let mut found = Vec::new();
        for entry in waiting.range(first..)?.take(most) {
            let (number, bytes) = entry?;
            found.push((number.value(), bytes.value().to_vec()));
        }
        Ok(found)
    }

    /// Takes out a request that was handed over.
    pub(super) fn remove(&self, number: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(WAITING)?.remove(number)?;
        transaction.commit()?;
        self.forget(number);
        Ok(())
    }
}

impl State {
    /// Counts a request that waits; `None` for one that cannot be read.
    fn add(&mut self, number: u64, spooled: Option<&Spooled>, bytes: u64) {
        self.status.requests += 1;
        self.status.bytes += bytes;
        let of = spooled.map(|spooled| (spooled.source.clone(), spooled.sender()));
        if let Some((source, sender)) = &of {
            *self.sources.entry(source.clone()).or_default() += 1;
            let held = self.senders.entry(sender.clone()).or_default();
            held.requests += 1;
            held.bytes += bytes;
        }
        self.waiting.insert(number, Waiting { of, bytes });
    }

    /// Counts it no more.
    fn remove(&mut self, number: u64) {
        let Some(Waiting { of, bytes }) = self.waiting.remove(&number) else { return };
        self.status.requests -= 1;
        self.status.bytes -= bytes;
        let Some((source, sender)) = of else { return };
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        if let Some(held) = self.senders.get_mut(&sender) {
            held.requests -= 1;
            held.bytes -= bytes;
            if held.requests == 0 {
                self.senders.remove(&sender);
            }
        }
    }

    fn measure(&self) {
        let SpoolStatus { requests, bytes, set_aside } = self.status;
        metric::spool(requests, bytes, set_aside);
    }
}

#[cfg(test)]
mod tests;
