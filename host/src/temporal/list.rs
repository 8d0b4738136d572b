//! Finding alerts by what they are, through Temporal's visibility: no database of our own.

use std::cmp::Reverse;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use temporalio_client::tonic::{self, Code, IntoRequest};
use temporalio_client::{Client, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::ListWorkflowExecutionsRequest;
use temporalio_common::search_attributes::{SearchAttributeKey, SearchAttributes};
use utoipa::{IntoParams, ToSchema};

use super::cause::Cause;
use super::link::Link;
use super::lookup::{self, LookupError, State};
use super::search_attributes::{KEY, OUTCOME, SEVERITY, SOURCE, STATUS, TITLE, TYPE};
use crate::alert::{self, AlertType, Severity, Status, is_stamp, untimed_id};
use crate::ledger::Outcome;
use crate::scope::Scope;

/// How long Temporal may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// How many alerts a page has when nothing is said.
pub(super) const PAGE: u16 = 50;
/// The most alerts of one page.
pub const LARGEST_PAGE: u16 = 1_000;
/// How many earlier alerts of a key are looked at first to find its latest.
const LOOKED_AT: i32 = 20;
/// How many pages of them are looked at, those behind the first of the largest size.
const MOST_PAGES: usize = 10;
/// What the time in an id begins with: some clocks that are not set say the year 1.
const MILLENNIA: [char; 3] = ['0', '1', '2'];
/// What alerts are carried by.
const CARRIERS: &str = "WorkflowType IN ('AlertProcessingWorkflow', 'BatchAlertProcessingWorkflow')";

/// Which alerts. A batch counts as one entry: with its worst outcome, its highest severity, and what else all of its alerts
/// have in common.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertFilter {
    /// What became of them, or where nothing has yet, how they stand.
    #[param(inline)]
    pub outcome: Option<ListedOutcome>,
    /// Firing or resolved.
    #[serde(default, deserialize_with = "alert::any_case")]
    pub status: Option<Status>,
    /// How bad they are.
    #[serde(default, deserialize_with = "alert::any_severity")]
    pub severity: Option<Severity>,
    /// The area that they belong to.
    #[serde(default, rename = "type", deserialize_with = "alert::any_case")]
    #[param(rename = "type")]
    pub kind: Option<AlertType>,
    /// The name of their source.
    #[param(example = "CloudWatch", pattern = r"^[^\u0000]*$")]
    pub source: Option<String>,
    /// Their `id`, or `dedup_key`.
    #[param(example = "web-1/cpu", pattern = r"^[^\u0000]*$")]
    pub key: Option<String>,
    /// Whether they are under way, done, or ended otherwise.
    pub state: Option<State>,
    /// Accepted at this time or later: RFC 3339, or how long ago.
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>, pattern = r"^([0-9]{1,4}(ms|s|m|h)|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$", example = "2h")]
    pub since: Option<Timestamp>,
    /// Accepted before this time: RFC 3339, or how long ago.
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>, pattern = r"^([0-9]{1,4}(ms|s|m|h)|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$", example = "2023-12-02T00:00:00Z")]
    pub until: Option<Timestamp>,
    /// How many at most, 1 to 1,000 [default: 50].
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// What a list shows for an outcome: that of the alert, or where there is none, how its workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedOutcome {
    /// Every receiver has it.
    Delivered,
    /// Some receivers have it.
    Partial,
    /// No receiver has it, or its workflow failed.
    Failed,
    /// No receiver was to have it.
    Dropped,
    /// No route took it.
    Unrouted,
    /// A batch that started its alerts, each of which has an outcome of its own.
    HandedOn,
    /// Under way.
    Running,
    /// Done, without an outcome.
    Completed,
    /// Cancelled in Temporal.
    Canceled,
    /// Terminated in Temporal.
    Terminated,
    /// Ended by a timeout.
    TimedOut,
}

impl ListedOutcome {
    /// What is asked of Temporal for it.
    fn query(self) -> String {
        let (outcome, otherwise) = match self {
            Self::Delivered => (Some(Outcome::Delivered), None),
            Self::Partial => (Some(Outcome::Partial), None),
            Self::Failed => (Some(Outcome::Failed), Some((State::Failed, ""))),
            Self::Dropped => (Some(Outcome::Dropped), None),
            Self::Unrouted => (Some(Outcome::Unrouted), None),
            Self::HandedOn => {
                (None, Some((State::Completed, " AND WorkflowType = 'BatchAlertProcessingWorkflow'")))
            }
            Self::Running => (None, Some((State::Running, ""))),
            Self::Completed => {
                (None, Some((State::Completed, " AND WorkflowType = 'AlertProcessingWorkflow'")))
            }
            Self::Canceled => (None, Some((State::Canceled, ""))),
            Self::Terminated => (None, Some((State::Terminated, ""))),
            Self::TimedOut => (None, Some((State::TimedOut, ""))),
        };
        let has = outcome.map(|outcome| is(&OUTCOME, outcome.as_str()));
        let stands = otherwise.map(|(state, more)| {
            format!("({} IS NULL AND ExecutionStatus = '{}'{more})", OUTCOME.name(), state.as_temporal())
        });
        let terms: Vec<String> = has.into_iter().chain(stands).collect();
        if terms.len() > 1 { format!("({})", terms.join(" OR ")) } else { terms.concat() }
    }
}

