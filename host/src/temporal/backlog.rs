//! How many alerts wait for a worker, and whether there is one. An alert that is posted is as a rule started eagerly, in the
//! process that took it, past the task queue. Priorities hold within the queue alone: where alerts wait, all have to stand in
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use temporalio_client::Client;
use temporalio_client::tonic::{IntoRequest, Status};
use temporalio_common::protos::temporal::api::enums::v1::TaskQueueType;
use temporalio_common::protos::temporal::api::taskqueue::v1::{PollerInfo, TaskQueue};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeTaskQueueRequest;

use super::link::Link;
use crate::telemetry::metric;

/// How often a process asks that starts alerts past the queue.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often one asks that has no worker.
const SELDOM: Duration = Duration::from_secs(10);
/// How often one asks that has had no answer yet.
const SOON: Duration = Duration::from_millis(250);
/// With more than this many waiting, nothing is started past them.
const MOST_WAITING: i64 = 50;
/// A worker polls at least once a minute, and Temporal lists it for five after its last poll.
const RECENT: i64 = 120;

/// What waits, and who polls. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<Seen>);

#[derive(Default)]
struct Seen {
    is_long: AtomicBool,
    is_polled: Mutex<Option<bool>>,
}

impl Backlog {
    /// Whether an alert may be started past the task queue.
    pub(super) fn is_short(&self) -> bool {
        !self.0.is_long.load(Ordering::Relaxed)
    }

    /// Whether any worker polls the queue; `None` if that is not known now.
    pub(super) fn is_polled(&self) -> Option<bool> {
        *self.0.is_polled.lock()
    }

    fn note(&self, queue: &Queue) {
        self.0.is_long.store(queue.waiting > MOST_WAITING, Ordering::Relaxed);
        *self.0.is_polled.lock() = Some(queue.pollers > 0);
        metric::task_queue(queue.waiting, queue.pollers);
    }
}

/// Keeps track of the host's task queue, as long as the process runs.
pub async fn watch_backlog(link: Link, works: bool) {
    loop {
        tokio::time::sleep(pause(works, link.is_queue_polled().is_some())).await;
        let Some(client) = link.client() else { continue };
        match ask(&client, &link.task_queue).await {
            Ok(queue) => link.backlog.note(&queue),
            Err(error) => {
                tracing::debug!(%error, "what waits and who polls is not known");
                *link.backlog.0.is_polled.lock() = None;
            }
        }
    }
}

/// How long to wait until it is asked.
fn pause(works: bool, is_known: bool) -> Duration {
    match (works, is_known) {
        (_, false) => SOON,
        (true, true) => INTERVAL,
        (false, true) => SELDOM,
    }
}

/// A task queue as Temporal describes it.
struct Queue {
    waiting: i64,
    pollers: usize,
}

async fn ask(client: &Client, task_queue: &str) -> Result<Queue, Status> {
    let request = DescribeTaskQueueRequest {
        namespace: client.options().namespace.clone(),
        task_queue: Some(TaskQueue { name: task_queue.to_owned(), ..TaskQueue::default() }),
        task_queue_type: TaskQueueType::Workflow.into(),
        report_stats: true,
        ..DescribeTaskQueueRequest::default()
    };
    let answer = client.connection().workflow_service().describe_task_queue(request.into_request()).await?;
    let answer = answer.into_inner();
    let now = jiff::Timestamp::now().as_second();
    let pollers = answer.pollers.iter().filter(|poller| is_recent(poller, now)).count();
    Ok(Queue { waiting: answer.stats.map_or(0, |stats| stats.approximate_backlog_count), pollers })
}

fn is_recent(poller: &PollerInfo, now: i64) -> bool {
    poller.last_access_time.as_ref().is_some_and(|last| now - last.seconds < RECENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_yet_is_asked_for_soon() {
        assert_eq!([true, false].map(|works| pause(works, false)), [SOON, SOON]);
        assert_eq!([true, false].map(|works| pause(works, true)), [INTERVAL, SELDOM]);
    }

    #[test]
    fn a_worker_that_stopped_polling_does_not_count() {
        let at = |seconds: i64| {
            let last = std::time::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
            PollerInfo { last_access_time: Some(last.into()), ..PollerInfo::default() }
        };
        let now = 1_000;
        assert!(is_recent(&at(now), now) && is_recent(&at(now - 119), now));
        assert!(!is_recent(&at(now - 120), now) && !is_recent(&PollerInfo::default(), now));
    }

    #[test]
    fn what_is_known_of_a_queue_is_noted() {
        let backlog = Backlog::default();
        assert!(backlog.is_short() && backlog.is_polled().is_none());
        backlog.note(&Queue { waiting: MOST_WAITING + 1, pollers: 0 });
        assert!(!backlog.is_short() && backlog.is_polled() == Some(false));
        backlog.note(&Queue { waiting: 0, pollers: 2 });
        assert!(backlog.is_short() && backlog.is_polled() == Some(true));
    }
}
