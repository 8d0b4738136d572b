//! Taking what waits to be started: the most severe first, then the oldest, fair over scopes.
//!
//! A claim is committed before its workflow is started, and says which notifications that workflow carries: after a crash the same
//! workflow is started with the same ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use crate::StoreError;
use crate::database::{Database, Kind};
use crate::life::{Disposition, Micros};
use crate::notification::{self, CLAIMED, ENDED, HELD, STARTED, SUSPENDED, WAITING};
use crate::request::Lease;
use crate::sql::{LONGEST, Value, execute, execute_in, rows, rows_in};

/// What is to be claimed.
#[derive(Clone, Debug)]
pub struct Take {
    /// Who claims it.
    pub claim: Lease,
    /// The severities that are taken, by rank.
    pub severities: RangeInclusive<i16>,
    /// The scope that was served last: those behind it come first.
    pub after: String,
    /// Where more wait than this, one workflow carries several of them.
    pub most_single: usize,
    /// The most that one workflow carries, and their size in bytes; a larger one is carried alone.
    pub most_together: usize,
    /// See `most_together`.
    pub most_bytes: usize,
}

/// A workflow that is to be started, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The workflow: of a single notification its own id.
    pub workflow_id: String,
    /// What it carries, in order of acceptance.
    pub notifications: Vec<Claimed>,
}

/// A notification that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its place in the order of acceptance.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// The id of its life, the same for all notifications of that.
    pub thread_id: String,
    /// What the post became.
    pub disposition: Disposition,
    /// Whether it is worse than what was notified of its life before.
    pub is_worse: bool,
    /// Where it was posted.
    pub scope: String,
    /// By rank.
    pub severity: i16,
    /// When it was accepted.
    pub accepted_at: Micros,
    /// Who has acknowledged its life since, as it was given.
    pub acknowledgement: Option<Vec<u8>>,
    /// The alert.
    pub document: Vec<u8>,
    /// What it has in common with the others of its request.
    pub origin: Vec<u8>,
}

impl Claim {
    /// The same with what its request has in common.
    pub(crate) fn with_origin(mut self, origin: &[u8]) -> Self {
        self.notifications.iter_mut().for_each(|claimed| claimed.origin = origin.to_vec());
        self
    }
}

/// Claims what waits, of one severity: nothing if nothing does.
pub(crate) async fn claim(database: &Database, take: &Take) -> Result<Vec<Claim>, StoreError> {
    let sql = format!(
        "SELECT number FROM notifications WHERE state < {ENDED} AND state = {WAITING} AND severity >= $1 AND severity <= $2 \
         LIMIT 1"
    );
    let severities = [take.severities.start(), take.severities.end()].map(|rank| i64::from(*rank).into());
    if !may_find(database, &sql, severities).await? {
        return Ok(Vec::new());
    }
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    let mut claims = Vec::new();
    for severity in take.severities.clone().rev() {
        let numbers = waiting(database, &mut transaction, take, severity).await?;
        if !numbers.is_empty() {
            let numbers = fitting(&mut transaction, numbers, take.most_bytes).await?;
            claims = carry(&mut transaction, take, numbers, now).await?;
            break;
        }
    }
    transaction.commit().await?;
    Ok(claims)
}

/// Whether a query finds something, or may: all that read are busy. It keeps no transaction from writing.
async fn may_find<const N: usize>(
    database: &Database,
    sql: &str,
    values: [Value; N],
) -> Result<bool, StoreError> {
    let Some(mut reader) = database.idle_reader() else { return Ok(true) };
    let found = rows(&mut reader, sql, values).await?;
    reader.put_back();
    Ok(!found.is_empty())
}

