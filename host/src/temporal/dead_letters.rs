//! Dead letters: deliveries that exhausted their retries, as the store keeps them. An operator lists them, has them tried again, or
//! discards them.

use std::fmt;
use std::time::Duration;

use campanile_store::{DeadLetter, DeadLetterFilter, DeadLetterState, KeptDeadLetter, Store};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions};
use utoipa::{IntoParams, ToSchema};

use super::activities::NOT_WANTED;
use super::cause::Cause;
use super::json::Json;
use super::late_delivery::{LateDeliveryWorkflow, Undelivered};
use super::life;
use super::link::Link;
use super::list;
use super::lookup::{self, LookupError};
use super::search_attributes;
use crate::alert::{self, Severity, Status};
use crate::ledger::{Step, StepResult};
use crate::records::{RecordError, Records};
use crate::telemetry::metric;

/// How many one transaction changes.
const AT_ONCE: usize = 500;
/// How many are started at once.
const STARTED_AT_ONCE: usize = 16;
/// How often they are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);
/// Why one is over that an operator discarded.
const DISCARDED: &str = "an operator discarded it";

/// Which dead letters. Everything that is given has to hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    /// Those that were delivered after all, or discarded, instead of those that were not.
    #[serde(default)]
    pub ended: bool,
    /// The receiver.
    #[param(example = "slack-ops", pattern = r"^[^\u0000]*$")]
    pub receiver: Option<String>,
    /// The alert, or the delivery itself, by its id.
    #[param(example = "alert-web-1-20231201-143022", pattern = r"^[^\u0000]*$")]
    pub id: Option<String>,
    /// The code of the last error.
    #[param(example = "http-503", pattern = r"^[^\u0000]*$")]
    pub error: Option<String>,
    /// How bad the alerts are.
    #[serde(default, deserialize_with = "alert::any_severity")]
    pub severity: Option<Severity>,
    /// Those that exhausted their retries then or later: RFC 3339, or how long ago.
    #[serde(default, deserialize_with = "list::time")]
    #[param(value_type = Option<String>, pattern = r"^([0-9]{1,4}(ms|s|m|h)|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$", example = "2h")]
    pub since: Option<Timestamp>,
    /// How many at most, 1 to 1,000 [default: 50; of a retry or a discard: all].
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// Of a retry or a discard: all of them, where nothing else says which.
    #[serde(default)]
    pub all: bool,
}

impl DeliveryFilter {
    /// Whether it says which.
    pub fn is_given(&self) -> bool {
        let texts = [&self.receiver, &self.id, &self.error];
        self.all || texts.iter().any(|text| text.is_some()) || self.severity.is_some() || self.since.is_some()
    }

    fn in_store(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            id: self.id.clone(),
            receiver: self.receiver.clone(),
            error_code: self.error.clone(),
            severity: self.severity.map(|severity| severity as i16),
            since: self.since.map(Timestamp::as_microsecond),
        }
    }
}

/// Some dead letters, the latest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryPage {
    /// The deliveries.
    pub deliveries: Vec<ListedDelivery>,
    /// Whether there are more.
    pub more: bool,
}

/// A delivery that exhausted its retries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedDelivery {
    /// The delivery's own id, which its receiver gets each time: `<alert>/<receiver>`.
    pub id: String,
    /// How far it is.
    pub state: DeliveryProgress,
    /// The alert.
    pub alert: String,
    /// The receiver.
    pub receiver: String,
    /// The code of the last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
    /// The alert's headline.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Firing or resolved.
    pub status: Status,
    /// The alert's source.
    pub source: String,
    /// The alert's `id`, or `dedup_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// How many attempts were made in all.
    pub attempts: u32,
    /// When it first exhausted its retries.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub exhausted_at: Timestamp,
    /// When it was delivered or discarded.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// How far a dead letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryProgress {
    /// It waits for an operator.
    Exhausted,
    /// It is tried again.
    Retrying,
    /// A retry delivered it.
    Delivered,
    /// An operator discarded it, or its alert was resolved or acknowledged.
    Discarded,
}

