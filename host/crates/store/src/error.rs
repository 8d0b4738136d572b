//! Why the store did not do what it was asked.

use std::sync::Arc;

use sqlx::migrate::MigrateError;

/// SQLite's result codes (<https://sqlite.org/rescode.html>), without their extension. What is the disk's: it may not be written, cannot
/// be read or written, is full, has no such file. What is the statement's: a value that is too large, breaks a constraint or is of the
/// wrong type.
const SQLITE_DISK: [i64; 4] = [8, 10, 13, 14];
const SQLITE_STATEMENT: [i64; 3] = [18, 19, 20];
/// PostgreSQL's (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). Another transaction: serialization failure,
/// deadlock, unique index. The disk is full. What is the statement's: a value, a constraint, a limit.
const POSTGRES_CONFLICT: [&str; 3] = ["40001", "40P01", "23505"];
const POSTGRES_DISK_FULL: &str = "53100";
const POSTGRES_STATEMENT: [&str; 3] = ["22", "23", "54"];

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
    /// It is encrypted, and this host has no keys.
    #[error(
        "the store {location} is encrypted with the key {key:?}, and this host has no keys: set [[temporal.encryption.keys]] \
         with this id and its file"
    )]
    Encrypted {
        /// The store.
        location: String,
        /// The id of the key.
        key: String,
    },
    /// What it holds cannot be read with the keys of this host.
    #[error("{0}")]
    Unreadable(String),
    /// A request with this id was accepted before, with other content.
    #[error("the request's id was used before, for other alerts")]
    Reused,
    /// It met other transactions each time.
    #[error("the store is busy with the same alerts: {0}")]
    Conflict(String),
    /// Another process has the database file open.
    #[error(
        "another host has the store {0} open: one host alone can use a file; several hosts need PostgreSQL"
    )]
    InUse(String),
    /// The address is not one of a store.
    #[error("{0}")]
    Address(String),
    /// The database cannot take this, now or later.
    #[error("the store refused this: {0}")]
    Refused(#[source] Arc<sqlx::Error>),
}

impl StoreError {
    /// Whether the same may succeed at another time, or at another host.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::NotWritable(_)
            | Self::Full { .. }
            | Self::NewerSchema { .. }
            | Self::Encrypted { .. }
            | Self::Unreadable(_)
            | Self::Conflict(_) => true,
            Self::Reused | Self::InUse(_) | Self::Address(_) | Self::Refused(_) => false,
        }
    }

    /// What is in the database is not what this host wrote.
    pub(crate) fn damaged(what: &str) -> Self {
        Self::Unavailable(format!("{what} cannot be read"))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned);
        match code {
            Some(code) => by_code(&code, error),
            None if matches!(error, sqlx::Error::Encode(_)) => Self::Refused(Arc::new(error)),
            None => Self::Unavailable(error.to_string()),
        }
    }
}

/// PostgreSQL's codes have five characters, SQLite's four digits at most.
fn by_code(code: &str, error: sqlx::Error) -> StoreError {
    let is_one_of = |classes: &[&str]| classes.iter().any(|class| code.starts_with(class));
    match code.parse::<i64>().map(|number| number & 0xff) {
        Ok(number) if code.len() < 5 && SQLITE_DISK.contains(&number) => {
            StoreError::NotWritable(error.to_string())
        }
        Ok(number) if code.len() < 5 && SQLITE_STATEMENT.contains(&number) => {
            StoreError::Refused(Arc::new(error))
        }
        Ok(_) if code.len() < 5 => StoreError::Unavailable(error.to_string()),
        _ if POSTGRES_CONFLICT.contains(&code) => StoreError::Conflict(error.to_string()),
        _ if code == POSTGRES_DISK_FULL => StoreError::NotWritable(error.to_string()),
        _ if is_one_of(&POSTGRES_STATEMENT) => StoreError::Refused(Arc::new(error)),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_database_takes_is_the_requests_fault() {
        let kind = |code: &str| match by_code(code, sqlx::Error::RowNotFound) {
            StoreError::Refused(_) => "refused",
            StoreError::Conflict(_) => "conflict",
            StoreError::NotWritable(_) => "not writable",
            _ => "unavailable",
        };
        for (code, expected) in [
            ("5", "unavailable"),
            ("13", "not writable"),
            ("2067", "refused"),
            ("522", "not writable"),
            ("11", "unavailable"),
            ("22021", "refused"),
            ("23505", "conflict"),
            ("25006", "unavailable"),
            ("28P01", "unavailable"),
            ("53100", "not writable"),
            ("57P01", "unavailable"),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