/// The numbers of those that wait with this severity: as many as `most`, the oldest of each scope, about as many of one as of
/// another.
async fn waiting(
    database: &Database,
    connection: &mut AnyConnection,
    take: &Take,
    severity: i16,
) -> Result<Vec<i64>, StoreError> {
    let most = take.most_together;
    let mut scopes = scopes(connection, severity).await?;
    let served = scopes.partition_point(|(scope, _)| *scope <= take.after);
    scopes.rotate_left(served);
    let mut numbers: Vec<i64> = Vec::new();
    while !scopes.is_empty() && numbers.len() < most {
        let share = (most - numbers.len()).div_ceil(scopes.len());
        let mut with_more = Vec::new();
        for (scope, last) in scopes {
            let room = share.min(most - numbers.len());
            let sql = format!(
                "SELECT number FROM notifications WHERE state < {ENDED} AND state = {WAITING} AND severity = $1 AND scope = $2 AND number > $3 \
                 ORDER BY number LIMIT $4{}",
                database.kind.skip_locked()
            );
            let limit = i64::try_from(room).unwrap_or(i64::MAX);
            let values = [i64::from(severity).into(), scope.as_str().into(), last.into(), limit.into()];
            let found = rows(connection, &sql, values).await?;
            let found = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
            if let Some(last) = found.last().copied().filter(|_| found.len() == room) {
                with_more.push((scope, last));
            }
            numbers.extend(found);
        }
        scopes = with_more;
    }
    Ok(numbers)
}

/// The first of these that have room in one workflow, and at least one.
async fn fitting(
    connection: &mut AnyConnection,
    mut numbers: Vec<i64>,
    most_bytes: usize,
) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT d.notification, CAST(length(d.document) + length(r.origin) AS BIGINT) FROM documents d \
         JOIN requests r ON r.number = d.request WHERE d.notification IN {in}";
    let found = rows_in(connection, sql, numbers.iter().map(|number| Value::from(*number)).collect()).await?;
    let sizes = found
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<BTreeMap<i64, i64>, StoreError>>()?;
    let mut room = i64::try_from(most_bytes).unwrap_or(i64::MAX);
    let fits = numbers.iter().take_while(|number| {
        room -= sizes.get(number).copied().unwrap_or_default();
        room >= 0
    });
    let count = fits.count().max(1);
    numbers.truncate(count);
    Ok(numbers)
}

/// The scopes of which something waits with this severity, each with a number before all of its own. It jumps from one scope to
/// the next, past all that waits of each.
async fn scopes(connection: &mut AnyConnection, severity: i16) -> Result<Vec<(String, i64)>, StoreError> {
    let first = format!(
        "SELECT min(scope) FROM notifications WHERE state < {ENDED} AND state = {WAITING} AND severity = $1"
    );
    let sql = format!(
        "WITH RECURSIVE scopes (scope) AS (
             SELECT ({first})
             UNION ALL
             SELECT ({first} AND notifications.scope > scopes.scope) FROM scopes WHERE scopes.scope IS NOT NULL
         ) SELECT scope FROM scopes WHERE scope IS NOT NULL"
    );
    let found = rows(connection, &sql, [i64::from(severity).into()]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, i64::MIN))).collect()
}

/// Has one workflow carry all of these, or each of them one of its own.
async fn carry(
    connection: &mut AnyConnection,
    take: &Take,
    numbers: Vec<i64>,
    now: Micros,
) -> Result<Vec<Claim>, StoreError> {
    let batch = (numbers.len() > take.most_single).then(|| format!("batch-{}", Uuid::new_v4().simple()));
    // What was carried before had a workflow of its own id, which Temporal may still have.
    let again = format!("~{now}");
    let sql = format!(
        "UPDATE notifications SET state = {CLAIMED}, due_at = $1, claimed_by = $2, \
         carried_by = coalesce($3, CASE WHEN carried_by IS NULL THEN id ELSE id || $4 END) WHERE number IN {{in}}"
    );
    let set = [
        (now + take.claim.lease).into(),
        take.claim.host.as_str().into(),
        batch.as_deref().into(),
        again.as_str().into(),
    ];
    execute_in(connection, &sql, &set, numbers.iter().map(|number| Value::from(*number)).collect()).await?;
    claimed(connection, numbers).await
}

