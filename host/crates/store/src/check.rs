//! Looking a store over.

use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Kind;
use crate::sql::rows;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// What is damaged; nothing if all is well.
    pub faults: Vec<String>,
    /// How many lives are open.
    pub open: u64,
    /// How many notifications wait, are claimed, are started, are held back, are suspended, and have ended.
    pub notifications: [u64; 6],
    /// How many dead letters are neither delivered nor discarded.
    pub dead_letters: u64,
    /// How many requests are spooled.
    pub spooled: u64,
}

/// Looks the database over.
pub(crate) async fn check(kind: Kind, connection: &mut AnyConnection) -> Result<Check, StoreError> {
    let mut check = Check::default();
    if kind == Kind::Sqlite {
        for row in rows(connection, "PRAGMA integrity_check", []).await? {
            check.faults.push(row.try_get(0)?);
        }
        check.faults.retain(|fault| fault != "ok");
    }
    let sql = "SELECT CAST(state AS BIGINT), count(*) FROM notifications GROUP BY state";
    for row in rows(connection, sql, []).await? {
        let (state, count): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let found = usize::try_from(state).ok().and_then(|state| check.notifications.get_mut(state));
        match found {
            Some(found) => *found = count.unsigned_abs(),
            None => {
                check.faults.push(format!("{count} notifications have the state {state}, which is not known"))
            }
        }
    }
    check.open = count(connection, "lives WHERE state = 0").await?;
    check.dead_letters = count(connection, "dead_letters WHERE state < 2").await?;
    check.spooled = count(connection, "spool").await?;
    Ok(check)
}

async fn count(connection: &mut AnyConnection, which: &str) -> Result<u64, StoreError> {
    let found = rows(connection, &format!("SELECT count(*) FROM {which}"), []).await?;
    Ok(found.first().ok_or(sqlx::Error::RowNotFound)?.try_get::<i64, _>(0)?.unsigned_abs())
}
