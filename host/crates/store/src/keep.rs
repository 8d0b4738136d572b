//! What a store does by itself while it is open: it counts what is pending, cuts the log of SQLite, and forgets what is old.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::{AnyConnection, Row};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::StoreError;
use crate::database::Database;
use crate::life::Micros;
use crate::lookup::{self, Waiting};
use crate::notification::ENDED;
use crate::spool::SpoolGauge;
use crate::sql::{Value, execute, execute_in, rows, rows_in};

/// How often it looks after the database, and how often after what is old.
const PERIOD: Duration = Duration::from_secs(1);
const PRUNING: Duration = Duration::from_secs(60);
/// How long the database may take to answer.
const LOOK: Duration = Duration::from_secs(10);
/// How often it looks at the log of SQLite. From which size on that is written back beside what is accepted, from which on it is cut where no
/// reader needs it, and from which on its readers are waited for, in bytes; for how long.
const LOG_PERIOD: Duration = Duration::from_millis(100);
const LOG_BYTES: u64 = 4 << 20;
const CUT_LOG_BYTES: u64 = 64 << 20;
const MOST_LOG_BYTES: u64 = 128 << 20;
const READER_TIME: Duration = Duration::from_millis(250);
/// How many lives or requests one transaction forgets.
const STRIDE: usize = 100;

/// How many notifications are not at their end, without asking the database: as it last said, what has come and gone since, and what
/// is to be accepted now.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    counted: AtomicI64,
    since: AtomicI64,
    reserved: AtomicI64,
    suspended: AtomicU64,
    queue: Mutex<Waiting>,
    fault: Mutex<Option<StoreError>>,
    /// A transaction failed, and none was committed since.
    is_in_doubt: AtomicBool,
}

impl Gauge {
    pub(crate) fn pending(&self) -> u64 {
        let parts = [&self.counted, &self.since, &self.reserved];
        let pending = parts.map(|part| part.load(Ordering::Relaxed)).into_iter().sum::<i64>();
        u64::try_from(pending).unwrap_or_default()
    }

    /// Reserves room for some that are to be accepted, until they are or are not.
    pub(crate) fn reserve(&self, count: i64) -> Reserved<'_> {
        self.reserved.fetch_add(count, Ordering::Relaxed);
        Reserved { gauge: self, count }
    }

    /// Counts some that have come, or gone.
    pub(crate) fn add(&self, more: i64) {
        self.since.fetch_add(more, Ordering::Relaxed);
    }

    /// Why the database could not be used at the last look.
    pub(crate) fn fault(&self) -> Option<StoreError> {
        self.fault.lock().clone()
    }

    /// Notes why a transaction failed: the next look commits one.
    pub(crate) fn doubt(&self, error: StoreError) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
        self.note(Err(error));
    }

    /// Notes how a look went, and says it where it went otherwise than the one before.
    fn note(&self, looked: Result<(), StoreError>) {
        let text = |fault: &StoreError| fault.to_string();
        let mut fault = self.fault.lock();
        match (&*fault, &looked) {
            (Some(_), Ok(())) => tracing::info!("the store answers again"),
            (before, Err(error)) if before.as_ref().map(text) != Some(text(error)) => {
                tracing::error!(%error, "the store takes nothing now");
            }
            _ => {}
        }
        *fault = looked.err();
    }

    pub(crate) fn queue(&self) -> Waiting {
        *self.queue.lock()
    }

    pub(crate) fn suspended(&self) -> u64 {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Asks the database.
    pub(crate) async fn count(&self, database: &Database) -> Result<(), StoreError> {
        let before = self.since.load(Ordering::Relaxed);
        let counted = lookup::count(database).await?;
        self.counted.store(counted.pending, Ordering::Relaxed);
        self.suspended.store(counted.suspended.unsigned_abs(), Ordering::Relaxed);
        *self.queue.lock() = counted.queue;
        self.since.fetch_sub(before, Ordering::Relaxed);
        Ok(())
    }
}

/// Room for what is to be accepted. It is given back when this is dropped.
pub(crate) struct Reserved<'a> {
    gauge: &'a Gauge,
    count: i64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.gauge.reserved.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// Looks whether the database answers, and counts, until the task is aborted.
pub(crate) async fn run(database: Arc<Database>, gauge: Arc<Gauge>, spool: Arc<SpoolGauge>) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let late = |_| Err(StoreError::Unavailable(format!("it did not answer within {LOOK:?}")));
        gauge.note(timeout(LOOK, look(&database, &gauge, &spool)).await.unwrap_or_else(late));
    }
}

async fn look(database: &Database, gauge: &Gauge, spool: &SpoolGauge) -> Result<(), StoreError> {
    let mut reader = database.reader().await?;
    database.now(&mut reader).await?;
    reader.put_back();
    if gauge.is_in_doubt.load(Ordering::Relaxed) {
        // What can be read may be full.
        let mut transaction = database.begin().await?;
        execute(&mut transaction, "UPDATE store SET created_at = created_at", []).await?;
        transaction.commit().await?;
        gauge.is_in_doubt.store(false, Ordering::Relaxed);
    }
    gauge.count(database).await?;
    spool.measure(database).await
}

/// Forgets what ended `retention` ago, until the task is aborted.
pub(crate) async fn run_pruning(database: Arc<Database>, retention: Micros) {
    loop {
        tokio::time::sleep(PRUNING).await;
        if let Err(error) = prune(&database, retention).await {
            tracing::warn!(%error, "what is over could not be forgotten");
        }
    }
}

