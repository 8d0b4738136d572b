//! Statements over many rows at once. Each has one of a few lengths, so that databases keep them prepared.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe};

use crate::StoreError;

/// The lengths of statements, in rows.
const LENGTHS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

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
        let length = length(rows.len());
        let chunk: Vec<_> = rows.drain(..length).flatten().collect();
        execute(
            connection,
            &format!("{head} VALUES {}{tail}", tuples(1, length, columns, |parameter| parameter)),
            chunk,
        )
        .await?;
    }
    Ok(())
}

/// The rows of a statement for each of these values: they stand where `{in}` does in `sql`.
pub(crate) async fn rows_in(
    connection: &mut AnyConnection,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<AnyRow>, StoreError> {
    let mut found = Vec::new();
    for chunk in padded(values) {
        let sql = sql.replace("{in}", &tuples(1, 1, chunk.len(), |parameter| parameter));
        found.extend(rows(connection, &sql, chunk).await?);
    }
    Ok(found)
}

/// Changes rows: each new one begins with the row's number; `set` says what becomes of the others, which are `new.column2`,
/// `new.column3` …, all numbers.
pub(crate) async fn update_rows(
    connection: &mut AnyConnection,
    table: &str,
    set: &str,
    mut rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    while let Some(columns) = rows.first().map(Vec::len) {
        let length = length(rows.len());
        let chunk: Vec<_> = rows.drain(..length).flatten().collect();
        // PostgreSQL takes what nothing says the type of for a text.
        let values = tuples(1, length, columns, |parameter| format!("CAST({parameter} AS BIGINT)"));
        let sql = format!(
            "UPDATE {table} SET {set} FROM (VALUES {values}) AS new WHERE {table}.number = new.column1"
        );
        execute(connection, &sql, chunk).await?;
    }
    Ok(())
}

/// Runs a statement for each of these values: they stand where `{in}` does, behind the parameters `$1`, `$2` … that are the same
/// for all.
pub(crate) async fn execute_in(
    connection: &mut AnyConnection,
    sql: &str,
    same: &[Value],
    values: Vec<Value>,
) -> Result<(), StoreError> {
    for chunk in padded(values) {
        let sql = sql.replace("{in}", &tuples(same.len() + 1, 1, chunk.len(), |parameter| parameter));
        execute(connection, &sql, same.iter().cloned().chain(chunk)).await?;
    }
    Ok(())
}

/// The most values of a list that one statement takes.
pub(crate) const LONGEST: usize = LENGTHS[0];

/// Values in chunks of one of the lengths. The last value is repeated, which changes nothing in a list.
fn padded(values: Vec<Value>) -> Vec<Vec<Value>> {
    let pad = |chunk: &[Value]| {
        let length = LENGTHS.into_iter().rev().find(|length| *length >= chunk.len()).unwrap_or(LONGEST);
        let last = chunk.iter().last().into_iter().cycle();
        chunk.iter().chain(last).take(length).cloned().collect()
    };
    values.chunks(LONGEST).map(pad).collect()
}

/// How many of so many rows one statement takes.
fn length(rows: usize) -> usize {
    LENGTHS.into_iter().find(|length| *length <= rows).unwrap_or(1)
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

/// `($1,$2),($3,$4)` for two rows of two columns, from parameter `first` on, each as `parameter` has it.
fn tuples(first: usize, rows: usize, columns: usize, parameter: impl Fn(String) -> String) -> String {
    let row = |row: usize| {
        let numbers = (0..columns).map(|column| first + row * columns + column);
        format!("({})", numbers.map(|number| parameter(format!("${number}"))).collect::<Vec<_>>().join(","))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_over_rows() {
        assert_eq!(tuples(1, 2, 2, |parameter| parameter), "($1,$2),($3,$4)");
        assert_eq!(tuples(3, 1, 2, |parameter| format!("-{parameter}")), "(-$3,-$4)");
    }
}
