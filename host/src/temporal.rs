//! The Temporal wall: the durable engine. Connection, embedded server, workflows, activities, worker, submission.

mod acknowledge;
mod activities;
mod afterwards;
mod attempt;
mod backlog;
mod calls;
mod carry;
mod cause;
mod chain;
mod codec;
mod completion;
mod continued;
mod deliveries;
mod embedded;
mod failure;
mod firing;
mod flapping;
mod input;
mod json;
mod lanes;
mod late;
mod link;
mod list;
mod listeners;
mod lives;
mod lookup;
mod outcome;
mod parked;
mod receivers;
mod repeats;
mod scheduling;
mod search_attributes;
mod speed;
mod stand_ins;
mod submit;
mod urgency;
mod worker;
mod turns;
mod workflows;

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::plan::{RetryConfig, RetryPolicy};

pub use acknowledge::{TakenOver, acknowledge};
pub use activities::AlertActivities;
pub use afterwards::{AcknowledgementWorkflow, Closed, complete};
pub use backlog::watch_backlog;
pub use calls::Calls;
pub use cause::Cause;
pub use codec::{Codec, EncryptionConfig, EncryptionKeyConfig};
pub use continued::{Answer, Continuation};
pub use deliveries::{
    DeliveryEnd, DeliveryFilter, DeliveryPage, Fate, Order, ParkedDelivery, ParkedState, count_parked,
    deliveries, order,
};
pub use embedded::{Embedded, EmbeddedConfig, EmbeddedError};
pub use json::Json;
pub use lanes::{keep_lanes, keep_own_queue};
pub use late::{Late, LateDeliveryWorkflow};
pub use link::{Link, LinkConfig, LinkError, is_address_in_environment};
pub use list::{AlertFilter, AlertPage, LARGEST_PAGE, ListError, ListedAlert, list};
pub use lookup::{Found, FoundAlert, LookupError, Pending, State, batch_of, lookup, wait};
pub use parked::{ParkedDeliveryWorkflow, Undelivered, Unparked};
pub use receivers::Receivers;
pub use submit::{BatchId, Carried, Submission, SubmitError, Submitted, only_id, submit};
pub use worker::{Worker, WorkerError};
pub use workflows::{
    AlertProcessingWorkflow, Batch, BatchAlert, BatchAlertProcessingWorkflow, BatchLedger, Child, Job,
};

/// The shortest retention that Temporal takes for a namespace.
const SHORTEST_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// `[temporal]` of the configuration file. Flags and environment come before it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TemporalConfig {
    /// A Temporal server or Temporal Cloud, `host:port` or a URL. Absent: an embedded server is started.
    pub address: Option<String>,
    /// The `temporal` executable for the embedded server.
    pub cli: Option<PathBuf>,
    /// The embedded server's port; 0 takes a free one. Default 7233.
    pub port: Option<u16>,
    /// The port of the embedded server's web UI; 0 takes a free one. Default 8080.
    pub ui_port: Option<u16>,
    /// Where the server's web UI is, for links to it. The embedded server's is known.
    pub ui_url: Option<String>,
    /// The namespace. Default `default`.
    pub namespace: Option<String>,
    /// The task queue. Default `campanile`.
    pub task_queue: Option<String>,
    /// How long the embedded server keeps what is finished, such as `720h`: the window in which repeats are
    /// recognised and ledgers can be read. At least a day, which is Temporal's shortest. Default 30 days.
    #[schemars(with = "Option<String>")]
    pub retention: Option<SignedDuration>,
    /// What Temporal stores is encrypted. What alerts are found by stays readable: severity, type, source, status, key.
    pub encryption: Option<EncryptionConfig>,
}

impl TemporalConfig {
    /// What is wrong with it beyond its schema; `path` says where it is set.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let too_short = self.retention.filter(|retention| *retention < SHORTEST_RETENTION);
        let message = |retention| format!("{retention:#} is shorter than 24h, Temporal's shortest");
        let fault =
            |retention| Fault { path: format!("{path}.retention"), value: None, message: message(retention) };
        too_short.map(fault).into_iter().collect()
    }
}

/// `[activities]` of the configuration file: retry policies where they differ from the defaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ActivitiesConfig {
    /// Of `process_alert`. Processors that fail are passed over at once; this is for a worker that does not answer. After the
    /// last attempt the alert goes on unprocessed.
    #[serde(default)]
    pub process_alert: RetryConfig,
    /// Of `send_notification`; a receiver's own `[retry]` comes before it.
    #[serde(default)]
    pub send_notification: RetryConfig,
    /// Of `update_alert_status`; an updater's own `[retry]` comes before it.
    #[serde(default)]
    pub update_alert_status: RetryConfig,
}

/// The retry policies in force. They are part of what is submitted: a workflow keeps those it was started with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ActivityConfig {
    /// Of `process_alert`.
    pub process_alert: RetryPolicy,
    /// Of `send_notification`, for receivers that set nothing of their own.
    pub send_notification: RetryPolicy,
    /// Of `update_alert_status`, likewise.
    pub update_alert_status: RetryPolicy,
}

impl From<&ActivitiesConfig> for ActivityConfig {
    fn from(config: &ActivitiesConfig) -> Self {
        // 10 attempts from 5 s, doubled up to 5 min, span about 20 minutes: an outage that a person notices.
        let outward = RetryPolicy {
            timeout: SignedDuration::from_secs(30),
            initial_interval: SignedDuration::from_secs(5),
            coefficient: 2.0,
            maximum_interval: SignedDuration::from_mins(5),
            maximum_attempts: 10,
            maximum_age: None,
        };
        let process = RetryPolicy {
            initial_interval: SignedDuration::from_secs(1),
            maximum_interval: SignedDuration::from_mins(1),
            maximum_attempts: 3,
            ..outward
        };
        Self {
            process_alert: process.overridden_by(&config.process_alert),
            send_notification: outward.overridden_by(&config.send_notification),
            update_alert_status: outward.overridden_by(&config.update_alert_status),
        }
    }
}
