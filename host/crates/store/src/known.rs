//! What the store knows of the requests and the identities of a transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Kind;
use crate::record::{COLUMNS, LifeRecord};
use crate::request::{Accepted, Digest, Incoming, Request, RequestId};
use crate::sql::{Value, rows_in, write_rows};

/// What was accepted under the ids of these requests.
pub(crate) async fn requests(
    connection: &mut AnyConnection,
    requests: &[&Request],
) -> Result<HashMap<Digest, (RequestId, Accepted)>, StoreError> {
    let digests: BTreeSet<_> = requests.iter().filter_map(|request| request.id).map(|id| id.digest).collect();
    let sql = "SELECT digest, content, answer FROM requests WHERE digest IN {in}";
    let mut known = HashMap::new();
    for row in
        rows_in(connection, sql, digests.iter().map(|digest| digest.as_slice().into()).collect()).await?
    {
        let id = RequestId { digest: array(row.try_get(0)?)?, content: array(row.try_get(1)?)? };
        let accepted =
            Accepted::from_bytes(row.try_get(2)?).ok_or_else(|| StoreError::damaged("requests.answer"))?;
        known.insert(id.digest, (id, accepted));
    }
    Ok(known)
}

/// Locks the identities of these alerts and their newest lives, and returns those lives.
///
/// All that writes takes its locks in one order, so that no two hosts wait for each other: identities by digest, lives by number,
/// then notifications.
pub(crate) async fn lives<'a>(
    kind: Kind,
    connection: &mut AnyConnection,
    alerts: impl Iterator<Item = &'a Incoming>,
) -> Result<Vec<(Digest, LifeRecord)>, StoreError> {
    let newest = lock(kind, connection, alerts.filter_map(Incoming::identity).collect()).await?;
    let numbers = newest.keys().map(|number| Value::from(*number)).collect();
    let sql = format!("SELECT {COLUMNS} FROM lives WHERE number IN {{in}} ORDER BY number{}", kind.lock());
    let mut lives = Vec::new();
    for row in rows_in(connection, &sql, numbers).await? {
        let record = LifeRecord::from_row(&row)?;
        let digest =
            newest.get(&record.number).copied().ok_or_else(|| StoreError::damaged("identities.life"))?;
        lives.push((digest, record));
    }
    Ok(lives)
}

/// Locks identities. Returns those that have a life, by its number.
async fn lock(
    kind: Kind,
    connection: &mut AnyConnection,
    identities: BTreeSet<Digest>,
) -> Result<BTreeMap<i64, Digest>, StoreError> {
    let digests = || identities.iter().map(|digest| Value::from(digest.as_slice()));
    let head = "INSERT INTO identities (digest)";
    let new = digests().map(|digest| vec![digest]).collect();
    write_rows(connection, head, new, " ON CONFLICT (digest) DO NOTHING").await?;
    let sql =
        format!("SELECT digest, life FROM identities WHERE digest IN {{in}} ORDER BY digest{}", kind.lock());
    let found = rows_in(connection, &sql, digests().collect()).await?;
    if found.len() < identities.len() {
        return Err(StoreError::Conflict("an identity was pruned meanwhile".to_owned()));
    }
    let mut newest = BTreeMap::new();
    for row in found {
        if let Some(life) = row.try_get::<Option<i64>, _>(1)? {
            newest.insert(life, array(row.try_get(0)?)?);
        }
    }
    Ok(newest)
}

fn array(bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes.try_into().map_err(|_| StoreError::damaged("a digest"))
}
