//! Where the store and Temporal differ: after an unclean end, a restored backup, a lost database, or a workflow that an operator ended.
//! What the store takes for started and Temporal does not know is started again; what is closed there has its
//! result for a ledger, else it failed; what runs there although its alerts are at their end or suspended is terminated. Many that
//! Temporal does not know at once are no accident but another namespace: they are suspended.

mod dead_letters;

use std::collections::HashSet;
use std::time::Duration;

use campanile_store::life::Micros;
use campanile_store::{Claim, Store, StoreError};
use futures::{StreamExt, stream};
use temporalio_client::{Client, UntypedWorkflow, WorkflowHandle, WorkflowTerminateOptions};

use super::Dispatch;
use super::carrier::{Carrier, carrier};
use crate::temporal::visibility::{self, quoted};

/// How often it is done, and what is younger than this is left alone.
const PERIOD: Duration = Duration::from_secs(60);
const YOUNGEST: Micros = 600 * 1_000_000;
/// The same as a host begins that shares its store: what was under way when it ended may be lost. What a host finds that has its store
/// to itself is all of before.
const YOUNGEST_AT_START: Micros = 10 * 1_000_000;
/// The delay until it is tried again that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// A dead letter that is not tried again any more may have its workflow run for so long: it calls updaters.
const RETRY_END: Micros = 600 * 1_000_000;
/// More alerts than a batch carries that Temporal does not know, and more than it knows.
const MANY: usize = 100;
/// How many are looked at together, and how many workflows are asked for at a time.
const PAGE: usize = 500;
const ASKED_AT_ONCE: usize = 16;

/// What one round works with.
struct Round<'a> {
    dispatch: &'a Dispatch,
    store: Store,
    client: Client,
    /// What is younger is left alone.
    youngest: Micros,
    /// The workflows that run, as far as Temporal's visibility has them already.
    running: HashSet<String>,
}

