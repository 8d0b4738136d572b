//! What became of notifications. Ends are written in groups of their own, behind what is accepted.

use std::collections::{BTreeMap, HashMap};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Database;
use crate::dead_letter::{DeadLetter, write_dead_letters};
use crate::notification::{ENDED, Outcome};
use crate::queue::Work;
use crate::sql::{Value, rows_in, update_rows, write_rows};

/// The end of a notification.
#[derive(Clone, Debug)]
pub struct End {
    /// Its id.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How, step by step.
    pub ledger: Vec<u8>,
    /// The receivers that it reached.
    pub reached: Vec<Reached>,
    /// The deliveries that exhausted their retries.
    pub dead_letters: Vec<DeadLetter>,
}

/// A receiver that has an alert, or may have it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub receiver: String,
    /// Whether it has it. Otherwise a dead letter may still be delivered.
    pub has_it: bool,
    /// What it answered, for the messages that follow.
    pub receipt: Vec<u8>,
}

/// Writes ends. One that is written again replaces the first. The answer is the number of the notification, if there is one: a
/// workflow can be of a store that a backup has replaced.
#[derive(Debug)]
pub(crate) struct Ending;

impl Work for Ending {
    type Item = End;
    type Answer = Option<i64>;

    fn size(end: &End) -> (usize, usize) {
        (1 + end.reached.len() + end.dead_letters.len(), end.ledger.len())
    }

    async fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        ends: &[&End],
    ) -> Result<Vec<Result<Option<i64>, StoreError>>, StoreError> {
        let now = database.now(connection).await?;
        let known = find_notifications(connection, ends.iter().map(|end| end.id.as_str()).collect()).await?;
        // By number, so that two hosts do not wait for each other; the last of one that came twice.
        let sorted: BTreeMap<i64, (i64, &End)> = ends
            .iter()
            .filter_map(|end| known.get(&end.id).map(|(number, life)| (*number, (*life, *end))))
            .collect();
        let reached = sorted.values().flat_map(|(life, end)| end.reached.iter().map(|one| (*life, one)));
        upsert_reached(connection, reached.collect()).await?;
        let row = |(number, (_, end)): (&i64, &(i64, &End))| {
            vec![Value::from(*number), end.outcome.number().into(), now.into()]
        };
        let set = format!("state = {ENDED}, outcome = new.column2, ended_at = new.column3, due_at = NULL");
        update_rows(connection, "notifications", &set, sorted.iter().map(row).collect()).await?;
        let row = |(number, (_, end)): (&i64, &(i64, &End))| {
            vec![Value::from(*number), end.ledger.as_slice().into()]
        };
        let head = "INSERT INTO ledgers (notification, ledger)";
        let tail = " ON CONFLICT (notification) DO UPDATE SET ledger = excluded.ledger";
        write_rows(connection, head, sorted.iter().map(row).collect(), tail).await?;
        let letters = sorted.values().flat_map(|(_, end)| &end.dead_letters);
        write_dead_letters(connection, letters.collect(), &known, now).await?;
        Ok(ends.iter().map(|end| Ok(known.get(&end.id).map(|(number, _)| *number))).collect())
    }
}

/// The number and the life of the notifications that are there, by id.
pub(crate) async fn find_notifications(
    connection: &mut AnyConnection,
    ids: Vec<&str>,
) -> Result<HashMap<String, (i64, i64)>, StoreError> {
    let ids = ids.into_iter().map(Value::from).collect();
    let found =
        rows_in(connection, "SELECT id, number, life FROM notifications WHERE id IN {in}", ids).await?;
    let read = |row: &AnyRow| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)));
    found.iter().map(read).collect()
}

/// Notes whom lives reached. A receiver that has an alert is not replaced by the same that may have it yet.
pub(crate) async fn upsert_reached(
    connection: &mut AnyConnection,
    reached: Vec<(i64, &Reached)>,
) -> Result<(), StoreError> {
    let mut last = BTreeMap::new();
    for (life, one) in reached {
        last.insert((life, one.receiver.as_str()), one);
    }
    let mut written = Vec::new();
    for ((life, receiver), one) in last {
        let has_it = i64::from(one.has_it).into();
        written.push(vec![Value::from(life), receiver.into(), has_it, one.receipt.as_slice().into()]);
    }
    let head = "INSERT INTO reached (life, receiver, has_it, receipt)";
    let tail = " ON CONFLICT (life, receiver) DO UPDATE SET has_it = excluded.has_it, receipt = excluded.receipt \
         WHERE excluded.has_it >= reached.has_it";
    write_rows(connection, head, written, tail).await
}
