//! One transaction that accepts several requests: it locks the identities of their alerts, decides about each in order of receipt,
//! and writes what changed in a few statements, however many alerts there are.

use sqlx::AnyConnection;

use crate::StoreError;
use crate::batch::{Batch, State};
use crate::database::Database;
use crate::known;
use crate::life::Disposition;
use crate::numbers::Numbers;
use crate::record::LifeRecord;
use crate::request::{Accepted, Request};
use crate::sql::{Value, execute, write_rows};

/// What is written of a notification's state and outcome.
mod row {
    pub(super) const WAITING: i64 = 0;
    pub(super) const HELD: i64 = 3;
    pub(super) const ENDED: i64 = 4;
    /// What no receiver is notified of.
    pub(super) const DROPPED: i64 = 3;
}

/// What became of each request. One that is refused by itself fails no other.
pub(crate) type Answers = Vec<Result<Accepted, StoreError>>;

/// Accepts the requests in the transaction that `connection` is in.
pub(crate) async fn accept(
    database: &Database,
    connection: &mut AnyConnection,
    numbers: &mut Numbers,
    requests: &[&Request],
) -> Result<Answers, StoreError> {
    // A newer schema is refused before anything else is done.
    database.now(connection).await?;
    let alerts = || requests.iter().flat_map(|request| &request.alerts);
    let known = known::requests(connection, requests).await?;
    let lives = known::lives(database.kind, connection, alerts()).await?;
    // Behind the locks, so that numbers and times of one identity are in the order of its transactions.
    let count = Batch::numbers_for(requests.len(), alerts().count());
    let numbers = numbers.take(database.kind, connection, count).await?;
    let now = database.now(connection).await?;
    let mut batch = Batch::new(now, numbers, known, lives);
    let answers = requests.iter().map(|request| batch.take(request)).collect();
    write(connection, &batch).await?;
    Ok(answers)
}

async fn write(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let (head, tail) = LifeRecord::upsert();
    write_rows(connection, &head, batch.changed_lives().map(LifeRecord::to_values).collect(), &tail).await?;
    write_identities(connection, batch).await?;
    write_requests(connection, batch).await?;
    write_notifications(connection, batch).await?;
    write_documents(connection, batch).await?;
    for (resolve, by) in &batch.changes.superseded {
        let sql = "UPDATE notifications SET state = $1, outcome = $2, ended_at = $3, due_at = NULL, superseded_by = $4 \
             WHERE number = $5";
        let values = [row::ENDED, row::DROPPED, batch.now(), *by, *resolve];
        execute(connection, sql, values.map(Value::from)).await?;
    }
    Ok(())
}

async fn write_identities(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let identities = batch.changes.identities.iter().map(|(digest, (alert, life))| {
        vec![
            digest.as_slice().into(),
            alert.scope.as_str().into(),
            alert.key.as_deref().into(),
            (*life).into(),
        ]
    });
    let head = "INSERT INTO identities (digest, scope, sender_key, life)";
    let tail = " ON CONFLICT (digest) DO UPDATE SET life = excluded.life";
    write_rows(connection, head, identities.collect(), tail).await
}

async fn write_requests(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let requests = batch.changes.requests.iter().map(|(number, request, accepted)| {
        let id = request.id;
        vec![
            (*number).into(),
            Value::Bytes(id.map(|id| id.digest.to_vec())),
            Value::Bytes(Some(id.map_or_else(Vec::new, |id| id.content.to_vec()))),
            request.origin.as_slice().into(),
            accepted.to_bytes().as_slice().into(),
            batch.now().into(),
        ]
    });
    let head = "INSERT INTO requests (number, digest, content, origin, answer, received_at)";
    write_rows(connection, head, requests.collect(), "").await
}

async fn write_notifications(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let notifications = batch.changes.notifications.iter().map(|new| {
        let (state, due_at, outcome, ended_at) = match new.state {
            State::Waiting => (row::WAITING, None, None, None),
            State::Held(until) => (row::HELD, Some(until), None, None),
            State::Ended => (row::ENDED, None, Some(row::DROPPED), Some(batch.now())),
        };
        vec![
            new.number.into(),
            new.id.as_str().into(),
            new.life.into(),
            new.request.into(),
            disposition_number(new.disposition).into(),
            new.alert.scope.as_str().into(),
            i64::from(new.alert.post.severity.rank).into(),
            batch.now().into(),
            state.into(),
            due_at.into(),
            outcome.into(),
            ended_at.into(),
        ]
    });
    let head = "INSERT INTO notifications (number, id, life, request, disposition, scope, severity, accepted_at, state, due_at, \
         outcome, ended_at)";
    write_rows(connection, head, notifications.collect(), "").await
}

async fn write_documents(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let new = batch.changes.notifications.iter().map(|new| (new.number, new.alert));
    let refreshed = batch.changes.refreshed.iter().map(|(number, alert)| (*number, *alert));
    // One that was refreshed in the transaction that brought it is written twice, in this order.
    for alerts in [new.collect::<Vec<_>>(), refreshed.collect()] {
        let document = |(number, alert): &(i64, &crate::Incoming)| {
            vec![Value::from(*number), alert.document.as_slice().into()]
        };
        let words = |(number, alert): &(i64, &crate::Incoming)| {
            Some(vec![Value::from(*number), alert.words.as_deref()?.into()])
        };
        let head = "INSERT INTO documents (notification, document)";
        let tail = " ON CONFLICT (notification) DO UPDATE SET document = excluded.document";
        write_rows(connection, head, alerts.iter().map(document).collect(), tail).await?;
        let head = "INSERT INTO texts (notification, words)";
        let tail = " ON CONFLICT (notification) DO UPDATE SET words = excluded.words";
        write_rows(connection, head, alerts.iter().filter_map(words).collect(), tail).await?;
    }
    Ok(())
}

/// As a row has it: the place in [`Disposition::ALL`].
pub(crate) fn disposition_number(disposition: Disposition) -> i64 {
    let place = Disposition::ALL.iter().position(|one| *one == disposition);
    place.and_then(|place| i64::try_from(place).ok()).unwrap_or_default()
}
