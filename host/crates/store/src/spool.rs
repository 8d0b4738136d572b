//! Requests to sources that are kept until they can be accepted, as they came and in order of receipt. What fails by its content is
//! set aside: it holds up nothing, and waits for a person.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::{Database, Kind};
use crate::life::Micros;
use crate::queue::Work;
use crate::sql::{Value, execute, execute_in, rows, write_rows};

const WAITING: i64 = 0;
const SET_ASIDE: i64 = 1;

/// A request that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledRequest {
    /// Its own id, or one of the host's. Without U+0000, as all of its texts.
    pub id: String,
    /// The source that it was posted to.
    pub source: String,
    /// Who sent it.
    pub sender: String,
    /// How often its source crashed or hit a limit on it.
    pub failures: u32,
    /// As it came.
    pub request: Vec<u8>,
}

/// A request that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// Its place in the order of receipt.
    pub number: i64,
    /// The request.
    pub spooled: SpooledRequest,
    /// Why it was not accepted so far, as it was written.
    pub error: Option<Vec<u8>>,
}

/// How much may wait. As much again may be set aside. Two hosts that share a store may each exceed it by what they take at once.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Requests; half of them of one sender.
    pub requests: u64,
    /// Their size in bytes; half of it of one sender.
    pub bytes: u64,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolSize {
    /// Requests that wait.
    pub requests: u64,
    /// Their size.
    pub bytes: u64,
    /// Requests that are set aside.
    pub set_aside: u64,
}

/// Which requests that are set aside: those that meet all of it.
#[derive(Clone, Debug, Default)]
pub struct SetAsideFilter {
    /// With this id.
    pub id: Option<String>,
    /// To this source.
    pub source: Option<String>,
}

/// Why there is no room for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFull {
    /// As much waits as may.
    #[error("the spool holds {requests} requests of {bytes} bytes together, as much as it may (`[spool]`)")]
    Whole {
        /// How many.
        requests: u64,
        /// Their size.
        bytes: u64,
    },
    /// As much of this sender waits as may.
    #[error(
        "the spool holds {requests} requests of {bytes} bytes together of one sender ({sender}), which may have half of it (`[spool]`)"
    )]
    Share {
        /// Whose they are.
        sender: String,
        /// How many.
        requests: u64,
        /// Their size.
        bytes: u64,
    },
    /// As many are set aside as may be.
    #[error(
        "{0} requests that failed are set aside, as many as may be (`[spool]`): see `campanile spool list`"
    )]
    SetAside(u64),
}

/// How much is kept, without asking the database: as it last said.
#[derive(Debug, Default)]
pub(crate) struct SpoolGauge {
    requests: AtomicU64,
    bytes: AtomicU64,
    set_aside: AtomicU64,
}

impl SpoolGauge {
    pub(crate) fn size(&self) -> SpoolSize {
        let read = |part: &AtomicU64| part.load(Ordering::Relaxed);
        SpoolSize {
            requests: read(&self.requests),
            bytes: read(&self.bytes),
            set_aside: read(&self.set_aside),
        }
    }

    /// Asks the database.
    pub(crate) async fn measure(&self, database: &Database) -> Result<(), StoreError> {
        let mut connection = database.reader().await?;
        let held = Held::by_all(&mut connection).await?;
        connection.put_back();
        self.requests.store(held.waiting.requests, Ordering::Relaxed);
        self.bytes.store(held.waiting.bytes, Ordering::Relaxed);
        self.set_aside.store(held.set_aside.requests, Ordering::Relaxed);
        Ok(())
    }
}

/// How many requests, and their size.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    requests: u64,
    bytes: u64,
}

impl Amount {
    fn add(&mut self, more: Amount) {
        self.requests += more.requests;
        self.bytes += more.bytes;
    }

    fn has_room(self, bytes: u64, limits: SpoolLimits) -> bool {
        self.requests < limits.requests && self.bytes + bytes <= limits.bytes
    }
}

/// What is kept, as it is counted.
#[derive(Debug, Default)]
struct Held {
    waiting: Amount,
    by_sender: HashMap<String, Amount>,
    set_aside: Amount,
}

impl Held {
    async fn by_all(connection: &mut AnyConnection) -> Result<Self, StoreError> {
        let sql = "SELECT CAST(state AS BIGINT), sender, count(*), CAST(sum(bytes) AS BIGINT) FROM spool GROUP BY state, sender";
        let mut held = Self::default();
        for row in rows(connection, sql, []).await? {
            let (state, requests, bytes): (i64, i64, i64) =
                (row.try_get(0)?, row.try_get(2)?, row.try_get(3)?);
            let amount = Amount { requests: requests.unsigned_abs(), bytes: bytes.unsigned_abs() };
            if state == WAITING {
                held.waiting.add(amount);
                held.by_sender.insert(row.try_get(1)?, amount);
            } else {
                held.set_aside.add(amount);
            }
        }
        Ok(held)
    }

