//! The parked deliveries: what nobody could deliver, found through Temporal's visibility, and tried again when somebody says
//! so.

use std::fmt;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use temporalio_client::tonic::IntoRequest;
use temporalio_client::{Client, WorkflowHandle, WorkflowSignalOptions};
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::CountWorkflowExecutionsRequest;
use temporalio_common::search_attributes::SearchAttributes;
use utoipa::{IntoParams, ToSchema};

use super::cause::Cause;
use super::link::Link;
use super::list::{self, ListError, is, quoted};
use super::lookup::{self, LookupError, State};
use super::parked::{ParkedDeliveryWorkflow, Unparked};
use super::search_attributes::{ERROR, KEY, RECEIVER, SEVERITY, SOURCE, STATUS, TITLE};
use crate::alert::{self, Severity};
use crate::telemetry::metric;

/// How many are looked up at once.
const AT_ONCE: i32 = 500;
/// How many are told to try again at once.
const TOLD_AT_ONCE: usize = 16;
/// How long it may take to look up how many ended.
const ENDS_TIMEOUT: Duration = Duration::from_secs(20);
/// How often they are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Which parked deliveries. Everything that is given has to hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    /// `parked` [default]: those that wait; `ended`: those that were made after all, discarded, or too old.
    #[serde(default)]
    pub state: ParkedState,
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
    /// Parked at this time or later: RFC 3339, or how long ago.
    #[serde(default, deserialize_with = "list::time")]
    #[param(value_type = Option<String>, pattern = r"^([0-9]{1,4}(ms|s|m|h)|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$", example = "2h")]
    pub since: Option<Timestamp>,
    /// How many at most, 1 to 1,000 [default: 50; of an order: all].
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// Of an order: all that are parked, where nothing else says which.
    #[serde(default)]
    pub all: bool,
}

impl DeliveryFilter {
    /// Whether it says which.
    pub fn is_given(&self) -> bool {
        let texts = [&self.receiver, &self.id, &self.error];
        self.all || texts.iter().any(|text| text.is_some()) || self.severity.is_some() || self.since.is_some()
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParkedState {
    /// It waits to be tried again.
    #[default]
    Parked,
    /// It is at its end.
    Ended,
}

/// Some parked deliveries, the latest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryPage {
    /// The deliveries.
    pub deliveries: Vec<ParkedDelivery>,
    /// Whether there are more.
    pub more: bool,
}

/// A delivery that nobody could make.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ParkedDelivery {
    /// The delivery's own id, which its receiver gets each time: `<alert>/<receiver>`.
    pub id: String,
    /// Where it stands.
    pub state: ParkedState,
    /// The alert.
    pub alert: String,
    /// The receiver.
    pub receiver: String,
    /// The code of the last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
    /// The alert's headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub title: Option<String>,
    /// How bad it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub severity: Option<String>,
    /// Firing or resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<String>,
    /// The alert's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
    /// The alert's `id`, or `dedup_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// Since when it is parked.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub parked_at: Timestamp,
    /// How it came to its end, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub end: Option<DeliveryEnd>,
}

/// How a parked delivery came to its end.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryEnd {
    /// What became of it.
    pub how: Fate,
    /// How many attempts were made in all; absent where its workflow has no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub attempts: Option<u32>,
    /// Why it was discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// When.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// What became of a parked delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// A retry delivered it.
    Delivered,
    /// It is not wanted any more.
    Discarded,
    /// It was parked for 30 days.
    Expired,
    /// Its workflow was ended in Temporal itself.
    Aborted,
    /// The result of its workflow cannot be read, such as one that is encrypted with a key that is gone.
    Unknown,
}

impl fmt::Display for DeliveryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.how {
            Fate::Delivered => "delivered",
            Fate::Discarded => "discarded",
            Fate::Expired => "expired",
            Fate::Aborted => "its workflow was ended in Temporal",
            Fate::Unknown => "its result cannot be read",
        })?;
        match (self.how, self.attempts, &self.reason) {
            (Fate::Delivered, Some(attempts), _) => write!(f, " in attempt {attempts}"),
            (_, _, Some(reason)) => write!(f, ": {reason}"),
            _ => Ok(()),
        }
    }
}

impl DeliveryEnd {
    /// An end of which only this is known.
    fn at(how: Fate, at: Option<Timestamp>) -> Self {
        Self { how, attempts: None, reason: None, at }
    }

    /// The end of a delivery whose workflow stands so, and says this.
    pub(super) fn of(state: State, ended: Option<Unparked>) -> Self {
        let end = Self::at(if state == State::Completed { Fate::Unknown } else { Fate::Aborted }, None);
        match ended {
            Some(ended) => end.with_result(ended),
            None => end,
        }
    }

