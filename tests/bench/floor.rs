//! The floor: workflows that do nothing but what the SDK and the server do for three local activities.

use std::sync::Arc;
use std::time::Duration;

use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression, Url, WorkflowGetResultOptions,
    WorkflowStartOptions,
};
use temporalio_macros::{activities, workflow, workflow_methods};
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use temporalio_sdk::workflows::join_all;
use temporalio_sdk::{LocalActivityOptions, Runtime, Worker, WorkerOptions, WorkflowContext, WorkflowResult};

const QUEUE: &str = "floor";

struct NoOp;

#[activities]
impl NoOp {
    #[activity(name = "no_op")]
    async fn no_op(self: Arc<Self>, _ctx: ActivityContext, number: u32) -> Result<u32, ActivityError> {
        Ok(number)
    }
}

async fn chain<W>(ctx: &WorkflowContext<W>) -> WorkflowResult<u32> {
    let mut number = 0;
    for _ in 0..3 {
        let options = LocalActivityOptions::builder().start_to_close_timeout(Duration::from_secs(2)).build();
        number = ctx.execute_local_activity(NoOp::no_op, number, options).await?;
    }
    Ok(number)
}

#[workflow]
#[derive(Default)]
struct One;

#[workflow_methods]
impl One {
    #[run]
    async fn run(ctx: &mut WorkflowContext<Self>, _input: u32) -> WorkflowResult<u32> {
        chain(ctx).await
    }
}

#[workflow]
#[derive(Default)]
struct Many;

#[workflow_methods]
impl Many {
    #[run]
    async fn run(ctx: &mut WorkflowContext<Self>, chains: u32) -> WorkflowResult<u32> {
        let ctx = &*ctx;
        let results = join_all((0..chains).map(|_| chain(ctx))).await;
        Ok(results.into_iter().collect::<WorkflowResult<Vec<u32>>>()?.iter().sum())
    }
}

/// A worker and a client of its own on the server at `address`, in this process, as the host has them in its own.
pub(crate) struct Floor {
    client: Client,
    shutdown: Box<dyn Fn() + Send + Sync>,
}

impl Floor {
    /// Starts polling.
    pub(crate) async fn start(address: &str) -> Self {
        let runtime = Runtime::from_current_tokio(temporalio_sdk::runtime::RuntimeOptions::default());
        let runtime = runtime.expect("a runtime in a tokio runtime");
        let url = Url::parse(&format!("http://{address}")).expect("the server's address is one");
        let options = ConnectionOptions::new(url).grpc_compression(GrpcCompression::None).build();
        let connection = Connection::connect(options).await.expect("the server answers");
        let client = Client::new(connection, ClientOptions::new("default").build()).expect("valid options");
        let worker = WorkerOptions::new(QUEUE)
            .register_activities(NoOp)
            .register_workflow::<One>()
            .and_then(|options| options.register_workflow::<Many>())
            .expect("two workflow types");
        let mut worker = Worker::new(&runtime, client.clone(), worker.build()).expect("valid options");
        let shutdown = Box::new(worker.shutdown_handle());
        let handle = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            let _runtime = runtime;
            handle.block_on(worker.run())
        });
        Self { client, shutdown }
    }

    /// Runs one workflow of three activities to its end.
    pub(crate) async fn one(&self) {
        let handle = self.client.start_workflow(One::run, 0, options()).await.expect("it starts");
        handle.get_result(WorkflowGetResultOptions::default()).await.expect("it completes");
    }

    /// Runs one workflow of `chains` parallel chains of three activities to its end.
    pub(crate) async fn many(&self, chains: u32) {
        let handle = self.client.start_workflow(Many::run, chains, options()).await.expect("it starts");
        handle.get_result(WorkflowGetResultOptions::default()).await.expect("it completes");
    }

    /// Stops polling.
    pub(crate) fn stop(&self) {
        (self.shutdown)();
    }
}

fn options() -> WorkflowStartOptions {
    WorkflowStartOptions::new(QUEUE, uuid::Uuid::new_v4().to_string())
        .enable_eager_workflow_start(true)
        .build()
}
