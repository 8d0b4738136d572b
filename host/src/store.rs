//! The store of this host: opened at the start, or as soon as its database can be reached.

mod encrypting;

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use campanile_store::{Limits, Location, Store, StoreError};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::fault::Fault;
use crate::temporal::Codec;

/// The file in the data directory, unless a database is named.
pub const FILE: &str = "store.sqlite";
/// The directory there in which a restore is put together: it is moved from there once it is whole.
pub const RESTORING: &str = "restore.part";
/// The shortest retention.
const SHORTEST_RETENTION: SignedDuration = SignedDuration::from_hours(1);
/// How long a host that is ending may have the file, and how often it is looked whether it still has.
const ENDING: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);
/// The delay between attempts to open it.
const PAUSE: Duration = Duration::from_secs(1);

/// `[store]`: where the host keeps what it has accepted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StoreConfig {
    /// A PostgreSQL database for several hosts, such as `postgres://campanile@db.example/campanile`. Its password belongs into
    /// `CAMPANILE_STORE_URL` or a file that `PGPASSFILE` names. Without it the store is a file in the data directory.
    pub url: Option<String>,
    /// How many alerts may be under way. What would be more is refused until others have come to their end.
    #[schemars(range(min = 1))]
    pub pending: u64,
    /// How long what is over is kept, such as `720h`, the default; at least `1h`.
    #[schemars(with = "String")]
    pub retention: SignedDuration,
    /// After how long an open alert is stale that is not posted again, such as `24h`, the default: lists of what is open leave it
    /// out, and nothing else changes.
    #[schemars(with = "String")]
    pub stale_after: SignedDuration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: None,
            pending: Limits::default().pending,
            retention: SignedDuration::from_hours(30 * 24),
            stale_after: SignedDuration::from_hours(24),
        }
    }
}

impl StoreConfig {
    /// What is wrong with it beyond its schema; `path` says where it is set.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let url = self.url.as_deref().and_then(|url| Location::from_str(url).err());
        let url = url.map(|error| ("url", error.to_string()));
        let is_short = self.retention < SHORTEST_RETENTION;
        let short = is_short
            .then(|| ("retention", format!("{:#} is shorter than {SHORTEST_RETENTION:#}", self.retention)));
        let is_stale_at_once = self.stale_after <= SignedDuration::ZERO;
        let stale = is_stale_at_once.then(|| {
            ("stale-after", format!("{:#} is not longer than 0s: an example is 24h", self.stale_after))
        });
        let fault = |(key, message)| Fault { path: format!("{path}.{key}"), value: None, message };
        url.into_iter().chain(short).chain(stale).map(fault).collect()
    }

    fn limits(&self) -> Limits {
        let micros = |span: SignedDuration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 2);
        let (retention, stale_after) = (micros(self.retention), micros(self.stale_after));
        Limits { pending: self.pending, retention, stale_after }
    }

    /// Where the store is.
    ///
    /// # Errors
    ///
    /// `url` is not the address of a PostgreSQL database.
    pub fn location(&self, data_dir: &Path) -> Result<Location, StoreError> {
        self.url.as_deref().map_or_else(|| Ok(Location::File(data_dir.join(FILE))), Location::from_str)
    }
}

/// The store, once it is open. Cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    location: Location,
    opened: watch::Receiver<Result<Store, StoreError>>,
}