/// These notifications by the workflow that carries them.
pub(crate) async fn claimed(
    connection: &mut AnyConnection,
    numbers: Vec<i64>,
) -> Result<Vec<Claim>, StoreError> {
    let sql = "SELECT n.number, n.id, l.thread_id, n.disposition, n.is_worse, n.scope, n.severity, n.accepted_at, \
         coalesce(n.carried_by, n.id) AS carried_by, CASE WHEN l.acknowledged_at >= n.accepted_at THEN l.acknowledgement END AS acknowledgement, \
         d.document, r.origin \
         FROM notifications n JOIN lives l ON l.number = n.life JOIN documents d ON d.notification = n.number \
         JOIN requests r ON r.number = d.request WHERE n.number IN {in}";
    let found = rows_in(connection, sql, numbers.into_iter().map(Value::from).collect()).await?;
    let mut claims: Vec<Claim> = Vec::new();
    for row in found {
        let claimed = Claimed {
            number: row.try_get("number")?,
            id: row.try_get("id")?,
            thread_id: row.try_get("thread_id")?,
            disposition: notification::disposition(&row)?,
            is_worse: row.try_get::<i64, _>("is_worse")? == 1,
            scope: row.try_get("scope")?,
            severity: notification::severity(&row)?,
            accepted_at: row.try_get("accepted_at")?,
            acknowledgement: row.try_get("acknowledgement")?,
            document: row.try_get("document")?,
            origin: row.try_get("origin")?,
        };
        let workflow_id: String = row.try_get("carried_by")?;
        match claims.iter_mut().find(|claim| claim.workflow_id == workflow_id) {
            Some(claim) => claim.notifications.push(claimed),
            None => claims.push(Claim { workflow_id, notifications: vec![claimed] }),
        }
    }
    claims.iter_mut().for_each(|claim| claim.notifications.sort_by_key(|claimed| claimed.number));
    Ok(claims)
}

/// Notes that Temporal has started the workflows of these notifications.
pub(crate) async fn started(database: &Database, numbers: &[i64]) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let numbers = numbers.iter().map(|number| Value::from(*number)).collect();
    let sql = format!(
        "UPDATE notifications SET state = {STARTED}, due_at = NULL WHERE state = {CLAIMED} AND number IN {{in}}"
    );
    execute_in(&mut transaction, &sql, &[], numbers).await?;
    transaction.commit().await
}

/// Claims again what was claimed and not started in time: under the same workflow, with the same notifications, but for those that have
/// ended since. If the workflow is there after all, Temporal says so.
pub(crate) async fn reclaim(
    database: &Database,
    claim: &Lease,
    most: usize,
) -> Result<Vec<Claim>, StoreError> {
    let sql = format!(
        "SELECT number FROM notifications WHERE state = {CLAIMED} AND due_at <= {} LIMIT 1",
        database.kind.clock()
    );
    if !may_find(database, &sql, []).await? {
        return Ok(Vec::new());
    }
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    let sql = format!(
        "SELECT carried_by FROM notifications WHERE state = {CLAIMED} AND due_at <= $1 GROUP BY carried_by \
         ORDER BY carried_by LIMIT {}",
        most.min(LONGEST)
    );
    let late = rows(&mut transaction, &sql, [now.into()]).await?;
    let late =
        late.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.into())).collect::<Result<_, StoreError>>()?;
    // Another host may have been faster: then these rows have changed by the time they are locked.
    let sql = format!(
        "SELECT number, due_at FROM notifications WHERE state = {CLAIMED} AND carried_by IN {{in}} ORDER BY number{}",
        database.kind.lock()
    );
    let mut numbers = Vec::new();
    for row in rows_in(&mut transaction, &sql, late).await? {
        let due_at: Option<Micros> = row.try_get(1)?;
        if due_at.is_some_and(|due_at| due_at <= now) {
            numbers.push(row.try_get(0)?);
        }
    }
    let sql = "UPDATE notifications SET due_at = $1, claimed_by = $2 WHERE number IN {in}";
    let set = [(now + claim.lease).into(), claim.host.as_str().into()];
    execute_in(&mut transaction, sql, &set, numbers.iter().map(|number| Value::from(*number)).collect())
        .await?;
    let claims = claimed(&mut transaction, numbers).await?;
    transaction.commit().await?;
    Ok(claims)
}

/// Ends the claims of the process that had the file of SQLite before: it is gone.
pub(crate) async fn release_claims(database: &Database) -> Result<(), StoreError> {
    if database.kind != Kind::Sqlite {
        return Ok(());
    }
    let mut transaction = database.begin().await?;
    let sql = format!("UPDATE notifications SET due_at = 0 WHERE state = {CLAIMED}");
    execute(&mut transaction, &sql, []).await?;
    transaction.commit().await
}

