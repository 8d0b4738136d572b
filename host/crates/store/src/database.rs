//! The two databases that a store can be in, and what differs between them.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Row, SqlSafeStr};
use url::Url;

use crate::file_lock::FileLock;
use crate::sql::execute;
use crate::{Micros, StoreError};

/// How long a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many reads run at once, and how many transactions: what is accepted, what ends, what is spooled and what is claimed have one
/// each, where the database can write more than one at a time.
const READERS: u32 = 4;
const POSTGRES_WRITERS: u32 = 4;
const SQLITE_WRITERS: u32 = 1;
/// How long a statement of PostgreSQL may take: a read; a write, which waits for others' locks; a migration, as long as it takes.
const READ_TIME: &str = "2s";
const WRITE_TIME: &str = "10s";
const MIGRATION_TIME: &str = "0";

/// The migrations, oldest first. They only ever add.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "store", include_str!("../migrations/0001_store.sql"))];

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite, which one process uses.
    File(PathBuf),
    /// A database of PostgreSQL.
    Postgres(Url),
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match Url::parse(text) {
            Ok(url) if ["postgres", "postgresql"].contains(&url.scheme()) => Ok(Self::Postgres(url)),
            _ => Err(StoreError::Address(format!(
                "{:?} is not the address of a PostgreSQL database, such as postgres://campanile@db.example/campanile",
                without_password(text)
            ))),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Postgres(url) => f.write_str(&without_password(url.as_str())),
        }
    }
}

fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    if url.password().is_some() {
        _ = url.set_password(Some("***"));
    }
    url.into()
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// How a transaction begins that writes. In SQLite one that begins with a read could not write any more once another has
    /// written.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// The database's clock, in microseconds.
    pub(crate) fn clock(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS BIGINT)",
            Self::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    /// What locks the rows of a `SELECT`. SQLite has one writer, and needs no lock.
    pub(crate) fn lock(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// The same for rows that another transaction may have taken already: those are left out.
    pub(crate) fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    fn writers(self) -> u32 {
        match self {
            Self::Sqlite => SQLITE_WRITERS,
            Self::Postgres => POSTGRES_WRITERS,
        }
    }

    fn migrator(self) -> Migrator {
        let (number, bytes, numbers) = match self {
            Self::Sqlite => ("INTEGER", "BLOB", ""),
            Self::Postgres => ("BIGINT", "BYTEA", "CREATE SEQUENCE numbers CACHE 1;"),
        };
        let migration = |(version, name, sql): (i64, &'static str, &str)| {
            let sql = sql.replace("{number}", number).replace("{bytes}", bytes).replace("{numbers}", numbers);
            let sql = AssertSqlSafe(sql).into_sql_str();
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        };
        Migrator::with_migrations(MIGRATIONS.map(migration).into())
    }

    /// What each connection is set to, whose statements may take so long. A host that is cut off or frozen keeps its locks from others
    /// for a few seconds. SQLite's log is not cut by the connection that commits, but by another.
    fn settings(self, time: &str) -> Vec<String> {
        match self {
            Self::Sqlite => vec![
                "PRAGMA journal_mode = WAL".to_owned(),
                "PRAGMA synchronous = FULL".to_owned(),
                "PRAGMA busy_timeout = 5000".to_owned(),
                "PRAGMA wal_autocheckpoint = 0".to_owned(),
                "PRAGMA journal_size_limit = 67108864".to_owned(),
            ],
            Self::Postgres => vec![
                format!("SET statement_timeout = '{time}'"),
                "SET idle_in_transaction_session_timeout = '5s'".to_owned(),
                "SET synchronous_commit = on".to_owned(),
                "SET default_transaction_isolation = 'read committed'".to_owned(),
            ],
        }
    }
}

/// A database whose schema is what this host knows.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) location: Location,
    writers: AnyPool,
    readers: AnyPool,
    /// Whether this process encrypts nothing, and must not write to a store that is encrypted.
    pub(crate) writes_in_the_clear: AtomicBool,
    /// Held while the file is open.
    lock: Mutex<Option<FileLock>>,
}

/// A connection that is borrowed from a pool. It is closed unless it is put back: what was cut off may have left it anyhow.
pub(crate) struct Borrowed {
    connection: PoolConnection<Any>,
    is_done: bool,
}

