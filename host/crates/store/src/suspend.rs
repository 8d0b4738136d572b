//! Alerts that wait for an operator: those of a restored backup, and those that Temporal has lost too many of at once. Nothing is
//! started of them until they are resumed.

use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::{Database, Location};
use crate::dispatch::{Claim, claimed};
use crate::life::Micros;
use crate::notification::{CLAIMED, ENDED, HELD, STARTED, SUSPENDED, WAITING};
use crate::sql::{Value, execute, execute_in, rows, rows_in};

/// What a restored store had under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Alerts that wait for an operator.
    pub suspended: u64,
    /// Alerts that go on: they are not old.
    pub going_on: u64,
    /// Spooled requests that are set aside.
    pub set_aside: u64,
    /// Dead letters that were tried again, and wait as before.
    pub exhausted: u64,
}

/// Suspends what a store had under way when it was backed up and was accepted `age` microseconds ago or earlier: it may have been
/// delivered since. What is spooled is set aside, and dead letters that were tried again wait as before. No host may have it open.
///
/// # Errors
///
/// The store cannot be opened.
pub async fn suspend_restored(location: Location, age: Micros) -> Result<Restored, StoreError> {
    let database = Database::open(location).await?;
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - age;
    let restored = suspend_old(&mut transaction, before).await?;
    transaction.commit().await?;
    database.close().await;
    Ok(restored)
}

async fn suspend_old(connection: &mut AnyConnection, before: Micros) -> Result<Restored, StoreError> {
    // A workflow carries all of its alerts, or none.
    let sql = format!(
        "UPDATE notifications SET state = {SUSPENDED}, due_at = NULL WHERE state < {SUSPENDED} AND (accepted_at <= $1 OR carried_by IN \
         (SELECT carried_by FROM notifications WHERE state < {SUSPENDED} AND accepted_at <= $1 AND carried_by IS NOT NULL))"
    );
    let suspended = execute(connection, &sql, [before.into()]).await?;
    let sql = format!("SELECT count(*) FROM notifications WHERE state < {SUSPENDED}");
    let found = rows(connection, &sql, []).await?;
    let going_on: i64 = found.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    let sql = "UPDATE spool SET state = 1, error = $1 WHERE state = 0";
    // In JSON, as hosts write it.
    let why = br#""it was restored from a backup: it may have been accepted since""#.as_slice();
    let set_aside = execute(connection, sql, [why.into()]).await?;
    let sql = "UPDATE dead_letters SET state = 0 WHERE state = 1 AND changed_at <= $1";
    let exhausted = execute(connection, sql, [before.into()]).await?;
    Ok(Restored { suspended, going_on: going_on.unsigned_abs(), set_aside, exhausted })
}

/// Suspends notifications that were started.
pub(crate) async fn suspend(database: &Database, numbers: &[i64]) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = format!(
        "UPDATE notifications SET state = {SUSPENDED}, due_at = NULL WHERE state IN ({CLAIMED}, {STARTED}) AND number IN {{in}}"
    );
    execute_in(&mut transaction, &sql, &[], numbers.iter().map(|number| Value::from(*number)).collect())
        .await?;
    transaction.commit().await
}

/// At most `most` that are suspended behind the number `after`, the oldest first: those of these ids, or any.
pub(crate) async fn suspended(
    database: &Database,
    ids: Option<&[String]>,
    after: i64,
    most: usize,
) -> Result<Vec<Claim>, StoreError> {
    let mut connection = database.reader().await?;
    let all = format!(
        "SELECT number FROM notifications WHERE state = {SUSPENDED} AND state < {ENDED} AND number > {after}"
    );
    let found = match ids {
        Some(ids) => {
            let ids = ids.iter().map(|id| Value::from(id.as_str())).collect();
            rows_in(&mut connection, &format!("{all} AND id IN {{in}}"), ids).await?
        }
        None => rows(&mut connection, &format!("{all} ORDER BY number LIMIT {most}"), []).await?,
    };
    let numbers = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let claims = claimed(&mut connection, numbers).await?;
    connection.put_back();
    Ok(claims)
}

/// Has suspended notifications go on: they wait to be started, and resolves that are held back wait for that.
pub(crate) async fn resume(database: &Database, numbers: &[i64]) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    // The lives first, as what ends a hold does.
    let sql = format!(
        "SELECT number FROM lives WHERE number IN (SELECT life FROM notifications WHERE number IN {{in}}) ORDER BY number{}",
        database.kind.lock()
    );
    rows_in(&mut transaction, &sql, numbers.iter().map(|number| Value::from(*number)).collect()).await?;
    let sql = format!(
        "UPDATE notifications SET state = CASE WHEN EXISTS (SELECT 1 FROM lives WHERE lives.number = notifications.life \
         AND lives.resolve = notifications.number AND lives.held_until IS NOT NULL) THEN {HELD} ELSE {WAITING} END \
         WHERE state = {SUSPENDED} AND number IN {{in}}"
    );
    execute_in(&mut transaction, &sql, &[], numbers.iter().map(|number| Value::from(*number)).collect())
        .await?;
    transaction.commit().await
}
