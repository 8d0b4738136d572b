//! Deliveries that exhausted their retries: kept until they are delivered after all, or discarded.

use std::collections::{BTreeMap, HashMap};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Database;
use crate::end::{Reached, find_notifications, upsert_reached};
use crate::life::Micros;
use crate::queue::Work;
use crate::sql::{Value, execute, execute_in, rows, rows_in, write_rows};

/// A delivery that exhausted its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id of the delivery, the same over all attempts.
    pub delivery_id: String,
    /// The id of its notification.
    pub alert_id: String,
    /// The receiver.
    pub receiver: String,
    /// The code of the last error.
    pub error_code: String,
    /// All that another attempt needs, and how the last one ended.
    pub delivery: Vec<u8>,
    /// How far it is.
    pub state: DeadLetterState,
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
    /// An operator discarded it, or it is not wanted any more.
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
    /// When it first exhausted its retries.
    pub exhausted_at: Micros,
    /// When it came to its state.
    pub changed_at: Micros,
}

/// Which dead letters are meant: those that meet all of it.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// This delivery, or those of this alert.
    pub id: Option<String>,
    /// Those to this receiver.
    pub receiver: Option<String>,
    /// Those whose last error has this code.
    pub error_code: Option<String>,
    /// Those of alerts of this severity, 0 to 3.
    pub severity: Option<i16>,
    /// Those that exhausted their retries then or later.
    pub since: Option<Micros>,
}

/// Writes dead letters, those that come again as they are by then. What was delivered stays so, and what was discarded does unless it
/// was delivered.
#[derive(Debug)]
pub(crate) struct DeadLettering;

impl Work for DeadLettering {
    /// With the receiver that has the alert, where it was delivered.
    type Item = (DeadLetter, Option<Reached>);
    /// Whether its notification is there.
    type Answer = bool;

    fn size((letter, _): &Self::Item) -> (usize, usize) {
        (2, letter.delivery.len())
    }

    async fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        items: &[&Self::Item],
    ) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let now = database.now(connection).await?;
        let ids = items.iter().map(|(letter, _)| letter.alert_id.as_str()).collect();
        let known = find_notifications(connection, ids).await?;
        let reached = items.iter().filter_map(|(letter, reached)| {
            let (_, life) = known.get(&letter.alert_id)?;
            Some((*life, reached.as_ref()?))
        });
        upsert_reached(connection, reached.collect()).await?;
        let letters = items.iter().map(|(letter, _)| letter).collect();
        write_dead_letters(connection, letters, &known, now).await?;
        Ok(items.iter().map(|(letter, _)| Ok(known.contains_key(&letter.alert_id))).collect())
    }
}

/// Writes the dead letters of notifications that are there, by id with their numbers.
pub(crate) async fn write_dead_letters(
    connection: &mut AnyConnection,
    letters: Vec<&DeadLetter>,
    known: &HashMap<String, (i64, i64)>,
    now: Micros,
) -> Result<(), StoreError> {
    // By id, so that two hosts do not wait for each other; the last of one that came twice.
    let letters: BTreeMap<_, _> = letters.into_iter().map(|letter| (&letter.delivery_id, letter)).collect();
    let row = |letter: &DeadLetter| {
        let (number, _) = known.get(&letter.alert_id)?;
        Some(vec![
            letter.delivery_id.as_str().into(),
            Value::from(*number),
            letter.receiver.as_str().into(),
            letter.error_code.as_str().into(),
            letter.delivery.as_slice().into(),
            now.into(),
            now.into(),
            letter.state.number().into(),
        ])
    };
    let head = "INSERT INTO dead_letters \
         (delivery_id, notification, receiver, error_code, delivery, exhausted_at, changed_at, state)";
    let tail = " ON CONFLICT (delivery_id) DO UPDATE SET error_code = excluded.error_code, \
         delivery = excluded.delivery, changed_at = excluded.changed_at, state = excluded.state \
         WHERE dead_letters.state < 2 OR (dead_letters.state = 3 AND excluded.state = 2)";
    write_rows(connection, head, letters.into_values().filter_map(row).collect(), tail).await
}

/// At most `most` dead letters, the latest first: those that are over, or those that are not.
pub(crate) async fn list(
    database: &Database,
    filter: &DeadLetterFilter,
    are_over: bool,
    most: usize,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut connection = database.reader().await?;
    let state = if are_over { "d.state >= 2" } else { "d.state < 2" };
    let end = format!("ORDER BY d.exhausted_at DESC, d.delivery_id DESC LIMIT {most}");
    let found = find(&mut connection, filter, state, &end).await?;
    connection.put_back();
    Ok(found)
}

/// All dead letters of a notification.
pub(crate) async fn of_alert(database: &Database, alert_id: &str) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut connection = database.reader().await?;
    let filter = DeadLetterFilter { id: Some(alert_id.to_owned()), ..DeadLetterFilter::default() };
    let found = find(&mut connection, &filter, "d.state >= 0", "ORDER BY d.delivery_id").await?;
    connection.put_back();
    Ok(found)
}

