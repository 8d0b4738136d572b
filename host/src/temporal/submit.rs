//! Hands a request's alerts to Temporal. When this returns, Temporal holds all of them: the durable boundary.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::tonic::{Code, Status};
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};

use super::ActivityConfig;
use super::json::Json;
use super::link::Link;
use super::lives;
use super::lookup::{self, LookupError};
use super::repeats;
use super::search_attributes;
use super::urgency;
use super::workflows::{AlertProcessingWorkflow, Batch, BatchAlert, BatchAlertProcessingWorkflow, Job};
use crate::alert::{self, Alert, AlertItem, Origin};
use crate::telemetry::metric;

/// How long Temporal may take to accept a request.
const SUBMIT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How much longer per alert: of those with a key and without a start it is asked what it holds.
const PER_ALERT: Duration = Duration::from_millis(10);
/// The most alerts in one batch workflow: a crash repeats what an open workflow task held.
const CHUNK_ALERTS: usize = 100;
/// The most bytes in one batch workflow of alerts, each with the metadata that its children and durable activities take
/// along. Temporal takes 2 MB per payload and 4 MB per message, and a ledger can be several times as large as the alerts
/// it tells of.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where the alerts of a request go.
#[derive(Clone, Debug)]
pub enum Submission {
    /// One alert, as its own workflow under `AlertItem::id`.
    One(Box<AlertItem>),
    /// Several, as batch workflows.
    Many {
        /// The id of the first batch workflow; those after it have `~2`, `~3` … behind it.
        batch: BatchId,
        /// Where the alerts come from.
        origin: Arc<Origin>,
        /// The alerts in the order of the request: those with an identity carry their workflow's id, those without
        /// an empty one.
        alerts: Vec<BatchAlert>,
    },
}

impl Submission {
    fn len(&self) -> usize {
        match self {
            Submission::One(_) => 1,
            Submission::Many { alerts, .. } => alerts.len(),
        }
    }

    fn seal(&mut self, sealed: bool) {
        let origin = match self {
            Submission::One(item) => &mut item.origin,
            Submission::Many { origin, .. } => origin,
        };
        if sealed {
            Arc::make_mut(origin).sealed = true;
        }
    }
}

/// The id of a batch workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchId {
    /// By the sender, who may repeat it.
    Chosen(String),
    /// By the host; nobody else has it.
    Generated(String),
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
        /// It is about what was posted: it will be refused at another time, too.
        is_final: bool,
        /// Its answer.
        source: Box<WorkflowStartError>,
    },
    /// The id of a batch was used before, for other alerts.
    #[error("{batch_id} is there already, with other alerts: nothing of this request was accepted under it")]
    Reused {
        /// The batch workflow.
        batch_id: String,
    },
}

/// Submits one request. `window` is how long a repeat is one without a `starts_at`.
pub async fn submit(
    link: &Link,
    activities: ActivityConfig,
    window: Duration,
    mut submission: Submission,
) -> Result<Submitted, SubmitError> {
    let unavailable = || SubmitError::Unavailable { address: link.address.to_string() };
    let client = link.client().ok_or_else(unavailable)?;
    let patience = SUBMIT_TIMEOUT + PER_ALERT * u32::try_from(submission.len()).unwrap_or(u32::MAX);
    let starting = async {
        let settled = lives::settle(&client, &link.task_queue, window, &mut submission).await;
        settled.map_err(|lives::Unknown| Failure::Unavailable)?;
        submission.seal(link.encrypts);
        match submission {
            Submission::One(item) => one(&client, link, *item, activities).await,
            Submission::Many { batch, origin, alerts } => {
                many(&client, link, batch, Batch { origin, alerts, activities }).await
            }
        }
    };
    let started = tokio::time::timeout(patience, starting).await;
    let alerts = started.unwrap_or(Err(Failure::Unavailable)).map_err(|failure| match failure {
        Failure::Unavailable => unavailable(),
        Failure::Start(WorkflowStartError::Rpc(status)) if is_outage(&status) => unavailable(),
        Failure::Start(source) => SubmitError::Refused {
            address: link.address.to_string(),
            is_final: matches!(&source, WorkflowStartError::Rpc(status) if status.code() == Code::InvalidArgument),
            source: Box::new(source),
        },
        Failure::Reused(batch_id) => SubmitError::Reused { batch_id },
    })?;
    Ok(Submitted { alerts })
}

/// Why a workflow is not there as it should be.
enum Failure {
    Unavailable,
    Start(WorkflowStartError),
    /// A workflow of this id is there, but with other alerts.
    Reused(String),
}

fn is_outage(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::Unknown
    )
}

async fn one(
    client: &Client,
    link: &Link,
    item: AlertItem,
    activities: ActivityConfig,
) -> Result<Vec<Carried>, Failure> {
    let id = item.id.clone();
    let mut options = options(link, &id);
    options.priority = urgency::of([&item.alert]);
    options.search_attributes = Some(search_attributes::of([&item.alert], link.encrypts));
    // It is not encrypted.
    options.static_summary = (!link.encrypts).then(|| summary(&item.alert.title));
    let alerts = vec![Carried { workflow_id: id.clone(), id: id.clone() }];
    // With an identity the id says which alert it is; a batch's id alone does not.
    let unidentified = item.alert.identity().is_none().then(|| item.alert.clone());
    let started =
        client.start_workflow(AlertProcessingWorkflow::run, Json(Job { item, activities }), options);
    match (is_repeat(started.await, &id)?, unidentified) {
        (true, Some(alert)) => _ = held(client, &id, [&alert].into_iter()).await?,
        (true, None) => repeats::count_aside(client, &id),
        (false, _) => {}
    }
    Ok(alerts)
}

