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

use sqlx::Row;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use accept::Accepting;
use database::Database;
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

/// An open store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    id: Arc<str>,
    database: Arc<Database>,
    accepting: Arc<Queue<Accepting>>,
    ending: Arc<Queue<Ending>>,
    gauge: Arc<Gauge>,
    waiters: Arc<Waiters>,
    keeper: AbortHandle,
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
        let numbers = Numbers::of(&mut *database.writers.acquire().await?).await?;
        let accepting = Arc::new(Queue::start(database.clone(), Accepting { numbers }));
        let ending = Arc::new(Queue::start(database.clone(), Ending));
        let gauge = Arc::new(Gauge::default());
        gauge.add(lookup::pending(&database).await? as usize);
        let keeping = keep::run(database.clone(), gauge.clone(), limits.retention);
        let keeper = tokio::spawn(keeping).abort_handle();
        Ok(Self {
            id,
            database,
            accepting,
            ending,
            gauge,
            waiters: Arc::default(),
            keeper,
            pending_limit: limits.pending,
        })
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
        if pending + request.alerts.len() as u64 > limit {
            return Err(StoreError::Full { pending, limit });
        }
        let accepted = self.accepting.write(request).await?;
        self.gauge.add(accepted.alerts.len());
        Ok(accepted)
    }

    /// Claims what waits to be started, of the worst severity that does: one workflow for each, or one for several. Nothing if
    /// nothing waits.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn claim(&self, take: &Take) -> Result<Vec<Claim>, StoreError> {
        dispatch::claim(&self.database, take).await
    }

    /// Claims again what was claimed and not started in time, under the same workflows: about `most` notifications.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn reclaim(&self, lease: &Lease, most: usize) -> Result<Vec<Claim>, StoreError> {
        dispatch::reclaim(&self.database, lease, most).await
    }

    /// Notes that Temporal has started the workflow of a claim.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn started(&self, claim: &Claim) -> Result<(), StoreError> {
        dispatch::started(&self.database, claim).await
    }

    /// Has the resolves wait to be started that were held back long enough, and ends their lives. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn release(&self) -> Result<usize, StoreError> {
        dispatch::release(&self.database).await
    }

    /// Notes what became of a notification. When this returns, it is committed and synced.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn end(&self, end: End) -> Result<(), StoreError> {
        let number = end.number;
        self.ending.write(end).await?;
        self.waiters.wake(number);
        Ok(())
    }

    /// The notification with this id, once it is at its end, or as it is at `until`. `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn wait(&self, id: &str, until: Instant) -> Result<Option<Found>, StoreError> {
        loop {
            let found = self.find(id).await?;
            let Some(number) =
                found.as_ref().filter(|found| found.ended_at.is_none()).map(|found| found.number)
            else {
                return Ok(found);
            };
            if Instant::now() >= until {
                return Ok(found);
            }
            self.waiters.wait(number, until).await;
        }
    }

    /// How the life of the notification with this id stands. `None` if there is no such notification.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn standing(&self, id: &str) -> Result<Option<Standing>, StoreError> {
        standing::standing(&self.database, id).await
    }

    /// Acknowledges the life of the notification with this id. Returns the acknowledgement that counts, which is the first. `None` if
    /// there is no such notification.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn acknowledge(&self, id: &str, acknowledgement: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        standing::acknowledge(&self.database, id, acknowledgement).await
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
        dead_letter::list(&self.database, filter, after, most).await
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
        dead_letter::change(&self.database, filter, state, most).await
    }

    /// The notification with this id.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn find(&self, id: &str) -> Result<Option<Found>, StoreError> {
        lookup::find(&self.database, id).await
    }

    /// A page of at most `most` notifications, the newest first, from before the number `before` on.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn list(&self, filter: &Filter, before: Option<i64>, most: usize) -> Result<Page, StoreError> {
        lookup::list(&self.database, filter, before, most).await
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
        self.keeper.abort();
        self.accepting.close().await;
        self.ending.close().await;
        self.database.close().await;
    }
}

/// The id of the store, which the first process that opens it chooses.
async fn identify(database: &Database) -> Result<String, StoreError> {
    let mut connection = database.writers.acquire().await?;
    let sql = format!(
        "INSERT INTO store (only_row, id, created_at) VALUES (1, $1, {}) ON CONFLICT (only_row) DO NOTHING",
        database.kind.clock()
    );
    let id = uuid::Uuid::new_v4().to_string();
    sql::execute(&mut connection, &sql, [id.as_str().into()]).await?;
    let found = sql::rows(&mut connection, "SELECT id FROM store", []).await?;
    Ok(found.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}
