//! The worker: polls the task queue and runs workflows and activities, on a thread of its own, because the SDK's
//! future is not `Send`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use temporalio_client::Client;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::{Runtime, Worker as SdkWorker, WorkerOptions};
use tokio::sync::watch;

use super::activities::{AlertActivities, HEARTBEAT};
use super::afterwards::AcknowledgementWorkflow;
use super::late_delivery::LateDeliveryWorkflow;
use super::turns;
use super::workflows::{AlertProcessingWorkflow, BatchAlertProcessingWorkflow};

/// How long running activities may go on after shutdown has begun.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How many workflow tasks and durable activities run at once, the SDK's default.
const SLOTS: usize = 100;

/// How many local activities run at once. One that waits for a slot keeps its workflow task from being recorded; very many would wait
/// for places of plugins longer than they may.
const LOCAL_SLOTS: usize = 200;

/// How many workflows stay in memory between their tasks: more than have a task at once ([`SLOTS`]), and, of batches of a hundred, 12,800
/// alerts that wait for a retry. The others are replayed from their histories when their next retry is due. A batch that waits takes
/// more than a megabyte, so that at the SDK's 1,000 a receiver that is down for long fills more than a gigabyte.
const CACHED: usize = 128;

/// How many durable activities wait for calls of this process at once. One that waits for a slot passes for lost.
const WAITING_SLOTS: usize = 10_000;

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
#[error("the temporal worker cannot be made: {0}")]
pub struct WorkerError(String);

/// A running worker.
pub struct Worker {
    shutdown: Box<dyn Fn() + Send + Sync>,
    ended: watch::Receiver<bool>,
}

impl Worker {
    /// Starts polling the task queue of alerts, or that of critical ones; `polling` is true while it does.
    pub fn start(
        runtime: &Runtime,
        client: Client,
        task_queue: &str,
        activities: AlertActivities,
        polling: Arc<AtomicBool>,
    ) -> Result<Self, WorkerError> {
        let refused = |error: &dyn std::fmt::Display| WorkerError(error.to_string());
        let options = WorkerOptions::new(task_queue)
            .register_activities(activities.clone())
            .register_workflow::<AlertProcessingWorkflow>()
            .map_err(|error| refused(&error))?
            .register_workflow::<BatchAlertProcessingWorkflow>()
            .map_err(|error| refused(&error))?
            .register_workflow::<LateDeliveryWorkflow>()
            .map_err(|error| refused(&error))?
            .register_workflow::<AcknowledgementWorkflow>()
            .map_err(|error| refused(&error))?
            .max_cached_workflows(CACHED)
            .tuner(slots(SLOTS))
            .build();
        Self::run(runtime, client, options, &activities, polling)
    }

    /// Starts polling the task queue of this process alone, for the activities that wait for its calls.
    pub fn start_own(
        runtime: &Runtime,
        client: Client,
        activities: AlertActivities,
    ) -> Result<Self, WorkerError> {
        let options = WorkerOptions::new(activities.calls.queue()).register_activities(activities.clone());
        let options = options.tuner(slots(WAITING_SLOTS)).build();
        Self::run(runtime, client, options, &activities, Arc::default())
    }

    /// Starts polling a task queue that receivers have of their own, for their attempts alone; `rate_limit` is how many Temporal
    /// hands out a second on the average, over all workers of the queue.
    pub fn start_lane(
        runtime: &Runtime,
        client: Client,
        task_queue: &str,
        rate_limit: Option<f64>,
        activities: AlertActivities,
    ) -> Result<Self, WorkerError> {
        let options = WorkerOptions::new(task_queue).register_activities(activities.clone());
        let options = options.maybe_max_task_queue_activities_per_second(rate_limit);
        let options = options.tuner(slots(turns::at_once(rate_limit))).build();
        Self::run(runtime, client, options, &activities, Arc::default())
    }

    fn run(
        runtime: &Runtime,
        client: Client,
        mut options: WorkerOptions,
        activities: &AlertActivities,
        polling: Arc<AtomicBool>,
    ) -> Result<Self, WorkerError> {
        let refused = |error: &dyn std::fmt::Display| WorkerError(error.to_string());
        options.graceful_shutdown_period = Some(GRACE);
        // Each heartbeat goes out, since its answer brings cancellations.
        options.max_heartbeat_throttle_interval = HEARTBEAT;
        let task_queue = options.task_queue.clone();
        // The SDK panics where the system has no file descriptor left.
        let made = catch_unwind(AssertUnwindSafe(|| SdkWorker::new(runtime, client, options)));
        let made = made.map_err(|_| WorkerError("the SDK panicked: the log above says why".to_owned()))?;
        let mut worker = made.map_err(|error| refused(&error))?;
        let shutdown = Box::new(worker.shutdown_handle());
        let (sender, ended) = watch::channel(false);
        // What this spawns are the activities, which call plugins.
        let handle = activities.receivers.registry.threads().clone();
        let run = move || {
            polling.store(true, Ordering::Relaxed);
            match catch_unwind(AssertUnwindSafe(|| handle.block_on(worker.run()))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "temporal worker stopped"),
                Err(_) => tracing::error!("temporal worker panicked: the log above says why"),
            }
            polling.store(false, Ordering::Relaxed);
            sender.send_replace(true);
        };
        let thread = std::thread::Builder::new().name("temporal-worker".to_owned()).spawn(run);
        thread.map_err(|error| refused(&error))?;
        tracing::info!(task_queue, "worker polling");
        Ok(Self { shutdown, ended })
    }

    /// Whether it has stopped.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Returns when the worker has stopped, whatever for.
    pub async fn ended(&mut self) {
        // A sender that is gone has ended, too.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Stops polling and waits until what runs has ended, within the grace period.
    pub async fn stop(mut self) {
        (self.shutdown)();
        if tokio::time::timeout(GRACE + Duration::from_secs(5), self.ended()).await.is_err() {
            tracing::warn!("the temporal worker did not stop in time");
        }
    }
}

/// This many durable activities at once, and local ones without waiting.
fn slots(activities: usize) -> TunerHolder {
    let slots = FixedSizeSlotSupplier::new;
    TunerHolder::builder()
        .workflow_task_slot_supplier(slots(SLOTS))
        .activity_task_slot_supplier(slots(activities))
        .local_activity_task_slot_supplier(slots(LOCAL_SLOTS))
        .nexus_task_slot_supplier(slots(SLOTS))
        .build()
}
