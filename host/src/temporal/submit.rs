//! Hands a request's alerts to Temporal. When this returns, Temporal holds all of them: the durable boundary.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::tonic::{Code, Status};
use temporalio_client::{
    Client, RetryOptions, RpcOptions, UntypedWorkflow, WorkflowDescribeOptions, WorkflowHandle,
    WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions,
};
use tokio::time::timeout;

use super::ActivityConfig;
use super::cause::{self, Cause};
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
/// The end of that time, in which a server that has not answered is asked whether it answers at all.
const PROBE: Duration = Duration::from_millis(500);
/// For how long a call that failed is made again by the client. Less than [`SUBMIT_TIMEOUT`], so that the cause is known.
const TRIED_AGAIN: Duration = Duration::from_millis(900);
/// Where the time stands in the id of an alert that has neither an identity nor a time which all repeats of its request have in
/// common.
const NO_TIME: &str = "00000000-000000";
/// How much longer per alert: of those with a key and without a start it is asked what it holds.
const PER_ALERT: Duration = Duration::from_millis(10);
/// The most alerts in one batch workflow: a crash repeats what an open workflow task held.
const CHUNK_ALERTS: usize = 100;
/// The most bytes in one batch workflow of alerts, each with the metadata that its children and durable activities take
/// along. Temporal takes 2 MB per payload and 4 MB per message, and a ledger can be several times as large as the alerts
/// it tells of.
const CHUNK_BYTES: usize = 256 * 1024;

/// What the ids of batches begin with.
const BATCH: &str = "batch-";

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
    #[error("temporal at {address} does not answer: {cause}")]
    Unavailable {
        /// The server's URL.
        address: String,
        /// Why.
        cause: Cause,
    },
    /// Temporal answers, and is too slow for this.
    #[error("temporal at {address} is overloaded: {cause}")]
    Overloaded {
        /// The server's URL.
        address: String,
        /// By what that is known.
        cause: Cause,
    },
    /// Temporal rejected them.
    #[error("temporal at {address} rejected the alerts: {answer}")]
    Rejected {
        /// The server's URL.
        address: String,
        /// It is about what was posted: it will be rejected at another time, too.
        is_final: bool,
        /// Its own words.
        answer: String,
    },
    /// The id of a request was used before, for other alerts.
    #[error("{workflow} is there already, with other alerts: nothing of this request was accepted under it")]
    Reused {
        /// What was started for the first request.
        workflow: String,
    },
}

/// Submits one request. `window` is how long a repeat is one without a `starts_at`.
pub async fn submit(
    link: &Link,
    activities: ActivityConfig,
    window: Duration,
    mut submission: Submission,
) -> Result<Submitted, SubmitError> {
    let began = Instant::now();
    let patience = SUBMIT_TIMEOUT + PER_ALERT * u32::try_from(submission.len()).unwrap_or(u32::MAX);
    let starting = async {
        let client = link.client().ok_or_else(|| Failure::NoAnswer(link.trouble()))?;
        let settled = lives::settle(&client, &link.task_queue, window, &mut submission).await;
        settled.map_err(|lives::Unknown(cause)| Failure::NoAnswer(cause))?;
        submission.seal(link.encrypts);
        match submission {
            Submission::One(item) => one(&client, link, *item, activities).await,
            Submission::Many { batch, origin, alerts } => {
                many(&client, link, batch, Batch { origin, alerts, activities }).await
            }
        }
    };
    let probe = async {
        if !link.has_answered_since(began) {
            link.is_reachable().await;
        }
    };
    let started = in_time(patience, starting, probe).await;
    let alerts = started.map_err(|failure| failure.told(&link.address, link.has_answered_since(began)))?;
    Ok(Submitted { alerts })
}