/// At most `most` dead letters behind the delivery `after` that have been tried again for so long.
pub(crate) async fn retrying(
    database: &Database,
    age: Micros,
    after: &str,
    most: usize,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - age;
    let state = format!("d.state = 1 AND d.changed_at <= {before} AND d.delivery_id > $1");
    let end = format!("ORDER BY d.delivery_id LIMIT {most}");
    let found =
        find_behind(&mut transaction, &DeadLetterFilter::default(), &state, &end, Some(after)).await?;
    transaction.commit().await?;
    Ok(found)
}

async fn find(
    connection: &mut AnyConnection,
    filter: &DeadLetterFilter,
    state: &str,
    end: &str,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    find_behind(connection, filter, state, end, None).await
}

/// `state` is the condition on the state, `end` all behind the conditions, `after` the first parameter, where they have one.
async fn find_behind(
    connection: &mut AnyConnection,
    filter: &DeadLetterFilter,
    state: &str,
    end: &str,
    after: Option<&str>,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut values: Vec<Value> = after.into_iter().map(Value::from).collect();
    let mut conditions = String::new();
    let DeadLetterFilter { id, receiver, error_code, severity, since } = filter;
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    for (condition, wanted) in [
        ("(d.delivery_id = {} OR n.id = {})", text(id)),
        ("d.receiver = {}", text(receiver)),
        ("d.error_code = {}", text(error_code)),
        ("n.severity = {}", severity.map(|severity| i64::from(severity).into())),
        ("d.exhausted_at >= {}", since.map(Value::from)),
    ] {
        if let Some(wanted) = wanted {
            values.push(wanted);
            conditions.push_str(" AND ");
            conditions.push_str(&condition.replace("{}", &format!("${}", values.len())));
        }
    }
    let sql = format!(
        "SELECT d.delivery_id, d.receiver, d.error_code, d.delivery, d.exhausted_at, d.changed_at, \
         CAST(d.state AS BIGINT) AS state, n.id \
         FROM dead_letters d JOIN notifications n ON n.number = d.notification WHERE {state}{conditions} {end}"
    );
    rows(connection, &sql, values).await?.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<KeptDeadLetter, StoreError> {
    let state: i64 = row.try_get("state")?;
    let state = usize::try_from(state).ok().and_then(|state| DeadLetterState::ALL.get(state).copied());
    let dead_letter = DeadLetter {
        delivery_id: row.try_get("delivery_id")?,
        alert_id: row.try_get("id")?,
        receiver: row.try_get("receiver")?,
        error_code: row.try_get("error_code")?,
        delivery: row.try_get("delivery")?,
        state: state.ok_or_else(|| StoreError::damaged("dead_letters.state"))?,
    };
    Ok(KeptDeadLetter {
        dead_letter,
        exhausted_at: row.try_get("exhausted_at")?,
        changed_at: row.try_get("changed_at")?,
    })
}

/// Has up to `most` dead letters be tried again, or discarded; returns them as they were. Those that are tried again already are
/// not taken twice, and those that another host changes meanwhile are left out.
pub(crate) async fn change(
    database: &Database,
    filter: &DeadLetterFilter,
    state: DeadLetterState,
    most: usize,
) -> Result<Vec<KeptDeadLetter>, StoreError> {
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    let lock = if database.kind.skip_locked().is_empty() { "" } else { " FOR UPDATE OF d SKIP LOCKED" };
    let from = if state == DeadLetterState::Retrying { "d.state = 0" } else { "d.state < 2" };
    let end = format!("ORDER BY d.delivery_id LIMIT {most}{lock}");
    let found = find(&mut transaction, filter, from, &end).await?;
    let ids = found.iter().map(|kept| kept.dead_letter.delivery_id.as_str().into()).collect();
    let sql = "UPDATE dead_letters SET state = $1, changed_at = $2 WHERE delivery_id IN {in}";
    execute_in(&mut transaction, sql, &[state.number().into(), now.into()], ids).await?;
    transaction.commit().await?;
    Ok(found)
}

/// Has a dead letter that was tried again wait as before.
pub(crate) async fn exhaust_again(database: &Database, delivery_id: &str) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    let sql = "UPDATE dead_letters SET state = 0, changed_at = $2 WHERE delivery_id = $1 AND state = 1";
    execute(&mut transaction, sql, [delivery_id.into(), now.into()]).await?;
    transaction.commit().await
}

/// Those of these deliveries that have not been tried again for so long.
pub(crate) async fn ended(
    database: &Database,
    deliveries: &[&str],
    age: Micros,
) -> Result<Vec<String>, StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - age;
    let sql = format!(
        "SELECT delivery_id FROM dead_letters WHERE delivery_id IN {{in}} AND state <> 1 AND changed_at <= {before}"
    );
    let values = deliveries.iter().map(|id| Value::from(*id)).collect();
    let found = rows_in(&mut transaction, &sql, values).await?;
    transaction.commit().await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// How many dead letters are neither delivered nor discarded.
pub(crate) async fn count(database: &Database) -> Result<u64, StoreError> {
    let mut connection = database.reader().await?;
    let counted = rows(&mut connection, "SELECT count(*) FROM dead_letters WHERE state < 2", []).await?;
    connection.put_back();
    Ok(counted.first().ok_or(sqlx::Error::RowNotFound)?.try_get::<i64, _>(0)?.unsigned_abs())
}
