//! What became of notifications. Ends are written in groups of their own, behind what is accepted.

use std::collections::BTreeMap;

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
    /// Its place in the order of acceptance.
    pub number: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// How, step by step.
    pub ledger: Vec<u8>,
    /// The receivers that it reached.
    pub reached: Vec<Reached>,
    /// The deliveries that exhausted their retries.
    pub dead_letters: Vec<DeadLetter>,
}

/// A receiver that has an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub receiver: String,
    /// What it answered, for the messages that follow.
    pub receipt: Vec<u8>,
}

/// Writes ends. One that is written again replaces the first.
#[derive(Debug)]
pub(crate) struct Ending;

impl Work for Ending {
    type Item = End;
    type Answer = ();

    fn size(end: &End) -> (usize, usize) {
        (1 + end.reached.len() + end.dead_letters.len(), end.ledger.len())
    }

    async fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        ends: &[&End],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let now = database.now(connection).await?;
        // By number, so that two hosts do not wait for each other; the last of one that came twice.
        let sorted: BTreeMap<_, _> = ends.iter().map(|end| (end.number, *end)).collect();
        write_reached(connection, &sorted).await?;
        let row = |end: &&End| vec![Value::from(end.number), end.outcome.number().into(), now.into()];
        let set = format!("state = {ENDED}, outcome = new.column2, ended_at = new.column3, due_at = NULL");
        update_rows(connection, "notifications", &set, sorted.values().map(row).collect()).await?;
        let row = |end: &&End| vec![Value::from(end.number), end.ledger.as_slice().into()];
        let head = "INSERT INTO ledgers (notification, ledger)";
        let tail = " ON CONFLICT (notification) DO UPDATE SET ledger = excluded.ledger";
        write_rows(connection, head, sorted.values().map(row).collect(), tail).await?;
        let mut letters = Vec::new();
        for end in sorted.values() {
            letters.extend(end.dead_letters.iter().map(|letter| (end.number, letter)));
        }
        write_dead_letters(connection, letters, now).await?;
        Ok(ends.iter().map(|_| Ok(())).collect())
    }
}

/// Notes whom the lives of these notifications reached.
async fn write_reached(connection: &mut AnyConnection, ends: &BTreeMap<i64, &End>) -> Result<(), StoreError> {
    let reaching = ends.values().filter(|end| !end.reached.is_empty());
    let numbers = reaching.map(|end| Value::from(end.number)).collect();
    let sql = "SELECT number, life FROM notifications WHERE number IN {in}";
    let mut reached = BTreeMap::new();
    for row in rows_in(connection, sql, numbers).await? {
        let (number, life): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        for one in ends.get(&number).into_iter().flat_map(|end| &end.reached) {
            reached.insert((life, one.receiver.as_str()), one.receipt.as_slice());
        }
    }
    let row = |((life, receiver), receipt): (&(i64, &str), &&[u8])| {
        vec![Value::from(*life), (*receiver).into(), (*receipt).into()]
    };
    let head = "INSERT INTO reached (life, receiver, receipt)";
    let tail = " ON CONFLICT (life, receiver) DO UPDATE SET receipt = excluded.receipt";
    write_rows(connection, head, reached.iter().map(row).collect(), tail).await
}