    /// The same end, with what its workflow says of it.
    fn with_result(self, ended: Unparked) -> Self {
        let how = match (ended.delivered, &ended.discarded) {
            (true, _) => Fate::Delivered,
            (false, Some(_)) => Fate::Discarded,
            (false, None) => Fate::Expired,
        };
        Self { how, attempts: Some(ended.step.attempts), reason: ended.discarded, at: self.at }
    }
}

/// What is to be done with parked deliveries.
#[derive(Clone, Debug)]
pub enum Order {
    /// Try them again.
    Retry,
    /// Never try them again, for this reason.
    Discard(String),
}

/// The deliveries that a filter takes.
///
/// # Errors
///
/// Temporal does not tell.
pub async fn deliveries(link: &Link, filter: &DeliveryFilter) -> Result<DeliveryPage, LookupError> {
    let size = i32::from(filter.limit.unwrap_or(list::PAGE).clamp(1, list::LARGEST_PAGE));
    let client = lookup::client(link)?;
    let query = query(&link.task_queue, filter);
    let (found, next) = list::page(&client, query, size, Vec::new()).await.map_err(unavailable)?;
    let ending = found.into_iter().filter_map(parked).map(async |delivery| with_end(&client, delivery).await);
    let deliveries = stream::iter(ending).buffered(TOLD_AT_ONCE).collect();
    let deliveries = tokio::time::timeout(ENDS_TIMEOUT, deliveries).await;
    let deliveries = deliveries.map_err(|_| LookupError::Unavailable(Cause::TimedOut(ENDS_TIMEOUT)))?;
    Ok(DeliveryPage { deliveries, more: !next.is_empty() })
}

/// The delivery, with what its workflow says of its end if that has come.
async fn with_end(client: &Client, delivery: ParkedDelivery) -> ParkedDelivery {
    let Some(end) = delivery.end.clone().filter(|end| end.how == Fate::Unknown) else { return delivery };
    match lookup::unparked(client, &delivery.id).await {
        Some(ended) => ParkedDelivery { end: Some(end.with_result(ended)), ..delivery },
        None => delivery,
    }
}