impl Borrowed {
    /// Puts it back.
    pub(crate) fn put_back(mut self) {
        self.is_done = true;
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Borrowed {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// A transaction that writes. It is rolled back unless it is committed, and its connection closed: some errors have ended it
/// already, and nothing says which.
pub(crate) struct Transaction(Borrowed);

impl Transaction {
    /// Commits it. When this returns, it is synced.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        execute(&mut self, "COMMIT", []).await?;
        self.0.put_back();
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.0
    }
}

/// The newest schema that this host knows.
pub(crate) fn known_schema() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

impl Database {
    /// Opens it and brings its schema up to date.
    pub(crate) async fn open(location: Location) -> Result<Self, StoreError> {
        install_default_drivers();
        let (kind, address, lock) = match &location {
            Location::File(file) => (Kind::Sqlite, file_address(file, "rwc")?, Some(lock(file)?)),
            Location::Postgres(url) => (Kind::Postgres, url.to_string(), None),
        };
        let options = AnyConnectOptions::from_str(&address)?.disable_statement_logging();
        let pool = |most, time| {
            let pool = AnyPoolOptions::new().max_connections(most).acquire_timeout(PATIENCE);
            let pool = match kind {
                // The last connection that closes would cut the log.
                Kind::Sqlite => pool.max_lifetime(None).idle_timeout(None),
                Kind::Postgres => pool,
            };
            pool.after_connect(move |connection, _| {
                Box::pin(async move {
                    for setting in kind.settings(time) {
                        sqlx::query(AssertSqlSafe(setting)).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
        };
        let migrating = pool(1, MIGRATION_TIME).connect_with(options.clone()).await?;
        migrate(kind, &migrating).await?;
        migrating.close().await;
        let writers = pool(kind.writers(), WRITE_TIME).connect_with(options.clone()).await?;
        let readers = pool(READERS, READ_TIME).connect_with(options).await?;
        let (writes_in_the_clear, lock) = (AtomicBool::new(false), Mutex::new(lock));
        Ok(Self { kind, location, writers, readers, writes_in_the_clear, lock })
    }

    /// Its file, if it has one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.location {
            Location::File(file) => Some(file),
            Location::Postgres(_) => None,
        }
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut transaction = Transaction(self.writer().await?);
        // Who begins to encrypt waits for those that write in the clear, and these for it.
        let begin = match self.kind {
            Kind::Postgres if self.writes_in_the_clear() => "BEGIN; LOCK TABLE store IN ROW SHARE MODE",
            kind => kind.begin(),
        };
        sqlx::raw_sql(begin).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    fn writes_in_the_clear(&self) -> bool {
        self.writes_in_the_clear.load(Ordering::Relaxed)
    }

    /// A connection that writes.
    pub(crate) async fn writer(&self) -> Result<Borrowed, StoreError> {
        Ok(Borrowed { connection: self.writers.acquire().await?, is_done: false })
    }

    /// A connection that reads.
    pub(crate) async fn reader(&self) -> Result<Borrowed, StoreError> {
        Ok(Borrowed { connection: self.readers.acquire().await?, is_done: false })
    }

    /// A connection that reads, if one is idle.
    pub(crate) fn idle_reader(&self) -> Option<Borrowed> {
        Some(Borrowed { connection: self.readers.try_acquire()?, is_done: false })
    }

    /// Closes its connections, and lets go of the file.
    pub(crate) async fn close(&self) {
        self.writers.close().await;
        self.readers.close().await;
        self.lock.lock().take();
    }

    /// Now by the database's clock.
    ///
    /// # Errors
    ///
    /// A newer host has moved the schema past what this one knows, or another one encrypts what this one would write in the clear: it
    /// must not write any more.
    pub(crate) async fn now(&self, connection: &mut AnyConnection) -> Result<Micros, StoreError> {
        let sql = format!(
            "SELECT {}, (SELECT max(version) FROM _sqlx_migrations), (SELECT encrypted_with FROM store)",
            self.kind.clock()
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
        let (now, found, key) = (row.try_get(0)?, row.try_get(1)?, row.try_get::<Option<String>, _>(2)?);
        let known = known_schema();
        match key {
            _ if found > known => Err(StoreError::NewerSchema { found, known }),
            Some(key) if self.writes_in_the_clear() => {
                Err(StoreError::Encrypted { location: self.location.to_string(), key })
            }
            _ => Ok(now),
        }
    }
}

/// Applies the migrations that are missing, while no other process does.
async fn migrate(kind: Kind, pool: &AnyPool) -> Result<(), StoreError> {
    match kind.migrator().run(pool).await {
        Err(sqlx::migrate::MigrateError::VersionMissing(found)) => {
            Err(StoreError::NewerSchema { found, known: known_schema() })
        }
        done => Ok(done?),
    }
}

/// The address of a file of SQLite that is opened in this mode.
pub(crate) fn file_address(file: &Path, mode: &str) -> Result<String, StoreError> {
    let unusable = || StoreError::Address(format!("{} is not the path of a file", file.display()));
    let file = std::path::absolute(file).map_err(|_| unusable())?;
    let mut url = Url::from_file_path(file).map_err(|()| unusable())?;
    url.set_query(Some(&format!("mode={mode}")));
    Ok(url.as_str().replacen("file://", "sqlite://", 1))
}

/// Keeps other processes from a database file, until what this returns is dropped.
///
/// # Errors
///
/// Another process has it, or the file beside it cannot be written.
pub fn lock(file: &Path) -> Result<FileLock, StoreError> {
    let path = file.with_extension("lock");
    let taken = FileLock::try_take(&path)
        .map_err(|error| StoreError::NotWritable(format!("{}: {error}", path.display())))?;
    taken.ok_or_else(|| StoreError::InUse(file.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let location: Location = "postgres://ops:hush@db/alerts".parse().unwrap();
        assert_eq!(location.to_string(), "postgres://ops:***@db/alerts");
        let error = "mysql://ops:hush@db/alerts".parse::<Location>().unwrap_err().to_string();
        assert!(error.contains("postgres://campanile@") && !error.contains("hush"), "{error}");
    }
}
