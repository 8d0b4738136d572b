//! Hands a request's alerts to Temporal. When this returns, Temporal holds all of them: the durable boundary.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::try_join_all;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};

use super::json::Json;
use super::link::Link;
use super::search_attributes;
use super::workflows::{AlertProcessingWorkflow, Batch, BatchAlertProcessingWorkflow, Job};
use crate::alert::AlertItem;
use crate::plan::RetryPolicy;
use crate::telemetry::metric;

/// How long Temporal may take to accept a request.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The most alerts in one batch workflow: a crash repeats what an open workflow task held.
const CHUNK_ALERTS: usize = 100;
/// The most bytes of alerts in one batch workflow. Temporal takes 2 MB per payload, and a ledger can be several
/// times as large as the alerts it tells of.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where the alerts of a request go.
#[derive(Clone, Debug)]
pub enum Submission {
    /// One alert, as its own workflow under `AlertItem::id`.
    One(Box<AlertItem>),
    /// Several, as batch workflows.
    Many {
        /// The id of the first batch workflow; those after it have `-2`, `-3` … behind it.
        batch_id: String,
        /// The alerts in the order of the request: those with an identity carry their workflow's id, those without
        /// an empty one.
        items: Vec<AlertItem>,
    },
}

/// What Temporal holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Per alert, in the order of the request: the workflow that holds its result, and the alert's own id.
    pub alerts: Vec<Carried>,
}

/// Where one alert is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The workflow that holds its result.
    pub workflow_id: String,
    /// The alert's identity in this host.
    pub id: String,
}

/// Why Temporal does not hold the alerts.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// There is no connection, or no answer in time.
    #[error("temporal at {address} does not answer")]
    Unavailable {
        /// The server's URL.
        address: String,
    },
    /// Temporal refused.
    #[error("temporal at {address} refused the alert")]
    Refused {
        /// The server's URL.
        address: String,
        /// Its answer.
        source: Box<WorkflowStartError>,
    },
}

/// Submits one request.
pub async fn submit(
    link: &Link,
    process: RetryPolicy,
    submission: Submission,
) -> Result<Submitted, SubmitError> {
    let unavailable = || SubmitError::Unavailable { address: link.address.to_string() };
    let client = link.client().ok_or_else(unavailable)?;
    let starting = async {
        match submission {
            Submission::One(item) => one(&client, link, *item, process).await,
            Submission::Many { batch_id, items } => many(&client, link, batch_id, items, process).await,
        }
    };
    match tokio::time::timeout(SUBMIT_TIMEOUT, starting).await {
        Err(_) => Err(unavailable()),
        Ok(Err(WorkflowStartError::Rpc(status))) if is_outage(&status) => Err(unavailable()),
        Ok(Err(source)) => {
            Err(SubmitError::Refused { address: link.address.to_string(), source: Box::new(source) })
        }
        Ok(Ok(submitted)) => Ok(submitted),
    }
}

fn is_outage(status: &temporalio_client::tonic::Status) -> bool {
    use temporalio_client::tonic::Code;
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

async fn one(
    client: &Client,
    link: &Link,
    item: AlertItem,
    process: RetryPolicy,
) -> Result<Submitted, WorkflowStartError> {
    let id = item.id.clone();
    let mut options = options(link, &id);
    options.search_attributes = Some(search_attributes::of(&item.alert));
    options.static_summary = Some(summary(&item.alert.title));
    accept(
        client.start_workflow(AlertProcessingWorkflow::run, Json(Job { item, process }), options).await,
        &id,
    )?;
    Ok(Submitted { alerts: vec![Carried { workflow_id: id.clone(), id }] })
}

async fn many(
    client: &Client,
    link: &Link,
    batch_id: String,
    items: Vec<AlertItem>,
    process: RetryPolicy,
) -> Result<Submitted, WorkflowStartError> {
    let (chunks, alerts) = chunks(&batch_id, items, process);
    try_join_all(chunks.into_iter().map(|(id, batch)| async move {
        let mut options = options(link, &id);
        let count = batch.inline.len() + batch.children.len();
        options.static_summary = Some(format!("{count} alerts"));
        accept(client.start_workflow(BatchAlertProcessingWorkflow::run, Json(batch), options).await, &id)
    }))
    .await?;
    Ok(Submitted { alerts })
}

/// Whether a workflow was started now or is a repeat makes no difference to who asked.
fn accept<H>(started: Result<H, WorkflowStartError>, id: &str) -> Result<(), WorkflowStartError> {
    match started {
        Ok(_) => Ok(()),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {
            metric::repeated();
            tracing::info!(workflow = id, "repeat recognised");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn options(link: &Link, id: &str) -> WorkflowStartOptions {
    WorkflowStartOptions::new(&*link.task_queue, id)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .enable_eager_workflow_start(true)
        .build()
}

/// Temporal's UI shows one line of at most 200 bytes.
fn summary(title: &str) -> String {
    let mut end = title.len().min(200);
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    title[..end].to_owned()
}

/// Cuts a request into batch workflows. The same request is always cut in the same way, so that a repeat finds the
/// same ids.
fn chunks(
    batch_id: &str,
    items: Vec<AlertItem>,
    process: RetryPolicy,
) -> (Vec<(String, Batch)>, Vec<Carried>) {
    let empty = || Batch { inline: Vec::new(), children: Vec::new(), process };
    let mut chunks: Vec<(String, Batch)> = vec![(batch_id.to_owned(), empty())];
    let mut carried = Vec::with_capacity(items.len());
    let mut seen = HashSet::new();
    let (mut alerts, mut bytes) = (0, 0);
    for (index, mut item) in items.into_iter().enumerate() {
        let size = serde_json::to_string(&item.alert).map_or(0, |text| text.len());
        if alerts > 0 && (alerts == CHUNK_ALERTS || bytes + size > CHUNK_BYTES) {
            chunks.push((format!("{batch_id}-{}", chunks.len() + 1), empty()));
            (alerts, bytes) = (0, 0);
        }
        (alerts, bytes) = (alerts + 1, bytes + size);
        let Some((chunk_id, batch)) = chunks.last_mut() else { continue };
        if item.id.is_empty() {
            item.id = format!("{chunk_id}#{index}");
            carried.push(Carried { workflow_id: chunk_id.clone(), id: item.id.clone() });
            batch.inline.push(item);
        } else {
            carried.push(Carried { workflow_id: item.id.clone(), id: item.id.clone() });
            // The same alert twice in one request is one alert.
            if seen.insert(item.id.clone()) {
                batch.children.push(item);
            }
        }
    }
    (chunks, carried)
}
