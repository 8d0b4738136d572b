//! What became of an alert: from the store; while it is under way, with what its history in Temporal holds. Needs no worker.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use campanile_store::{Disposition, Progress, StoreError};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowFetchHistoryOptions,
    WorkflowHandle,
};
use temporalio_common::data_converters::SerializationContextData;
use temporalio_common::payload_visitor::decode_payloads;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use utoipa::ToSchema;

use super::activities::Processed;
use super::afterwards;
use super::cause::Cause;
use super::failure;
use super::link::Link;
use crate::alert::{Alert, AlertItem};
use crate::ledger::{Acknowledgement, Attempt, Ledger, Outcome, Step};
use crate::records::{RecordError, Records};

/// How long a lookup may take.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of an alert.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it stands.
    pub state: AlertState,
    /// The alert.
    pub alert: FoundAlert,
    /// The id of its life.
    pub thread_id: String,
    /// What its post became.
    pub disposition: Disposition,
    /// Whether its life goes on.
    pub is_open: bool,
    /// Whether its life goes on, and was not posted for long.
    pub is_stale: bool,
    /// How often its life was posted again.
    pub repeats: i64,
    /// Who has acknowledged its life.
    pub acknowledged: Option<Acknowledgement>,
    /// The workflow that carries it, once one is to.
    pub carried_by: Option<String>,
    /// What is being tried again.
    pub pending: Vec<Pending>,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It waits to be started.
    Waiting,
    /// A resolve that is held back.
    Held,
    /// It waits for an operator: `campanile store resume`.
    Suspended,
    /// Under way.
    Running,
    /// Done: its ledger is complete.
    Completed,
}

/// Where a workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Under way.
    Running,
    /// Done: the ledgers are complete.
    Completed,
    /// It ended without a result.
    Failed,
    /// Somebody cancelled it.
    Canceled,
    /// Somebody terminated it.
    Terminated,
    /// It ran into a timeout.
    TimedOut,
}

/// One alert of a workflow.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundAlert {
    /// The alert's identity in this host.
    pub id: String,
    /// What became of it, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The alert: after processing when there is a ledger, as posted before that.
    pub alert: Alert,
    /// How it came, while there is no ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub came: Option<Came>,
    /// The full story, once it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// It is a resolve that is held back now.
    #[serde(skip)]
    pub is_held: bool,
    /// Why it goes where it goes, while there is no ledger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// The steps so far, while there is no ledger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// How an alert came.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Came {
    /// When the webhook accepted it.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// The source that it was posted to; absent for `/webhook/alerts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    pub via: Option<Arc<str>>,
    /// The name of the key, or of what else it was let in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    pub key: Option<Arc<str>>,
    /// The address that it was posted from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, example = "192.0.2.7")]
    pub from: Option<IpAddr>,
}

/// Something that is being tried again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pending {
    /// The activity.
    pub activity: String,
    /// The alert and the receiver or updater, `<alert>/<name>`.
    pub id: String,
    /// The number of the next or running attempt, counted from 1 as far as it is known what came before.
    pub attempt: i32,
    /// When the next attempt is due.
    #[serde(with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The durable attempts so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Attempt>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The store knows no such alert, or it is past its retention.
    #[error("no alert {0:?} is known, or no longer")]
    NotFound(String),
    /// Temporal does not answer: no connection, or no answer in time.
    #[error("temporal does not answer: {0}")]
    Unavailable(Cause),
    /// The store does not answer, or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What is said of an alert that waits for an operator.
const SUSPENDED: &str = "suspended: it waits for `campanile store resume` or `campanile store discard`";

impl From<StoreError> for LookupError {
    fn from(error: StoreError) -> Self {
        Self::Record(error.into())
    }
}

