//! A life as its row has it.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::StoreError;
use crate::life::{Life, Micros, Severity, State};
use crate::sql::Value;

/// The columns that [`LifeRecord::from_row`] reads.
pub(crate) const COLUMNS: &str = "number, thread_id, scope, sender_key, identity, state, severity, vendor_level, starts_at, began_at, \
     seen_at, notified_at, ended_at, duplicates, resolved_again, flaps, id_at, newest, document_digest, resolve, held_until, acknowledged_at, \
     nothing_open, (SELECT id FROM notifications WHERE notifications.number = lives.resolve) AS resolve_id, \
     (SELECT id FROM notifications WHERE notifications.number = lives.nothing_open) AS nothing_open_id";

/// Those that a post can change, without the acknowledgement, which has writers of its own.
const WRITTEN: [&str; 22] = [
    "number",
    "thread_id",
    "scope",
    "sender_key",
    "identity",
    "state",
    "severity",
    "vendor_level",
    "starts_at",
    "began_at",
    "seen_at",
    "notified_at",
    "ended_at",
    "duplicates",
    "resolved_again",
    "flaps",
    "id_at",
    "newest",
    "document_digest",
    "resolve",
    "held_until",
    "nothing_open",
];

/// A life.
#[derive(Clone, Debug)]
pub(crate) struct LifeRecord {
    pub(crate) number: i64,
    pub(crate) thread_id: String,
    pub(crate) scope: String,
    pub(crate) key: Option<String>,
    pub(crate) identity: Option<Vec<u8>>,
    pub(crate) life: Life,
    pub(crate) is_acknowledged: bool,
    pub(crate) began_at: Micros,
    pub(crate) seen_at: Micros,
    pub(crate) ended_at: Option<Micros>,
    pub(crate) duplicates: i64,
    /// How often a resolve was posted again, or ended nothing.
    pub(crate) resolved_again: i64,
    pub(crate) flaps: i64,
    /// The latest time in an id of this identity.
    pub(crate) id_at: Micros,
    /// Its newest notification that is not a resolve, and a digest of that one's document.
    pub(crate) newest: i64,
    pub(crate) document_digest: Vec<u8>,
    /// Its newest resolve.
    pub(crate) resolve: Option<i64>,
    pub(crate) resolve_id: Option<String>,
    /// The first resolve that came and ended nothing.
    pub(crate) nothing_open: Option<i64>,
    pub(crate) nothing_open_id: Option<String>,
}

impl LifeRecord {
    pub(crate) fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let state: i64 = row.try_get("state")?;
        let severity: i64 = row.try_get("severity")?;
        let life = Life {
            state: match state {
                0 => State::Open,
                1 => State::Ended,
                _ => State::Momentary,
            },
            severity: Severity {
                rank: i16::try_from(severity).unwrap_or(i16::MAX),
                vendor_level: row.try_get("vendor_level")?,
            },
            starts_at: row.try_get("starts_at")?,
            notified_at: row.try_get("notified_at")?,
            held_until: row.try_get("held_until")?,
        };
        Ok(Self {
            number: row.try_get("number")?,
            thread_id: row.try_get("thread_id")?,
            scope: row.try_get("scope")?,
            key: row.try_get("sender_key")?,
            identity: row.try_get("identity")?,
            life,
            is_acknowledged: row.try_get::<Option<i64>, _>("acknowledged_at")?.is_some(),
            began_at: row.try_get("began_at")?,
            seen_at: row.try_get("seen_at")?,
            ended_at: row.try_get("ended_at")?,
            duplicates: row.try_get("duplicates")?,
            resolved_again: row.try_get("resolved_again")?,
            flaps: row.try_get("flaps")?,
            id_at: row.try_get("id_at")?,
            newest: row.try_get("newest")?,
            document_digest: row.try_get("document_digest")?,
            resolve: row.try_get("resolve")?,
            resolve_id: row.try_get("resolve_id")?,
            nothing_open: row.try_get("nothing_open")?,
            nothing_open_id: row.try_get("nothing_open_id")?,
        })
    }

    /// The id of what ended it, else its own.
    pub(crate) fn end_id(&self) -> &str {
        self.resolve_id.as_deref().unwrap_or(&self.thread_id)
    }

    /// The statement that writes lives, before and behind their values.
    pub(crate) fn upsert() -> (String, String) {
        let set: Vec<_> = WRITTEN[1..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
        (
            format!("INSERT INTO lives ({})", WRITTEN.join(", ")),
            format!(" ON CONFLICT (number) DO UPDATE SET {}", set.join(", ")),
        )
    }

    /// What a duplicate changes of its row: the number, then as [`Self::COUNT`] has it.
    pub(crate) fn to_counts(&self) -> Vec<Value> {
        [self.number, self.duplicates, self.resolved_again, self.seen_at].map(Value::from).into()
    }

    /// What is set to [`Self::to_counts`].
    pub(crate) const COUNT: &str =
        "duplicates = new.column2, resolved_again = new.column3, seen_at = new.column4";

    /// Its row, in the order of [`WRITTEN`].
    pub(crate) fn to_values(&self) -> Vec<Value> {
        let state = match self.life.state {
            State::Open => 0,
            State::Ended => 1,
            State::Momentary => 2,
        };
        vec![
            self.number.into(),
            self.thread_id.as_str().into(),
            self.scope.as_str().into(),
            self.key.as_deref().into(),
            Value::Bytes(self.identity.clone()),
            Value::from(state),
            i64::from(self.life.severity.rank).into(),
            self.life.severity.vendor_level.into(),
            self.life.starts_at.into(),
            self.began_at.into(),
            self.seen_at.into(),
            self.life.notified_at.into(),
            self.ended_at.into(),
            self.duplicates.into(),
            self.resolved_again.into(),
            self.flaps.into(),
            self.id_at.into(),
            self.newest.into(),
            self.document_digest.as_slice().into(),
            self.resolve.into(),
            self.life.held_until.into(),
            self.nothing_open.into(),
        ]
    }
}