/// A page of alerts. Temporal gives those that are under way before those that ended, the latest end first; within a page the
/// alert that was accepted last is the first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertPage {
    /// The alerts and batches.
    pub alerts: Vec<ListedAlert>,
    /// What to give as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// One alert or batch, as far as Temporal's visibility knows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedAlert {
    /// The workflow: `/alerts/{workflow_id}` has the full story.
    pub workflow_id: String,
    /// Where it stands.
    pub state: State,
    /// Whether it is a batch: its alerts run in it, or on their own.
    pub is_batch: bool,
    /// The headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub title: Option<String>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcome: Option<String>,
    /// Firing or resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<String>,
    /// How bad it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub severity: Option<String>,
    /// The area that it belongs to.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub kind: Option<String>,
    /// The name of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
    /// Its `id`, or `dedup_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// When Temporal took it.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    /// When it was done.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
}

/// One page of the alerts of this host's task queue.
///
/// # Errors
///
/// There is no connection, no answer in time, or the cursor is not one.
pub async fn list(link: &Link, filter: &AlertFilter) -> Result<AlertPage, ListError> {
    let client = lookup::client(link)?;
    let query = query(&link.task_queue, filter);
    let token = match &filter.cursor {
        Some(cursor) => URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ListError::Cursor)?,
        None => Vec::new(),
    };
    let size = i32::from(filter.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE));
    let (found, next) = page(&client, query, size, token).await?;
    let mut alerts: Vec<ListedAlert> = found.into_iter().filter_map(listed).collect();
    // Temporal itself takes no order.
    alerts.sort_by_key(|alert| Reverse(alert.accepted_at));
    let next = (!next.is_empty()).then(|| URL_SAFE_NO_PAD.encode(next));
    Ok(AlertPage { alerts, next })
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The cursor is none of ours.
    #[error("is not the `next` of a page")]
    Cursor,
    /// Temporal does not tell.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// The id of the alert that fired last under a key of this scope.
pub(super) async fn latest_firing(
    client: &Client,
    task_queue: &str,
    scope: Scope<'_>,
    key: &str,
) -> Result<Option<String>, LookupError> {
    firing_before(client, task_queue, scope, key, "").await
}

/// The id of the alert that fired last under a key of this scope, besides this one.
pub(super) async fn firing_before(
    client: &Client,
    task_queue: &str,
    scope: Scope<'_>,
    key: &str,
    this: &str,
) -> Result<Option<String>, LookupError> {
    let (query, mut size, mut token) = (firings(task_queue, scope, key), LOOKED_AT, Vec::new());
    for _ in 0..MOST_PAGES {
        let (found, next) = page(client, query.clone(), size, token).await.map_err(|error| match error {
            ListError::Lookup(error) => error,
            ListError::Cursor => LookupError::Unavailable(Cause::Unable(error.to_string())),
        })?;
        let latest = latest(found, &untimed_id(scope, key), this);
        if latest.is_some() || next.is_empty() {
            return Ok(latest);
        }
        (size, token) = (LARGEST_PAGE.into(), next);
    }
    tracing::warn!(key, "the alert before is not among those that were looked at");
    Ok(None)
}

/// Asks for the alerts that fired under a key of this scope. The name of a source may begin with that of another, so the first
/// digit of the time is asked for too: only names that go on with `-` and such a digit still meet.
fn firings(task_queue: &str, scope: Scope<'_>, key: &str) -> String {
    let untimed = untimed_id(scope, key);
    let begins =
        MILLENNIA.map(|digit| format!("WorkflowId STARTS_WITH {}", quoted(&format!("{untimed}{digit}"))));
    let query = [
        "WorkflowType = 'AlertProcessingWorkflow'".to_owned(),
        format!("TaskQueue = {}", quoted(task_queue)),
        is(&KEY, key),
        is(&STATUS, &Status::Firing.to_string()),
        format!("({})", begins.join(" OR ")),
    ];
    query.join(" AND ")
}