impl From<DeadLetterState> for DeliveryProgress {
    fn from(state: DeadLetterState) -> Self {
        match state {
            DeadLetterState::Exhausted => Self::Exhausted,
            DeadLetterState::Retrying => Self::Retrying,
            DeadLetterState::Delivered => Self::Delivered,
            DeadLetterState::Discarded => Self::Discarded,
        }
    }
}

impl ListedDelivery {
    fn new(kept: KeptDeadLetter, undelivered: Undelivered) -> Self {
        let KeptDeadLetter { dead_letter, exhausted_at, changed_at } = kept;
        let Undelivered { item, step, .. } = undelivered;
        let state = dead_letter.state.into();
        let is_over = matches!(state, DeliveryProgress::Delivered | DeliveryProgress::Discarded);
        Self {
            id: dead_letter.delivery_id,
            state,
            alert: dead_letter.alert_id,
            receiver: dead_letter.receiver,
            error: step.error.as_ref().map(|error| error.code.clone()),
            title: item.alert.title.clone(),
            severity: item.alert.severity,
            status: item.alert.status,
            source: item.alert.source.name.clone(),
            key: item.alert.identity().map(str::to_owned),
            attempts: step.attempts,
            exhausted_at: life::time(exhausted_at),
            ended_at: is_over.then(|| life::time(changed_at)),
            reason: (state == DeliveryProgress::Discarded).then(|| reason_of(&step)),
        }
    }
}

impl fmt::Display for ListedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.state, &self.reason) {
            (DeliveryProgress::Delivered, _) => write!(f, "delivered in attempt {}", self.attempts),
            (DeliveryProgress::Discarded, Some(reason)) => write!(f, "discarded: {reason}"),
            (DeliveryProgress::Discarded, None) => f.write_str("discarded"),
            (DeliveryProgress::Exhausted, _) => f.write_str("exhausted its retries"),
            (DeliveryProgress::Retrying, _) => f.write_str("tried again now"),
        }
    }
}

/// Why a discarded delivery is not wanted: an attempt found out, or an operator said so.
pub(super) fn reason_of(step: &Step) -> String {
    let error = step.error.as_ref().filter(|error| NOT_WANTED.contains(&error.code.as_str()));
    error.map_or_else(|| DISCARDED.to_owned(), |error| error.message.clone())
}

/// A delivery as the store keeps it, by how its last attempt ended.
///
/// # Errors
///
/// It cannot be encrypted.
pub(super) fn dead_letter(records: &Records, undelivered: &Undelivered) -> Result<DeadLetter, RecordError> {
    let Undelivered { item, target, step } = undelivered;
    let code = step.error.as_ref().map(|error| error.code.clone()).unwrap_or_default();
    let state = match step.result {
        StepResult::Ok => DeadLetterState::Delivered,
        StepResult::Failed if NOT_WANTED.contains(&code.as_str()) => DeadLetterState::Discarded,
        StepResult::Failed => DeadLetterState::Exhausted,
    };
    Ok(DeadLetter {
        delivery_id: undelivered.id(),
        alert_id: item.id.clone(),
        receiver: target.name.clone(),
        error_code: code,
        delivery: records.write(undelivered)?,
        state,
    })
}

/// What is to be done with dead letters.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Try them again.
    Retry,
    /// Never try them again.
    Discard,
}

/// The dead letters that a filter takes.
///
/// # Errors
///
/// The store does not answer.
pub async fn deliveries(records: &Records, filter: &DeliveryFilter) -> Result<DeliveryPage, LookupError> {
    let most = usize::from(filter.limit.unwrap_or(list::PAGE).clamp(1, list::LARGEST_PAGE));
    let mut kept = records.store()?.dead_letters(&filter.in_store(), filter.ended, most + 1).await?;
    let more = kept.len() > most;
    kept.truncate(most);
    let listed = kept.into_iter().map(|kept| {
        let undelivered = records.read(&kept.dead_letter.delivery)?;
        Ok(ListedDelivery::new(kept, undelivered))
    });
    Ok(DeliveryPage { deliveries: listed.collect::<Result<_, RecordError>>()?, more })
}