impl Dispatch {
    /// Reconciles before the workers of this process poll, and then every minute, as long as the process runs.
    pub(super) async fn keep_reconciling(self) {
        let (mut is_first, mut said) = (true, String::new());
        loop {
            match self.reconcile(is_first).await {
                Ok(()) => {
                    is_first = false;
                    said.clear();
                    self.0.reconciled.send_replace(true);
                    tokio::time::sleep(PERIOD).await;
                }
                Err(why) => {
                    if why != said {
                        tracing::warn!(why, "the store and Temporal are compared later");
                        said = why;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn reconcile(&self, is_first: bool) -> Result<(), String> {
        let store = self.0.records.store().map_err(text)?;
        let youngest = match (is_first, store.is_shared()) {
            (true, false) => 0,
            (true, true) => YOUNGEST_AT_START,
            (false, _) => YOUNGEST,
        };
        let mut link = self.0.link.clone();
        let client = link.owned().await.ok_or("there is no connection")?;
        let running = self.running(&client).await?;
        let round = Round { dispatch: self, store, client, youngest, running };
        round.terminate_ended().await?;
        round.look_at_started().await?;
        round.look_at_retried().await
    }

    /// The ids of the workflows that carry alerts or dead letters and run.
    async fn running(&self, client: &Client) -> Result<HashSet<String>, String> {
        let query = format!(
            "WorkflowType IN ('AlertProcessingWorkflow', 'BatchAlertProcessingWorkflow', 'LateDeliveryWorkflow') AND TaskQueue IN ({}, {}) \
             AND ExecutionStatus = 'Running'",
            quoted(&self.0.link.task_queue),
            quoted(&self.0.link.critical_queue()),
        );
        let (mut ids, mut cursor) = (HashSet::new(), Vec::new());
        loop {
            let size = i32::try_from(PAGE).unwrap_or(i32::MAX);
            let (found, next) = visibility::page(client, query.clone(), size, cursor).await.map_err(text)?;
            ids.extend(found.into_iter().filter_map(|info| Some(info.execution?.workflow_id)));
            if next.is_empty() {
                return Ok(ids);
            }
            cursor = next;
        }
    }
}

impl Round<'_> {
    /// Terminates workflows whose alerts have all come to their end or are suspended, and those of dead letters that are not tried
    /// again: of a restored database of Temporal, they would notify again.
    async fn terminate_ended(&self) -> Result<(), String> {
        let running: Vec<&str> = self.running.iter().map(String::as_str).collect();
        for ids in running.chunks(PAGE) {
            let mut ended = self.store.ended_carriers(ids, self.youngest).await.map_err(text)?;
            ended.extend(self.store.ended_retries(ids, RETRY_END).await.map_err(text)?);
            for id in ended {
                let handle: WorkflowHandle<Client, UntypedWorkflow> = self.client.get_workflow_handle(&id);
                let reason = "nothing is left to do for it, by the store of the host".to_owned();
                let options = WorkflowTerminateOptions::builder().reason(reason).build();
                match handle.terminate(options).await {
                    Ok(()) => {
                        tracing::warn!(workflow = id, "terminated: its alerts are at their end or suspended")
                    }
                    // It may have come to its end by itself.
                    Err(error) => tracing::debug!(workflow = id, %error, "not terminated"),
                }
            }
        }
        Ok(())
    }

    /// Looks at what the store takes for started and does not run.
    async fn look_at_started(&self) -> Result<(), String> {
        let mut after = i64::MIN;
        loop {
            let page = self.store.started_before(self.youngest, after, PAGE).await.map_err(text)?;
            let numbers: Vec<i64> =
                page.iter().flat_map(|claim| &claim.notifications).map(|one| one.number).collect();
            let Some(last) = numbers.iter().max() else { return Ok(()) };
            let count = numbers.len();
            after = *last;
            let lost = page.into_iter().filter(|claim| !self.running.contains(&claim.workflow_id));
            let asking = lost.map(async |claim| {
                let carrier = carrier(&self.client, &claim.workflow_id).await?;
                Ok::<_, String>((claim, carrier))
            });
            let asked: Vec<_> = stream::iter(asking).buffered(ASKED_AT_ONCE).collect().await;
            let asked = asked.into_iter().collect::<Result<Vec<_>, _>>()?;
            self.settle(asked, count).await?;
        }
    }

    /// Settles those of a page of `count` alerts whose workflows do not run.
    async fn settle(&self, asked: Vec<(Claim, Carrier)>, count: usize) -> Result<(), String> {
        let (unknown, others): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(_, carrier)| matches!(carrier, Carrier::Unknown));
        let numbers: Vec<i64> =
            unknown.iter().flat_map(|(claim, _)| &claim.notifications).map(|one| one.number).collect();
        // The server that a host has for itself has lost them: an operator who moves it away wants them to go on.
        let is_odd = numbers.len() > MANY && 2 * numbers.len() > count;
        if is_odd && !self.dispatch.0.link.is_embedded {
            let namespace = &*self.dispatch.0.link.namespace;
            tracing::error!(
                count = numbers.len(),
                namespace,
                "suspended: Temporal does not know many alerts at once that it was given; is it the right namespace, or was its database \
                 restored? `campanile store resume --all` has them go on, `campanile store discard --all` ends them"
            );
            self.store.suspend(&numbers).await.map_err(text)?;
        } else {
            self.settle_each(unknown).await?;
        }
        self.settle_each(others).await
    }

    /// One that cannot be settled, such as one that cannot be read, keeps no other from it.
    async fn settle_each(&self, asked: Vec<(Claim, Carrier)>) -> Result<(), String> {
        for (claim, carrier) in asked {
            let workflow = claim.workflow_id.clone();
            if let Err(why) = self.dispatch.0.settle(&self.client, claim, carrier).await {
                self.go_on_without(&workflow, why)?;
            }
        }
        Ok(())
    }

    /// Notes what could not be reconciled, unless the store or Temporal is away.
    fn go_on_without(&self, workflow: &str, why: String) -> Result<(), String> {
        let shared = &self.dispatch.0;
        // A store that is full answers.
        let is_away =
            shared.records.handle.fault().is_some_and(|fault| !matches!(fault, StoreError::Full { .. }));
        if is_away || shared.link.is_away() {
            return Err(why);
        }
        tracing::warn!(workflow, why, "not reconciled: looked at again later");
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
