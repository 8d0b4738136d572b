//! Rewriting what the store holds, when it is to be encrypted or has a new key. The store has no keys: what becomes of each value, its
//! caller says. It goes on in strides, so that one that is cut off has done no harm and is made again.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::database::{Borrowed, Database, Kind, Transaction};
use crate::sql::{Value, execute, rows};
use crate::{Store, StoreError};

/// What is rewritten: table, the key of its rows, column; and how many rows one transaction rewrites. A spooled request may be large.
const COLUMNS: [(&str, &str, &str, usize); 8] = [
    ("documents", "notification", "document", 100),
    ("requests", "number", "origin", 100),
    ("ledgers", "notification", "ledger", 100),
    ("reached", "life, receiver", "receipt", 100),
    ("lives", "number", "acknowledgement", 100),
    ("dead_letters", "delivery_id", "delivery", 100),
    ("spool", "number", "request", 10),
    ("spool", "number", "error", 100),
];
/// The texts of how many notifications one transaction forgets.
const TEXTS: usize = 1_000;
/// The delay before a transaction that met another one is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a store is encrypted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The id of the key.
    pub key: String,
    /// Something that this key encrypted: who can decrypt it has the key.
    pub proof: Vec<u8>,
    /// Whether all that the store held before was rewritten.
    pub is_whole: bool,
}

impl Store {
    /// What it is encrypted with, if it is.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn encryption(&self) -> Result<Option<Encryption>, StoreError> {
        let mut connection = self.database.reader().await?;
        let sql = "SELECT encrypted_with, encryption_proof, CAST(is_rewritten AS BIGINT) FROM store";
        let found = rows(&mut connection, sql, []).await?;
        connection.put_back();
        let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
        let Some(key) = row.try_get(0)? else { return Ok(None) };
        Ok(Some(Encryption { key, proof: row.try_get(1)?, is_whole: row.try_get::<i64, _>(2)? == 1 }))
    }

    /// Has this process, which encrypts nothing, write nothing any more once the store is encrypted by another one.
    pub fn write_in_the_clear(&self) {
        self.database.writes_in_the_clear.store(true, Ordering::Relaxed);
    }

    /// Notes that what is written is encrypted with this key from now on, and that all from before is to be rewritten. `before` is what
    /// [`Self::encryption`] gave.
    ///
    /// # Errors
    ///
    /// Another process has noted another key since, or the store does not answer.
    pub async fn begin_encryption(
        &self,
        key: &str,
        proof: &[u8],
        before: Option<&Encryption>,
    ) -> Result<(), StoreError> {
        let before = before.map(|before| before.key.as_str());
        let sql = "UPDATE store SET encrypted_with = $1, encryption_proof = $2, is_rewritten = 0 \
             WHERE encrypted_with IS NOT DISTINCT FROM $3";
        let mut transaction = begin(&self.database).await?;
        if self.database.kind == Kind::Postgres {
            // What others write in the clear comes to its end first, and is rewritten then.
            execute(&mut transaction, "LOCK TABLE store IN EXCLUSIVE MODE", []).await?;
        }
        let changed = execute(&mut transaction, sql, [key.into(), proof.into(), before.into()]).await?;
        transaction.commit().await?;
        let raced = || StoreError::Unavailable("another host has begun to encrypt it".to_owned());
        (changed == 1).then_some(()).ok_or_else(raced)
    }

    /// Notes that all is encrypted with this key.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn end_encryption(&self, key: &str) -> Result<(), StoreError> {
        let mut transaction = begin(&self.database).await?;
        let sql = "UPDATE store SET is_rewritten = 1 WHERE encrypted_with = $1";
        execute(&mut transaction, sql, [key.into()]).await?;
        transaction.commit().await
    }

    /// Writes all anew that has not `mark` in it: documents, origins, ledgers, receipts, acknowledgements, dead letters, and the requests
    /// that are spooled, with their errors. What another process changes meanwhile is left alone. Returns how many values there were.
    ///
    /// # Errors
    ///
    /// `rewritten` says why a value cannot be rewritten, or the store does not answer. The values before are rewritten then.
    pub async fn rewrite(
        &self,
        mark: &[u8],
        mut rewritten: impl FnMut(&[u8]) -> Result<Vec<u8>, StoreError> + Send,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for (table, keys, column, stride) in COLUMNS {
            let mut pass = Pass { table, keys, column, stride, mark, last: Vec::new(), is_over: false };
            while !pass.is_over {
                count += patiently(pass.stride(&self.database, &mut rewritten).await).await?.unwrap_or(0);
            }
        }
        Ok(count)
    }

    /// Forgets the words that alerts are searched by.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn forget_texts(&self) -> Result<(), StoreError> {
        while patiently(forget_texts(&self.database).await).await? != Some(0) {}
        Ok(())
    }

    /// Writes the database anew, without what was deleted or replaced: nothing of that is left in its files. SQLite needs twice the
    /// size of the file for it, and PostgreSQL that of its largest table, whose tables wait for it one by one.
    ///
    /// # Errors
    ///
    /// There is no room for it, or the store does not answer.
    pub async fn compact(&self) -> Result<(), StoreError> {
        // Readers have connections enough, and what looks after SQLite's log needs the one that writes. It is not put back.
        let mut connection = self.database.reader().await?;
        match self.database.file() {
            Some(file) => compact_file(&mut connection, file).await,
            None => compact_tables(&mut connection).await,
        }
    }
}