/// What `starting` gives within `patience`. Near its end `probe` finds out whether the server answers anything.
async fn in_time<T>(
    patience: Duration,
    starting: impl Future<Output = Result<T, Failure>>,
    probe: impl Future<Output = ()>,
) -> Result<T, Failure> {
    let mut starting = pin!(starting);
    if let Ok(started) = timeout(patience.saturating_sub(PROBE), starting.as_mut()).await {
        return started;
    }
    let probing = async {
        probe.await;
        pending().await
    };
    let started = tokio::select! {
        started = timeout(PROBE, starting) => started,
        never = probing => never,
    };
    started.unwrap_or(Err(Failure::NoAnswer(Cause::TimedOut(patience))))
}

/// Why a workflow is not there as it should be.
#[derive(Debug)]
enum Failure {
    NoAnswer(Cause),
    Start(WorkflowStartError),
    /// A workflow of this id is there, but with other alerts.
    Reused(String),
}

impl Failure {
    /// What it means to the sender. A server that `has_answered` something meanwhile, and is too slow for this, is overloaded.
    fn told(self, address: &str, has_answered: bool) -> SubmitError {
        let address = address.to_owned();
        let cause = match self {
            Self::Reused(workflow) => return SubmitError::Reused { workflow },
            Self::NoAnswer(cause) => cause,
            Self::Start(WorkflowStartError::Rpc(status)) if is_outage(&status) => match Cause::of(&status) {
                Cause::Unable(text) if has_answered => Cause::Busy(text),
                cause => cause,
            },
            Self::Start(error) => return rejected(address, &error),
        };
        let is_slow = matches!(cause, Cause::TimedOut(_) | Cause::TooLate(_)) && has_answered;
        match cause {
            Cause::Busy(_) => SubmitError::Overloaded { address, cause },
            cause if is_slow => SubmitError::Overloaded { address, cause },
            cause => SubmitError::Unavailable { address, cause },
        }
    }
}

fn rejected(address: String, error: &WorkflowStartError) -> SubmitError {
    let (is_final, answer) = match error {
        WorkflowStartError::Rpc(status) => {
            let is_final = status.code() == Code::InvalidArgument || cause::is_too_large(status);
            (is_final, cause::word(status))
        }
        other => (false, other.to_string()),
    };
    SubmitError::Rejected { address, is_final, answer }
}

fn is_outage(status: &Status) -> bool {
    match status.code() {
        Code::ResourceExhausted => !cause::is_too_large(status),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => true,
        _ => false,
    }
}

/// How calls are made that a sender waits for.
pub(super) fn waited_for() -> RpcOptions {
    let retry = RetryOptions::builder().max_elapsed_time(Some(TRIED_AGAIN)).build();
    RpcOptions::builder().retry_options(retry).build()
}

/// The id of the only alert of a request, by the id of the batch that the request would be with several: if the alert does not
/// say who it is, the request's id alone does, and that has no time.
pub fn only_id(batch: &str) -> String {
    format!("alert-{}-{NO_TIME}", batch.strip_prefix(BATCH).unwrap_or(batch))
}

