//! A worker for each task queue that receivers have of their own. They come with the routes; one that is no longer named goes
//! on until the process ends, since what was planned for it is still to be delivered. And one for the queue of the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use temporalio_sdk::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

use super::activities::AlertActivities;
use super::link::Link;
use super::worker::{GRACE, Worker};

/// How often it is looked whether there are others.
const INTERVAL: Duration = Duration::from_millis(500);

/// Keeps them polling until told to stop.
pub async fn keep_lanes(
    runtime: Arc<Runtime>,
    link: Link,
    activities: AlertActivities,
    mut stopped: watch::Receiver<bool>,
) {
    let mut lanes: BTreeMap<String, (Option<f64>, Worker)> = BTreeMap::new();
    while !*stopped.borrow() {
        if let Some(client) = link.owned_client() {
            for (queue, limit) in activities.receivers.lanes() {
                let is_there =
                    lanes.get(&queue).is_some_and(|(of, worker)| *of == limit && !worker.has_ended());
                if is_there {
                    continue;
                }
                if let Some((_, before)) = lanes.remove(&queue) {
                    // Two workers of one queue in one process are refused.
                    before.stop().await;
                }
                match Worker::start_lane(&runtime, client.clone(), &queue, limit, activities.clone()) {
                    Ok(worker) => _ = lanes.insert(queue, (limit, worker)),
                    Err(error) => tracing::error!(queue, %error, "no worker"),
                }
            }
        }
        // A sender that is gone has stopped, too.
        let _ = tokio::time::timeout(INTERVAL, stopped.wait_for(|stopped| *stopped)).await;
    }
    futures::future::join_all(lanes.into_values().map(|(_, worker)| worker.stop())).await;
}

/// Keeps a worker polling the task queue of this process alone. When the process stops, this is the last one: the calls that run
/// go on within the grace period, and what waits for the others then ends, so that another process makes them again.
pub async fn keep_own_queue(
    runtime: Arc<Runtime>,
    link: Link,
    activities: AlertActivities,
    mut stopped: watch::Receiver<bool>,
    others: impl Future<Output = ()>,
) {
    let polling = async {
        let mut worker: Option<Worker> = None;
        while !*stopped.borrow() {
            if worker.as_ref().is_none_or(Worker::has_ended)
                && let Some(client) = link.owned_client()
            {
                if let Some(before) = worker.take() {
                    before.stop().await;
                }
                let started = Worker::start_own(&runtime, client, activities.clone());
                worker = started.inspect_err(|error| tracing::error!(%error, "no worker")).ok();
            }
            // A sender that is gone has stopped, too.
            let _ = tokio::time::timeout(INTERVAL, stopped.wait_for(|stopped| *stopped)).await;
        }
        activities.calls.stop();
        (worker, Instant::now() + GRACE)
    };
    let ((worker, deadline), ()) = tokio::join!(polling, others);
    activities.calls.drained(deadline).await;
    activities.calls.end();
    if let Some(worker) = worker {
        worker.stop().await;
    }
}
