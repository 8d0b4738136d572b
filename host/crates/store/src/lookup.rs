//! What can be asked: one alert by its id, and lists in order of acceptance, the newest first.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::{Database, Kind};
use crate::life::{Disposition, Micros};
use crate::notification::{self, CLAIMED, ENDED, HELD, Outcome, STARTED, SUSPENDED, WAITING};
use crate::sql::{Value, rows, rows_in};

/// How many rows one statement of a search reads: none takes long, and none keeps the log of SQLite from being cut.
const STRIDE: usize = 20_000;

/// A notification, and the life that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place in the order of acceptance.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// The id of its life.
    pub thread_id: String,
    /// What the post became.
    pub disposition: Disposition,
    /// Where it was posted.
    pub scope: String,
    /// What its sender calls it.
    pub key: Option<String>,
    /// By rank.
    pub severity: i16,
    /// When it was accepted.
    pub accepted_at: Micros,
    /// The workflow that carries it, once it is claimed.
    pub carried_by: Option<String>,
    /// What became of it, at its end.
    pub outcome: Option<Outcome>,
    /// When it came to its end.
    pub ended_at: Option<Micros>,
    /// How far it is.
    pub progress: Progress,
    /// Of a resolve that was held back: the notification that took it back.
    pub superseded_by: Option<String>,
    /// Whether its life goes on.
    pub is_open: bool,
    /// Its life goes on, and was not posted for [`crate::Limits::stale_after`].
    pub is_stale: bool,
    /// How often its life fired again while its resolve was held back.
    pub flaps: i64,
    /// Who has acknowledged its life, as it was given.
    pub acknowledgement: Option<Vec<u8>>,
    /// How often its life was posted again.
    pub duplicates: i64,
    /// When its life began.
    pub began_at: Micros,
    /// When its life was posted last.
    pub seen_at: Micros,
    /// The alert.
    pub document: Vec<u8>,
    /// What it has in common with the others of its request.
    pub origin: Vec<u8>,
    /// What became of it, step by step.
    pub ledger: Option<Vec<u8>>,
}

/// How far a notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits to be started.
    Waiting,
    /// Its workflow is being started.
    Claimed,
    /// Its workflow has been started.
    Started,
    /// A resolve that is held back.
    Held,
    /// It waits for an operator.
    Suspended,
    /// It is at its end.
    Ended,
}

/// Which notifications are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of open lives only the newest that is not a resolve, without those that are stale.
    pub open: bool,
    /// With `open`: those that are stale as well.
    pub stale: bool,
    /// By rank.
    pub severity: Option<i16>,
    /// Where it was posted.
    pub scope: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Not at their end.
    pub pending: bool,
    /// Waiting for an operator.
    pub suspended: bool,
    /// Whether its life is acknowledged.
    pub acknowledged: Option<bool>,
    /// A receiver that its life has reached.
    pub receiver: Option<String>,
    /// What its sender calls it.
    pub key: Option<String>,
    /// Accepted then or later.
    pub since: Option<Micros>,
    /// Accepted before then.
    pub until: Option<Micros>,
    /// Its title, its key or one of its labels has this.
    pub text: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order of acceptance, the newest first.
    pub found: Vec<Found>,
    /// What the next page begins before; `None` behind the last one.
    pub next: Option<i64>,
}

const COLUMNS: &str = "n.number, n.id, n.disposition, n.scope, n.severity, n.accepted_at, n.carried_by, n.outcome, n.ended_at, \
     n.state AS progress, s.id AS superseded_by, l.thread_id, l.sender_key, l.state AS life_state, l.duplicates, l.flaps, l.began_at, l.seen_at, \
     l.acknowledgement, d.document, r.origin, g.ledger";
const TABLES: &str = "notifications n JOIN lives l ON l.number = n.life JOIN documents d ON d.notification = n.number \
     JOIN requests r ON r.number = d.request LEFT JOIN ledgers g ON g.notification = n.number \
     LEFT JOIN notifications s ON s.number = n.superseded_by";

/// The condition that a life `l` is open, and was not posted for so long.
fn stale(kind: Kind, stale_after: Micros) -> String {
    format!("(l.state = 0 AND l.seen_at < {} - {stale_after})", kind.clock())
}

/// A statement that reads what [`read`] does.
fn select(kind: Kind, stale_after: Micros) -> String {
    let stale = stale(kind, stale_after);
    format!("SELECT {COLUMNS}, CAST(CASE WHEN {stale} THEN 1 ELSE 0 END AS BIGINT) AS is_stale FROM {TABLES}")
}

