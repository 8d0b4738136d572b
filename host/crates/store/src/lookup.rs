//! What can be asked: one alert by its id, and lists in order of acceptance, the newest first.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::StoreError;
use crate::database::Database;
use crate::life::{Disposition, Micros};
use crate::notification::{self, ENDED, Outcome};
use crate::sql::{Value, rows};

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
    /// Whether its life goes on.
    pub is_open: bool,
    /// How often its life was posted again.
    pub duplicates: i64,
    /// When its life was posted last.
    pub seen_at: Micros,
    /// The alert.
    pub document: Vec<u8>,
    /// What it has in common with the others of its request.
    pub origin: Vec<u8>,
    /// What became of it, step by step.
    pub ledger: Option<Vec<u8>>,
}

/// Which notifications are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of open lives only the newest that is not a resolve.
    pub open: bool,
    /// Of lives that were posted then or later.
    pub seen_since: Option<Micros>,
    /// By rank.
    pub severity: Option<i16>,
    /// Where it was posted.
    pub scope: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Accepted then or later.
    pub since: Option<Micros>,
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
     l.thread_id, l.sender_key, l.state AS life_state, l.duplicates, l.seen_at, d.document, r.origin, g.ledger";
const TABLES: &str = "notifications n JOIN lives l ON l.number = n.life JOIN documents d ON d.notification = n.number \
     JOIN requests r ON r.number = d.request LEFT JOIN ledgers g ON g.notification = n.number";

/// The notification with this id.
pub(crate) async fn find(database: &Database, id: &str) -> Result<Option<Found>, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE n.id = $1");
    let found = rows(&mut connection, &sql, [id.into()]).await?;
    connection.put_back();
    found.first().map(read).transpose()
}

/// A page of at most `most` notifications that were accepted before the one of number `before`.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    before: Option<i64>,
    most: usize,
) -> Result<Page, StoreError> {
    let mut connection = database.reader().await?;
    let mut numbers = Vec::new();
    let mut before = before.unwrap_or(i64::MAX);
    loop {
        let stride = stride(&mut connection, filter, before, most - numbers.len()).await?;
        numbers.extend(stride.found);
        match stride.next {
            Some(next) if numbers.len() < most => before = next,
            next => {
                let found = page(&mut connection, numbers).await?;
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
    if let Some(since) = filter.seen_since {
        add("l.seen_at >=", since.into());
    }
    let text = filter.text.as_ref().map(|text| text.to_lowercase());
    if let Some(text) = &text {
        add("t.words LIKE '%' ||", like(text).as_str().into());
        conditions.push_str(" || '%' ESCAPE '\\'");
    }
    if filter.open {
        conditions.push_str(" AND l.state = 0 AND l.newest = n.number");
    }
    let life =
        if filter.open || filter.seen_since.is_some() { " JOIN lives l ON l.number = n.life" } else { "" };
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

async fn page(connection: &mut AnyConnection, numbers: Vec<i64>) -> Result<Vec<Found>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE n.number IN {{in}}");
    let values = numbers.into_iter().map(Value::from).collect();
    let mut found = crate::sql::rows_in(connection, &sql, values)
        .await?
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
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
        is_open: row.try_get::<i64, _>("life_state")? == 0,
        duplicates: row.try_get("duplicates")?,
        seen_at: row.try_get("seen_at")?,
        document: row.try_get("document")?,
        origin: row.try_get("origin")?,
        ledger: row.try_get("ledger")?,
    })
}

/// How many notifications are not at their end.
pub(crate) async fn pending(database: &Database) -> Result<u64, StoreError> {
    let mut connection = database.reader().await?;
    let sql = format!("SELECT count(*) FROM notifications WHERE state < {ENDED}");
    let found = rows(&mut connection, &sql, []).await?;
    connection.put_back();
    let count: i64 = found.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    Ok(count.unsigned_abs())
}