    /// Counts a request, if there is room for it. What failed already takes none of the room of others.
    fn take(&mut self, request: &SpooledRequest, limits: SpoolLimits) -> Result<(), SpoolFull> {
        let bytes = request.request.len() as u64;
        if request.failures > 0 && !self.set_aside.has_room(bytes, limits) {
            return Err(SpoolFull::SetAside(self.set_aside.requests));
        }
        let Amount { requests, bytes: held } = self.waiting;
        if !self.waiting.has_room(bytes, limits) {
            return Err(SpoolFull::Whole { requests, bytes: held });
        }
        // One that posts as fast as it can does not take the room of others.
        let half = SpoolLimits { requests: limits.requests.div_ceil(2), bytes: limits.bytes.div_ceil(2) };
        let own = self.by_sender.entry(request.sender.clone()).or_default();
        if !own.has_room(bytes, half) {
            let (sender, Amount { requests, bytes }) = (request.sender.clone(), *own);
            return Err(SpoolFull::Share { sender, requests, bytes });
        }
        let one = Amount { requests: 1, bytes };
        own.add(one);
        self.waiting.add(one);
        Ok(())
    }
}

/// Keeps requests, several in one transaction.
#[derive(Debug)]
pub(crate) struct Spooling;

impl Work for Spooling {
    type Item = (SpooledRequest, SpoolLimits);
    type Answer = Result<(), SpoolFull>;

    fn size((request, _): &Self::Item) -> (usize, usize) {
        (1, request.request.len())
    }

    async fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        items: &[&Self::Item],
    ) -> Result<Vec<Result<Self::Answer, StoreError>>, StoreError> {
        // It refuses a newer schema.
        database.now(connection).await?;
        let mut held = Held::by_all(connection).await?;
        let answers: Vec<_> = items.iter().map(|(request, limits)| held.take(request, *limits)).collect();
        let taken = items.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        let taken: Vec<_> = taken.map(|((request, _), _)| request).collect();
        let numbers = numbers(database.kind, connection, taken.len()).await?;
        let row = |(number, spooled): (i64, &&SpooledRequest)| {
            let size = i64::try_from(spooled.request.len()).unwrap_or(i64::MAX);
            vec![
                number.into(),
                spooled.id.as_str().into(),
                spooled.source.as_str().into(),
                spooled.sender.as_str().into(),
                size.into(),
                WAITING.into(),
                i64::from(spooled.failures).into(),
                spooled.request.as_slice().into(),
            ]
        };
        let head = "INSERT INTO spool (number, id, source, sender, bytes, state, failures, request)";
        write_rows(connection, head, numbers.into_iter().zip(&taken).map(row).collect(), "").await?;
        Ok(answers.into_iter().map(Ok).collect())
    }
}

/// So many numbers behind all that are given out.
async fn numbers(kind: Kind, connection: &mut AnyConnection, count: usize) -> Result<Vec<i64>, StoreError> {
    let sql = match kind {
        Kind::Sqlite => "SELECT coalesce(max(number), 0) + 1 FROM spool",
        Kind::Postgres => "SELECT nextval('numbers') FROM generate_series(1, $1)",
    };
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let values = if kind == Kind::Sqlite { None } else { Some(Value::from(count)) };
    let found = rows(connection, sql, values).await?;
    let mut numbers = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if let (Kind::Sqlite, Some(first)) = (kind, numbers.first().copied()) {
        numbers = (first..first + count).collect();
    }
    numbers.sort_unstable();
    Ok(numbers)
}

const COLUMNS: &str = "number, id, source, sender, failures, error, request";

fn read(row: &AnyRow) -> Result<KeptRequest, StoreError> {
    let failures: i64 = row.try_get("failures")?;
    Ok(KeptRequest {
        number: row.try_get("number")?,
        spooled: SpooledRequest {
            id: row.try_get("id")?,
            source: row.try_get("source")?,
            sender: row.try_get("sender")?,
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            request: row.try_get("request")?,
        },
        error: row.try_get("error")?,
    })
}

/// Whether requests of this source wait.
pub(crate) async fn holds(database: &Database, source: &str) -> Result<bool, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!("SELECT number FROM spool WHERE state = {WAITING} AND source = $1 LIMIT 1");
    let found = rows(&mut connection, &sql, [source.into()]).await?;
    connection.put_back();
    Ok(!found.is_empty())
}

