//! The store: which alerts were accepted, which of them are open, and what became of each. In a file of SQLite, or in a database of
//! PostgreSQL that several hosts share.
//!
//! It decides about the life of an alert in the transaction that accepts it ([`life`]), and commits once for all requests that
//! wait. It never calls a plugin and never retries a delivery: Temporal does.

mod accept;
mod batch;
mod database;
mod dead_letter;
mod dispatch;
mod end;
mod error;
mod id;
mod keep;
mod known;
pub mod life;
mod lookup;
mod notification;
mod numbers;
mod queue;
mod record;
mod request;
mod sql;
mod standing;
mod waiters;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use accept::Accepting;
use database::{Database, Kind};
use end::Ending;
use keep::Gauge;
use numbers::Numbers;
use queue::Queue;
use waiters::Waiters;

pub use database::Location;
pub use dead_letter::{DeadLetter, DeadLetterFilter, DeadLetterState, KeptDeadLetter};
pub use dispatch::{Claim, Claimed, Take};
pub use end::{End, Reached};
pub use error::StoreError;
pub use keep::Check;
pub use life::{Disposition, Micros};
pub use lookup::{Filter, Found, Page};
pub use notification::Outcome;
pub use request::{Accepted, Digest, Incoming, Lease, Placed, Request, RequestId, digest};
pub use standing::Standing;

/// How long a question, a claim or a change may take.
const TIME: Duration = Duration::from_secs(15);
/// How often who waits looks for what another host has ended.
const LOOK: Duration = Duration::from_millis(250);

/// An open store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    id: Arc<str>,
    database: Arc<Database>,
    accepting: Arc<Queue<Accepting>>,
    ending: Arc<Queue<Ending>>,
    gauge: Arc<Gauge>,
    waiters: Arc<Waiters>,
    keepers: Arc<[AbortHandle; 2]>,
    pending_limit: u64,
}

/// What a store may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many alerts that are not at their end. What would be more is refused, and may be posted again.
    pub pending: u64,
    /// How long what is over is kept, in microseconds.
    pub retention: Micros,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending: 100_000, retention: 30 * 86_400 * 1_000_000 }
    }
}

impl Store {
    /// Opens a store, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be reached or written, another process uses its file, or its schema is a newer host's.
    pub async fn open(location: Location, limits: Limits) -> Result<Self, StoreError> {
        let database = Arc::new(Database::open(location).await?);
        let id = identify(&database).await?.into();
        let mut connection = database.writer().await?;
        let numbers = Numbers::of(&mut connection).await?;
        connection.put_back();
        let accepting = Arc::new(Queue::start(database.clone(), Accepting { numbers }));
        let ending = Arc::new(Queue::start(database.clone(), Ending));
        let gauge = Arc::new(Gauge::default());
        gauge.count(&database).await?;
        let counting = tokio::spawn(keep::run(database.clone(), gauge.clone()));
        let pruning = tokio::spawn(keep::run_pruning(database.clone(), limits.retention));
        let keepers = Arc::new([counting.abort_handle(), pruning.abort_handle()]);
        let (waiters, pending_limit) = (Arc::default(), limits.pending);
        Ok(Self { id, database, accepting, ending, gauge, waiters, keepers, pending_limit })
    }

    /// The random id that the store has had since it was made.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is, without a password.
    pub fn location(&self) -> String {
        self.database.location.to_string()
    }

    /// Accepts a request: all of its alerts, or none. When this returns, they are committed and synced.
    ///
    /// # Errors
    ///
    /// The request's id was used for other content, or the store cannot take it now ([`StoreError::is_transient`]).
    pub async fn accept(&self, request: Request) -> Result<Accepted, StoreError> {
        let (pending, limit) = (self.gauge.pending(), self.pending_limit);
        let count = i64::try_from(request.alerts.len()).unwrap_or(i64::MAX / 2);
        if pending.saturating_add(count.unsigned_abs()) > limit {
            return Err(StoreError::Full { pending, limit });
        }
        let _reserved = self.gauge.reserve(count);
        let accepted = self.accepting.write(request).await;
        self.gauge.add(accepted.as_ref().map_or(0, Accepted::notified));
        accepted
    }

