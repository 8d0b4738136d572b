//! Numbers of rows, which are in order of acceptance.

use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Kind;
use crate::sql::rows;

/// Gives out numbers.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The next one, where this process counts: it alone writes a file.
    next: i64,
}

impl Numbers {
    /// Behind all that the database has.
    pub(crate) async fn of(connection: &mut AnyConnection) -> Result<Self, StoreError> {
        let newest = |table: &str| format!("SELECT max(number) AS number FROM {table}");
        let all = ["lives", "notifications", "requests"].map(newest).join(" UNION ALL ");
        let found = rows(connection, &format!("SELECT max(number) FROM ({all}) AS numbers"), []).await?;
        let last = match found.first() {
            Some(row) => row.try_get::<Option<i64>, _>(0)?,
            None => None,
        };
        Ok(Self { next: last.unwrap_or(0) + 1 })
    }

    /// So many new ones, in ascending order. Those of a transaction that fails are lost.
    pub(crate) async fn take(
        &mut self,
        kind: Kind,
        connection: &mut AnyConnection,
        count: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if kind == Kind::Sqlite {
            let first = self.next;
            self.next += count;
            return Ok((first..self.next).collect());
        }
        let sql = "SELECT nextval('numbers') FROM generate_series(1, $1)";
        let found = rows(connection, sql, [count.into()]).await?;
        let mut numbers = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        numbers.sort_unstable();
        Ok(numbers)
    }
}
