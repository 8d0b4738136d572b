//! Starts the workflows of what the store holds: the most severe first, fair over scopes. Where few alerts wait, each has a workflow
//! of its own; where many do, one carries up to a hundred.

mod carrier;
mod failed;
mod flight;
mod reconcile;
mod settle;
mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use campanile_store::life::Micros;
use campanile_store::{Claim, Lease, Store, StoreError, Take};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::ActivityConfig;
use super::link::Link;
use super::receivers::Receivers;
use crate::records::Records;
pub(super) use carrier::{Carrier, carrier};
use flight::InFlight;

/// How long a claim holds whose workflow is not started: the lease of a host that died.
const LEASE: Micros = 10_000_000;
/// How often the dispatcher looks what has ended, and how often for what is due: held resolves, claims of hosts that died.
const LOOK: Duration = Duration::from_millis(100);
const SWEEP: Duration = Duration::from_secs(1);
/// The delay after the store did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Where more wait, one workflow carries several; so many at most, and so many bytes of alerts, each with what its request has in
/// common. Temporal takes 2 MB per payload, and a ledger can be several times as large as the alert that it tells of.
const FEW: usize = 8;
const TOGETHER: usize = 100;
const TOGETHER_BYTES: usize = 256 << 10;
/// How many alerts are in flight: started, and not at their end. Critical ones have room of their own.
const MOST_IN_FLIGHT: usize = 1_000;
const MOST_CRITICAL: usize = 200;
/// How many workflows are being started at a time, twice as many with those of critical alerts: a server that is slow is asked for
/// no more before it has answered.
const MOST_STARTING: usize = 32;
/// The rank of a critical alert.
const CRITICAL: i16 = 3;

/// The dispatcher of this process. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch(Arc<Shared>);

/// What the dispatcher remembers from round to round.
#[derive(Default)]
struct Rounds {
    /// The scope that was served last.
    last: String,
    /// When it looked for what is due.
    swept: Option<Instant>,
    /// Something came to be started.
    is_woken: bool,
    /// There was no room for all that waited.
    was_full: bool,
}

/// What a claim came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claimed {
    Some,
    Nothing,
    /// As much is in flight as may be.
    NoRoom,
}

struct Shared {
    records: Records,
    link: Link,
    receivers: Receivers,
    activities: ActivityConfig,
    /// Where workflows are started: apart from what accepts alerts.
    threads: Handle,
    /// This process, in leases.
    host: String,
    wake: Notify,
    flight: Mutex<InFlight>,
    /// How many workflows are being started now.
    starting: AtomicUsize,
    /// Whether the store and Temporal were compared since the process began.
    reconciled: watch::Sender<bool>,
}

impl Dispatch {
    /// The dispatcher of what is in these records. It starts workflows on the threads of the tokio runtime that this is called on.
    pub fn new(records: Records, link: Link, receivers: Receivers, activities: ActivityConfig) -> Self {
        Self(Arc::new(Shared {
            records,
            link,
            receivers,
            activities,
            threads: Handle::current(),
            host: Uuid::new_v4().to_string(),
            wake: Notify::new(),
            flight: Mutex::default(),
            starting: AtomicUsize::new(0),
            reconciled: watch::channel(false).0,
        }))
    }

    /// The claim of a lone alert, which this process starts at once, unless others are in flight that may have it wait.
    pub fn claim_of_one(&self) -> Option<Lease> {
        let is_free = self.0.link.client().is_some() && self.0.flight.lock().count() < FEW;
        is_free.then(|| self.lease())
    }

    /// Starts workflows that are claimed, beside the caller.
    pub fn begin(&self, claims: Vec<Claim>) {
        for claim in claims {
            self.0.flight.lock().add(&claim, Instant::now());
            self.0.starting.fetch_add(1, Ordering::Relaxed);
            let shared = self.0.clone();
            self.0.threads.spawn(async move {
                shared.clone().start(claim).await;
                if shared.starting.fetch_sub(1, Ordering::Relaxed) == MOST_STARTING {
                    shared.wake.notify_one();
                }
            });
        }
    }

    /// Something waits to be started.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Returns once the store and Temporal were compared since the process began: what runs in Temporal although it is at its end would
    /// notify again.
    pub async fn reconciled(&self) {
        // The sender is there as long as this is.
        let _ = self.0.reconciled.subscribe().wait_for(|reconciled| *reconciled).await;
    }

