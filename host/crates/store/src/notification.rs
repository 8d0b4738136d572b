//! What the row of a notification says in numbers.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::StoreError;
use crate::life::Disposition;

/// How far it is.
pub(crate) const WAITING: i64 = 0;
pub(crate) const CLAIMED: i64 = 1;
pub(crate) const STARTED: i64 = 2;
pub(crate) const HELD: i64 = 3;
/// It waits for an operator.
pub(crate) const SUSPENDED: i64 = 4;
pub(crate) const ENDED: i64 = 5;

/// What became of an alert as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Every receiver has it.
    Delivered,
    /// Some receivers have it, others exhausted their retries.
    Partial,
    /// No receiver has it.
    Failed,
    /// No receiver was to be notified.
    Dropped,
    /// No route took it.
    Unrouted,
}

impl Outcome {
    /// All of them, in the order of their numbers in the store.
    const ALL: [Self; 5] = [Self::Delivered, Self::Partial, Self::Failed, Self::Dropped, Self::Unrouted];

    pub(crate) fn number(self) -> i64 {
        place(&Self::ALL, self)
    }

    pub(crate) fn from_row(row: &AnyRow) -> Result<Option<Self>, StoreError> {
        let number: Option<i64> = row.try_get("outcome")?;
        Ok(number.and_then(|number| Self::ALL.get(usize::try_from(number).ok()?).copied()))
    }
}

/// The number of a disposition.
pub(crate) fn disposition_number(disposition: Disposition) -> i64 {
    place(&Disposition::ALL, disposition)
}

/// The disposition of a row.
pub(crate) fn disposition(row: &AnyRow) -> Result<Disposition, StoreError> {
    let number: i64 = row.try_get("disposition")?;
    let found = usize::try_from(number).ok().and_then(|number| Disposition::ALL.get(number));
    found.copied().ok_or_else(|| StoreError::damaged("notifications.disposition"))
}

/// The rank of a row's severity.
pub(crate) fn severity(row: &AnyRow) -> Result<i16, StoreError> {
    let rank: i64 = row.try_get("severity")?;
    i16::try_from(rank).map_err(|_| StoreError::damaged("severity"))
}

pub(crate) fn place<T: PartialEq>(all: &[T], one: T) -> i64 {
    let place = all.iter().position(|other| *other == one);
    place.and_then(|place| i64::try_from(place).ok()).unwrap_or_default()
}
