//! Reads back from Temporal what became of an alert: the result once there is one; before that, what history holds.
//! Needs the server only, no worker.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use temporalio_client::errors::{WorkflowGetResultError, WorkflowInteractionError};
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowFetchHistoryOptions,
    WorkflowGetResultOptions, WorkflowHandle,
};
use temporalio_common::data_converters::{RawValue, SerializationContextData};
use temporalio_common::payload_visitor::decode_payloads;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use utoipa::ToSchema;

use super::activities::Processed;
use super::cause::Cause;
use super::failure;
use super::link::Link;
use super::parked::Unparked;
use super::workflows::{Batch, BatchLedger, Job};
use crate::alert::{Alert, AlertItem};
use crate::ledger::{Attempt, Ledger, Outcome, Step};

/// How long a lookup may take.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a workflow that another one is about to start is looked for.
const APPEAR_INTERVAL: Duration = Duration::from_millis(50);

/// What Temporal knows of a workflow.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its id.
    pub workflow_id: String,
    /// Where it stands.
    pub state: State,
    /// The alerts that it carries: one, or those that a batch carries inline.
    pub alerts: Vec<FoundAlert>,
    /// Of a batch: the workflows of its alerts that run on their own.
    pub children: Vec<String>,
    /// What is being tried again.
    pub pending: Vec<Pending>,
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
    /// It is an end that is held back now.
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
    /// Temporal knows no such workflow, or it is past its retention.
    #[error(
        "temporal knows no workflow {0:?}, or no longer; an alert that came in a batch is known once a worker has \
         taken up the batch"
    )]
    NotFound(String),
    /// There is no connection, or no answer in time.
    #[error("temporal does not answer: {0}")]
    Unavailable(Cause),
    /// The workflow ended without a ledger.
    #[error("workflow {0:?} ended without a ledger: {1}")]
    NoLedger(String, String),
    /// What it holds is not ours.
    #[error("workflow {0:?} holds something other than alerts")]
    Foreign(String),
}

impl From<LookupError> for Cause {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Unavailable(cause) => cause,
            other => Self::Unable(other.to_string()),
        }
    }
}

/// Everything that is known now of a workflow, or of one alert under its own id.
pub async fn lookup(link: &Link, id: &str) -> Result<Found, LookupError> {
    let client = client(link)?;
    let finding = async {
        match batch_of(id) {
            Some(batch) => find_in(&client, batch, id).await,
            None => find(&client, id).await,
        }
    };
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, finding).await;
    found.unwrap_or_else(|_| Err(LookupError::Unavailable(Cause::TimedOut(LOOKUP_TIMEOUT))))
}

/// The batch workflow that an alert without an identity came in: its id is `<batch>#<index>`.
pub fn batch_of(alert: &str) -> Option<&str> {
    alert.rsplit_once('#').filter(|(_, index)| index.parse::<u32>().is_ok()).map(|(batch, _)| batch)
}

/// The workflow that carries an alert: its own, or its batch's.
pub(super) async fn carrier<'a>(client: &Client, alert: &'a str) -> Result<&'a str, LookupError> {
    let Some(batch) = batch_of(alert) else { return Ok(alert) };
    let handle: Handle = client.get_workflow_handle(alert);
    match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(_) => Ok(alert),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(batch),
        Err(error) => Err(interaction(alert, &error)),
    }
}

pub(super) fn client(link: &Link) -> Result<Client, LookupError> {
    link.client().ok_or_else(|| LookupError::Unavailable(link.trouble()))
}

/// The ledgers of a workflow and the ids of its children, as soon as it is done. Waits for a workflow that a batch is about to
/// start, too, and for Temporal to come back; the caller bounds the wait.
pub async fn wait(link: &Link, workflow_id: &str) -> Result<(Vec<Ledger>, Vec<String>), LookupError> {
    let client = client(link)?;
    loop {
        match result(&client.get_workflow_handle(workflow_id), workflow_id).await {
            Err(LookupError::NotFound(_) | LookupError::Unavailable(_)) => {
                tokio::time::sleep(APPEAR_INTERVAL).await;
            }
            answer => return answer,
        }
    }
}