/// The id of that batch, if this is the id of such an alert.
fn batch_instead(only: &str) -> Option<String> {
    let request = only.strip_prefix("alert-")?.strip_suffix(NO_TIME)?.strip_suffix('-')?;
    Some(format!("{BATCH}{request}"))
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
    if let Some(batch) = batch_instead(&id) {
        is_free(client, batch).await?;
    }
    let started =
        client.start_workflow(AlertProcessingWorkflow::run, Json(Job { item, activities }), options);
    match (is_repeat(link, started.await, &id)?, unidentified) {
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
    if is_chosen {
        is_free(client, only_id(&id)).await?;
    }
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
    match is_repeat(link, client.start_workflow(run, Json(batch.clone()), options).await, &id)? {
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

/// Refuses a request whose id was used for another one: that had one alert, and this has several, or the other way round, so
/// that they have different ids in Temporal.
async fn is_free(client: &Client, id: String) -> Result<(), Failure> {
    let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(&id);
    let mut options = WorkflowDescribeOptions::default();
    options.rpc_options = waited_for();
    match handle.describe(options).await {
        Ok(_) => Err(Failure::Reused(id)),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
        Err(error) => Err(Failure::NoAnswer(lookup::interaction(&id, &error).into())),
    }
}

/// Whether the workflow was there already.
fn is_repeat<H>(link: &Link, started: Result<H, WorkflowStartError>, id: &str) -> Result<bool, Failure> {
    match started {
        Ok(_) => {
            link.note_answer();
            Ok(false)
        }
        Err(WorkflowStartError::AlreadyStarted { .. }) => {
            link.note_answer();
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
        Err(error) => Err(Failure::NoAnswer(error.into())),
    }
}

fn options(link: &Link, id: &str) -> WorkflowStartOptions {
    WorkflowStartOptions::new(&*link.task_queue, id)
        .rpc_options(waited_for())
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

    fn said(status: Status, has_answered: bool) -> SubmitError {
        Failure::Start(WorkflowStartError::Rpc(status)).told("http://t", has_answered)
    }

    const PATIENCE: Duration = Duration::from_millis(600);

    #[tokio::test]
    async fn a_server_that_answers_and_takes_nothing_is_overloaded() {
        let began = Instant::now();
        let mut probed = None;
        let probe = async { probed = Some(began.elapsed()) };
        let failure = in_time::<()>(PATIENCE, pending(), probe).await.unwrap_err();
        assert!(began.elapsed() >= PATIENCE && probed.is_some_and(|at| at >= PATIENCE - PROBE), "{probed:?}");
        let hangs = failure.told("http://t", false);
        assert!(matches!(hangs, SubmitError::Unavailable { .. }));
        assert_eq!(
            hangs.to_string(),
            "temporal at http://t does not answer: it did not answer within 600 ms"
        );
        let failure = in_time::<()>(PATIENCE, pending(), pending()).await.unwrap_err();
        let slow = failure.told("http://t", true);
        assert!(matches!(slow, SubmitError::Overloaded { .. }));
        assert_eq!(slow.to_string(), "temporal at http://t is overloaded: it did not answer within 600 ms");
    }

    #[tokio::test]
    async fn who_gets_an_answer_does_not_wait_for_the_probe() {
        let answer = async {
            tokio::time::sleep(PATIENCE - PROBE + Duration::from_millis(50)).await;
            Ok(7)
        };
        assert_eq!(in_time(PATIENCE, answer, pending()).await.unwrap(), 7);
    }

    #[test]
    fn overload_is_not_an_outage_and_neither_is_a_rejection() {
        let limited = said(Status::resource_exhausted("namespace rate limit exceeded"), false);
        assert!(matches!(limited, SubmitError::Overloaded { .. }), "{limited}");
        let slow = || Status::deadline_exceeded("context deadline exceeded");
        assert!(matches!(said(slow(), true), SubmitError::Overloaded { .. }));
        assert!(matches!(said(slow(), false), SubmitError::Unavailable { .. }), "nothing else was answered");
        let unable = || Status::unavailable("shard status unknown");
        assert!(matches!(said(unable(), true), SubmitError::Overloaded { .. }));
        assert!(
            matches!(said(unable(), false), SubmitError::Unavailable { .. }),
            "nothing else was answered"
        );
        for status in [
            Status::invalid_argument("AlertKey is not known"),
            Status::resource_exhausted("grpc: received message larger than max (5 vs. 4)"),
        ] {
            let words = status.message().to_owned();
            let rejected = said(status, true);
            assert!(matches!(&rejected, SubmitError::Rejected { is_final: true, .. }), "{rejected}");
            assert!(rejected.to_string().ends_with(&words), "{rejected}");
        }
    }

    #[test]
    fn the_only_alert_of_a_request_has_an_id_of_its_own_kind() {
        let only = only_id("batch-nightly-1@alerts/team-a");
        assert_eq!(only, "alert-nightly-1@alerts/team-a-00000000-000000");
        assert_eq!(batch_instead(&only).as_deref(), Some("batch-nightly-1@alerts/team-a"));
        assert_eq!(batch_instead("alert-nightly-1-20231201-143022"), None);
    }

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
