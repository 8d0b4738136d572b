//! Starting the workflow of a claim. What Temporal refuses for good is at its end, and holds up nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_store::{Claim, Claimed, Store, StoreError};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowHandle, WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy, WorkflowStartOptions,
};
use temporalio_common::MemoValues;
use tokio::time::timeout;

use super::Shared;
use super::carrier::carrier;
use crate::alert::{Alert, AlertItem, Origin, Severity};
use crate::records::RecordError;
use crate::temporal::workflows::{AlertProcessingWorkflow, Batch, BatchAlertProcessingWorkflow, Job};
use crate::temporal::{cause, json::Json, search_attributes, urgency};

/// How long one call may take. After that the claim is taken up again, under the same workflow.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long a call that failed is made again, and the pause before that.
const TRIED_AGAIN: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(250);

/// What the ids of batch workflows begin with.
const BATCH: &str = "batch-";
/// The field of a workflow's memo that says which row of which store it carries.
const CARRIES: &str = "carries";

/// Why a workflow was not started.
enum Failure {
    /// It may be at another time.
    Later(String),
    /// Temporal will refuse it again.
    Refused(String),
}

impl Shared {
    /// Starts the workflow of a claim. An alert that cannot be read holds up no other.
    pub(super) async fn start(self: Arc<Self>, claim: Claim) {
        let claim = self.readable(claim).await;
        if claim.notifications.is_empty() {
            return;
        }
        let began = Instant::now();
        loop {
            match self.try_to_start(&claim).await {
                Ok(()) => return self.flight.lock().started(&claim),
                Err(Failure::Later(why)) if began.elapsed() < TRIED_AGAIN => {
                    tracing::debug!(workflow = claim.workflow_id, "not started, tried again: {why}");
                    tokio::time::sleep(PAUSE).await;
                }
                // Its claim ends soon, and is taken up again.
                Err(Failure::Later(why)) => {
                    return tracing::warn!(workflow = claim.workflow_id, "not started, tried again: {why}");
                }
                Err(Failure::Refused(why)) => return self.refused(claim, &why).await,
            }
        }
    }

    /// The claim without alerts that cannot be read, such as without the key that they are encrypted with. Each of those is claimed
    /// again by itself, until it can be.
    async fn readable(&self, claim: Claim) -> Claim {
        let Claim { workflow_id, notifications } = claim;
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for claimed in notifications {
            match self.item(&claimed) {
                Ok(_) => readable.push(claimed),
                Err(error) => {
                    tracing::error!(alert = claimed.id, %error, "an alert in the store cannot be read");
                    unreadable.push(claimed);
                }
            }
        }
        for claimed in unreadable {
            if let Err(error) = self.carry_alone(&claimed).await {
                tracing::warn!(alert = claimed.id, %error, "it holds up those that it was claimed with");
            }
        }
        Claim { workflow_id, notifications: readable }
    }

