//! The store: which alerts were accepted, which of them are open, and what became of each. In a file of SQLite, or in a database of
//! PostgreSQL that several hosts share.
//!
//! It decides about the life of an alert in the transaction that accepts it ([`life`]), and commits once for all requests that
//! wait. It never calls a plugin and never retries a delivery: Temporal does.

mod accept;
mod batch;
mod check;
mod database;
mod dead_letter;
mod dispatch;
mod end;
mod error;
mod file_lock;
mod hash;
mod id;
mod keep;
mod known;
pub mod life;
mod lookup;
mod notification;
mod numbers;
mod queue;
mod reader;
mod record;
mod request;
mod rewrite;
mod spool;
mod sql;
mod standing;
mod suspend;
mod waiters;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use accept::Accepting;
use database::{Database, Kind};
use end::Ending;
use hash::HashKey;
use keep::Gauge;
use numbers::Numbers;
use queue::Queue;
use spool::{SpoolGauge, Spooling};
use waiters::Waiters;

pub use check::Check;
pub use database::{Location, lock};
use dead_letter::DeadLettering;
pub use dead_letter::{DeadLetter, DeadLetterFilter, DeadLetterState, KeptDeadLetter};
pub use dispatch::{Claim, Claimed, Take};
pub use end::{End, Reached};
pub use error::StoreError;
pub use file_lock::FileLock;
pub use life::{Disposition, Micros};
pub use lookup::{Filter, Found, Page, Progress, Waiting};
pub use notification::Outcome;
pub use reader::{StoreReader, copy_database};
pub use request::{Accepted, Digest, Incoming, Lease, Placed, Request, RequestId, digest};
pub use rewrite::Encryption;
pub use spool::{KeptRequest, SetAsideFilter, SpoolFull, SpoolLimits, SpoolSize, SpooledRequest};
pub use standing::Standing;
pub use suspend::{Restored, suspend_restored};

/// In microseconds.
const DAY: Micros = 86_400 * 1_000_000;
/// How long a question, a claim or a change may take.
const TIME: Duration = Duration::from_secs(15);
/// How often who waits looks for what another host has ended.
const LOOK: Duration = Duration::from_millis(250);
/// The same in a file, where what is superseded ends without a wake.
const LOOK_AT_FILE: Duration = Duration::from_secs(2);

/// An open store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    id: Arc<str>,
    hash_key: Arc<HashKey>,
    database: Arc<Database>,
    accepting: Arc<Queue<Accepting>>,
    ending: Arc<Queue<Ending>>,
    dead_lettering: Arc<Queue<DeadLettering>>,
    spooling: Arc<Queue<Spooling>>,
    gauge: Arc<Gauge>,
    spool_gauge: Arc<SpoolGauge>,
    waiters: Arc<Waiters>,
    keepers: Arc<[AbortHandle; 3]>,
    pending_limit: u64,
    stale_after: Micros,
    /// The threads on which it was opened: on others, what dispatches would keep the connection that writes while it waits for its turn.
    threads: Handle,
}