/// One column, as it is rewritten.
struct Pass<'a> {
    table: &'static str,
    keys: &'static str,
    column: &'static str,
    stride: usize,
    mark: &'a [u8],
    /// The key of the row that came last.
    last: Vec<Value>,
    is_over: bool,
}

impl Pass<'_> {
    /// Rewrites the next rows, in one transaction. Returns how many values it wrote.
    async fn stride(
        &mut self,
        database: &Database,
        rewritten: &mut (impl FnMut(&[u8]) -> Result<Vec<u8>, StoreError> + Send),
    ) -> Result<u64, StoreError> {
        let mut transaction = begin(database).await?;
        let found = self.next(database.kind, &mut transaction).await?;
        let mut count = 0;
        for (key, value) in &found {
            let new = rewritten(value)?;
            count += self.write(&mut transaction, key, value, &new).await?;
        }
        transaction.commit().await?;
        self.is_over = found.len() < self.stride;
        self.last = found.into_iter().next_back().map(|(key, _)| key).unwrap_or_default();
        Ok(count)
    }

    /// The next rows: key and value of each. They are not locked.
    async fn next(
        &self,
        kind: Kind,
        transaction: &mut Transaction,
    ) -> Result<Vec<(Vec<Value>, Vec<u8>)>, StoreError> {
        let Self { table, keys, column, stride, mark, last, .. } = self;
        let unmarked = match kind {
            Kind::Sqlite => format!("instr({column}, $1) = 0"),
            Kind::Postgres => format!("position($1 in {column}) = 0"),
        };
        let behind = match last.len() {
            0 => String::new(),
            count => format!(" AND ({keys}) > ({})", parameters(2, count)),
        };
        let sql = format!(
            "SELECT {keys}, {column} FROM {table} WHERE {unmarked}{behind} ORDER BY {keys} LIMIT {stride}"
        );
        let values = [Value::from(*mark)].into_iter().chain(last.iter().cloned());
        rows(transaction, &sql, values).await?.iter().map(read).collect()
    }

    /// Writes a value, unless another process has changed it since it was read.
    async fn write(
        &self,
        transaction: &mut Transaction,
        key: &[Value],
        old: &[u8],
        new: &[u8],
    ) -> Result<u64, StoreError> {
        let Self { table, keys, column, .. } = self;
        let sql = format!(
            "UPDATE {table} SET {column} = $1 WHERE {column} = $2 AND ({keys}) = ({})",
            parameters(3, key.len())
        );
        execute(transaction, &sql, [new.into(), old.into()].into_iter().chain(key.iter().cloned())).await
    }
}

/// A row's key, numbers and texts, and its value behind it.
fn read(row: &AnyRow) -> Result<(Vec<Value>, Vec<u8>), StoreError> {
    let value = row.len() - 1;
    let part = |at| match row.try_get::<i64, _>(at) {
        Ok(number) => Ok(Value::from(number)),
        Err(_) => row.try_get(at).map(|text: &str| Value::from(text)),
    };
    Ok(((0..value).map(part).collect::<Result<_, _>>()?, row.try_get(value)?))
}

/// `$3, $4` for two from the third on.
fn parameters(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// A transaction that may take as long as it needs: it looks through a whole table.
async fn begin(database: &Database) -> Result<Transaction, StoreError> {
    let mut transaction = database.begin().await?;
    if database.kind == Kind::Postgres {
        execute(&mut transaction, "SET LOCAL statement_timeout = 0", []).await?;
    }
    Ok(transaction)
}

/// What was done; nothing, after a pause, where it met another transaction and is to be made again.
async fn patiently<T>(done: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match done {
        Err(StoreError::Conflict(_)) => {
            tokio::time::sleep(PAUSE).await;
            Ok(None)
        }
        done => done.map(Some),
    }
}

/// Forgets the texts of some notifications. Returns of how many.
async fn forget_texts(database: &Database) -> Result<u64, StoreError> {
    let mut transaction = begin(database).await?;
    let sql = format!(
        "DELETE FROM texts WHERE notification IN (SELECT notification FROM texts ORDER BY notification LIMIT {TEXTS})"
    );
    let forgotten = execute(&mut transaction, &sql, []).await?;
    transaction.commit().await?;
    Ok(forgotten)
}

async fn compact_file(connection: &mut Borrowed, file: &Path) -> Result<(), StoreError> {
    // The directory of temporary files may be small, or in memory.
    if let Some(directory) = file.parent().and_then(Path::to_str) {
        let directory = directory.replace('\'', "''");
        rows(connection, &format!("PRAGMA temp_store_directory = '{directory}'"), []).await?;
    }
    execute(connection, "VACUUM", []).await?;
    let cut = rows(connection, "PRAGMA wal_checkpoint(TRUNCATE)", []).await?;
    let is_busy: i64 = cut.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    let busy = || StoreError::Unavailable("its log is being read, and could not be cut".to_owned());
    (is_busy == 0).then_some(()).ok_or_else(busy)
}

async fn compact_tables(connection: &mut Borrowed) -> Result<(), StoreError> {
    execute(connection, "SET statement_timeout = 0", []).await?;
    let mut tables: Vec<_> = COLUMNS.iter().map(|(table, ..)| *table).chain(["texts"]).collect();
    tables.dedup();
    for table in tables {
        execute(connection, &format!("VACUUM FULL {table}"), []).await?;
    }
    Ok(())
}
