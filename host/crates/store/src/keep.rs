//! What a store does by itself while it is open: it counts what is pending, cuts the log of SQLite, and forgets what is old.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::Row;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::StoreError;
use crate::database::{Database, Kind};
use crate::life::Micros;
use crate::lookup;
use crate::notification::ENDED;
use crate::request::{Digest, digest};
use crate::sql::{Value, execute_in, rows, rows_in};

/// How often it looks after the database, and how often after what is old.
const PERIOD: Duration = Duration::from_secs(1);
const PRUNING: Duration = Duration::from_secs(60);
/// From which size on the log is written back beside what is accepted, and from which on nothing is accepted meanwhile, in bytes.
const LOG_BYTES: u64 = 4 << 20;
const MOST_LOG_BYTES: u64 = 64 << 20;
/// How many lives or requests one transaction forgets.
const STRIDE: usize = 100;

/// What is known of a store without asking the database.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// How many notifications are not at their end, as of the last second, with what was accepted since.
    pending: AtomicU64,
}

impl Gauge {
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, accepted: usize) {
        self.pending.fetch_add(accepted as u64, Ordering::Relaxed);
    }
}

/// Runs until the task is aborted. What ended `retention` ago is forgotten.
pub(crate) async fn run(database: Arc<Database>, gauge: Arc<Gauge>, retention: Micros) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruned = Instant::now();
    loop {
        period.tick().await;
        let counted = lookup::pending(&database).await;
        if let Ok(pending) = &counted {
            gauge.pending.store(*pending, Ordering::Relaxed);
        }
        let mut done = counted.map(|_| ()).and(cut_log(&database).await);
        if pruned.elapsed() > PRUNING {
            pruned = Instant::now();
            done = done.and(prune(&database, retention).await.map(|_| ()));
        }
        if let Err(error) = done {
            tracing::warn!(%error, "the store could not be looked after");
        }
    }
}

/// Writes the log of SQLite back to the file.
async fn cut_log(database: &Database) -> Result<(), StoreError> {
    let Some(file) = database.file() else { return Ok(()) };
    let bytes = log(file).metadata().map_or(0, |log| log.len());
    if bytes > MOST_LOG_BYTES {
        // The one connection that writes: nothing is appended meanwhile.
        let mut connection = database.writers.acquire().await?;
        rows(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)", []).await?;
    } else if bytes > LOG_BYTES {
        let mut connection = database.readers.acquire().await?;
        rows(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)", []).await?;
    }
    Ok(())
}

/// The log beside a file of SQLite.
fn log(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Forgets lives that ended `retention` ago, and requests of that age that nothing is left of. What is open, is not at its end
/// or has dead letters is kept. Returns how many lives there were.
pub(crate) async fn prune(database: &Database, retention: Micros) -> Result<usize, StoreError> {
    let mut lives = 0;
    loop {
        let (found, pruned) = prune_lives(database, retention).await?;
        lives += pruned;
        if found < STRIDE || pruned == 0 {
            break;
        }
    }
    while prune_requests(database, retention).await? == STRIDE as u64 {}
    Ok(lives)
}

/// One transaction's worth: how many were old enough, and how many of them were forgotten.
async fn prune_lives(database: &Database, retention: Micros) -> Result<(usize, usize), StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - retention;
    let sql = format!(
        "SELECT number, scope, sender_key FROM lives WHERE ended_at < $1 AND state <> 0 AND NOT EXISTS \
         (SELECT 1 FROM notifications n LEFT JOIN dead_letters d ON d.notification = n.number AND d.state < 2 \
         WHERE n.life = lives.number AND (n.state < {ENDED} OR d.state IS NOT NULL)) ORDER BY ended_at LIMIT {STRIDE}"
    );
    let found = rows(&mut transaction, &sql, [before.into()]).await?;
    let mut old = Vec::new();
    for row in &found {
        let (number, scope): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let key: Option<String> = row.try_get(2)?;
        old.push((number, key.map(|key| digest(&[scope.as_bytes(), key.as_bytes()]))));
    }
    let old = unused(database, &mut transaction, old).await?;
    let numbers = || old.iter().map(|(number, _)| Value::from(*number)).collect::<Vec<_>>();
    for table in ["documents", "texts", "ledgers", "dead_letters"] {
        let sql = format!(
            "DELETE FROM {table} WHERE notification IN (SELECT number FROM notifications WHERE life IN {{in}})"
        );
        execute_in(&mut transaction, &sql, &[], numbers()).await?;
    }
    execute_in(&mut transaction, "DELETE FROM notifications WHERE life IN {in}", &[], numbers()).await?;
    execute_in(&mut transaction, "DELETE FROM reached WHERE life IN {in}", &[], numbers()).await?;
    execute_in(&mut transaction, "DELETE FROM lives WHERE number IN {in}", &[], numbers()).await?;
    execute_in(&mut transaction, "DELETE FROM identities WHERE life IN {in}", &[], numbers()).await?;
    transaction.commit().await?;
    Ok((found.len(), old.len()))
}

/// Those whose identities are locked now, and have begun no other life meanwhile.
async fn unused(
    database: &Database,
    transaction: &mut sqlx::AnyConnection,
    old: Vec<(i64, Option<Digest>)>,
) -> Result<Vec<(i64, Option<Digest>)>, StoreError> {
    let mut digests: Vec<_> = old.iter().filter_map(|(_, digest)| *digest).collect();
    digests.sort_unstable();
    let sql = format!(
        "SELECT digest FROM identities WHERE digest IN {{in}} ORDER BY digest{}",
        database.kind.skip_locked()
    );
    let digests = digests.iter().map(|digest| digest.as_slice().into()).collect();
    let mut locked = std::collections::HashSet::new();
    for row in rows_in(transaction, &sql, digests).await? {
        locked.insert(row.try_get::<Vec<u8>, _>(0)?);
    }
    let is_locked = |digest: &Option<Digest>| digest.is_none_or(|digest| locked.contains(digest.as_slice()));
    Ok(old.into_iter().filter(|(_, digest)| is_locked(digest)).collect())
}

async fn prune_requests(database: &Database, retention: Micros) -> Result<u64, StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - retention;
    let sql = format!(
        "DELETE FROM requests WHERE number IN (SELECT number FROM requests WHERE received_at < $1 AND NOT EXISTS \
         (SELECT 1 FROM documents WHERE request = requests.number) ORDER BY received_at LIMIT {STRIDE})"
    );
    let pruned = crate::sql::execute(&mut transaction, &sql, [before.into()]).await?;
    transaction.commit().await?;
    Ok(pruned)
}

/// Writes a copy of the store, as it is now, to a new file.
pub(crate) async fn back_up(database: &Database, to: &Path) -> Result<(), StoreError> {
    if database.kind == Kind::Postgres {
        return Err(StoreError::Address(
            "a store in PostgreSQL is backed up by PostgreSQL's own tools, such as pg_dump".to_owned(),
        ));
    }
    let name = to
        .to_str()
        .ok_or_else(|| StoreError::Address(format!("{} is not the name of a file in UTF-8", to.display())))?;
    let mut connection = database.readers.acquire().await?;
    crate::sql::execute(&mut connection, "VACUUM INTO $1", [name.into()]).await?;
    Ok(())
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
    let mut connection = database.readers.acquire().await?;
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
    check.open = open.first().ok_or(sqlx::Error::RowNotFound)?.try_get::<i64, _>(0)?.unsigned_abs();
    Ok(check)
}
