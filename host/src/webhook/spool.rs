//! Requests that were taken while Temporal was away, for senders that never post again: on disk and synced before they are
//! answered, handed over in the order in which they came once Temporal is back.

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

use super::request::{Arrival, Known};
use super::sources::Post;
use crate::plugin::{ByteSize, SourceRequest};
use crate::telemetry::metric;

/// What is to be handed over, by when it came.
const WAITING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("waiting");
/// What never could be, for a person to look at.
const FAILED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("failed");

/// `[spool]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// How many requests it holds at most.
    #[schemars(range(min = 1))]
    pub requests: u64,
    /// How many bytes they have at most together.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SpoolStatus {
    /// Requests that wait to be handed over.
    pub requests: u64,
    /// Their size.
    pub bytes: u64,
    /// Requests that never could be handed over, and are kept for a person to look at.
    pub failed: u64,
}

/// Why a request was not spooled.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// It holds as much as it may.
    #[error("the spool holds {0} requests of {1} together, as much as it may (`[spool]`)")]
    Full(u64, ByteSize),
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
    /// How many wait, by source.
    sources: BTreeMap<String, u64>,
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
                state.status.requests += 1;
                state.status.bytes += bytes.value().len() as u64;
                if let Ok(spooled) = serde_json::from_slice::<Spooled>(bytes.value()) {
                    *state.sources.entry(spooled.source).or_default() += 1;
                }
            }
            let failed = transaction.open_table(FAILED)?;
            state.status.failed = redb::ReadableTableMetadata::len(&failed)?;
            // Never a number that something is kept under.
            let last = failed.last()?.map_or(0, |(number, _)| number.value() + 1);
            state.next = state.next.max(last);
        }
        transaction.commit()?;
        metric::spool(state.status.requests, state.status.bytes);
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

    /// Puts a request in; when this returns, it is on the disk.
    pub(super) async fn put(&self, spooled: Spooled) -> Result<(), SpoolError> {
        let spool = self.clone();
        // It goes on also when nobody waits for it any more: a sender that hung up.
        let put = tokio::task::spawn_blocking(move || spool.put_now(&spooled)).await;
        put.unwrap_or_else(|error| Err(redb::Error::Io(std::io::Error::other(error)).into()))
    }

    fn put_now(&self, spooled: &Spooled) -> Result<(), SpoolError> {
        let bytes = serde_json::to_vec(spooled).map_err(|error| redb::Error::Io(error.into()))?;
        let number = self.reserve(&spooled.source, bytes.len() as u64)?;
        let written = self.write(number, &bytes);
        if written.is_err() {
            self.forget(&spooled.source, bytes.len() as u64);
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

    /// The place of a request of this size, if there is room for it.
    fn reserve(&self, source: &str, bytes: u64) -> Result<u64, SpoolError> {
        let mut state = self.state.lock();
        let State { next, status, sources } = &mut *state;
        if status.requests + status.failed >= self.config.requests
            || status.bytes + bytes > self.config.bytes.0
        {
            return Err(SpoolError::Full(status.requests, ByteSize(status.bytes)));
        }
        *next += 1;
        (status.requests, status.bytes) = (status.requests + 1, status.bytes + bytes);
        *sources.entry(source.to_owned()).or_default() += 1;
        metric::spool(status.requests, status.bytes);
        Ok(*next - 1)
    }

    fn forget(&self, source: &str, bytes: u64) {
        let mut state = self.state.lock();
        let State { status, sources, .. } = &mut *state;
        (status.requests, status.bytes) =
            (status.requests.saturating_sub(1), status.bytes.saturating_sub(bytes));
        if let Some(count) = sources.get_mut(source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(source);
            }
        }
        metric::spool(status.requests, status.bytes);
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

    /// Takes out a request that was handed over, or that never can be.
    pub(super) fn remove(&self, number: u64, source: &str, has_failed: bool) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut size = 0;
        {
            let mut waiting = transaction.open_table(WAITING)?;
            if let Some(bytes) = waiting.remove(number)? {
                size = bytes.value().len() as u64;
                if has_failed {
                    transaction.open_table(FAILED)?.insert(number, bytes.value())?;
                }
            };
        }
        transaction.commit()?;
        self.forget(source, size);
        if has_failed {
            self.state.lock().status.failed += 1;
            metric::spool_failed();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that can lose its power: of what was written since it was last synced, some arrives, some in part, some not.
    #[derive(Clone, Debug, Default)]
    struct Disk(Arc<Mutex<Platter>>);

    #[derive(Debug, Default)]
    struct Platter {
        seen: Vec<u8>,
        synced: Vec<u8>,
        unsynced: Vec<(usize, Vec<u8>)>,
        /// How many requests were answered so far.
        answered: usize,
        /// The disks that would be left if power were lost at some write, and how many requests were answered by then.
        losses: Vec<(usize, Disk)>,
    }

    impl Platter {
        fn after_power_loss(&self) -> Disk {
            let mut left = self.synced.clone();
            for (offset, bytes) in &self.unsynced {
                let kept = &bytes[..[0, bytes.len() / 2, bytes.len()][rand::random_range(0..3)]];
                if left.len() < offset + kept.len() {
                    left.resize(offset + kept.len(), 0);
                }
                left[*offset..offset + kept.len()].copy_from_slice(kept);
            }
            let platter = Platter { seen: left.clone(), synced: left, ..Platter::default() };
            Disk(Arc::new(Mutex::new(platter)))
        }
    }

    impl Disk {
        fn spool(&self) -> Spool {
            let database = Database::builder().create_with_backend(self.clone()).unwrap();
            Spool::on(database, SpoolConfig::default()).unwrap()
        }
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> std::io::Result<u64> {
            Ok(self.0.lock().seen.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            let offset = offset as usize;
            out.copy_from_slice(&self.0.lock().seen[offset..offset + out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.0.lock().seen.resize(len as usize, 0);
            Ok(())
        }

        fn sync_data(&self) -> std::io::Result<()> {
            let mut platter = self.0.lock();
            platter.synced = platter.seen.clone();
            platter.unsynced.clear();
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            let (mut platter, offset) = (self.0.lock(), offset as usize);
            platter.seen[offset..offset + data.len()].copy_from_slice(data);
            platter.unsynced.push((offset, data.to_vec()));
            let loss = (platter.answered, platter.after_power_loss());
            platter.losses.push(loss);
            Ok(())
        }
    }

    #[test]
    fn what_was_answered_survives_power_that_is_lost_in_the_middle_of_a_write() {
        for _ in 0..10 {
            let disk = Disk::default();
            let spool = disk.spool();
            disk.0.lock().losses.clear();
            for count in 0..10 {
                spool.put_now(&spooled("grafana", &count.to_string())).unwrap();
                disk.0.lock().answered = count + 1;
            }
            let losses = std::mem::take(&mut disk.0.lock().losses);
            assert!(losses.len() > 10, "power was lost {} times", losses.len());
            for (answered, disk) in losses {
                let bodies = bodies(&disk.spool());
                let expected: Vec<String> = (0..bodies.len()).map(|count| count.to_string()).collect();
                assert_eq!(bodies, expected);
                assert!((answered..=answered + 1).contains(&bodies.len()), "{answered}: {bodies:?}");
            }
        }
    }

    fn spooled(source: &str, body: &str) -> Spooled {
        Spooled {
            source: source.to_owned(),
            id: "id".to_owned(),
            digest: None,
            arrival: Arrival::default(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![("a".to_owned(), "b".to_owned())],
            body: body.into(),
        }
    }

    fn bodies(spool: &Spool) -> Vec<String> {
        let found = spool.behind(None, 100).unwrap();
        let body = |(_, bytes): (u64, Vec<u8>)| serde_json::from_slice::<Spooled>(&bytes).unwrap().body;
        found.into_iter().map(|entry| String::from_utf8(body(entry)).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_put_in_is_there_in_its_order_after_a_restart_until_it_is_taken_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("spool.redb");
        let spool = Spool::open(&file, SpoolConfig::default()).unwrap();
        for body in ["one", "two", "three"] {
            spool.put(spooled("grafana", body)).await.unwrap();
        }
        let before = spool.status();
        drop(spool);
        let spool = Spool::open(&file, SpoolConfig::default()).unwrap();
        assert_eq!((spool.status(), before.requests), (before, 3));
        assert!(spool.holds("grafana") && !spool.holds("sentry"));
        let first = spool.behind(None, 1).unwrap()[0].0;
        spool.remove(first, "grafana", false).unwrap();
        let second = spool.behind(Some(first), 1).unwrap()[0].0;
        spool.remove(second, "grafana", true).unwrap();
        spool.put(spooled("grafana", "four")).await.unwrap();
        assert_eq!(bodies(&spool), ["three", "four"]);
        assert_eq!((spool.status().requests, spool.status().failed), (2, 1));
    }

    #[tokio::test]
    async fn what_failed_is_kept_over_restarts_and_takes_room() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("spool.redb");
        let config = SpoolConfig { requests: 2, ..SpoolConfig::default() };
        for round in 1..=2 {
            let spool = Spool::open(&file, config.clone()).unwrap();
            spool.put(spooled("a", "never")).await.unwrap();
            let number = spool.behind(None, 1).unwrap()[0].0;
            spool.remove(number, "a", true).unwrap();
            assert_eq!(spool.status().failed, round);
        }
        let spool = Spool::open(&file, config).unwrap();
        assert_eq!(spool.status().failed, 2);
        assert!(spool.put(spooled("a", "one more")).await.is_err());
    }

    #[tokio::test]
    async fn a_full_spool_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let config = SpoolConfig { requests: 2, bytes: ByteSize(1_000) };
        let spool = Spool::open(&directory.path().join("spool.redb"), config).unwrap();
        spool.put(spooled("a", "one")).await.unwrap();
        let large = spool.put(spooled("a", &"x".repeat(1_000))).await.unwrap_err();
        assert!(large.to_string().contains("holds 1 requests"), "{large}");
        spool.put(spooled("a", "two")).await.unwrap();
        assert!(spool.put(spooled("a", "three")).await.is_err());
        assert_eq!(bodies(&spool), ["one", "two"]);
    }
}