/// Under an id that the sender chose, starts the first chunk before the others: it tells whether the id was used before,
/// for other alerts.
async fn many(client: &Client, link: &Link, id: BatchId, batch: Batch) -> Result<Vec<Carried>, Failure> {
    let Batch { origin, alerts, activities } = batch;
    let start = |(id, alerts)| chunk(client, link, id, Batch { origin: origin.clone(), alerts, activities });
    let (id, is_chosen) = match id {
        BatchId::Chosen(id) => (id, true),
        BatchId::Generated(id) => (id, false),
    };
    let mut chunks = chunks(&id, alerts, alert::size(&origin.metadata)).into_iter();
    let mut alerts = match chunks.next() {
        Some(first) if is_chosen => start(first).await?,
        first => try_join_all(first.into_iter().chain(chunks.by_ref()).map(start)).await?.concat(),
    };
    alerts.extend(try_join_all(chunks.map(start)).await?.into_iter().flatten());
    Ok(alerts)
}

async fn chunk(client: &Client, link: &Link, id: String, batch: Batch) -> Result<Vec<Carried>, Failure> {
    let mut options = options(link, &id);
    options.priority = urgency::of(batch.alerts.iter().map(|one| &one.alert));
    options.search_attributes =
        Some(search_attributes::of(batch.alerts.iter().map(|one| &one.alert), link.encrypts));
    options.static_summary = Some(format!("{} alerts", batch.alerts.len()));
    let batch = Arc::new(batch);
    let run = BatchAlertProcessingWorkflow::run;
    match is_repeat(client.start_workflow(run, Json(batch.clone()), options).await, &id)? {
        false => Ok(carried(&id, batch.alerts.iter().map(|one| (&one.id, &one.alert)))),
        true => {
            let there = held(client, &id, batch.alerts.iter().map(|one| &one.alert)).await?;
            Ok(carried(&id, there.iter().map(|item| (&item.id, &item.alert))))
        }
    }
}

/// Where the alerts of one batch workflow are: those with an identity run on their own.
fn carried<'a>(batch: &str, alerts: impl Iterator<Item = (&'a String, &'a Alert)>) -> Vec<Carried> {
    let carried = |(id, alert): (&String, &Alert)| {
        let workflow_id = if alert.identity().is_some() { id } else { batch };
        Carried { workflow_id: workflow_id.to_owned(), id: id.clone() }
    };
    alerts.map(carried).collect()
}

/// Whether the workflow was there already.
fn is_repeat<H>(started: Result<H, WorkflowStartError>, id: &str) -> Result<bool, Failure> {
    match started {
        Ok(_) => Ok(false),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {
            metric::repeated(1);
            tracing::info!(workflow = id, "repeat recognised");
            Ok(true)
        }
        Err(error) => Err(Failure::Start(error)),
    }
}

/// What the workflow that is there carries, if it is what was posted: a repeat is answered with what Temporal holds.
async fn held(
    client: &Client,
    id: &str,
    posted: impl Iterator<Item = &Alert>,
) -> Result<Vec<AlertItem>, Failure> {
    match lookup::carried(client, id).await {
        Ok(items) if items.iter().map(|item| &item.alert).eq(posted) => Ok(items),
        Ok(_) | Err(LookupError::Foreign(_)) => Err(Failure::Reused(id.to_owned())),
        Err(_) => Err(Failure::Unavailable),
    }
}

fn options(link: &Link, id: &str) -> WorkflowStartOptions {
    WorkflowStartOptions::new(&*link.task_queue, id)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .enable_eager_workflow_start(link.backlog.is_short())
        .build()
}

/// Temporal's UI shows one line of at most 200 bytes.
fn summary(title: &str) -> String {
    title[..title.floor_char_boundary(200)].to_owned()
}

/// Cuts a request into batch workflows, by id. The same request is always cut in the same way, so that a repeat finds
/// the same ids. Alerts without an identity get theirs from their batch and their place in the request. `metadata` is the size of what
/// each takes along, in bytes of JSON.
fn chunks(batch_id: &str, alerts: Vec<BatchAlert>, metadata: usize) -> Vec<(String, Vec<BatchAlert>)> {
    let mut chunks = vec![(batch_id.to_owned(), Vec::new())];
    let mut bytes = 0;
    for (index, mut one) in alerts.into_iter().enumerate() {
        let size = alert::size(&one) + metadata;
        let number = chunks.len() + 1;
        let is_full = |alerts: usize| alerts == CHUNK_ALERTS || alerts > 0 && bytes + size > CHUNK_BYTES;
        if chunks.last().is_some_and(|(_, alerts)| is_full(alerts.len())) {
            chunks.push((format!("{batch_id}~{number}"), Vec::new()));
            bytes = 0;
        }
        bytes += size;
        let Some((chunk, alerts)) = chunks.last_mut() else { continue };
        if one.id.is_empty() {
            one.id = format!("{chunk}#{index}");
        }
        alerts.push(one);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_bounded_by_its_alerts_and_by_what_they_take_along() {
        let alert = serde_json::json!({
            "title": "t", "description": "d", "type": "custom", "severity": "low",
            "source": {"name": "n", "type": "t"},
        });
        let alert: Alert = serde_json::from_value(alert).unwrap();
        let sizes = |metadata| {
            let alerts = vec![BatchAlert { id: String::new(), alert: alert.clone() }; 250];
            chunks("batch-b", alerts, metadata).iter().map(|(_, alerts)| alerts.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0), [100, 100, 50]);
        assert_eq!(sizes(16 << 10).iter().max(), Some(&15));
    }
}