/// Ends the lives whose resolve was held back long enough: from now on it waits to be started. Returns how many there were.
pub(crate) async fn release(database: &Database) -> Result<usize, StoreError> {
    let sql = format!("SELECT number FROM lives WHERE held_until <= {} LIMIT 1", database.kind.clock());
    if !may_find(database, &sql, []).await? {
        return Ok(0);
    }
    let mut transaction = database.begin().await?;
    let now = database.now(&mut transaction).await?;
    // The lives first, as a firing that takes the resolve back does.
    let sql = format!(
        "SELECT number, resolve FROM lives WHERE held_until <= $1 ORDER BY held_until LIMIT 1000{}",
        database.kind.skip_locked()
    );
    let found = rows(&mut transaction, &sql, [now.into()]).await?;
    let (mut lives, mut resolves) = (Vec::new(), Vec::new());
    for row in &found {
        lives.push(Value::from(row.try_get::<i64, _>(0)?));
        resolves.push(Value::from(row.try_get::<i64, _>(1)?));
    }
    let count = lives.len();
    let sql = "UPDATE lives SET state = 1, ended_at = $1, held_until = NULL WHERE number IN {in}";
    execute_in(&mut transaction, sql, &[now.into()], lives).await?;
    let sql = format!(
        "UPDATE notifications SET state = {WAITING}, due_at = NULL WHERE state = {HELD} AND number IN {{in}}"
    );
    execute_in(&mut transaction, &sql, &[], resolves).await?;
    transaction.commit().await?;
    Ok(count)
}

/// Those of these notifications that are at their end, or that the store does not know.
pub(crate) async fn ended(database: &Database, numbers: &[i64]) -> Result<Vec<i64>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!("SELECT number FROM notifications WHERE state < {ENDED} AND number IN {{in}}");
    let values = numbers.iter().map(|number| Value::from(*number)).collect();
    let found = rows_in(&mut connection, &sql, values).await?;
    connection.put_back();
    let pending = found.iter().map(|row| row.try_get(0)).collect::<Result<BTreeSet<i64>, _>>()?;
    Ok(numbers.iter().copied().filter(|number| !pending.contains(number)).collect())
}

/// Notes that another workflow carries a notification.
pub(crate) async fn carry_by(database: &Database, number: i64, workflow_id: &str) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "UPDATE notifications SET carried_by = $1 WHERE number = $2";
    execute(&mut transaction, sql, [workflow_id.into(), number.into()]).await?;
    transaction.commit().await
}

/// Notifications that were started, are not at their end, and were accepted so long ago, by the workflow that carries them.
pub(crate) async fn started_before(
    database: &Database,
    age: Micros,
    after: i64,
    most: usize,
) -> Result<Vec<Claim>, StoreError> {
    let mut connection = database.reader().await?;
    let now = database.now(&mut connection).await?;
    let sql = format!(
        "SELECT number FROM notifications WHERE state < {ENDED} AND state = {STARTED} AND number > $1 AND accepted_at <= $2 \
         ORDER BY number LIMIT {most}"
    );
    let found = rows(&mut connection, &sql, [after.into(), (now - age).into()]).await?;
    let numbers = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let claims = claimed(&mut connection, numbers).await?;
    connection.put_back();
    Ok(claims)
}

/// Those of these workflows whose notifications all came to their end so long ago, or are suspended. One that a batch had no room for has a workflow of
/// its own id.
pub(crate) async fn ended_carriers(
    database: &Database,
    workflows: &[&str],
    age: Micros,
) -> Result<Vec<String>, StoreError> {
    let mut transaction = database.begin().await?;
    let before = database.now(&mut transaction).await? - age;
    let mut ended = Vec::new();
    for (column, which) in [("carried_by", "true"), ("id", "carried_by LIKE 'batch-%'")] {
        let sql = format!(
            "SELECT {column} FROM notifications WHERE {column} IN {{in}} AND {which} GROUP BY {column} \
             HAVING min(state) >= {SUSPENDED} AND coalesce(max(ended_at), 0) <= {before}"
        );
        let values = workflows.iter().map(|id| Value::from(*id)).collect();
        for row in rows_in(&mut transaction, &sql, values).await? {
            ended.push(row.try_get(0)?);
        }
    }
    transaction.commit().await?;
    Ok(ended)
}

/// Has notifications started again under the workflows that carried them.
pub(crate) async fn restart(database: &Database, numbers: &[i64]) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = format!(
        "UPDATE notifications SET state = {CLAIMED}, due_at = 0 WHERE state = {STARTED} AND number IN {{in}}"
    );
    let numbers = numbers.iter().map(|number| Value::from(*number)).collect();
    execute_in(&mut transaction, &sql, &[], numbers).await?;
    transaction.commit().await
}
