//! Which store a task queue belongs to: a marker in Temporal says so, a workflow that never runs. Two hosts with different stores would
//! each take the other's alerts for unknown ones. So would two hosts with one store and an embedded server each: a lease in the store
//! keeps the second one out.

use std::time::{Duration, Instant};

use campanile_store::{Micros, StoreError};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowHandle, WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy, WorkflowStartOptions,
};
use temporalio_common::data_converters::RawValue;
use temporalio_common::search_attributes::SearchAttributes;

use super::link::Link;
use super::search_attributes::{KEY, TITLE};
use crate::store::StoreHandle;

/// The delay after Temporal did not answer.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest that the location of a store is shown, in characters: databases hold 255.
const LONGEST: usize = 200;

/// How long a host with an embedded server has a shared store for itself once it is gone, in microseconds; how often it renews that,
/// and how long another host waits for it.
const SERVER_LEASE: Micros = 30_000_000;
const RENEWAL: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(40);

/// Why a host may not work with its store and its Temporal server.
#[derive(Debug, thiserror::Error)]
pub enum OwnershipError {
    /// The task queue is another store's.
    #[error(transparent)]
    Store(#[from] ForeignStore),
    /// Another host has the store, with an embedded server of its own.
    #[error(
        "another host uses the store {store} with an embedded Temporal server of its own: hosts that share a store need one \
         Temporal server; start that and pass its address to each, such as --temporal-address temporal.example:7233"
    )]
    Server {
        /// Where the store is.
        store: String,
    },
}

/// The task queue belongs to another store.
#[derive(Debug, thiserror::Error)]
#[error(
    "the task queue {task_queue:?} in the namespace {namespace:?} belongs to the store {theirs}, and this host has the store {ours}: give \
     this host that store ([store] url), or another --task-queue; if that store is gone for good, end its marker: temporal workflow \
     terminate --namespace {namespace} --workflow-id {marker}"
)]
pub struct ForeignStore {
    task_queue: String,
    namespace: String,
    theirs: String,
    ours: String,
    marker: String,
}

/// Makes the task queue this store's, unless it is another's; then has the host accept and work. Goes on watching whether Temporal
/// answers: returns only if the queue belongs to another store, or the store to a host with another embedded server.
pub async fn own_queue(mut link: Link, store: StoreHandle) -> OwnershipError {
    let (id, location) = (store.id().await, store.location());
    let marker = format!("campanile-store/{}", link.task_queue);
    let ours = shown(&id, &location);
    let mut said = String::new();
    loop {
        if let Some(client) = link.connected().await {
            match owner(&client, &link, &marker, &id, &location).await {
                Ok(owner) if owner.starts_with(&id) => break,
                Ok(theirs) => {
                    let (task_queue, namespace) = (link.task_queue.to_string(), link.namespace.to_string());
                    return ForeignStore { task_queue, namespace, theirs, ours, marker }.into();
                }
                Err(error) if error != said => {
                    tracing::warn!(
                        error,
                        marker,
                        "it is not known to which store the task queue belongs: asked again"
                    );
                    link.note_trouble(&error);
                    said = error;
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let server = match own_server(&link, &store).await {
        Ok(server) => server,
        Err(error) => return error,
    };
    link.own();
    match server {
        Some(server) => tokio::join!(link.watch(), renew(&store, &server)).0,
        None => link.watch().await,
    }
}

/// Takes a shared store for the embedded server of this host: returns what that is known by. `None` where none is needed.
async fn own_server(link: &Link, store: &StoreHandle) -> Result<Option<String>, OwnershipError> {
    let is_shared = || store.get().is_ok_and(|store| store.is_shared());
    if !link.is_embedded || !is_shared() {
        return Ok(None);
    }
    let mut refused: Option<Instant> = None;
    while refused.is_none_or(|refused| refused.elapsed() < PATIENCE) {
        if let Some(server) = link.namespace_id().await {
            match lease(store, &server).await {
                Ok(true) => return Ok(Some(server)),
                Ok(false) => _ = refused.get_or_insert_with(Instant::now),
                Err(_) => refused = None,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(OwnershipError::Server { store: store.location() })
}

async fn lease(store: &StoreHandle, server: &str) -> Result<bool, StoreError> {
    store.get()?.lease("embedded-temporal", server, SERVER_LEASE).await
}

async fn renew(store: &StoreHandle, server: &str) -> ! {
    loop {
        tokio::time::sleep(RENEWAL).await;
        // A store that does not answer is asked again.
        _ = lease(store, server).await;
    }
}

fn shown(id: &str, location: &str) -> String {
    format!("{id} ({location})")
}

/// The store that a task queue belongs to: this one, if it belonged to none.
async fn owner(
    client: &Client,
    link: &Link,
    marker: &str,
    id: &str,
    location: &str,
) -> Result<String, String> {
    let cut: String = location.chars().take(LONGEST).collect();
    let mut options = WorkflowStartOptions::new(format!("{}/store", link.task_queue), marker)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .build();
    options.search_attributes =
        Some(SearchAttributes::new([KEY.value_set(id.to_owned()), TITLE.value_set(cut)]));
    let started =
        client.start_workflow(UntypedWorkflow::new("StoreMarker"), RawValue::empty(), options).await;
    match started {
        Ok(_) => return Ok(id.to_owned()),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {}
        Err(error) => return Err(error.to_string()),
    }
    let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(marker);
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let described = described.map_err(|error: WorkflowInteractionError| error.to_string())?;
    let attributes = described.search_attributes();
    let owner = attributes.get(&KEY).ok_or("the marker has no store")?;
    Ok(shown(&owner, &attributes.get(&TITLE).unwrap_or_default()))
}
