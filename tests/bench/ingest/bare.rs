//! Beside the accepting of an alert: the call of the SDK that starts a workflow which does nothing.

use std::time::{Duration, Instant};

use futures::future::join_all;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression, UntypedWorkflow, Url,
    WorkflowStartOptions,
};
use temporalio_common::data_converters::{PayloadConverter, RawValue};

use crate::floor::Floor;

/// Workflows that each caller starts, one after the other.
const STARTS: usize = 20;

/// A client, and the floor's worker, which runs what it starts.
pub(super) struct Bare {
    client: Client,
    floor: Floor,
}

impl Bare {
    /// Starts polling on the server at `address`.
    pub(super) async fn start(address: &str) -> Self {
        let url = Url::parse(&format!("http://{address}")).expect("the server's address is one");
        let options = ConnectionOptions::new(url).grpc_compression(GrpcCompression::None).build();
        let connection = Connection::connect(options).await.expect("the server answers");
        let client = Client::new(connection, ClientOptions::new("default").build()).expect("valid options");
        Self { client, floor: Floor::start(address).await }
    }

    /// How long each of the calls took, by so many callers at once.
    pub(super) async fn started(&self, callers: usize) -> Vec<Duration> {
        join_all((0..callers).map(|_| self.one_by_one())).await.concat()
    }

    /// Stops polling.
    pub(super) fn stop(&self) {
        self.floor.stop();
    }

    async fn one_by_one(&self) -> Vec<Duration> {
        let mut taken = Vec::new();
        for _ in 0..STARTS {
            let input = RawValue::from_value(&0_u32, &PayloadConverter::default());
            let options = WorkflowStartOptions::new("floor", uuid::Uuid::new_v4().to_string()).build();
            let started = Instant::now();
            let starting = self.client.start_workflow(UntypedWorkflow::new("One"), input, options);
            starting.await.expect("it starts");
            taken.push(started.elapsed());
        }
        taken
    }
}