    /// Claims what waits to be started, of the worst severity that does: one workflow for each, or one for several. Nothing if
    /// nothing waits.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn claim(&self, take: &Take) -> Result<Vec<Claim>, StoreError> {
        in_time(dispatch::claim(&self.database, take)).await
    }

    /// Claims again what was claimed and not started in time, under the same workflows: about `most` notifications.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn reclaim(&self, lease: &Lease, most: usize) -> Result<Vec<Claim>, StoreError> {
        in_time(dispatch::reclaim(&self.database, lease, most)).await
    }

    /// Notes that Temporal has started the workflow of a claim.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn started(&self, claim: &Claim) -> Result<(), StoreError> {
        in_time(dispatch::started(&self.database, claim)).await
    }

    /// Has the resolves wait to be started that were held back long enough, and ends their lives. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn release(&self) -> Result<usize, StoreError> {
        in_time(dispatch::release(&self.database)).await
    }

    /// Notes what became of a notification. When this returns, it is committed and synced. False if the store does not know it.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn end(&self, end: End) -> Result<bool, StoreError> {
        let Some(number) = self.ending.write(end).await? else { return Ok(false) };
        self.gauge.add(-1);
        self.waiters.wake(number);
        Ok(true)
    }

    /// The notification with this id, once it is at its end, or as it is at `until`. `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn wait(&self, id: &str, until: Instant) -> Result<Option<Found>, StoreError> {
        let Some(found) = self.find(id).await? else { return Ok(None) };
        // Before it is looked for: what ends in between is seen.
        let mut waiter = self.waiters.waiter(found.number);
        loop {
            let found = self.find(id).await?;
            if Instant::now() >= until || found.as_ref().is_none_or(|found| found.ended_at.is_some()) {
                return Ok(found);
            }
            let look = match self.database.kind {
                Kind::Sqlite => until,
                // Another host may end it.
                Kind::Postgres => until.min(Instant::now() + LOOK),
            };
            _ = timeout_at(look, waiter.ended()).await;
        }
    }

    /// How the life of the notification with this id stands. `None` if there is no such notification.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn standing(&self, id: &str) -> Result<Option<Standing>, StoreError> {
        in_time(standing::standing(&self.database, id)).await
    }

    /// Acknowledges the life of the notification with this id. Returns the acknowledgement that counts, which is the first. `None` if
    /// there is no such notification.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn acknowledge(&self, id: &str, acknowledgement: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        in_time(standing::acknowledge(&self.database, id, acknowledgement)).await
    }

    /// At most `most` dead letters that are neither delivered nor discarded, by their delivery's id, from behind `after` on.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: &str,
        most: usize,
    ) -> Result<Vec<KeptDeadLetter>, StoreError> {
        in_time(dead_letter::list(&self.database, filter, after, most)).await
    }

    /// Has at most `most` dead letters become `state`. Returns those, as they were.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn change_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        state: DeadLetterState,
        most: usize,
    ) -> Result<Vec<KeptDeadLetter>, StoreError> {
        in_time(dead_letter::change(&self.database, filter, state, most)).await
    }

    /// The notification with this id.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn find(&self, id: &str) -> Result<Option<Found>, StoreError> {
        in_time(lookup::find(&self.database, id)).await
    }

    /// A page of at most `most` notifications, the newest first, from before the number `before` on.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn list(&self, filter: &Filter, before: Option<i64>, most: usize) -> Result<Page, StoreError> {
        in_time(lookup::list(&self.database, filter, before, most)).await
    }

    /// How many notifications are not at their end, as of the last second.
    pub fn pending(&self) -> u64 {
        self.gauge.pending()
    }

    /// Forgets what ended so many microseconds ago, which the store does by itself, too. Returns how many lives there were.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn prune(&self, retention: Micros) -> Result<usize, StoreError> {
        keep::prune(&self.database, retention).await
    }

    /// Writes a copy of the store, as it is now, to a new file.
    ///
    /// # Errors
    ///
    /// The file is there already or cannot be written, or the store is in PostgreSQL.
    pub async fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        keep::back_up(&self.database, to).await
    }

    /// Looks the store over, and counts what is in it.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn check(&self) -> Result<Check, StoreError> {
        keep::check(&self.database).await
    }

    /// Writes all that waits, closes the connections and lets go of the file.
    pub async fn close(&self) {
        self.keepers.iter().for_each(AbortHandle::abort);
        self.accepting.close().await;
        self.ending.close().await;
        self.database.close().await;
    }
}

/// Does what a database that is gone would hold up for as long as the network waits.
async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable(format!("it took longer than {TIME:?}"));
    timeout(TIME, work).await.map_err(late)?
}

/// The id of the store, which the first process that opens it chooses.
async fn identify(database: &Database) -> Result<String, StoreError> {
    let mut connection = database.writer().await?;
    let sql = format!(
        "INSERT INTO store (only_row, id, created_at) VALUES (1, $1, {}) ON CONFLICT (only_row) DO NOTHING",
        database.kind.clock()
    );
    let id = uuid::Uuid::new_v4().to_string();
    sql::execute(&mut connection, &sql, [id.as_str().into()]).await?;
    let found = sql::rows(&mut connection, "SELECT id FROM store", []).await?;
    connection.put_back();
    Ok(found.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}