/// The id of the latest of these whose id is a time behind `untimed`, besides `this`.
fn latest(found: Vec<WorkflowExecutionInfo>, untimed: &str, this: &str) -> Option<String> {
    let found = found.into_iter().filter_map(|info| {
        let id = info.execution?.workflow_id;
        let is_of_scope = id.strip_prefix(untimed).is_some_and(is_stamp);
        (is_of_scope && id != this).then_some((info.start_time.map(|time| (time.seconds, time.nanos)), id))
    });
    found.max().map(|(_, id)| id)
}

/// Whether a batch that was begun before this time still runs. False if Temporal does not tell.
pub(super) async fn is_batch_running(client: &Client, task_queue: &str, before: Timestamp) -> bool {
    let query = [
        "WorkflowType = 'BatchAlertProcessingWorkflow'".to_owned(),
        format!("TaskQueue = {}", quoted(task_queue)),
        "ExecutionStatus = 'Running'".to_owned(),
        format!("StartTime <= '{before}'"),
    ];
    page(client, query.join(" AND "), 1, Vec::new()).await.is_ok_and(|(found, _)| !found.is_empty())
}

pub(super) async fn page(
    client: &Client,
    query: String,
    page_size: i32,
    next_page_token: Vec<u8>,
) -> Result<(Vec<WorkflowExecutionInfo>, Vec<u8>), ListError> {
    let has_cursor = !next_page_token.is_empty();
    let namespace = client.options().namespace.clone();
    let request = ListWorkflowExecutionsRequest { namespace, page_size, next_page_token, query };
    let mut service = client.connection().workflow_service();
    let mut ask = async || match service.list_workflow_executions(request.clone().into_request()).await {
        // The server closes connections of a certain age, whatever is under way on them.
        Err(status) if status.code() == Code::Cancelled => {
            service.list_workflow_executions(request.clone().into_request()).await
        }
        answer => answer,
    };
    let answer = tokio::time::timeout(LIST_TIMEOUT, ask()).await;
    match answer {
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            Ok((answer.executions, answer.next_page_token))
        }
        // A token that is none makes the server stumble, which it does not call an invalid argument.
        Ok(Err(status)) if has_cursor && is_about_request(&status) => Err(ListError::Cursor),
        Ok(Err(status)) => Err(LookupError::Unavailable(Cause::of(&status)).into()),
        Err(_) => Err(LookupError::Unavailable(Cause::TimedOut(LIST_TIMEOUT)).into()),
    }
}

fn is_about_request(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::Unknown | Code::Internal)
}

fn query(task_queue: &str, filter: &AlertFilter) -> String {
    let attributes = [
        (&STATUS, filter.status.map(|status| status.to_string())),
        (&SEVERITY, filter.severity.map(|severity| severity.to_string())),
        (&TYPE, filter.kind.map(|kind| kind.to_string())),
        (&SOURCE, filter.source.clone()),
        (&KEY, filter.key.clone()),
    ];
    let mut terms = vec![CARRIERS.to_owned(), format!("TaskQueue = {}", quoted(task_queue))];
    terms.extend(attributes.into_iter().filter_map(|(key, value)| Some(is(key, &value?))));
    terms.extend(filter.outcome.map(ListedOutcome::query));
    terms.extend(filter.state.map(|state| format!("ExecutionStatus = '{}'", state.as_temporal())));
    terms.extend(filter.since.map(|since| format!("StartTime >= '{since}'")));
    terms.extend(filter.until.map(|until| format!("StartTime < '{until}'")));
    terms.join(" AND ")
}

pub(super) fn is(key: &SearchAttributeKey<String>, value: &str) -> String {
    format!("{} = {}", key.name(), quoted(value))
}

/// A text in Temporal's query language, which is SQL's.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn listed(info: WorkflowExecutionInfo) -> Option<ListedAlert> {
    let state = State::from(WorkflowExecutionStatus::from(info.status()));
    let (accepted_at, closed_at) = (info.start_time?, info.close_time);
    let attributes = SearchAttributes::from(info.search_attributes.unwrap_or_default());
    let get = |key| attributes.get(key);
    let is_batch = info.r#type.is_some_and(|workflow| workflow.name == "BatchAlertProcessingWorkflow");
    Some(ListedAlert {
        workflow_id: info.execution?.workflow_id,
        state,
        is_batch,
        title: get(&TITLE),
        outcome: get(&OUTCOME),
        status: get(&STATUS),
        severity: get(&SEVERITY),
        kind: get(&TYPE),
        source: get(&SOURCE),
        key: get(&KEY),
        accepted_at: Timestamp::new(accepted_at.seconds, accepted_at.nanos).ok()?,
        closed_at: closed_at.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok()),
    })
}