/// The alerts that a workflow was started with.
pub(super) async fn carried(client: &Client, workflow_id: &str) -> Result<Vec<AlertItem>, LookupError> {
    let handle: Handle = client.get_workflow_handle(workflow_id);
    let foreign = || LookupError::Foreign(workflow_id.to_owned());
    let first = history(client, &handle, workflow_id).next().await.ok_or_else(foreign)??;
    started_with(&first).ok_or_else(foreign)
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

async fn find(client: &Client, workflow_id: &str) -> Result<Found, LookupError> {
    let handle: Handle = client.get_workflow_handle(workflow_id);
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let described = described.map_err(|error| interaction(workflow_id, &error))?;
    let state = State::from(described.status());
    let (alerts, children) = match state {
        State::Completed => {
            let (ledgers, children) = result(&handle, workflow_id).await?;
            (ledgers.into_iter().map(FoundAlert::from).collect(), children)
        }
        _ => so_far(client, &handle, workflow_id).await?,
    };
    let pending = described.raw().pending_activities.iter().map(Pending::from).collect();
    Ok(Found { workflow_id: workflow_id.to_owned(), state, alerts, children, pending })
}

/// What is known of one alert that came in a batch.
async fn find_in(client: &Client, batch: &str, alert: &str) -> Result<Found, LookupError> {
    let mut found = find(client, batch).await?;
    if found.children.iter().any(|child| child == alert) {
        return find(client, alert).await;
    }
    found.alerts.retain(|carried| carried.id == alert);
    let is_own = |pending: &Pending| pending.id.strip_prefix(alert).is_some_and(|rest| rest.starts_with('/'));
    found.pending.retain(is_own);
    found.children.clear();
    if found.alerts.is_empty() { Err(LookupError::NotFound(alert.to_owned())) } else { Ok(found) }
}

/// The ledgers of a workflow, once it is done, and the ids of its children.
async fn result(handle: &Handle, workflow_id: &str) -> Result<(Vec<Ledger>, Vec<String>), LookupError> {
    use WorkflowGetResultError as Failed;
    match handle.get_result(WorkflowGetResultOptions::default()).await {
        Ok(value) => ledgers(&value).ok_or_else(|| LookupError::Foreign(workflow_id.to_owned())),
        Err(Failed::NotFound(_)) => Err(LookupError::NotFound(workflow_id.to_owned())),
        Err(
            error @ (Failed::Failed(_)
            | Failed::Cancelled { .. }
            | Failed::Terminated { .. }
            | Failed::TimedOut
            | Failed::ContinuedAsNew),
        ) => Err(LookupError::NoLedger(workflow_id.to_owned(), error.to_string())),
        Err(error) => Err(LookupError::Unavailable(Cause::of(&error))),
    }
}

/// A workflow's result is one ledger or a batch's.
fn ledgers(value: &RawValue) -> Option<(Vec<Ledger>, Vec<String>)> {
    let payload = value.payloads.first()?;
    match decode::<BatchLedger>(payload) {
        Some(BatchLedger { metadata, mut alerts, children }) => {
            alerts.iter_mut().for_each(|ledger| ledger.metadata = metadata.clone());
            Some((alerts, children.into_iter().map(|child| child.workflow_id).collect()))
        }
        None => Some((vec![decode::<Ledger>(payload)?], Vec::new())),
    }
}

/// What the history of a workflow without a result holds: the alerts as posted, the steps that are recorded, and the
/// ids of alerts that run on their own.
async fn so_far(
    client: &Client,
    handle: &Handle,
    workflow_id: &str,
) -> Result<(Vec<FoundAlert>, Vec<String>), LookupError> {
    let mut history = history(client, handle, workflow_id);
    let mut items = None;
    let mut children = BTreeSet::new();
    let mut story = Story::default();
    while let Some(event) = history.next().await {
        let event = event?;
        match items {
            None => {
                items =
                    Some(started_with(&event).ok_or_else(|| LookupError::Foreign(workflow_id.to_owned()))?)
            }
            Some(_) => story.go_on(&event),
        }
        if let Some(Attributes::StartChildWorkflowExecutionInitiatedEventAttributes(child)) = event.attributes
        {
            children.insert(child.workflow_id);
        }
    }
    let is_own = |item: &AlertItem| {
        item.alert.identity().is_some() && item.id != workflow_id || children.contains(&item.id)
    };
    let (own, inline): (Vec<_>, Vec<_>) = items.unwrap_or_default().into_iter().partition(is_own);
    // What belongs to which of several is not recorded.
    if inline.len() != 1 {
        story = Story::default();
    }
    let found = inline.into_iter().map(|item| FoundAlert {
        id: item.id,
        outcome: None,
        alert: item.alert,
        came: Some(Came {
            received_at: item.origin.received_at,
            via: item.origin.via.clone(),
            key: item.origin.key.clone(),
            from: item.origin.from,
        }),
        ledger: None,
        is_held: story.is_held,
        decisions: story.decisions.clone(),
        steps: story.steps.clone(),
    });
    Ok((found.collect(), own.into_iter().map(|item| item.id).collect()))
}

/// What the workflow of a parked delivery says of its end, if it has come to it.
pub(super) async fn unparked(client: &Client, id: &str) -> Option<Unparked> {
    parked_end(client, id).await?.1
}

/// Where the workflow of a parked delivery stands if it runs no more, and what it says of its end.
pub(super) async fn parked_end(client: &Client, id: &str) -> Option<(State, Option<Unparked>)> {
    let handle: Handle = client.get_workflow_handle(id);
    let described = handle.describe(WorkflowDescribeOptions::default()).await.ok()?;
    match State::from(described.status()) {
        State::Running => None,
        State::Completed => {
            let value = handle.get_result(WorkflowGetResultOptions::default()).await.ok()?;
            Some((State::Completed, value.payloads.first().and_then(decode)))
        }
        other => Some((other, None)),
    }
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
    is_held: bool,
    decisions: Vec<String>,
    steps: Vec<Step>,
}

/// The alerts in a workflow's first event.
fn started_with(event: &HistoryEvent) -> Option<Vec<AlertItem>> {
    let payload = input(event)?;
    match decode::<Batch>(payload) {
        Some(batch) => Some(batch.into_items().collect()),
        None => Some(vec![decode::<Job>(payload)?.item]),
    }
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
        let Some(Processed { hold, again, decisions, steps, .. }) = decode(payload) else { return };
        self.is_held = hold.is_some();
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

impl From<Ledger> for FoundAlert {
    fn from(ledger: Ledger) -> Self {
        Self {
            id: ledger.id.clone(),
            outcome: Some(ledger.outcome),
            alert: ledger.alert.clone(),
            came: None,
            ledger: Some(ledger),
            is_held: false,
            decisions: Vec::new(),
            steps: Vec::new(),
        }
    }
}

impl State {
    /// The name in Temporal's query language.
    pub(super) fn as_temporal(self) -> &'static str {
        match self {
            State::Running => "Running",
            State::Completed => "Completed",
            State::Failed => "Failed",
            State::Canceled => "Canceled",
            State::Terminated => "Terminated",
            State::TimedOut => "TimedOut",
        }
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