/// Gives an order to all parked deliveries that a filter takes, and tells to which.
///
/// # Errors
///
/// Temporal does not tell, or did not take one of the orders.
pub async fn order(link: &Link, filter: &DeliveryFilter, order: &Order) -> Result<Vec<String>, LookupError> {
    let client = lookup::client(link)?;
    let filter = DeliveryFilter { state: ParkedState::Parked, ..filter.clone() };
    let query = query(&link.task_queue, &filter);
    let (mut ids, mut cursor) = (Vec::new(), Vec::new());
    loop {
        let (found, next) = list::page(&client, query.clone(), AT_ONCE, cursor).await.map_err(unavailable)?;
        let room = filter.limit.map_or(usize::MAX, |most| usize::from(most) - ids.len());
        let found = found.into_iter().filter_map(parked).take(room);
        let giving = found.map(async |delivery| {
            let given = give(&client, &delivery.id, order).await;
            given.map(|is_given| is_given.then_some(delivery.id))
        });
        let given: Vec<_> = stream::iter(giving).buffered(TOLD_AT_ONCE).collect().await;
        let mut failed = None;
        for given in given {
            match given {
                Ok(id) => ids.extend(id),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            // Those that were told are told.
            tracing::warn!(%error, "not all parked deliveries could be told");
            return if ids.is_empty() { Err(error) } else { Ok(ids) };
        }
        if next.is_empty() || filter.limit.is_some_and(|most| ids.len() >= usize::from(most)) {
            return Ok(ids);
        }
        cursor = next;
    }
}

/// Counts the parked deliveries for the metrics, as long as the process runs.
pub async fn count_parked(link: Link) {
    let query = query(&link.task_queue, &DeliveryFilter::default());
    loop {
        tokio::time::sleep(COUNT_INTERVAL).await;
        let Some(client) = link.client() else { continue };
        let namespace = client.options().namespace.clone();
        let request = CountWorkflowExecutionsRequest { namespace, query: query.clone() };
        let mut service = client.connection().workflow_service();
        if let Ok(counted) = service.count_workflow_executions(request.into_request()).await {
            metric::parked_now(counted.into_inner().count);
        }
    }
}

/// Whether it was still there to take it.
async fn give(client: &Client, id: &str, order: &Order) -> Result<bool, LookupError> {
    use temporalio_client::errors::WorkflowInteractionError as Failed;
    let handle: WorkflowHandle<Client, ParkedDeliveryWorkflow> = client.get_workflow_handle(id);
    let options = WorkflowSignalOptions::default();
    let given = match order {
        Order::Retry => handle.signal(ParkedDeliveryWorkflow::retry, (), options).await,
        Order::Discard(why) => handle.signal(ParkedDeliveryWorkflow::discard, why.clone(), options).await,
    };
    match given {
        Ok(()) => Ok(true),
        Err(Failed::NotFound(_)) => Ok(false),
        Err(error) => Err(lookup::interaction(id, &error)),
    }
}

fn unavailable(error: ListError) -> LookupError {
    match error {
        ListError::Lookup(error) => error,
        ListError::Cursor => LookupError::Unavailable(Cause::Unable(error.to_string())),
    }
}

fn query(task_queue: &str, filter: &DeliveryFilter) -> String {
    let status = match filter.state {
        ParkedState::Parked => "ExecutionStatus = 'Running'",
        // A run that another one goes on with is no end.
        ParkedState::Ended => "ExecutionStatus != 'Running' AND ExecutionStatus != 'ContinuedAsNew'",
    };
    let mut terms = vec![
        "WorkflowType = 'ParkedDeliveryWorkflow'".to_owned(),
        format!("TaskQueue = {}", quoted(task_queue)),
        status.to_owned(),
    ];
    let severity = filter.severity.map(|severity| severity.to_string());
    let attributes = [(&RECEIVER, &filter.receiver), (&ERROR, &filter.error), (&SEVERITY, &severity)];
    terms.extend(attributes.into_iter().filter_map(|(key, value)| Some(is(key, value.as_ref()?))));
    terms.extend(filter.id.as_ref().map(|id| {
        format!("(WorkflowId = {} OR WorkflowId STARTS_WITH {})", quoted(id), quoted(&format!("{id}/")))
    }));
    terms.extend(filter.since.map(|since| format!("StartTime >= '{since}'")));
    terms.join(" AND ")
}

fn parked(info: WorkflowExecutionInfo) -> Option<ParkedDelivery> {
    use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus::{Completed, Running};
    let how = if info.status() == Completed { Fate::Unknown } else { Fate::Aborted };
    let state = if info.status() == Running { ParkedState::Parked } else { ParkedState::Ended };
    let at = info.start_time?;
    let closed_at = info.close_time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
    let attributes = SearchAttributes::from(info.search_attributes.unwrap_or_default());
    let get = |key| attributes.get(key);
    let id = info.execution?.workflow_id;
    let receiver = get(&RECEIVER)?;
    let alert = id.strip_suffix(&format!("/{receiver}")).unwrap_or(&id).to_owned();
    Some(ParkedDelivery {
        state,
        alert,
        receiver,
        error: get(&ERROR),
        title: get(&TITLE),
        severity: get(&SEVERITY),
        status: get(&STATUS),
        source: get(&SOURCE),
        key: get(&KEY),
        parked_at: Timestamp::new(at.seconds, at.nanos).ok()?,
        end: (state == ParkedState::Ended).then(|| DeliveryEnd::at(how, closed_at)),
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Activity, Step};

    #[test]
    fn a_filter_becomes_a_query_that_no_text_breaks_out_of() {
        let filter = DeliveryFilter {
            receiver: Some("o'ps".to_owned()),
            id: Some("alert-1".to_owned()),
            since: Some("2023-12-01T14:30:22Z".parse().unwrap()),
            ..DeliveryFilter::default()
        };
        assert_eq!(
            query("q", &filter),
            "WorkflowType = 'ParkedDeliveryWorkflow' AND TaskQueue = 'q' AND ExecutionStatus = 'Running' \
             AND AlertReceiver = 'o\\'ps' \
             AND (WorkflowId = 'alert-1' OR WorkflowId STARTS_WITH 'alert-1/') \
             AND StartTime >= '2023-12-01T14:30:22Z'"
        );
    }

    #[test]
    fn an_end_says_how_and_why() {
        let at = "2026-11-30T10:00:00Z".parse().ok();
        let end = |delivered, discarded: Option<&str>| {
            let step = Step { attempts: 9, ..Step::untried(Activity::SendNotification, "chat") };
            let ended = Unparked { step, delivered, discarded: discarded.map(str::to_owned) };
            DeliveryEnd::at(Fate::Unknown, at).with_result(ended)
        };
        for (end, how, said) in [
            (end(true, None), Fate::Delivered, "delivered in attempt 9"),
            (end(false, Some("an operator did")), Fate::Discarded, "discarded: an operator did"),
            (end(false, None), Fate::Expired, "expired"),
            (DeliveryEnd::at(Fate::Aborted, at), Fate::Aborted, "its workflow was ended in Temporal"),
        ] {
            assert_eq!((end.how, end.to_string().as_str(), end.at), (how, said, at));
        }
    }
}
