//! Alerts that say who they are, but not since when: a key of the sender's, and no `starts_at`. What was posted under the
//! same key within the window is the same occurrence, unless that was resolved since, or it has become worse.
//!
//! Time is cut into windows. The first occurrence of a key in a window has the id `alert-<key>-<start of the window>`, those
//! after it count up the seconds. So every webhook looks for the same ids, and Temporal, which holds one workflow per id,
//! decides between two that come at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowHandle};

use super::cause::Cause;
use super::list;
use super::search_attributes::SEVERITY;
use super::submit::{Submission, waited_for};
use super::workflows::BatchAlert;
use crate::alert::{Alert, Origin, Severity, Status, resolve_id, timed_id};
use crate::scope::Scope;

/// How many alerts of a request are looked for at once.
const AT_ONCE: usize = 16;
/// The most occurrences of one key in a window that are told apart; those after it are each taken for another. No window
/// is shorter in seconds.
const MOST: i64 = 60;

/// Why Temporal did not say.
pub(super) struct Unknown(pub(super) Cause);

/// Which occurrences of a request are one: those of the same key and status.
type Occurrence = (String, Status);

/// Gives every alert with a key and without a start the id of the occurrence that it belongs to.
pub(super) async fn settle(
    client: &Client,
    task_queue: &str,
    window: Duration,
    submission: &mut Submission,
) -> Result<(), Unknown> {
    let (origin, mut open): (&Origin, Vec<(&Alert, &mut String)>) = match submission {
        Submission::One(item) => (&item.origin, vec![(&item.alert, &mut item.id)]),
        Submission::Many { origin, alerts, .. } => {
            (origin, alerts.iter_mut().map(|one| (&one.alert, &mut one.id)).collect())
        }
    };
    let (received_at, scope) = (origin.received_at, Scope::of_alerts(origin.via.as_deref()));
    open.retain(|(alert, _)| alert.identity().is_some() && alert.starts_at.is_none());
    let mut distinct: HashMap<Occurrence, Severity> = HashMap::new();
    for (alert, _) in &open {
        let worst = distinct.entry(occurrence(alert)).or_insert(alert.severity);
        *worst = alert.severity.max(*worst);
    }
    let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX).max(MOST);
    let lives = &Lives { client, task_queue, window, scope };
    let ids = stream::iter(distinct).map(|((key, status), severity)| async move {
        let id = lives.id(&key, status, severity, received_at).await?;
        Ok(((key, status), id))
    });
    let ids: HashMap<Occurrence, String> = ids.buffer_unordered(AT_ONCE).try_collect().await?;
    for (alert, id) in &mut open {
        if let Some(found) = ids.get(&occurrence(alert)) {
            id.clone_from(found);
        }
    }
    if let Submission::Many { alerts, .. } = submission {
        let settled = ids.values().collect();
        worst_first(alerts, &settled);
    }
    Ok(())
}

/// Of several alerts of one occurrence in a request the first one runs: the worst is to be it.
fn worst_first(alerts: &mut [BatchAlert], settled: &HashSet<&String>) {
    let mut first: HashMap<String, usize> = HashMap::new();
    for index in 0..alerts.len() {
        if !settled.contains(&alerts[index].id) {
            continue;
        }
        let first = *first.entry(alerts[index].id.clone()).or_insert(index);
        if alerts[first].alert.severity < alerts[index].alert.severity {
            alerts.swap(first, index);
        }
    }
}

fn occurrence(alert: &Alert) -> Occurrence {
    (alert.identity().unwrap_or_default().to_owned(), alert.status)
}

/// The occurrences that Temporal holds.
struct Lives<'a> {
    client: &'a Client,
    task_queue: &'a str,
    /// Seconds.
    window: i64,
    scope: Scope<'a>,
}

/// One of them.
struct Life {
    id: String,
    started_at: Timestamp,
    severity: Option<Severity>,
}

impl Lives<'_> {
    async fn id(
        &self,
        key: &str,
        status: Status,
        severity: Severity,
        at: Timestamp,
    ) -> Result<String, Unknown> {
        let start = at.as_second().div_euclid(self.window) * self.window;
        let (before, now) = futures::try_join!(self.of(key, start - self.window), self.of(key, start))?;
        let count = now.len() as i64;
        let last = now.into_iter().last().or(before.into_iter().last());
        match (status, last) {
            (Status::Resolved, Some(last)) => Ok(resolve_id(&last.id)),
            (Status::Resolved, None) => {
                let earlier = list::latest_firing(self.client, self.task_queue, self.scope, key)
                    .await
                    .map_err(|error| Unknown(error.into()))?;
                Ok(resolve_id(&earlier.unwrap_or_else(|| self.timed_id(key, second(start)))))
            }
            (Status::Firing, Some(last)) if self.is_repeat(&last, severity, at).await? => Ok(last.id),
            // One that comes and goes so often is told again rather than not at all.
            (Status::Firing, _) if count >= MOST => Ok(self.timed_id(key, at)),
            (Status::Firing, _) => Ok(self.timed_id(key, second(start + count))),
        }
    }

    /// Whether what comes now is what is there already.
    async fn is_repeat(&self, last: &Life, severity: Severity, at: Timestamp) -> Result<bool, Unknown> {
        let is_recent = at.as_second() - last.started_at.as_second() < self.window;
        let is_no_worse = last.severity.is_none_or(|before| severity <= before);
        Ok(is_recent && is_no_worse && self.life(resolve_id(&last.id)).await?.is_none())
    }

    fn timed_id(&self, key: &str, at: Timestamp) -> String {
        timed_id(self.scope, key, at)
    }

    /// The occurrences of a key in the window that begins at `start`, in their order.
    async fn of(&self, key: &str, start: i64) -> Result<Vec<Life>, Unknown> {
        let mut lives = Vec::new();
        for count in 0..MOST {
            match self.life(self.timed_id(key, second(start + count))).await? {
                Some(life) => lives.push(life),
                None => break,
            }
        }
        Ok(lives)
    }

    async fn life(&self, id: String) -> Result<Option<Life>, Unknown> {
        let handle: WorkflowHandle<Client, UntypedWorkflow> = self.client.get_workflow_handle(&id);
        let mut options = WorkflowDescribeOptions::default();
        options.rpc_options = waited_for();
        match handle.describe(options).await {
            Ok(found) => {
                let started_at = found.start_time().unwrap_or(SystemTime::UNIX_EPOCH);
                let severity = found.search_attributes().get(&SEVERITY);
                Ok(Some(Life {
                    id,
                    started_at: Timestamp::try_from(started_at).unwrap_or_default(),
                    severity: severity.and_then(|text| serde_json::from_value(text.into()).ok()),
                }))
            }
            Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
            Err(WorkflowInteractionError::Rpc(status)) => Err(Unknown(Cause::of(&status))),
            Err(error) => Err(Unknown(Cause::of(&error))),
        }
    }
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}
