//! How an alert stands while it is delivered: whether it is acknowledged, whether it was resolved since, and who has it.

use sqlx::Row;

use crate::StoreError;
use crate::database::Database;
use crate::end::Reached;
use crate::life::Micros;
use crate::notification::{HELD, SUSPENDED};
use crate::sql::{Value, execute, rows};

/// How the life of a notification stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The id of its life.
    pub thread_id: String,
    /// How often it fired again while its resolve was held back.
    pub flaps: i64,
    /// When this notification was accepted.
    pub accepted_at: Micros,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Micros>,
    /// Who has acknowledged it, as it was given.
    pub acknowledgement: Option<Vec<u8>>,
    /// Its resolve is due: what is not delivered of it need not be.
    pub is_resolved: bool,
    /// The receivers that have it, of the notifications that are at their end.
    pub reached: Vec<Reached>,
    /// How many of its notifications are under way, resolves aside: more receivers may have it.
    pub pending: u64,
}

/// How the life of the notification with this id stands.
pub(crate) async fn standing(database: &Database, id: &str) -> Result<Option<Standing>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!(
        "SELECT l.number, l.thread_id, l.flaps, n.accepted_at, l.acknowledged_at, l.acknowledgement, (SELECT count(*) FROM notifications r WHERE r.number = l.resolve \
         AND r.state <> {HELD}) AS resolves, (SELECT count(*) FROM notifications o WHERE o.life = l.number \
         AND o.state < {SUSPENDED} AND o.number <> coalesce(l.resolve, 0)) AS pending FROM notifications n JOIN lives l ON l.number = n.life WHERE n.id = $1"
    );
    let found = rows(&mut connection, &sql, [id.into()]).await?;
    let Some(row) = found.first() else {
        connection.put_back();
        return Ok(None);
    };
    let life: i64 = row.try_get(0)?;
    let sql =
        "SELECT receiver, CAST(has_it AS BIGINT), receipt FROM reached WHERE life = $1 ORDER BY receiver";
    let reached = rows(&mut connection, sql, [life.into()]).await?;
    connection.put_back();
    let reached = reached
        .iter()
        .map(|row| {
            Ok(Reached {
                receiver: row.try_get(0)?,
                has_it: row.try_get::<i64, _>(1)? == 1,
                receipt: row.try_get(2)?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Some(Standing {
        thread_id: row.try_get(1)?,
        flaps: row.try_get(2)?,
        accepted_at: row.try_get(3)?,
        acknowledged_at: row.try_get(4)?,
        acknowledgement: row.try_get(5)?,
        is_resolved: row.try_get::<i64, _>(6)? > 0,
        reached,
        pending: row.try_get::<i64, _>(7)?.unsigned_abs(),
    }))
}

/// Acknowledges the life of the notification with this id. Returns what counts: the first acknowledgement. `None` if there is no such
/// notification.
pub(crate) async fn acknowledge(
    database: &Database,
    id: &str,
    acknowledgement: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    let sql = "UPDATE lives SET acknowledged_at = $1, acknowledgement = $2 WHERE acknowledged_at IS NULL \
         AND number = (SELECT life FROM notifications WHERE id = $3)";
    execute(&mut transaction, sql, [Value::from(now), acknowledgement.into(), id.into()]).await?;
    let sql =
        "SELECT l.acknowledgement FROM notifications n JOIN lives l ON l.number = n.life WHERE n.id = $1";
    let found = rows(&mut transaction, sql, [id.into()]).await?;
    let first = found.first().map(|row| row.try_get(0)).transpose()?;
    transaction.commit().await?;
    Ok(first)
}

/// The notifications of the life of this one, resolves aside, that are under way: the id of each, and the workflow that
/// carries it, if it is claimed.
pub(crate) async fn under_way(
    database: &Database,
    id: &str,
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!(
        "SELECT o.id, o.carried_by FROM notifications n JOIN lives l ON l.number = n.life JOIN notifications o \
         ON o.life = l.number WHERE n.id = $1 AND o.state < {SUSPENDED} AND o.number <> coalesce(l.resolve, 0) ORDER BY o.number"
    );
    let found = rows(&mut connection, &sql, [id.into()]).await?;
    connection.put_back();
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// The ledgers of the life of the notification with this id, resolves aside, the newest first; at most `most`.
pub(crate) async fn ledgers(database: &Database, id: &str, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!(
        "SELECT g.ledger FROM notifications n JOIN lives l ON l.number = n.life JOIN notifications o ON o.life = l.number \
         JOIN ledgers g ON g.notification = o.number WHERE n.id = $1 AND o.number <> coalesce(l.resolve, 0) \
         ORDER BY o.number DESC LIMIT {most}"
    );
    let found = rows(&mut connection, &sql, [id.into()]).await?;
    connection.put_back();
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
