//! Statements over many rows at once. Each has one of a few lengths, so that databases keep them prepared.

use std::fmt::Write;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe};

use crate::StoreError;

/// The lengths of statements, in rows.
const LENGTHS: [usize; 3] = [64, 8, 1];

/// What stands in a column.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(bytes.to_owned()))
    }
}

/// Runs a statement whose parameters are `$1`, `$2` … Returns how many rows it changed.
pub(crate) async fn execute(
    connection: &mut AnyConnection,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, StoreError> {
    let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), arguments(values)?);
    Ok(query.execute(connection).await?.rows_affected())
}

/// The rows that a statement gives.
pub(crate) async fn rows(
    connection: &mut AnyConnection,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<AnyRow>, StoreError> {
    let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), arguments(values)?);
    Ok(query.fetch_all(connection).await?)
}

/// Writes rows: `head` is all before the values, `tail` all behind them.
pub(crate) async fn write_rows(
    connection: &mut AnyConnection,
    head: &str,
    mut rows: Vec<Vec<Value>>,
    tail: &str,
) -> Result<(), StoreError> {
    while let Some(columns) = rows.first().map(Vec::len) {
        let length = LENGTHS.into_iter().find(|length| *length <= rows.len()).unwrap_or(1);
        let chunk: Vec<_> = rows.drain(..length).flatten().collect();
        execute(connection, &format!("{head} VALUES {}{tail}", tuples(length, columns)), chunk).await?;
    }
    Ok(())
}

/// The rows of a statement for each of these values: it stands where `{in}` does in `sql`.
pub(crate) async fn rows_in(
    connection: &mut AnyConnection,
    sql: &str,
    mut values: Vec<Value>,
) -> Result<Vec<AnyRow>, StoreError> {
    let mut found = Vec::new();
    while !values.is_empty() {
        let length = LENGTHS.into_iter().find(|length| *length <= values.len()).unwrap_or(1);
        let chunk: Vec<_> = values.drain(..length).collect();
        let sql = sql.replace("{in}", &tuples(1, length));
        found.extend(rows(connection, &sql, chunk).await?);
    }
    Ok(found)
}

fn arguments(values: impl IntoIterator<Item = Value>) -> Result<AnyArguments, StoreError> {
    let mut arguments = AnyArguments::default();
    for value in values {
        let added = match value {
            Value::Number(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
        };
        added.map_err(|error| StoreError::from(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// `($1,$2),($3,$4)` for two rows of two columns.
fn tuples(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { "," };
            // Writing to a text does not fail.
            let _ = write!(text, "{comma}${}", row * columns + column + 1);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_over_rows() {
        assert_eq!(tuples(2, 2), "($1,$2),($3,$4)");
        assert_eq!(tuples(1, 1), "($1)");
    }
}