impl StoreHandle {
    /// Opens the store, and encrypts with the codec what is not encrypted yet. A database that does not answer now is tried again in the
    /// background.
    ///
    /// # Errors
    ///
    /// Another host uses its file, its schema is a newer host's, or it is encrypted with a key that is not the codec's.
    pub async fn open(
        config: &StoreConfig,
        data_dir: &Path,
        codec: Option<Codec>,
    ) -> Result<Self, StoreError> {
        let location = config.location(data_dir)?;
        let opening = Opening { location: location.clone(), limits: config.limits(), codec };
        if let Location::File(file) = &location
            && let Some(directory) = file.parent()
        {
            let made = std::fs::create_dir_all(directory);
            made.map_err(|error| StoreError::NotWritable(format!("{}: {error}", directory.display())))?;
            refuse_half_restored(directory)?;
        }
        let first = match opening.once_free().await {
            Err(error) if !is_worth_another_attempt(&error) => return Err(error),
            opened => opened,
        };
        let is_open = first.is_ok();
        let (sender, opened) = watch::channel(first);
        if !is_open {
            tokio::spawn(opening.until_open(sender));
        }
        Ok(Self { location, opened })
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// It is not open: its database did not answer so far.
    pub fn get(&self) -> Result<Store, StoreError> {
        self.opened.borrow().clone()
    }

    /// Why it takes nothing now: it is not open, or did not answer at the last look.
    pub fn fault(&self) -> Option<StoreError> {
        self.get().map_or_else(Some, |store| store.fault())
    }

    /// The id of the store, once it is open.
    pub async fn id(&self) -> String {
        let mut opened = self.opened.clone();
        loop {
            if let Ok(store) = &*opened.borrow_and_update() {
                return store.id().to_owned();
            }
            if opened.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Where it is, without a password.
    pub fn location(&self) -> String {
        self.location.to_string()
    }

    /// The file that it is in, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match &self.location {
            Location::File(file) => Some(file),
            Location::Postgres(_) => None,
        }
    }

    /// Writes all that waits, and lets go of the database.
    pub async fn close(&self) {
        if let Ok(store) = self.get() {
            store.close().await;
        }
    }
}

/// A store that is begun beside a restore would be another one.
fn refuse_half_restored(directory: &Path) -> Result<(), StoreError> {
    let part = directory.join(RESTORING);
    match part.exists() {
        true => Err(StoreError::Address(format!(
            "{} is what a restore puts together: wait for its end; if it was interrupted, empty {} and restore again",
            part.display(),
            directory.display()
        ))),
        false => Ok(()),
    }
}

fn is_worth_another_attempt(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::NotWritable(_))
}

/// What it takes to open the store.
struct Opening {
    location: Location,
    limits: Limits,
    codec: Option<Codec>,
}

impl Opening {
    async fn attempt(&self) -> Result<Store, StoreError> {
        let store = Store::open(self.location.clone(), self.limits).await?;
        if let Err(error) = encrypting::prepare(&store, &self.location, self.codec.as_ref()).await {
            store.close().await;
            return Err(error);
        }
        Ok(store)
    }

    /// Opens it. A host that is ending may have its file for a moment.
    async fn once_free(&self) -> Result<Store, StoreError> {
        let began = Instant::now();
        loop {
            match self.attempt().await {
                Err(StoreError::InUse(_)) if began.elapsed() < ENDING => tokio::time::sleep(LOOK).await,
                opened => return opened,
            }
        }
    }

    /// Opens it as soon as that is possible.
    async fn until_open(self, sender: watch::Sender<Result<Store, StoreError>>) {
        let (location, mut said) = (&self.location, String::new());
        while !sender.is_closed() {
            let text = sender.borrow().as_ref().err().map(StoreError::to_string).unwrap_or_default();
            if text != said {
                tracing::error!(store = %location, "not open, tried again: {text}");
                said = text;
            }
            tokio::time::sleep(PAUSE).await;
            let opened = self.attempt().await;
            let is_over = opened.is_ok();
            _ = sender.send_replace(opened);
            if is_over {
                return tracing::info!(store = %location, "the store is open");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_a_retention_are_checked() {
        let config = StoreConfig {
            url: Some("mysql://ops:hush@db/alerts".to_owned()),
            retention: SignedDuration::from_mins(5),
            stale_after: SignedDuration::ZERO,
            ..StoreConfig::default()
        };
        let faults: Vec<_> = config.faults("store").iter().map(Fault::to_string).collect();
        let expected = "store.url: \"mysql://ops:***@db/alerts\" is not the address of a PostgreSQL database";
        assert!(faults[0].starts_with(expected), "{faults:?}");
        assert_eq!(faults[1], "store.retention: 5m is shorter than 1h");
        assert_eq!(faults[2], "store.stale-after: 0s is not longer than 0s: an example is 24h");
    }
}
