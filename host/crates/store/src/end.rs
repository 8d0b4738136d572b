//! What became of notifications. Ends are written in groups of their own, behind what is accepted.

use sqlx::AnyConnection;

use crate::StoreError;
use crate::database::Database;
use crate::notification::{ENDED, Outcome};
use crate::queue::Work;
use crate::sql::{Value, update_rows, write_rows};

/// The end of a notification.
#[derive(Clone, Debug)]
pub struct End {
    /// Its place in the order of acceptance.
    pub number: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// How, step by step.
    pub ledger: Vec<u8>,
}

/// Writes ends. One that is written again changes nothing but the ledger.
#[derive(Debug)]
pub(crate) struct Ending;

impl Work for Ending {
    type Item = End;
    type Answer = ();

    fn size(end: &End) -> (usize, usize) {
        (1, end.ledger.len())
    }

    async fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        ends: &[&End],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let now = database.now(connection).await?;
        // In one order, so that two hosts do not wait for each other.
        let mut sorted = ends.to_vec();
        sorted.sort_by_key(|end| end.number);
        sorted.dedup_by_key(|end| end.number);
        let row = |end: &&End| vec![Value::from(end.number), end.outcome.number().into(), now.into()];
        let set = format!("state = {ENDED}, outcome = new.column2, ended_at = new.column3, due_at = NULL");
        update_rows(connection, "notifications", &set, sorted.iter().map(row).collect()).await?;
        let row = |end: &&End| vec![Value::from(end.number), end.ledger.as_slice().into()];
        let head = "INSERT INTO ledgers (notification, ledger)";
        let tail = " ON CONFLICT (notification) DO UPDATE SET ledger = excluded.ledger";
        write_rows(connection, head, sorted.iter().map(row).collect(), tail).await?;
        Ok(ends.iter().map(|_| Ok(())).collect())
    }
}