/// Everything that is known now of an alert.
///
/// # Errors
///
/// It is not known, or the store does not answer.
pub async fn lookup(records: &Records, link: &Link, id: &str) -> Result<Found, LookupError> {
    let not_found = || LookupError::NotFound(id.to_owned());
    if id.contains('\0') {
        return Err(not_found());
    }
    let kept = records.store()?.find(id).await?.ok_or_else(not_found)?;
    let is_claimed = kept.progress == Progress::Claimed;
    let mut found = found(records, kept)?;
    if let Some(carrier) = found.carried_by.clone().filter(|_| found.state == AlertState::Running) {
        let asked = async { under_way(&link.client()?, &carrier, id).await.ok() };
        match tokio::time::timeout(LOOKUP_TIMEOUT, asked).await.ok().flatten() {
            Some(UnderWay { pending, story }) => {
                found.pending = pending;
                (found.alert.decisions, found.alert.steps) = (story.decisions, story.steps);
            }
            // Without Temporal there is less to tell, and still an answer.
            None if is_claimed => found.state = AlertState::Waiting,
            None => {}
        }
    }
    if let Some(ledger) = &mut found.alert.ledger {
        afterwards::complete(records, link, ledger).await?;
        found.alert.outcome = Some(ledger.outcome);
    }
    Ok(found)
}

/// What the store knows of an alert.
fn found(records: &Records, kept: campanile_store::Found) -> Result<Found, LookupError> {
    let item = item(records, &kept)?;
    let acknowledged = kept.acknowledgement.as_ref().map(|one| records.read(one)).transpose()?;
    let ledger = ledger(records, &kept, &item, &acknowledged)?;
    let origin = item.origin.clone();
    let came = ledger.is_none().then(|| Came {
        received_at: origin.received_at,
        via: origin.via.clone(),
        key: origin.key.clone(),
        from: origin.from,
    });
    let alert = FoundAlert {
        id: kept.id,
        outcome: ledger.as_ref().map(|ledger| ledger.outcome),
        alert: ledger.as_ref().map_or(item.alert, |ledger| ledger.alert.clone()),
        came,
        ledger,
        is_held: kept.progress == Progress::Held,
        decisions: match kept.progress {
            Progress::Held => vec!["held back: told unless it fires again".to_owned()],
            Progress::Suspended => vec![SUSPENDED.to_owned()],
            _ => Vec::new(),
        },
        steps: Vec::new(),
    };
    Ok(Found {
        state: kept.progress.into(),
        alert,
        thread_id: kept.thread_id,
        disposition: kept.disposition,
        is_open: kept.is_open,
        is_stale: kept.is_stale,
        repeats: kept.duplicates,
        acknowledged,
        carried_by: kept.carried_by,
        pending: Vec::new(),
    })
}

/// The alert as it was posted.
pub(super) fn item(records: &Records, kept: &campanile_store::Found) -> Result<AlertItem, RecordError> {
    Ok(AlertItem {
        id: kept.id.clone(),
        thread_id: kept.thread_id.clone(),
        disposition: kept.disposition,
        is_worse: false,
        acknowledged: None,
        alert: records.read(&kept.document)?,
        origin: records.read(&kept.origin)?,
    })
}

/// The ledger of an alert, if it is at its end.
///
/// # Errors
///
/// What the store holds cannot be read.
pub fn ledger_of(records: &Records, kept: &campanile_store::Found) -> Result<Option<Ledger>, RecordError> {
    let acknowledged = kept.acknowledgement.as_ref().map(|one| records.read(one)).transpose()?;
    ledger(records, kept, &item(records, kept)?, &acknowledged)
}

/// The same of one whose alert and acknowledgement were read.
pub(super) fn ledger(
    records: &Records,
    kept: &campanile_store::Found,
    item: &AlertItem,
    acknowledged: &Option<Acknowledgement>,
) -> Result<Option<Ledger>, RecordError> {
    if kept.progress != Progress::Ended {
        return Ok(None);
    }
    let mut ledger = match &kept.ledger {
        Some(ledger) => records.read(ledger)?,
        None => without_receivers(kept, item.clone(), acknowledged.as_ref()),
    };
    ledger.acknowledged = ledger.acknowledged.or_else(|| acknowledged.clone());
    ledger.repeats = u32::try_from(kept.duplicates).unwrap_or(u32::MAX);
    Ok(Some(ledger))
}

/// That of an alert which ended as it was accepted, since no receiver was to be notified.
fn without_receivers(
    kept: &campanile_store::Found,
    item: AlertItem,
    acknowledged: Option<&Acknowledgement>,
) -> Ledger {
    let reason = match (&kept.superseded_by, kept.disposition, acknowledged) {
        (Some(again), ..) => format!("nobody is told: it fires again, as {again}"),
        (None, Disposition::NothingOpen, _) => {
            "no receiver is notified: it ends nothing that is open under its key".to_owned()
        }
        (None, _, Some(one)) => format!("no receiver is notified: {} has acknowledged the alert", one.by),
        (None, disposition, None) => format!("no receiver is notified: {}", disposition.as_str()),
    };
    let ledger = Ledger::undelivered(item, Outcome::Dropped, reason);
    Ledger { taken_back_by: kept.superseded_by.clone(), ..ledger }
}

