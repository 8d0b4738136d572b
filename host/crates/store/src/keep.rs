//! What a store does by itself while it is open: it counts what is pending, cuts the log of SQLite, and forgets what is old.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::{AnyConnection, Row};
use tokio::time::{MissedTickBehavior, interval};

use crate::StoreError;
use crate::database::{Database, Kind};
use crate::life::Micros;
use crate::lookup;
use crate::notification::ENDED;
use crate::sql::{Value, execute, execute_in, rows, rows_in};

/// How often it looks after the database, and how often after what is old.
const PERIOD: Duration = Duration::from_secs(1);
const PRUNING: Duration = Duration::from_secs(60);
/// From which size on the log is written back beside what is accepted, and from which on nothing is accepted meanwhile, in bytes.
const LOG_BYTES: u64 = 4 << 20;
const MOST_LOG_BYTES: u64 = 64 << 20;
/// How many lives or requests one transaction forgets.
const STRIDE: usize = 100;

/// How many notifications are not at their end, without asking the database: as it last said, what has come and gone since, and what
/// is to be accepted now.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    counted: AtomicI64,
    since: AtomicI64,
    reserved: AtomicI64,
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

    /// Asks the database.
    pub(crate) async fn count(&self, database: &Database) -> Result<(), StoreError> {
        let before = self.since.load(Ordering::Relaxed);
        let counted = lookup::pending(database).await?;
        self.counted.store(i64::try_from(counted).unwrap_or(i64::MAX / 2), Ordering::Relaxed);
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

/// Counts, and cuts the log, until the task is aborted.
pub(crate) async fn run(database: Arc<Database>, gauge: Arc<Gauge>) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        for done in [gauge.count(&database).await, cut_log(&database).await] {
            if let Err(error) = done {
                tracing::warn!(%error, "the store could not be looked after");
            }
        }
    }
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

/// Writes the log of SQLite back to the file.
async fn cut_log(database: &Database) -> Result<(), StoreError> {
    let Some(file) = database.file() else { return Ok(()) };
    let bytes = log(file).metadata().map_or(0, |log| log.len());
    if bytes > MOST_LOG_BYTES {
        // The one connection that writes: nothing is appended meanwhile. It waits for no reader: the next time comes soon.
        let mut writer = database.writer().await?;
        for pragma in ["busy_timeout = 0", "wal_checkpoint(TRUNCATE)", "busy_timeout = 5000"] {
            rows(&mut writer, &format!("PRAGMA {pragma}"), []).await?;
        }
        writer.put_back();
    } else if bytes > LOG_BYTES {
        let mut reader = database.reader().await?;
        rows(&mut reader, "PRAGMA wal_checkpoint(PASSIVE)", []).await?;
        reader.put_back();
    }
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

/// Writes a copy of the store, as it is now, to a new file: under another name until it is whole.
pub(crate) async fn back_up(database: &Database, to: &Path) -> Result<(), StoreError> {
    let refused = |why: String| StoreError::Address(format!("{} {why}", to.display()));
    if database.kind == Kind::Postgres {
        return Err(refused(
            "cannot have a copy of a store in PostgreSQL: use its own tools, such as pg_dump".to_owned(),
        ));
    }
    if to.exists() {
        return Err(refused("is there already: name a new file".to_owned()));
    }
    let half_done = to.with_extension("part");
    _ = std::fs::remove_file(&half_done);
    let name = half_done.to_str().ok_or_else(|| refused("is not a name in UTF-8".to_owned()))?;
    let mut reader = database.reader().await?;
    execute(&mut reader, "VACUUM INTO $1", [name.into()]).await?;
    reader.put_back();
    let placed = std::fs::rename(&half_done, to);
    placed.map_err(|error| StoreError::NotWritable(format!("{}: {error}", to.display())))
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// What is damaged; nothing if all is well.
    pub faults: Vec<String>,
    /// How many lives are open.
    pub open: u64,
    /// How many notifications wait, are claimed, are started, are held back, and have ended.
    pub notifications: [u64; 5],
}

/// Looks the database over.
pub(crate) async fn check(database: &Database) -> Result<Check, StoreError> {
    // It takes its time: in SQLite nothing waits for a reader, in PostgreSQL a reader's time is short.
    let mut connection = match database.kind {
        Kind::Sqlite => database.reader().await?,
        Kind::Postgres => database.writer().await?,
    };
    let mut check = Check::default();
    if database.kind == Kind::Sqlite {
        for row in rows(&mut connection, "PRAGMA integrity_check", []).await? {
            check.faults.push(row.try_get(0)?);
        }
        check.faults.retain(|fault| fault != "ok");
    }
    let sql = "SELECT CAST(state AS BIGINT), count(*) FROM notifications GROUP BY state";
    for row in rows(&mut connection, sql, []).await? {
        let (state, count): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let found = usize::try_from(state).ok().and_then(|state| check.notifications.get_mut(state));
        match found {
            Some(found) => *found = count.unsigned_abs(),
            None => {
                check.faults.push(format!("{count} notifications have the state {state}, which is not known"))
            }
        }
    }
    let open = rows(&mut connection, "SELECT count(*) FROM lives WHERE state = 0", []).await?;
    connection.put_back();
    check.open = open.first().ok_or(sqlx::Error::RowNotFound)?.try_get::<i64, _>(0)?.unsigned_abs();
    Ok(check)
}