/// Cuts the log of SQLite, until the task is aborted.
pub(crate) async fn run_cutting(database: Arc<Database>) {
    let Some(file) = database.file().map(log) else { return };
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(LOG_PERIOD).await;
        let bytes = file.metadata().map_or(0, |log| log.len());
        let is_due = since.elapsed() >= PERIOD;
        let cut = match bytes {
            _ if bytes > MOST_LOG_BYTES && is_due => cut_log(&database, READER_TIME).await,
            _ if bytes > CUT_LOG_BYTES => cut_log(&database, Duration::ZERO).await,
            _ if bytes > LOG_BYTES && is_due => write_log_back(&database).await,
            _ => continue,
        };
        if is_due {
            since = Instant::now();
        }
        if let Err(error) = cut {
            tracing::warn!(%error, "the log of the store could not be cut");
        }
    }
}

/// Writes the log back to the file, beside what is accepted.
async fn write_log_back(database: &Database) -> Result<(), StoreError> {
    let mut reader = database.reader().await?;
    rows(&mut reader, "PRAGMA wal_checkpoint(PASSIVE)", []).await?;
    reader.put_back();
    Ok(())
}

/// Writes the log back and begins it anew, unless readers need it for longer than this.
async fn cut_log(database: &Database, patience: Duration) -> Result<(), StoreError> {
    // The one connection that writes: nothing is appended meanwhile.
    let mut writer = database.writer().await?;
    let patience = format!("busy_timeout = {}", patience.as_millis());
    for pragma in [patience.as_str(), "wal_checkpoint(TRUNCATE)", "busy_timeout = 5000"] {
        rows(&mut writer, &format!("PRAGMA {pragma}"), []).await?;
    }
    writer.put_back();
    Ok(())
}

/// The log beside a file of SQLite.
fn log(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Forgets lives that ended `retention` ago, and requests of that age that nothing is left of. What is open, is not at its end or
/// has dead letters is kept, and so is what came after it under the same identity. Returns how many lives there were.
pub(crate) async fn prune(database: &Database, retention: Micros) -> Result<usize, StoreError> {
    let mut lives = 0;
    loop {
        match prune_lives(database, retention).await? {
            0 => break,
            pruned => lives += pruned,
        }
    }
    while prune_requests(database, retention).await? == STRIDE as u64 {}
    Ok(lives)
}

/// Forgets the oldest, in one transaction. Returns how many there were.
async fn prune_lives(database: &Database, retention: Micros) -> Result<usize, StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - retention;
    let sql = format!(
        "SELECT number, identity FROM lives WHERE ended_at < $1 AND state <> 0 AND NOT EXISTS (SELECT 1 FROM lives o \
         WHERE o.identity = lives.identity AND o.number < lives.number) AND NOT EXISTS \
         (SELECT 1 FROM notifications n LEFT JOIN dead_letters d ON d.notification = n.number AND d.state < 2 \
         WHERE n.life = lives.number AND (n.state < {ENDED} OR d.state IS NOT NULL)) ORDER BY ended_at LIMIT {STRIDE}"
    );
    let found = rows(&mut transaction, &sql, [before.into()]).await?;
    let old =
        found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, StoreError>>()?;
    let old = idle(database, &mut transaction, old).await?;
    let numbers = || old.iter().map(|(number, _)| Value::from(*number)).collect::<Vec<_>>();
    for table in ["documents", "texts", "ledgers", "dead_letters"] {
        let sql = format!(
            "DELETE FROM {table} WHERE notification IN (SELECT number FROM notifications WHERE life IN {{in}})"
        );
        execute_in(&mut transaction, &sql, &[], numbers()).await?;
    }
    for (table, column) in [("reached", "life"), ("lives", "number"), ("notifications", "life")] {
        let sql = format!("DELETE FROM {table} WHERE {column} IN {{in}}");
        execute_in(&mut transaction, &sql, &[], numbers()).await?;
    }
    let sql = "DELETE FROM identities WHERE digest IN {in} AND NOT EXISTS (SELECT 1 FROM lives WHERE identity = digest)";
    let identities = old.iter().filter_map(|(_, identity)| Some(identity.as_deref()?.into())).collect();
    execute_in(&mut transaction, sql, &[], identities).await?;
    execute(&mut transaction, "DELETE FROM identities WHERE life IS NULL", []).await?;
    transaction.commit().await?;
    Ok(old.len())
}

/// A life by its number, and its identity.
type Old = (i64, Option<Vec<u8>>);

/// Those whose identities nothing else works on. They are locked now.
async fn idle(
    database: &Database,
    transaction: &mut AnyConnection,
    old: Vec<Old>,
) -> Result<Vec<Old>, StoreError> {
    let mut digests: Vec<_> = old.iter().filter_map(|(_, identity)| identity.as_deref()).collect();
    digests.sort_unstable();
    let sql = format!(
        "SELECT digest FROM identities WHERE digest IN {{in}} ORDER BY digest{}",
        database.kind.skip_locked()
    );
    let values = digests.into_iter().map(Value::from).collect();
    let found = rows_in(transaction, &sql, values).await?;
    let locked = found.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Vec<u8>>, _>>()?;
    let is_idle = |identity: &Option<Vec<u8>>| identity.as_ref().is_none_or(|one| locked.contains(one));
    Ok(old.into_iter().filter(|(_, identity)| is_idle(identity)).collect())
}

async fn prune_requests(database: &Database, retention: Micros) -> Result<u64, StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - retention;
    let sql = format!(
        "DELETE FROM requests WHERE number IN (SELECT number FROM requests WHERE received_at < $1 AND NOT EXISTS \
         (SELECT 1 FROM documents WHERE request = requests.number) ORDER BY received_at LIMIT {STRIDE})"
    );
    let pruned = execute(&mut transaction, &sql, [before.into()]).await?;
    transaction.commit().await?;
    Ok(pruned)
}