/// What a store may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many alerts that are not at their end. What would be more is refused, and may be posted again.
    pub pending: u64,
    /// How long what is over is kept, in microseconds.
    pub retention: Micros,
    /// After how long an open life is stale that is not posted again, in microseconds.
    pub stale_after: Micros,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending: 100_000, retention: 30 * DAY, stale_after: DAY }
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
        let (id, hash_key) = identify(&database).await?;
        let (id, hash_key) = (id.into(), Arc::new(hash_key));
        dispatch::release_claims(&database).await?;
        let mut connection = database.writer().await?;
        let numbers = Numbers::of(&mut connection).await?;
        connection.put_back();
        let accepting = Arc::new(Queue::start(database.clone(), Accepting { numbers }));
        let ending = Arc::new(Queue::start(database.clone(), Ending));
        let dead_lettering = Arc::new(Queue::start(database.clone(), DeadLettering));
        let spooling = Arc::new(Queue::start(database.clone(), Spooling));
        let (gauge, spool_gauge) = (Arc::new(Gauge::default()), Arc::new(SpoolGauge::default()));
        gauge.count(&database).await?;
        spool_gauge.measure(&database).await?;
        let counting = tokio::spawn(keep::run(database.clone(), gauge.clone(), spool_gauge.clone()));
        let pruning = tokio::spawn(keep::run_pruning(database.clone(), limits.retention));
        let cutting = tokio::spawn(keep::run_cutting(database.clone()));
        let keepers = Arc::new([counting.abort_handle(), cutting.abort_handle(), pruning.abort_handle()]);
        let Limits { pending: pending_limit, stale_after, .. } = limits;
        Ok(Self {
            id,
            hash_key,
            database,
            accepting,
            ending,
            dead_lettering,
            spooling,
            gauge,
            spool_gauge,
            waiters: Arc::default(),
            keepers,
            pending_limit,
            stale_after,
            threads: Handle::current(),
        })
    }

    /// The random id that the store has had since it was made.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A hash of a text, with a random key that the store alone has: the same on all hosts of this store, and who knows the hash
    /// cannot check a guess of the text.
    pub fn keyed_hash(&self, text: &str) -> String {
        self.hash_key.hash(text)
    }

    /// Where it is, without a password.
    pub fn location(&self) -> String {
        self.database.location.to_string()
    }

    /// Whether other processes can use it, too.
    pub fn is_shared(&self) -> bool {
        self.database.kind == Kind::Postgres
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
        if let Err(error @ (StoreError::Unavailable(_) | StoreError::NotWritable(_))) = &accepted {
            self.gauge.doubt(error.clone());
        }
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
        let take = take.clone();
        self.on_own_threads(|database| async move { dispatch::claim(&database, &take).await }).await
    }

    /// Claims again what was claimed and not started in time, under the same workflows: about `most` notifications.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn reclaim(&self, lease: &Lease, most: usize) -> Result<Vec<Claim>, StoreError> {
        let lease = lease.clone();
        self.on_own_threads(|database| async move { dispatch::reclaim(&database, &lease, most).await }).await
    }

    /// Notes that Temporal has started the workflows of these notifications.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn started(&self, numbers: &[i64]) -> Result<(), StoreError> {
        let numbers = numbers.to_vec();
        self.on_own_threads(|database| async move { dispatch::started(&database, &numbers).await }).await
    }

    /// Those of these notifications that are at their end.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn ended(&self, numbers: &[i64]) -> Result<Vec<i64>, StoreError> {
        in_time(dispatch::ended(&self.database, numbers)).await
    }

    /// Notes that another workflow carries a notification: one of its id is in Temporal already, and not of this store.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn carry_by(&self, number: i64, workflow_id: &str) -> Result<(), StoreError> {
        in_time(dispatch::carry_by(&self.database, number, workflow_id)).await
    }

    /// At most `most` notifications that were started, are not at their end, and were accepted so many microseconds ago or earlier: from
    /// behind the number `after` on.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn started_before(
        &self,
        age: Micros,
        after: i64,
        most: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        in_time(dispatch::started_before(&self.database, age, after, most)).await
    }

    /// Those of these workflows that carry notifications which are all suspended or at their end, and have been for so many microseconds.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn ended_carriers(&self, workflows: &[&str], age: Micros) -> Result<Vec<String>, StoreError> {
        in_time(dispatch::ended_carriers(&self.database, workflows, age)).await
    }

    /// Has notifications started again, under the workflows that carried them: Temporal does not know these.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn restart(&self, numbers: &[i64]) -> Result<(), StoreError> {
        in_time(dispatch::restart(&self.database, numbers)).await
    }

    /// Suspends notifications that were started: nothing is done with them until they are resumed.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn suspend(&self, numbers: &[i64]) -> Result<(), StoreError> {
        in_time(suspend::suspend(&self.database, numbers)).await
    }

    /// At most `most` suspended notifications behind the number `after`, the oldest first: those with these ids, or any.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn suspended(
        &self,
        ids: Option<&[String]>,
        after: i64,
        most: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        in_time(suspend::suspended(&self.database, ids, after, most)).await
    }

    /// Has suspended notifications be started.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn resume(&self, numbers: &[i64]) -> Result<(), StoreError> {
        in_time(suspend::resume(&self.database, numbers)).await
    }

    /// Has the resolves wait to be started that were held back long enough, and ends their lives. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn release(&self) -> Result<usize, StoreError> {
        self.on_own_threads(|database| async move { dispatch::release(&database).await }).await
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

    /// The notifications with these ids, once all of them are at their end, or as they are at `until`: without those that the store does
    /// not know.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn wait(&self, ids: &[&str], until: Instant) -> Result<Vec<Found>, StoreError> {
        let numbers = in_time(lookup::numbers(&self.database, ids)).await?;
        // Before they are looked for: what ends in between is seen.
        let mut waiters: BTreeMap<_, _> =
            numbers.iter().map(|number| (*number, self.waiters.waiter(*number))).collect();
        let look = match self.database.kind {
            Kind::Sqlite => LOOK_AT_FILE,
            // Another host may end it.
            Kind::Postgres => LOOK,
        };
        loop {
            for number in self.ended(&numbers).await? {
                waiters.remove(&number);
            }
            if waiters.is_empty() || Instant::now() >= until {
                break;
            }
            let all = async {
                for waiter in waiters.values_mut() {
                    waiter.ended().await;
                }
            };
            _ = timeout_at(until.min(Instant::now() + look), all).await;
        }
        in_time(lookup::find_all(&self.database, self.stale_after, numbers)).await
    }

    /// How the life of the notification with this id stands. `None` if there is no such notification.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn standing(&self, id: &str) -> Result<Option<Standing>, StoreError> {
        in_time(standing::standing(&self.database, id)).await
    }

    /// The notifications of the life of this one, resolves aside, that are not at their end: the id of each, and the workflow that
    /// carries it, if there is one.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn under_way(&self, id: &str) -> Result<Vec<(String, Option<String>)>, StoreError> {
        in_time(standing::under_way(&self.database, id)).await
    }

    /// At most `most` ledgers of the life of this notification, resolves aside, the newest first.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn ledgers(&self, id: &str, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        in_time(standing::ledgers(&self.database, id, most)).await
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

    /// Writes a dead letter, or what became of it; with the receiver that has the alert, where it was delivered. When this returns, it
    /// is committed and synced. False if the store does not know its notification.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn put_dead_letter(
        &self,
        letter: DeadLetter,
        reached: Option<Reached>,
    ) -> Result<bool, StoreError> {
        self.dead_lettering.write((letter, reached)).await
    }

    /// At most `most` dead letters, the latest first: those that were delivered or discarded (`are_over`), or those that were not.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        are_over: bool,
        most: usize,
    ) -> Result<Vec<KeptDeadLetter>, StoreError> {
        in_time(dead_letter::list(&self.database, filter, are_over, most)).await
    }

    /// The dead letters of the notification with this id, in any state.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn dead_letters_of(&self, alert_id: &str) -> Result<Vec<KeptDeadLetter>, StoreError> {
        in_time(dead_letter::of_alert(&self.database, alert_id)).await
    }

    /// At most `most` dead letters behind the delivery `after` that have been tried again for so many microseconds.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn retrying_dead_letters(
        &self,
        age: Micros,
        after: &str,
        most: usize,
    ) -> Result<Vec<KeptDeadLetter>, StoreError> {
        in_time(dead_letter::retrying(&self.database, age, after, most)).await
    }

    /// Those of these deliveries whose dead letters have not been tried again for so many microseconds.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn ended_retries(&self, deliveries: &[&str], age: Micros) -> Result<Vec<String>, StoreError> {
        in_time(dead_letter::ended(&self.database, deliveries, age)).await
    }

    /// Has at most `most` dead letters be tried again or discarded, as `state` says. Returns those, as they were.
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

    /// Has a dead letter that was tried again wait as before: what tried it is no more.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn exhaust_again(&self, delivery_id: &str) -> Result<(), StoreError> {
        in_time(dead_letter::exhaust_again(&self.database, delivery_id)).await
    }

    /// How many dead letters are neither delivered nor discarded.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn count_dead_letters(&self) -> Result<u64, StoreError> {
        in_time(dead_letter::count(&self.database)).await
    }

    /// The notification with this id.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn find(&self, id: &str) -> Result<Option<Found>, StoreError> {
        in_time(lookup::find(&self.database, self.stale_after, id)).await
    }

    /// A page of at most `most` notifications, the newest first, from before the number `before` on.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn list(&self, filter: &Filter, before: Option<i64>, most: usize) -> Result<Page, StoreError> {
        in_time(lookup::list(&self.database, self.stale_after, filter, before, most)).await
    }

    /// Keeps a request until it can be accepted, if there is room for it. When this returns, it is committed and synced.
    ///
    /// # Errors
    ///
    /// The store cannot take it now.
    pub async fn spool(
        &self,
        request: SpooledRequest,
        limits: SpoolLimits,
    ) -> Result<Result<(), SpoolFull>, StoreError> {
        let kept = self.spooling.write((request, limits)).await;
        self.spool_changed(kept).await
    }

    /// How much is spooled, as of the last second and with what this process has changed since.
    pub fn spool_size(&self) -> SpoolSize {
        self.spool_gauge.size()
    }

    /// Whether spooled requests of this source wait.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn holds_spooled(&self, source: &str) -> Result<bool, StoreError> {
        if self.spool_size().requests == 0 {
            return Ok(false);
        }
        in_time(spool::holds(&self.database, source)).await
    }

    /// At most `most` spooled requests that wait behind this number, in order of receipt.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn spooled_behind(&self, number: i64, most: usize) -> Result<Vec<KeptRequest>, StoreError> {
        in_time(spool::behind(&self.database, number, most)).await
    }

    /// At most `most` requests that are set aside, before this number, the latest first.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn set_aside_before(&self, number: i64, most: usize) -> Result<Vec<KeptRequest>, StoreError> {
        in_time(spool::set_aside(&self.database, number, most)).await
    }

    /// Notes how often a spooled request failed, and why. One that `is_set_aside` waits no more.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn note_spool_failure(
        &self,
        number: i64,
        failures: u32,
        error: &[u8],
        is_set_aside: bool,
    ) -> Result<(), StoreError> {
        let noted = in_time(spool::note_failure(&self.database, number, failures, error, is_set_aside)).await;
        self.spool_changed(noted).await
    }

    /// Forgets a spooled request that was accepted.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn remove_spooled(&self, number: i64) -> Result<(), StoreError> {
        let removed = in_time(spool::remove(&self.database, number)).await;
        self.spool_changed(removed).await
    }

    /// Has requests that are set aside wait again, behind all others. Returns their ids.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn retry_set_aside(&self, filter: &SetAsideFilter) -> Result<Vec<String>, StoreError> {
        let changed = in_time(spool::retry(&self.database, filter)).await;
        self.spool_changed(changed).await
    }

    /// Forgets requests that are set aside. Returns their ids.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn discard_set_aside(&self, filter: &SetAsideFilter) -> Result<Vec<String>, StoreError> {
        let changed = in_time(spool::discard(&self.database, filter)).await;
        self.spool_changed(changed).await
    }

    /// Measures the spool again once it was changed.
    async fn spool_changed<T>(&self, changed: Result<T, StoreError>) -> Result<T, StoreError> {
        let changed = changed?;
        if let Err(error) = in_time(self.spool_gauge.measure(&self.database)).await {
            tracing::debug!(%error, "the spool is measured later");
        }
        Ok(changed)
    }

    /// Takes or renews a lease on what one host does for all: whether `holder` has it now, for so many microseconds.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    pub async fn lease(&self, name: &str, holder: &str, span: Micros) -> Result<bool, StoreError> {
        in_time(spool::lease(&self.database, name, holder, span)).await
    }

    /// Why it takes nothing: the database could not be used at the last look, a second ago or less, or as much is pending as may.
    pub fn fault(&self) -> Option<StoreError> {
        let (pending, limit) = (self.gauge.pending(), self.pending_limit);
        let full = || (pending >= limit).then_some(StoreError::Full { pending, limit });
        self.gauge.fault().or_else(full)
    }

    /// What waits to be started, as of the last second.
    pub fn queue(&self) -> Waiting {
        self.gauge.queue()
    }

    /// How many notifications are suspended, as of the last second.
    pub fn suspended_count(&self) -> u64 {
        self.gauge.suspended()
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

    async fn on_own_threads<T, F>(&self, work: impl FnOnce(Arc<Database>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let done = self.threads.spawn(in_time(work(self.database.clone()))).await;
        done.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    /// Writes all that waits, closes the connections and lets go of the file.
    pub async fn close(&self) {
        self.keepers.iter().for_each(AbortHandle::abort);
        self.accepting.close().await;
        self.ending.close().await;
        self.dead_lettering.close().await;
        self.spooling.close().await;
        self.database.close().await;
    }
}

/// Does what a database that is gone would hold up for as long as the network waits.
async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable(format!("it took longer than {TIME:?}"));
    timeout(TIME, work).await.map_err(late)?
}

/// The id of the store and its key for hashes, which the first process that opens it chooses.
async fn identify(database: &Database) -> Result<(String, HashKey), StoreError> {
    let mut connection = database.writer().await?;
    let sql = format!(
        "INSERT INTO store (only_row, id, hash_key, created_at) VALUES (1, $1, $2, {}) ON CONFLICT (only_row) DO NOTHING",
        database.kind.clock()
    );
    let (id, key) = (uuid::Uuid::new_v4().to_string(), HashKey::random());
    sql::execute(&mut connection, &sql, [id.as_str().into(), key.as_bytes().into()]).await?;
    let found = sql::rows(&mut connection, "SELECT id, hash_key FROM store", []).await?;
    connection.put_back();
    let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok((row.try_get(0)?, HashKey::from_bytes(row.try_get(1)?)))
}
