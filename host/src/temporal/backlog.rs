//! How many alerts wait for a worker. One that is posted is as a rule started eagerly, in the process that took it, past the
//! task queue. Priorities hold within the queue alone: where alerts wait, all have to stand in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use temporalio_client::Client;
use temporalio_client::tonic::{IntoRequest, Status};
use temporalio_common::protos::temporal::api::enums::v1::TaskQueueType;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeTaskQueueRequest;

use super::link::Link;

/// How often Temporal is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// With more than this many waiting, nothing is started past them.
const MOST_WAITING: i64 = 50;

/// Whether alerts wait. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<AtomicBool>);

impl Backlog {
    /// Whether an alert may be started past the task queue.
    pub(super) fn is_short(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Keeps track of what waits in the host's task queue, as long as the process runs.
pub async fn watch_backlog(link: Link) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(client) = link.client() else { continue };
        match waiting(&client, &link.task_queue).await {
            Ok(count) => link.backlog.0.store(count > MOST_WAITING, Ordering::Relaxed),
            Err(error) => tracing::debug!(%error, "how much waits is not known"),
        }
    }
}

async fn waiting(client: &Client, task_queue: &str) -> Result<i64, Status> {
    let request = DescribeTaskQueueRequest {
        namespace: client.options().namespace.clone(),
        task_queue: Some(TaskQueue { name: task_queue.to_owned(), ..TaskQueue::default() }),
        task_queue_type: TaskQueueType::Workflow.into(),
        report_stats: true,
        ..DescribeTaskQueueRequest::default()
    };
    let answer = client.connection().workflow_service().describe_task_queue(request.into_request()).await?;
    Ok(answer.into_inner().stats.map_or(0, |stats| stats.approximate_backlog_count))
}