/// At most `most` requests that wait behind this number, in order of receipt.
pub(crate) async fn behind(
    database: &Database,
    number: i64,
    most: usize,
) -> Result<Vec<KeptRequest>, StoreError> {
    list(database, &format!("state = {WAITING} AND number > $1 ORDER BY number"), number, most).await
}

/// At most `most` requests that are set aside, before this number, the latest first.
pub(crate) async fn set_aside(
    database: &Database,
    before: i64,
    most: usize,
) -> Result<Vec<KeptRequest>, StoreError> {
    list(database, &format!("state = {SET_ASIDE} AND number < $1 ORDER BY number DESC"), before, most).await
}

async fn list(
    database: &Database,
    condition: &str,
    number: i64,
    most: usize,
) -> Result<Vec<KeptRequest>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!("SELECT {COLUMNS} FROM spool WHERE {condition} LIMIT {most}");
    let found = rows(&mut connection, &sql, [number.into()]).await?;
    connection.put_back();
    found.iter().map(read).collect()
}

/// Notes how often a request failed, and why; keeps it apart from what waits if it `is_set_aside`.
pub(crate) async fn note_failure(
    database: &Database,
    number: i64,
    failures: u32,
    error: &[u8],
    is_set_aside: bool,
) -> Result<(), StoreError> {
    let state = if is_set_aside { SET_ASIDE } else { WAITING };
    let sql = "UPDATE spool SET failures = $1, error = $2, state = $3 WHERE number = $4";
    let values = [i64::from(failures).into(), error.into(), state.into(), number.into()];
    change(database, sql, values).await
}

/// Forgets a request that was accepted.
pub(crate) async fn remove(database: &Database, number: i64) -> Result<(), StoreError> {
    change(database, "DELETE FROM spool WHERE number = $1", [number.into()]).await
}

async fn change(
    database: &Database,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    database.now(&mut transaction).await?;
    execute(&mut transaction, sql, values).await?;
    transaction.commit().await
}

/// Has requests that are set aside wait again, behind all others. Returns their ids.
pub(crate) async fn retry(database: &Database, filter: &SetAsideFilter) -> Result<Vec<String>, StoreError> {
    let mut transaction = database.begin().await?;
    let found = matching(database, &mut transaction, filter).await?;
    let numbers = numbers(database.kind, &mut transaction, found.len()).await?;
    let sql = format!(
        "UPDATE spool SET number = $1, state = {WAITING}, failures = 0, error = NULL WHERE number = $2"
    );
    for ((old, _), new) in found.iter().zip(numbers) {
        execute(&mut transaction, &sql, [new.into(), (*old).into()]).await?;
    }
    transaction.commit().await?;
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Forgets requests that are set aside. Returns their ids.
pub(crate) async fn discard(database: &Database, filter: &SetAsideFilter) -> Result<Vec<String>, StoreError> {
    let mut transaction = database.begin().await?;
    let found = matching(database, &mut transaction, filter).await?;
    let numbers = found.iter().map(|(number, _)| Value::from(*number)).collect();
    execute_in(&mut transaction, "DELETE FROM spool WHERE number IN {in}", &[], numbers).await?;
    transaction.commit().await?;
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

async fn matching(
    database: &Database,
    connection: &mut AnyConnection,
    filter: &SetAsideFilter,
) -> Result<Vec<(i64, String)>, StoreError> {
    let mut values = Vec::new();
    let mut conditions = String::new();
    for (column, value) in [("id", &filter.id), ("source", &filter.source)] {
        if let Some(value) = value {
            values.push(Value::from(value.as_str()));
            conditions.push_str(&format!(" AND {column} = ${}", values.len()));
        }
    }
    let sql = format!(
        "SELECT number, id FROM spool WHERE state = {SET_ASIDE}{conditions} ORDER BY number{}",
        database.kind.lock()
    );
    let found = rows(connection, &sql, values).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Takes or renews a lease: whether `holder` has it now, for `span` from now on. One process alone uses a file of SQLite, and has every
/// lease.
pub(crate) async fn lease(
    database: &Database,
    name: &str,
    holder: &str,
    span: Micros,
) -> Result<bool, StoreError> {
    if database.kind == Kind::Sqlite {
        return Ok(true);
    }
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    let sql = "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
         SET holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder OR leases.until < $4";
    let values = [name.into(), holder.into(), (now + span).into(), now.into()];
    let changed = execute(&mut transaction, sql, values).await?;
    transaction.commit().await?;
    Ok(changed == 1)
}