    async fn try_to_start(&self, claim: &Claim) -> Result<(), Failure> {
        let items =
            claim.notifications.iter().map(|claimed| self.item(claimed)).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|error| Failure::Later(error.to_string()))?;
        let client = self.link.client().ok_or_else(|| Failure::Later(self.link.trouble().to_string()))?;
        let store = self.records.store().map_err(|error| Failure::Later(error.to_string()))?;
        let starting = self.start_workflow(&client, &claim.workflow_id, items, memo(&store, claim));
        let started = timeout(START_TIMEOUT, starting).await;
        match started.map_err(|_| Failure::Later(format!("no answer within {START_TIMEOUT:?}")))? {
            Ok(()) => {
                self.link.note_answer();
                Ok(())
            }
            Err(WorkflowStartError::AlreadyStarted { .. }) => self.started_before(&client, claim).await,
            Err(error) => Err(failure(&error)),
        }
    }

    /// There is a workflow of this id. If it is of this claim, it runs, or has ended without a word to the store. If it is not, it is of
    /// another store, and another workflow is to carry the alert.
    async fn started_before(&self, client: &Client, claim: &Claim) -> Result<(), Failure> {
        let later = |error: &dyn std::fmt::Display| Failure::Later(error.to_string());
        let foreign = match claim.notifications.as_slice() {
            [claimed] if claim.workflow_id == claimed.id => {
                let own = self.carries(client, claimed).await.map_err(|error| later(&error))?;
                (!own).then_some(claimed)
            }
            _ => None,
        };
        let Some(claimed) = foreign else {
            let carrier = carrier(client, &claim.workflow_id).await.map_err(|error| later(&error))?;
            return self.settle(client, claim.clone(), carrier).await.map_err(|error| later(&error));
        };
        let store = self.records.store().map_err(|error| later(&error))?;
        let other = format!("{}~{}", claimed.id, claimed.number);
        tracing::warn!(
            alert = claimed.id,
            workflow = other,
            "another alert had this id: another workflow carries it"
        );
        store.carry_by(claimed.number, &other).await.map_err(|error| later(&error))?;
        let item = self.item(claimed).map_err(|error| later(&error))?;
        match self.start_workflow(client, &other, vec![item], memo(&store, claim)).await {
            Ok(()) | Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(()),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Whether the workflow of an alert's id carries this one, as its memo says.
    async fn carries(&self, client: &Client, claimed: &Claimed) -> Result<bool, String> {
        let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(&claimed.id);
        let described = handle.describe(WorkflowDescribeOptions::default()).await;
        let described = described.map_err(|error| error.to_string())?;
        let store = self.records.store().map_err(|error| error.to_string())?;
        Ok(described.memo().get::<String>(CARRIES).ok().flatten() == Some(row(&store, claimed)))
    }

    async fn start_workflow(
        &self,
        client: &Client,
        id: &str,
        mut items: Vec<AlertItem>,
        memo: Option<MemoValues>,
    ) -> Result<(), WorkflowStartError> {
        let mut options = self.options(id, &items);
        options.memo = memo;
        let activities = self.activities;
        match items.pop() {
            Some(item) if items.is_empty() && !id.starts_with(BATCH) => {
                let job = Json(Job { item, activities });
                client.start_workflow(AlertProcessingWorkflow::run, job, options).await.map(drop)
            }
            last => {
                items.extend(last);
                let batch = Json(Arc::new(Batch { alerts: items, activities }));
                client.start_workflow(BatchAlertProcessingWorkflow::run, batch, options).await.map(drop)
            }
        }
    }

    fn options(&self, id: &str, items: &[AlertItem]) -> WorkflowStartOptions {
        let alerts = || items.iter().map(|item| &item.alert);
        let is_critical = alerts().any(|alert| alert.severity == Severity::Critical);
        let critical_queue = is_critical.then(|| self.link.critical_queue());
        let task_queue = critical_queue.as_deref().unwrap_or(&self.link.task_queue);
        let mut options = WorkflowStartOptions::new(task_queue, id)
            .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .enable_eager_workflow_start(is_critical || self.link.backlog.is_short())
            .build();
        options.priority = urgency::of(alerts());
        options.search_attributes = Some(search_attributes::of(alerts(), self.link.encrypts));
        options.static_summary = match items {
            // It is not encrypted.
            [_] if self.link.encrypts => None,
            [item] => Some(summary(&item.alert.title)),
            several => Some(format!("{} alerts", several.len())),
        };
        options
    }

    /// What a workflow carries of a notification.
    pub(super) fn item(&self, claimed: &Claimed) -> Result<AlertItem, RecordError> {
        let alert: Alert = self.records.read(&claimed.document)?;
        let mut origin: Origin = self.records.read(&claimed.origin)?;
        origin.sealed = self.link.encrypts;
        Ok(AlertItem {
            id: claimed.id.clone(),
            thread_id: claimed.thread_id.clone(),
            disposition: claimed.disposition,
            is_worse: claimed.is_worse,
            acknowledged: claimed.acknowledgement.as_ref().map(|one| self.records.read(one)).transpose()?,
            alert,
            origin: Arc::new(origin),
        })
    }

    /// What Temporal refuses for good: the alerts of a batch are started singly, since only one may be at fault; a single one fails.
    async fn refused(self: &Arc<Self>, claim: Claim, why: &str) {
        if claim.notifications.len() > 1 {
            tracing::warn!(workflow = claim.workflow_id, "temporal refuses these alerts together: {why}");
            return self.start_singly(claim.notifications).await;
        }
        for claimed in &claim.notifications {
            tracing::error!(alert = claimed.id, "temporal refuses this alert for good: {why}");
            let why = format!("temporal refuses the alert: {why}");
            if let Err(error) = self.end_failed(claimed, &why).await {
                tracing::error!(alert = claimed.id, %error, "its end is noted later");
            }
        }
    }

    async fn end_failed(&self, claimed: &Claimed, why: &str) -> Result<(), RecordError> {
        let end = self.failed_end(claimed, why).await?;
        self.records.store()?.end(end).await?;
        Ok(())
    }

    /// Has each of these carried by a workflow of its own, and starts those.
    async fn start_singly(self: &Arc<Self>, notifications: Vec<Claimed>) {
        for claimed in notifications {
            match self.carry_alone(&claimed).await {
                Ok(()) => {
                    let claim = Claim { workflow_id: claimed.id.clone(), notifications: vec![claimed] };
                    Box::pin(self.clone().start(claim)).await;
                }
                Err(error) => tracing::warn!(alert = claimed.id, %error, "not started, tried again"),
            }
        }
    }

    async fn carry_alone(&self, claimed: &Claimed) -> Result<(), StoreError> {
        self.records.store()?.carry_by(claimed.number, &claimed.id).await
    }
}

/// The ids of batches are the store's own.
fn memo(store: &Store, claim: &Claim) -> Option<MemoValues> {
    let [claimed] = claim.notifications.as_slice() else { return None };
    let mut memo = MemoValues::new();
    memo.insert(CARRIES, row(store, claimed));
    Some(memo)
}

/// A back-up that is restored has this number again, for another alert.
fn row(store: &Store, claimed: &Claimed) -> String {
    format!("{}/{}/{}", store.id(), claimed.number, claimed.accepted_at)
}

fn failure(error: &WorkflowStartError) -> Failure {
    match error {
        WorkflowStartError::Rpc(status) => {
            let why = cause::word(status);
            // An invalid argument can be a search attribute that a server does not know yet.
            if cause::is_too_large(status) { Failure::Refused(why) } else { Failure::Later(why) }
        }
        other => Failure::Later(other.to_string()),
    }
}

/// Temporal's UI shows one line of at most 200 bytes.
fn summary(title: &str) -> String {
    title[..title.floor_char_boundary(200)].to_owned()
}