/// Retries or discards all dead letters that a filter takes, and returns their ids.
///
/// # Errors
///
/// The store does not answer, or Temporal does not: then those that were started are tried again, and the others wait as before.
pub async fn order(
    records: &Records,
    link: &Link,
    filter: &DeliveryFilter,
    order: Order,
) -> Result<Vec<String>, LookupError> {
    let (store, in_store) = (records.store()?, filter.in_store());
    let client = match order {
        Order::Retry => Some(lookup::client(link)?),
        Order::Discard => None,
    };
    let mut ids = Vec::new();
    loop {
        let left = filter.limit.map_or(usize::MAX, |most| usize::from(most) - ids.len());
        let state = if client.is_some() { DeadLetterState::Retrying } else { DeadLetterState::Discarded };
        let changed = store.change_dead_letters(&in_store, state, left.min(AT_ONCE)).await?;
        let count = changed.len();
        match &client {
            Some(client) => ids.extend(start_all(records, &store, link, client, changed).await?),
            None => ids.extend(changed.into_iter().map(|kept| kept.dead_letter.delivery_id)),
        }
        if count < AT_ONCE || filter.limit.is_some_and(|most| ids.len() >= usize::from(most)) {
            return Ok(ids);
        }
    }
}

/// Starts the workflows of dead letters, and returns the ids of those. An error if none was started.
async fn start_all(
    records: &Records,
    store: &Store,
    link: &Link,
    client: &Client,
    letters: Vec<KeptDeadLetter>,
) -> Result<Vec<String>, LookupError> {
    let starting = letters.into_iter().map(async |kept| {
        let id = kept.dead_letter.delivery_id.clone();
        // A workflow that tried it before may not have come to its end yet, and has nothing left to do.
        let conflict = WorkflowIdConflictPolicy::TerminateExisting;
        match start(records, link, client, &kept.dead_letter, conflict).await {
            Ok(()) => Ok(id),
            Err(error) => {
                tracing::warn!(delivery = id, %error, "not tried again");
                store.exhaust_again(&id).await?;
                Err(error)
            }
        }
    });
    let started: Vec<_> = stream::iter(starting).buffered(STARTED_AT_ONCE).collect().await;
    let (mut ids, mut failed) = (Vec::new(), None);
    for one in started {
        match one {
            Ok(id) => ids.push(id),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if ids.is_empty() => Err(error),
        _ => Ok(ids),
    }
}

/// Starts the workflow of a dead letter.
async fn start(
    records: &Records,
    link: &Link,
    client: &Client,
    letter: &DeadLetter,
    conflict: WorkflowIdConflictPolicy,
) -> Result<(), LookupError> {
    let undelivered: Undelivered = records.read(&letter.delivery)?;
    let mut options = WorkflowStartOptions::new(&*link.task_queue, &*letter.delivery_id)
        .id_conflict_policy(conflict)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .build();
    let attributes = search_attributes::of_delivery(&undelivered.item, &letter.receiver, &letter.error_code);
    options.search_attributes = Some(attributes);
    match client.start_workflow(LateDeliveryWorkflow::run, Json(undelivered), options).await {
        Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(()),
        Err(error) => Err(LookupError::Unavailable(Cause::of(&error))),
    }
}

/// Starts the workflow of a dead letter that is to be tried again, and that Temporal does not know.
pub(super) async fn start_again(
    records: &Records,
    link: &Link,
    client: &Client,
    letter: &DeadLetter,
) -> Result<(), String> {
    let started = start(records, link, client, letter, WorkflowIdConflictPolicy::Fail).await;
    started.map_err(|error| error.to_string())
}

/// Counts dead letters and alerts for the metrics, as long as the process runs.
pub async fn count_kept(records: Records) {
    loop {
        tokio::time::sleep(COUNT_INTERVAL).await;
        let Ok(store) = records.store() else { continue };
        metric::alerts_now(store.pending(), store.suspended_count());
        if let Ok(count) = store.count_dead_letters().await {
            metric::dead_letters_now(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Activity, Retry, StepError};

    #[test]
    fn a_discarded_delivery_says_why() {
        let step = |code: &str, message: &str| Step {
            error: Some(StepError {
                code: code.to_owned(),
                message: message.to_owned(),
                retry: Retry::Never,
            }),
            ..Step::untried(Activity::SendNotification, "chat")
        };
        assert_eq!(reason_of(&step("http-503", "busy")), DISCARDED);
        assert_eq!(reason_of(&step("acknowledged", "alice has it")), "alice has it");
    }
}
