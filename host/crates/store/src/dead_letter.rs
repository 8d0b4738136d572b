//! Deliveries that exhausted their retries: kept until they are made after all, or discarded.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Database;
use crate::life::Micros;
use crate::sql::{Value, execute_in, rows, write_rows};

/// A delivery that exhausted its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id of the delivery, the same over all attempts.
    pub delivery_id: String,
    /// The receiver.
    pub receiver: String,
    /// The code of the last error.
    pub error_code: String,
    /// How it ended.
    pub step: Vec<u8>,
}

/// How far a dead letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterState {
    /// It exhausted its retries.
    Exhausted,
    /// It is tried again.
    Retrying,
    /// It was delivered after all.
    Delivered,
    /// An operator discarded it.
    Discarded,
}

impl DeadLetterState {
    const ALL: [Self; 4] = [Self::Exhausted, Self::Retrying, Self::Delivered, Self::Discarded];

    fn number(self) -> i64 {
        crate::notification::place(&Self::ALL, self)
    }
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptDeadLetter {
    /// What could not be delivered.
    pub dead_letter: DeadLetter,
    /// Its alert's place in the order of acceptance.
    pub number: i64,
    /// The id of that alert.
    pub alert_id: String,
    /// When it exhausted its retries.
    pub exhausted_at: Micros,
    /// How far it is.
    pub state: DeadLetterState,
}

/// Which dead letters are meant: those that meet all of it, and are neither delivered nor discarded.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// This delivery.
    pub delivery_id: Option<String>,
    /// Those of this alert.
    pub alert_id: Option<String>,
    /// Those to this receiver.
    pub receiver: Option<String>,
    /// Those whose last error has this code.
    pub error_code: Option<String>,
}

/// Writes dead letters, each with the number of its notification. One that was retried is exhausted again; one that was delivered or
/// discarded stays so.
pub(crate) async fn write_dead_letters(
    connection: &mut AnyConnection,
    letters: Vec<(i64, &DeadLetter)>,
    now: Micros,
) -> Result<(), StoreError> {
    let row = |(number, letter): (i64, &DeadLetter)| {
        vec![
            letter.delivery_id.as_str().into(),
            number.into(),
            letter.receiver.as_str().into(),
            letter.error_code.as_str().into(),
            letter.step.as_slice().into(),
            now.into(),
            DeadLetterState::Exhausted.number().into(),
        ]
    };
    let head = "INSERT INTO dead_letters (delivery_id, notification, receiver, error_code, step, exhausted_at, state)";
    let tail = " ON CONFLICT (delivery_id) DO UPDATE SET error_code = excluded.error_code, step = excluded.step, \
         exhausted_at = excluded.exhausted_at, state = excluded.state WHERE dead_letters.state = 1";
    write_rows(connection, head, letters.into_iter().map(row).collect(), tail).await
}

/// At most `most` dead letters behind the delivery `after`, by id.
pub(crate) async fn list(
    database: &Database,
    filter: &DeadLetterFilter,
    after: &str,
    most: usize,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut connection = database.reader().await?;
    let found = find(&mut connection, filter, "d.state < 2", after, most, "").await?;
    connection.put_back();
    Ok(found)
}

async fn find(
    connection: &mut AnyConnection,
    filter: &DeadLetterFilter,
    state: &str,
    after: &str,
    most: usize,
    lock: &str,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut values = vec![Value::from(after)];
    let mut conditions = String::new();
    for (column, wanted) in [
        ("d.delivery_id", &filter.delivery_id),
        ("n.id", &filter.alert_id),
        ("d.receiver", &filter.receiver),
        ("d.error_code", &filter.error_code),
    ] {
        if let Some(wanted) = wanted {
            values.push(wanted.as_str().into());
            conditions.push_str(&format!(" AND {column} = ${}", values.len()));
        }
    }
    let sql = format!(
        "SELECT d.delivery_id, d.notification, d.receiver, d.error_code, d.step, d.exhausted_at, d.state, n.id \
         FROM dead_letters d JOIN notifications n ON n.number = d.notification \
         WHERE {state} AND d.delivery_id > $1{conditions} ORDER BY d.delivery_id LIMIT {most}{lock}"
    );
    rows(connection, &sql, values).await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<KeptDeadLetter, StoreError> {
    let state: i64 = row.try_get("state")?;
    let state = usize::try_from(state).ok().and_then(|state| DeadLetterState::ALL.get(state).copied());
    Ok(KeptDeadLetter {
        dead_letter: DeadLetter {
            delivery_id: row.try_get("delivery_id")?,
            receiver: row.try_get("receiver")?,
            error_code: row.try_get("error_code")?,
            step: row.try_get("step")?,
        },
        number: row.try_get("notification")?,
        alert_id: row.try_get("id")?,
        exhausted_at: row.try_get("exhausted_at")?,
        state: state.ok_or_else(|| StoreError::damaged("dead_letters.state"))?,
    })
}

/// Has up to `most` dead letters become `state`; returns them as they were. Those that another host changes meanwhile are left out.
pub(crate) async fn change(
    database: &Database,
    filter: &DeadLetterFilter,
    state: DeadLetterState,
    most: usize,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut transaction = database.begin().await?;
    let lock = if database.kind.skip_locked().is_empty() { "" } else { " FOR UPDATE OF d SKIP LOCKED" };
    // What is retried already is not retried by another.
    let from = if state == DeadLetterState::Retrying { "d.state = 0" } else { "d.state < 2" };
    let found = find(&mut transaction, filter, from, "", most, lock).await?;
    let ids = found.iter().map(|kept| kept.dead_letter.delivery_id.as_str().into()).collect();
    let sql = "UPDATE dead_letters SET state = $1 WHERE delivery_id IN {in}";
    execute_in(&mut transaction, sql, &[state.number().into()], ids).await?;
    transaction.commit().await?;
    Ok(found)
}