pub(super) fn client(link: &Link) -> Result<Client, LookupError> {
    link.client().ok_or_else(|| LookupError::Unavailable(link.trouble()))
}

type Handle = WorkflowHandle<Client, UntypedWorkflow>;

/// A workflow's history, decrypted where it is encrypted.
fn history<'a>(
    client: &'a Client,
    handle: &Handle,
    workflow_id: &'a str,
) -> impl Stream<Item = Result<HistoryEvent, LookupError>> + Unpin + use<'a> {
    let history = handle.fetch_history(WorkflowFetchHistoryOptions::default());
    Box::pin(history.then(async move |event| {
        let mut event = event.map_err(|error| interaction(workflow_id, &error))?;
        let codec = client.options().data_converter.codec();
        let decoded = decode_payloads(&mut event, codec, &SerializationContextData::None).await;
        decoded.map_err(|error| LookupError::Unavailable(Cause::Unable(error.to_string())))?;
        Ok(event)
    }))
}

/// What Temporal knows of an alert that is under way.
struct UnderWay {
    pending: Vec<Pending>,
    story: Story,
}

/// What Temporal knows of an alert that this workflow carries, or one that it started.
async fn under_way(client: &Client, carrier: &str, alert: &str) -> Result<UnderWay, LookupError> {
    let handle: Handle = client.get_workflow_handle(carrier);
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let described = described.map_err(|error| interaction(carrier, &error))?;
    let (story, has_started_it) = so_far(client, &handle, carrier, alert).await?;
    if has_started_it && carrier != alert {
        return Box::pin(under_way(client, alert, alert)).await;
    }
    let is_own = |pending: &Pending| pending.id.strip_prefix(alert).is_some_and(|rest| rest.starts_with('/'));
    let pending = described.raw().pending_activities.iter().map(Pending::from).filter(is_own).collect();
    Ok(UnderWay { pending, story })
}

/// The steps that the history of a workflow holds, of one that carries a single alert; and whether it has started this alert as a
/// workflow of its own.
async fn so_far(
    client: &Client,
    handle: &Handle,
    workflow_id: &str,
    alert: &str,
) -> Result<(Story, bool), LookupError> {
    let mut history = history(client, handle, workflow_id);
    let (mut story, mut has_started_it) = (Story::default(), false);
    while let Some(event) = history.next().await {
        let event = event?;
        story.go_on(&event);
        if let Some(Attributes::StartChildWorkflowExecutionInitiatedEventAttributes(child)) = event.attributes
        {
            has_started_it |= child.workflow_id == alert;
        }
    }
    // What belongs to which of several is not recorded.
    let is_own =
        workflow_id == alert || workflow_id.strip_prefix(alert).is_some_and(|end| end.starts_with('~'));
    let story = if is_own { story } else { Story::default() };
    Ok((story, has_started_it))
}

/// What a workflow was started with, and the steps that its history holds.
pub(super) async fn told_so_far<T: DeserializeOwned>(
    client: &Client,
    workflow_id: &str,
) -> Option<(T, Vec<Step>)> {
    let handle: Handle = client.get_workflow_handle(workflow_id);
    let mut history = history(client, &handle, workflow_id);
    let input = input(&history.next().await?.ok()?).and_then(decode)?;
    let mut story = Story::default();
    while let Some(event) = history.next().await {
        story.go_on(&event.ok()?);
    }
    Some((input, story.steps))
}

/// What a history has told so far.
#[derive(Default)]
struct Story {
    decisions: Vec<String>,
    steps: Vec<Step>,
}

/// The input in a workflow's first event.
fn input(event: &HistoryEvent) -> Option<&Payload> {
    match &event.attributes {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => first(started.input.as_ref()?),
        _ => None,
    }
}

