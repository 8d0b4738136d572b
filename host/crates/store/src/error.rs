//! Why the store did not do what it was asked.

use std::sync::Arc;

use sqlx::migrate::MigrateError;

/// SQLite's result codes (<https://sqlite.org/rescode.html>), without their extension: the file is in use, may not be written,
/// cannot be read or written, the disk is full, the file cannot be opened.
const SQLITE_BUSY: i64 = 5;
const SQLITE_READONLY: i64 = 8;
const SQLITE_IOERR: i64 = 10;
const SQLITE_FULL: i64 = 13;
const SQLITE_CANTOPEN: i64 = 14;
/// PostgreSQL's (<https://www.postgresql.org/docs/current/errcodes-appendix.html>): the disk is full, and the classes of trouble
/// with the connection, with resources, by an operator (a statement that took too long, a shutdown) and with files.
const POSTGRES_DISK_FULL: &str = "53100";
const POSTGRES_TROUBLE: [&str; 4] = ["08", "53", "57", "58"];
/// What a transaction fails with that met another one. PostgreSQL's: serialization failure, deadlock, unique index. SQLite's: unique
/// index, primary key.
const CONFLICTS: [&str; 5] = ["40001", "40P01", "23505", "2067", "1555"];

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, or does not answer.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// The disk is full, or the file cannot be written.
    #[error("the store cannot be written: {0}")]
    NotWritable(String),
    /// As many alerts as it may hold are not at their end.
    #[error("the store holds {pending} alerts that are not at their end, as many as it may ({limit})")]
    Full {
        /// How many there are.
        pending: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A newer host has changed the schema.
    #[error(
        "the store has schema {found}, and this host knows up to {known}: run the newer host, or restore a backup \
         of before it"
    )]
    NewerSchema {
        /// What the database has.
        found: i64,
        /// What this host knows.
        known: i64,
    },
    /// A request with this id was accepted before, with other content.
    #[error("the request's id was used before, for other alerts")]
    Reused,
    /// Another process has the database file open.
    #[error(
        "another host has the store {0} open: one host alone can use a file; several hosts need PostgreSQL"
    )]
    InUse(String),
    /// The address is not one of a store.
    #[error("{0}")]
    Address(String),
    /// The database refused a statement, or holds what cannot be read.
    #[error("the store refused this: {0}")]
    Refused(#[source] Arc<sqlx::Error>),
}

impl StoreError {
    /// Whether the same may succeed at another time.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NotWritable(_) | Self::Full { .. })
    }

    /// Whether the transaction has only to be made again: it met another one.
    pub(crate) fn is_conflict(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        let code = error.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| CONFLICTS.contains(&code.as_ref()))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned);
        match (&error, code) {
            (_, Some(code)) => by_code(&code, error),
            (
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
                None,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Refused(Arc::new(error)),
        }
    }
}

/// PostgreSQL's codes have five characters, SQLite's four digits at most.
fn by_code(code: &str, error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match code.parse::<i64>() {
        Ok(number) if code.len() < 5 => match number & 0xff {
            SQLITE_BUSY => StoreError::Unavailable(text),
            SQLITE_READONLY | SQLITE_IOERR | SQLITE_FULL | SQLITE_CANTOPEN => StoreError::NotWritable(text),
            _ => StoreError::Refused(Arc::new(error)),
        },
        _ if code == POSTGRES_DISK_FULL => StoreError::NotWritable(text),
        _ if POSTGRES_TROUBLE.iter().any(|class| code.starts_with(class)) => StoreError::Unavailable(text),
        _ => StoreError::Refused(Arc::new(error)),
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::from(sqlx::Error::Migrate(Box::new(other))),
        }
    }
}
