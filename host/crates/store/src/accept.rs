//! One transaction that accepts several requests: it locks the identities of their alerts, decides about each in order of receipt,
//! and writes what changed in a few statements, however many alerts there are.

use sqlx::AnyConnection;

use crate::StoreError;
use crate::batch::{Batch, Document, State};
use crate::database::Database;
use crate::known;
use crate::notification::{CLAIMED, ENDED, HELD, Outcome, WAITING, disposition_number};
use crate::numbers::Numbers;
use crate::queue::Work;
use crate::record::LifeRecord;
use crate::request::{Accepted, Request};
use crate::sql::{Value, update_rows, write_rows};

/// Accepts requests.
#[derive(Debug)]
pub(crate) struct Accepting {
    pub(crate) numbers: Numbers,
}

impl Work for Accepting {
    type Item = Request;
    type Answer = Accepted;

    fn size(request: &Request) -> (usize, usize) {
        (request.alerts.len(), request.size())
    }

    async fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        requests: &[&Request],
    ) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
        let alerts = || requests.iter().flat_map(|request| &request.alerts);
        let known = known::requests(connection, requests).await?;
        let lives = known::lives(database.kind, connection, alerts()).await?;
        // Behind the locks, so that numbers and times of one identity are in the order of its transactions.
        let count = Batch::numbers_for(requests.len(), alerts().count());
        let numbers = self.numbers.take(database.kind, connection, count).await?;
        let now = database.now(connection).await?;
        let mut batch = Batch::new(now, numbers, known, lives);
        let answers = requests.iter().map(|request| batch.take(request)).collect();
        write(connection, &batch).await?;
        Ok(answers)
    }
}

async fn write(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let (head, tail) = LifeRecord::upsert();
    write_rows(connection, &head, batch.changed_lives().map(LifeRecord::to_values).collect(), &tail).await?;
    let counts = batch.counted_lives().map(LifeRecord::to_counts).collect();
    update_rows(connection, "lives", LifeRecord::COUNT, counts).await?;
    write_identities(connection, batch).await?;
    write_requests(connection, batch).await?;
    write_notifications(connection, batch).await?;
    // One that was refreshed in the transaction that brought it is written twice, in this order.
    write_documents(connection, batch.documents().collect()).await?;
    write_documents(connection, batch.refreshed().collect()).await?;
    supersede(connection, batch).await
}

async fn write_identities(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let row = |(digest, life): (&[u8; 32], &i64)| vec![digest.as_slice().into(), (*life).into()];
    let head = "INSERT INTO identities (digest, life)";
    let tail = " ON CONFLICT (digest) DO UPDATE SET life = excluded.life";
    write_rows(connection, head, batch.identities().iter().map(row).collect(), tail).await
}

async fn write_requests(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    // By digest, so that two hosts which take the same requests do not wait for each other.
    let mut requests: Vec<_> = batch.requests().collect();
    requests.sort_by_key(|new| new.request.id.map(|id| id.digest));
    let row = |new: &&crate::batch::NewRequest<'_>| {
        let id = new.request.id;
        vec![
            new.number.into(),
            Value::Bytes(id.map(|id| id.digest.to_vec())),
            Value::Bytes(Some(id.map_or_else(Vec::new, |id| id.content.to_vec()))),
            new.request.origin.as_slice().into(),
            new.accepted.to_bytes().as_slice().into(),
            batch.now().into(),
        ]
    };
    let head = "INSERT INTO requests (number, digest, content, origin, answer, received_at)";
    write_rows(connection, head, requests.iter().map(row).collect(), "").await
}

async fn write_notifications(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let notifications = batch.notifications().iter().map(|new| {
        let (state, due_at, lease, outcome) = match new.state {
            State::Waiting => (WAITING, None, None, None),
            State::Claimed(lease) => (CLAIMED, Some(batch.now() + lease.lease), Some(lease), None),
            State::Held(until) => (HELD, Some(until), None, None),
            State::Ended => (ENDED, None, None, Some(Outcome::Dropped.number())),
        };
        vec![
            new.number.into(),
            new.id.as_str().into(),
            new.life.into(),
            disposition_number(new.disposition).into(),
            i64::from(new.is_worse).into(),
            new.document.alert.scope.as_str().into(),
            i64::from(new.severity).into(),
            batch.now().into(),
            state.into(),
            due_at.into(),
            lease.map(|lease| lease.host.as_str()).into(),
            lease.map(|_| new.id.as_str()).into(),
            outcome.into(),
            outcome.map(|_| batch.now()).into(),
        ]
    });
    let head = "INSERT INTO notifications (number, id, life, disposition, is_worse, scope, severity, accepted_at, state, \
         due_at, claimed_by, carried_by, outcome, ended_at)";
    write_rows(connection, head, notifications.collect(), "").await
}

async fn write_documents(
    connection: &mut AnyConnection,
    documents: Vec<(i64, Document<'_>)>,
) -> Result<(), StoreError> {
    let document = |(number, Document { request, alert }): &(i64, Document<'_>)| {
        vec![Value::from(*number), (*request).into(), alert.document.as_slice().into()]
    };
    let head = "INSERT INTO documents (notification, request, document)";
    let tail =
        " ON CONFLICT (notification) DO UPDATE SET request = excluded.request, document = excluded.document";
    write_rows(connection, head, documents.iter().map(document).collect(), tail).await?;
    let words = |(number, Document { alert, .. }): &(i64, Document<'_>)| {
        Some(vec![Value::from(*number), alert.words.as_deref()?.into()])
    };
    let head = "INSERT INTO texts (notification, words)";
    let tail = " ON CONFLICT (notification) DO UPDATE SET words = excluded.words";
    write_rows(connection, head, documents.iter().filter_map(words).collect(), tail).await
}

/// Ends the resolves that were superseded. A host that would start one has to lock its life, which is locked here.
async fn supersede(connection: &mut AnyConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let row = |one: &crate::batch::Superseded| {
        [one.resolve, one.by, Outcome::Dropped.number(), batch.now()].map(Value::from).into()
    };
    let set = format!(
        "state = {ENDED}, superseded_by = new.column2, outcome = new.column3, ended_at = new.column4, due_at = NULL"
    );
    update_rows(connection, "notifications", &set, batch.superseded().iter().map(row).collect()).await?;
    Ok(())
}