    fn starting(&self) -> usize {
        self.0.starting.load(Ordering::Relaxed)
    }

    fn lease(&self) -> Lease {
        Lease { host: self.0.host.clone(), lease: LEASE }
    }

    /// Dispatches, as long as the process runs.
    pub async fn run(self) {
        tokio::join!(self.clone().keep_reconciling(), self.keep_dispatching());
    }

    async fn keep_dispatching(self) {
        let mut rounds = Rounds::default();
        let mut said = String::new();
        loop {
            match self.round(&mut rounds).await {
                Ok(()) => {
                    said.clear();
                    // Without alerts in flight there is nothing to look at.
                    let pause = if self.0.flight.lock().count() > 0 { LOOK } else { SWEEP };
                    rounds.is_woken = timeout(pause, self.0.wake.notified()).await.is_ok();
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != said {
                        tracing::error!(%error, "nothing is dispatched");
                        said = text;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Looks what has ended and what is due, and starts what has room.
    async fn round(&self, rounds: &mut Rounds) -> Result<(), StoreError> {
        let store = self.0.records.store()?;
        if let Err(error) = self.look(&store).await {
            tracing::debug!(%error, "what has ended is looked for later");
        }
        // What is claimed while Temporal is away would only be claimed again.
        if self.0.link.is_away() {
            return Ok(());
        }
        let is_due = rounds.swept.is_none_or(|swept| swept.elapsed() >= SWEEP);
        if is_due {
            store.release().await?;
            let again = match MOST_STARTING.saturating_sub(self.starting()) {
                0 => Vec::new(),
                most => store.reclaim(&self.lease(), most).await?,
            };
            self.begin(again);
            rounds.swept = Some(Instant::now());
        }
        if !is_due && !rounds.is_woken && !rounds.was_full {
            return Ok(());
        }
        // What is critical comes first each time, whatever waits.
        loop {
            let critical = self.claim(&store, true, &mut rounds.last).await?;
            let others = self.claim(&store, false, &mut rounds.last).await?;
            rounds.was_full = [critical, others].contains(&Claimed::NoRoom);
            if ![critical, others].contains(&Claimed::Some) {
                return Ok(());
            }
        }
    }

    /// Claims and starts what there is room for: critical alerts singly, others together where many wait.
    async fn claim(&self, store: &Store, critical: bool, last: &mut String) -> Result<Claimed, StoreError> {
        let (critical_ones, others) = {
            let flight = self.0.flight.lock();
            (flight.critical(), flight.count() - flight.critical())
        };
        let room = match critical {
            true => MOST_CRITICAL.saturating_sub(critical_ones),
            false => MOST_IN_FLIGHT.saturating_sub(others),
        };
        let most_starting = if critical { 2 * MOST_STARTING } else { MOST_STARTING };
        if room == 0 || self.starting() >= most_starting {
            return Ok(Claimed::NoRoom);
        }
        let take = Take {
            claim: self.lease(),
            severities: if critical { CRITICAL..=CRITICAL } else { 0..=CRITICAL - 1 },
            after: last.clone(),
            // Those in flight count as well: a server that is slow has fewer workflows to run.
            most_single: if critical { usize::MAX } else { FEW.saturating_sub(others).max(1) },
            most_together: if critical { FEW.min(room) } else { TOGETHER },
            most_bytes: TOGETHER_BYTES,
        };
        let claims = store.claim(&take).await?;
        let Some(claimed) = claims.last().and_then(|claim| claim.notifications.last()) else {
            return Ok(Claimed::Nothing);
        };
        last.clone_from(&claimed.scope);
        self.begin(claims);
        Ok(Claimed::Some)
    }

    /// Looks which of those in flight are at their end, and notes those that go on.
    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let numbers = self.0.flight.lock().numbers();
        if numbers.is_empty() {
            return Ok(());
        }
        let ended = store.ended(&numbers).await?;
        let going_on = {
            let mut flight = self.0.flight.lock();
            flight.remove(&ended);
            flight.forget(Instant::now());
            flight.going_on(Instant::now())
        };
        if !going_on.is_empty() {
            store.started(&going_on).await?;
            self.0.flight.lock().noted(&going_on);
        }
        Ok(())
    }
}