/// The notification with this id.
pub(crate) async fn find(
    database: &Database,
    stale_after: Micros,
    id: &str,
) -> Result<Option<Found>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!("{} WHERE n.id = $1", select(database.kind, stale_after));
    let found = rows(&mut connection, &sql, [id.into()]).await?;
    connection.put_back();
    found.first().map(read).transpose()
}

/// The numbers of the notifications with these ids.
pub(crate) async fn numbers(database: &Database, ids: &[&str]) -> Result<Vec<i64>, StoreError> {
    let mut connection = database.reader().await?;
    let values = ids.iter().map(|id| Value::from(*id)).collect();
    let found = rows_in(&mut connection, "SELECT number FROM notifications WHERE id IN {in}", values).await?;
    connection.put_back();
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The notifications with these numbers, the newest first.
pub(crate) async fn find_all(
    database: &Database,
    stale_after: Micros,
    numbers: Vec<i64>,
) -> Result<Vec<Found>, StoreError> {
    let mut connection = database.reader().await?;
    let found = page(&mut connection, &select(database.kind, stale_after), numbers).await?;
    connection.put_back();
    Ok(found)
}

/// A page of at most `most` notifications that were accepted before the one of number `before`.
pub(crate) async fn list(
    database: &Database,
    stale_after: Micros,
    filter: &Filter,
    before: Option<i64>,
    most: usize,
) -> Result<Page, StoreError> {
    let mut connection = database.reader().await?;
    let mut numbers = Vec::new();
    let mut before = before.unwrap_or(i64::MAX);
    let stale = stale(database.kind, stale_after);
    loop {
        let stride = stride(&mut connection, filter, &stale, before, most - numbers.len()).await?;
        numbers.extend(stride.found);
        match stride.next {
            Some(next) if numbers.len() < most => before = next,
            next => {
                let select = select(database.kind, stale_after);
                let found = page(&mut connection, &select, numbers).await?;
                connection.put_back();
                return Ok(Page { found, next });
            }
        }
    }
}

struct Stride {
    found: Vec<i64>,
    next: Option<i64>,
}

/// Those that the filter takes of the next [`STRIDE`] notifications.
async fn stride(
    connection: &mut AnyConnection,
    filter: &Filter,
    stale: &str,
    before: i64,
    most: usize,
) -> Result<Stride, StoreError> {
    let mut values = vec![Value::from(before)];
    let mut conditions = String::new();
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions.push_str(&format!(" AND {condition} ${}", values.len()));
    };
    if let Some(rank) = filter.severity {
        add("n.severity =", i64::from(rank).into());
    }
    if let Some(scope) = &filter.scope {
        add("n.scope =", scope.as_str().into());
    }
    if let Some(outcome) = filter.outcome {
        add("n.outcome =", outcome.number().into());
    }
    if let Some(since) = filter.since {
        add("n.accepted_at >=", since.into());
    }
    if let Some(until) = filter.until {
        add("n.accepted_at <", until.into());
    }
    if let Some(key) = &filter.key {
        add("l.sender_key =", key.as_str().into());
    }
    let text = filter.text.as_ref().map(|text| text.to_lowercase());
    if let Some(text) = &text {
        add("t.words LIKE '%' ||", like(text).as_str().into());
        conditions.push_str(" || '%' ESCAPE '\\'");
    }
    if filter.open {
        conditions.push_str(" AND l.state = 0 AND l.newest = n.number");
        if !filter.stale {
            conditions.push_str(&format!(" AND NOT {stale}"));
        }
    }
    if let Some(receiver) = &filter.receiver {
        values.push(receiver.as_str().into());
        conditions.push_str(&format!(
            " AND EXISTS (SELECT 1 FROM reached w WHERE w.life = n.life AND w.has_it = 1 AND w.receiver = ${})",
            values.len()
        ));
    }
    if filter.pending {
        conditions.push_str(&format!(" AND n.state < {ENDED}"));
    }
    if filter.suspended {
        conditions.push_str(&format!(" AND n.state = {SUSPENDED}"));
    }
    if let Some(acknowledged) = filter.acknowledged {
        let is = if acknowledged { "IS NOT NULL" } else { "IS NULL" };
        conditions.push_str(&format!(" AND l.acknowledged_at {is}"));
    }
    let needs_life = filter.open || filter.key.is_some() || filter.acknowledged.is_some();
    let life = if needs_life { " JOIN lives l ON l.number = n.life" } else { "" };
    let words = if text.is_some() { " JOIN texts t ON t.notification = n.number" } else { "" };
    // What is open is few of all: the lives lead to it.
    let read = if filter.open {
        "SELECT newest AS number FROM lives WHERE state = 0 AND newest < $1 ORDER BY newest DESC"
    } else {
        "SELECT number FROM notifications WHERE number < $1 ORDER BY number DESC"
    };
    let sql = format!(
        "SELECT n.number FROM ({read} LIMIT {STRIDE}) s JOIN notifications n ON n.number = s.number{life}{words} \
         WHERE TRUE{conditions} ORDER BY n.number DESC LIMIT {}",
        most + 1
    );
    let found = rows(connection, &sql, values).await?;
    let mut found = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if found.len() > most {
        found.truncate(most);
        let next = found.last().copied();
        return Ok(Stride { found, next });
    }
    let sql = format!(
        "SELECT min(n.number), count(*), max(n.accepted_at) FROM ({read} LIMIT {STRIDE}) s \
         JOIN notifications n ON n.number = s.number"
    );
    let read = rows(connection, &sql, [before.into()]).await?;
    let row = read.first().ok_or(sqlx::Error::RowNotFound)?;
    let (last, count, newest): (Option<i64>, i64, Option<Micros>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let is_more = usize::try_from(count).is_ok_and(|count| count == STRIDE);
    let is_older = filter.since.zip(newest).is_some_and(|(since, newest)| newest < since);
    Ok(Stride { found, next: last.filter(|_| is_more && !is_older) })
}

/// A text of which each character stands for itself in `LIKE`.
fn like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

async fn page(
    connection: &mut AnyConnection,
    select: &str,
    numbers: Vec<i64>,
) -> Result<Vec<Found>, StoreError> {
    let sql = format!("{select} WHERE n.number IN {{in}}");
    let values = numbers.into_iter().map(Value::from).collect();
    let mut found =
        rows_in(connection, &sql, values).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    found.sort_by_key(|one| std::cmp::Reverse(one.number));
    Ok(found)
}

fn read(row: &AnyRow) -> Result<Found, StoreError> {
    Ok(Found {
        number: row.try_get("number")?,
        id: row.try_get("id")?,
        thread_id: row.try_get("thread_id")?,
        disposition: notification::disposition(row)?,
        scope: row.try_get("scope")?,
        key: row.try_get("sender_key")?,
        severity: notification::severity(row)?,
        accepted_at: row.try_get("accepted_at")?,
        carried_by: row.try_get("carried_by")?,
        outcome: Outcome::from_row(row)?,
        ended_at: row.try_get("ended_at")?,
        progress: match row.try_get::<i64, _>("progress")? {
            WAITING => Progress::Waiting,
            CLAIMED => Progress::Claimed,
            STARTED => Progress::Started,
            HELD => Progress::Held,
            SUSPENDED => Progress::Suspended,
            _ => Progress::Ended,
        },
        superseded_by: row.try_get("superseded_by")?,
        is_open: row.try_get::<i64, _>("life_state")? == 0,
        is_stale: row.try_get::<i64, _>("is_stale")? == 1,
        flaps: row.try_get("flaps")?,
        acknowledgement: row.try_get("acknowledgement")?,
        duplicates: row.try_get("duplicates")?,
        began_at: row.try_get("began_at")?,
        seen_at: row.try_get("seen_at")?,
        document: row.try_get("document")?,
        origin: row.try_get("origin")?,
        ledger: row.try_get("ledger")?,
    })
}

/// What is not at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) pending: i64,
    pub(crate) suspended: i64,
    pub(crate) queue: Waiting,
}

/// What waits to be started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many notifications.
    pub count: i64,
    /// The place of the oldest of them in the order of acceptance.
    pub oldest: Option<i64>,
}

/// Counts what is not at its end.
pub(crate) async fn count(database: &Database) -> Result<Counted, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!(
        "SELECT count(*), count(CASE WHEN state = {SUSPENDED} THEN 1 END), count(CASE WHEN state <= {CLAIMED} THEN 1 END), \
         min(CASE WHEN state <= {CLAIMED} THEN number END) FROM notifications WHERE state < {ENDED}"
    );
    let found = rows(&mut connection, &sql, []).await?;
    connection.put_back();
    let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
    let queue = Waiting { count: row.try_get(2)?, oldest: row.try_get(3)? };
    Ok(Counted { pending: row.try_get(0)?, suspended: row.try_get(1)?, queue })
}