impl Story {
    /// Adds what an event holds: a local activity's marker has its result or its failure.
    fn go_on(&mut self, event: &HistoryEvent) {
        match &event.attributes {
            Some(Attributes::MarkerRecordedEventAttributes(marker)) => match &marker.failure {
                Some(failure) => self.fail(failure),
                None => self.add(marker.details.get("result")),
            },
            Some(Attributes::ActivityTaskCompletedEventAttributes(done)) => self.add(done.result.as_ref()),
            Some(Attributes::ActivityTaskFailedEventAttributes(failed)) => {
                failed.failure.iter().for_each(|failure| self.fail(failure));
            }
            Some(Attributes::ActivityTaskTimedOutEventAttributes(timed_out)) => {
                timed_out.failure.iter().for_each(|failure| self.fail(failure));
            }
            _ => {}
        }
    }

    fn fail(&mut self, failure: &Failure) {
        if let Some(step) = failure::step_of(failure::innermost(failure)) {
            self.step(step);
        }
    }

    /// Adds a step; durable attempts go on where the first one failed.
    fn step(&mut self, step: Step) {
        let goes_on = |first: &Step| {
            let is_same = (first.activity, first.name()) == (step.activity, step.name());
            let error = first.error.as_ref();
            is_same
                && first.attempts < step.attempts
                && error.is_some_and(|error| error.retry.is_worthwhile())
        };
        let first = self.steps.iter().rposition(goes_on).map(|index| self.steps.remove(index));
        self.steps.push(step.after(first));
    }

    /// Adds an activity's result.
    fn add(&mut self, result: Option<&Payloads>) {
        let Some(payload) = result.and_then(first) else { return };
        if let Some(step) = decode::<Step>(payload) {
            return self.step(step);
        }
        let Some(Processed { again, decisions, steps, .. }) = decode(payload) else { return };
        self.decisions.extend(decisions);
        for step in steps.into_iter().chain(again.map(|again| again.step)) {
            // Of a processor that is asked again, the step tells of the attempts before.
            self.steps.retain(|known| (known.activity, known.name()) != (step.activity, step.name()));
            self.steps.push(step);
        }
    }
}

fn first(payloads: &Payloads) -> Option<&Payload> {
    payloads.payloads.first()
}

fn decode<T: for<'de> Deserialize<'de>>(payload: &Payload) -> Option<T> {
    serde_json::from_slice(&payload.data).ok()
}

pub(super) fn interaction(workflow_id: &str, error: &WorkflowInteractionError) -> LookupError {
    match error {
        WorkflowInteractionError::NotFound(_) => LookupError::NotFound(workflow_id.to_owned()),
        WorkflowInteractionError::Rpc(status) => LookupError::Unavailable(Cause::of(status)),
        error => LookupError::Unavailable(Cause::Unable(error.to_string())),
    }
}

impl From<WorkflowExecutionStatus> for State {
    fn from(status: WorkflowExecutionStatus) -> Self {
        match status {
            WorkflowExecutionStatus::Completed => State::Completed,
            WorkflowExecutionStatus::Failed => State::Failed,
            WorkflowExecutionStatus::Canceled => State::Canceled,
            WorkflowExecutionStatus::Terminated => State::Terminated,
            WorkflowExecutionStatus::TimedOut => State::TimedOut,
            _ => State::Running,
        }
    }
}

/// What a failed attempt says; of one that is encrypted the message itself is not readable.
fn message(failure: &Failure) -> String {
    let error = failure::step_of(failure).and_then(|step| step.error);
    error.map_or_else(|| failure::message_of(failure), |error| error.message)
}

impl From<&PendingActivityInfo> for Pending {
    fn from(info: &PendingActivityInfo) -> Self {
        let due = info.next_attempt_schedule_time.as_ref();
        let before = info.heartbeat_details.as_ref().map(failure::attempts_of).unwrap_or_default();
        // Temporal counts the durable ones; the first of those has the number that it was made under.
        let first = before.first().map_or(1, |first| i32::try_from(first.number).unwrap_or(1));
        Self {
            activity: info.activity_type.as_ref().map(|kind| kind.name.clone()).unwrap_or_default(),
            id: info.activity_id.clone(),
            attempt: info.attempt.saturating_add(first - 1),
            next_attempt_at: due.and_then(|due| Timestamp::new(due.seconds, due.nanos).ok()),
            error: info.last_failure.as_ref().map(message),
            before,
        }
    }
}
