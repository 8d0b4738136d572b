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
        let accepted = Accepted::from_bytes(row.try_get(2)?).ok_or_else(|| damaged("requests.answer"))?;
        known.insert(id.digest, (id, accepted));
    }
    Ok(known)
}

/// Locks the identities of these alerts, in their order, so that no two hosts wait for each other. Returns the newest life of each
/// that has one.
pub(crate) async fn lives<'a>(
    kind: Kind,
    connection: &mut AnyConnection,
    alerts: impl Iterator<Item = &'a Incoming>,
) -> Result<Vec<(Digest, LifeRecord)>, StoreError> {
    let identities: BTreeMap<_, _> = alerts.filter_map(|alert| Some((alert.identity()?, alert))).collect();
    let newest = lock(kind, connection, &identities).await?;
    let numbers = newest.keys().map(|number| Value::from(*number)).collect();
    let sql = format!("SELECT {COLUMNS} FROM lives WHERE number IN {{in}} ORDER BY number{}", kind.lock());
    let mut lives = Vec::new();
    for row in rows_in(connection, &sql, numbers).await? {
        let record = LifeRecord::from_row(&row)?;
        let digest = newest.get(&record.number).copied().ok_or_else(|| damaged("identities.life"))?;
        lives.push((digest, record));
    }
    Ok(lives)
}

/// The identities by the number of their newest life.
async fn lock(
    kind: Kind,
    connection: &mut AnyConnection,
    identities: &BTreeMap<Digest, &Incoming>,
) -> Result<BTreeMap<i64, Digest>, StoreError> {
    let row = |(digest, alert): (&Digest, &&Incoming)| {
        vec![digest.as_slice().into(), alert.scope.as_str().into(), alert.key.as_deref().into()]
    };
    let head = "INSERT INTO identities (digest, scope, sender_key)";
    let identities_rows = identities.iter().map(row).collect();
    write_rows(connection, head, identities_rows, " ON CONFLICT (digest) DO NOTHING").await?;
    let digests = identities.keys().map(|digest| digest.as_slice().into()).collect();
    let sql =
        format!("SELECT digest, life FROM identities WHERE digest IN {{in}} ORDER BY digest{}", kind.lock());
    let mut newest = BTreeMap::new();
    for row in rows_in(connection, &sql, digests).await? {
        if let Some(life) = row.try_get::<Option<i64>, _>(1)? {
            newest.insert(life, array(row.try_get(0)?)?);
        }
    }
    Ok(newest)
}

fn array(bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes.try_into().map_err(|_| damaged("a digest"))
}

fn damaged(what: &str) -> StoreError {
    sqlx::Error::Decode(format!("{what} cannot be read").into()).into()
}