/// A time as RFC 3339, or as how long ago: `2h`.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let ago = |text: &str| Timestamp::now().checked_sub(text.parse::<SignedDuration>().ok()?.abs()).ok();
    let time = text.parse().ok().or_else(|| ago(&text));
    time.map(Some).ok_or_else(|| {
        D::Error::custom(format!(
            "{text:?} is neither an RFC 3339 time such as 2023-12-01T14:30:22Z nor how long ago, such as 2h"
        ))
    })
}

#[cfg(test)]
mod tests {
    use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;

    use super::*;

    #[test]
    fn a_filter_becomes_a_query_that_no_text_breaks_out_of() {
        let filter = AlertFilter {
            outcome: Some(ListedOutcome::Partial),
            severity: Some(Severity::High),
            key: Some("it's \\ 'x' OR 1=1".to_owned()),
            state: Some(State::Running),
            since: Some("2023-12-01T14:30:22Z".parse().unwrap()),
            ..AlertFilter::default()
        };
        assert_eq!(
            query("q", &filter),
            format!(
                "{CARRIERS} AND TaskQueue = 'q' AND AlertSeverity = 'high' \
                 AND AlertKey = 'it\\'s \\\\ \\'x\\' OR 1=1' AND AlertOutcome = 'partial' AND ExecutionStatus = 'Running' \
                 AND StartTime >= '2023-12-01T14:30:22Z'"
            )
        );
    }

    #[test]
    fn every_outcome_that_a_list_shows_can_be_asked_for() {
        for (outcome, query) in [
            (ListedOutcome::Dropped, "AlertOutcome = 'dropped'"),
            (
                ListedOutcome::Failed,
                "(AlertOutcome = 'failed' OR (AlertOutcome IS NULL AND ExecutionStatus = 'Failed'))",
            ),
            (
                ListedOutcome::HandedOn,
                "(AlertOutcome IS NULL AND ExecutionStatus = 'Completed' AND WorkflowType = 'BatchAlertProcessingWorkflow')",
            ),
            (ListedOutcome::TimedOut, "(AlertOutcome IS NULL AND ExecutionStatus = 'TimedOut')"),
        ] {
            assert_eq!(outcome.query(), query);
        }
    }

    #[test]
    fn words_of_a_filter_are_read_in_any_case() {
        let read = |document: serde_json::Value| serde_json::from_value::<AlertFilter>(document);
        let filter =
            read(serde_json::json!({"severity": "HIGH", "type": "Database", "status": "Firing"})).unwrap();
        assert_eq!(
            (filter.severity, filter.kind, filter.status),
            (Some(Severity::High), Some(AlertType::Database), Some(Status::Firing))
        );
        assert_eq!(read(serde_json::json!({"severity": "page"})).unwrap().severity, Some(Severity::Critical));
        let error = read(serde_json::json!({"severity": "urgent"})).unwrap_err().to_string();
        assert!(error.contains("`urgent`, expected one of `low`"), "{error}");
        assert_eq!(read(serde_json::json!({})).unwrap().severity, None);
    }

    #[test]
    fn the_firings_of_a_source_are_asked_for_without_those_of_a_longer_name() {
        assert_eq!(
            firings("q", Scope::of_alerts(Some("pde")), "k'"),
            "WorkflowType = 'AlertProcessingWorkflow' AND TaskQueue = 'q' AND AlertKey = 'k\\'' \
             AND AlertStatus = 'firing' AND (WorkflowId STARTS_WITH 'alert-k\\'@pde-0' \
             OR WorkflowId STARTS_WITH 'alert-k\\'@pde-1' OR WorkflowId STARTS_WITH 'alert-k\\'@pde-2')"
        );
    }

    #[test]
    fn the_latest_is_of_the_same_scope_and_another_alert() {
        let info = |workflow_id: &str| WorkflowExecutionInfo {
            execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
            ..WorkflowExecutionInfo::default()
        };
        let ids = [
            "alert-k@pde-20231201-143022",
            "alert-k@pde-20231202-143022",
            "alert-k@pde-20231203-143022",
            "alert-k@pde-2-20231204-143022",
            "alert-k@pde-20231204-143022-resolved",
        ];
        let latest = |ids: &[&str]| {
            let found = ids.iter().map(|id| info(id)).collect();
            latest(found, "alert-k@pde-", "alert-k@pde-20231203-143022")
        };
        assert_eq!(latest(&ids).as_deref(), Some("alert-k@pde-20231202-143022"));
        assert_eq!(latest(&ids[2..]), None);
    }
}
