//! The Temporal wall: the durable engine. Connection, embedded server, workflows, activities, worker, dispatch.

mod acknowledge;
mod activities;
mod afterwards;
mod attempt;
mod backlog;
mod board;
mod calls;
mod carry;
mod cause;
mod chain;
mod check;
mod codec;
mod completion;
mod continued;
mod dead_letters;
mod dispatch;
mod embedded;
mod failure;
mod input;
mod json;
mod lanes;
mod late_delivery;
mod life;
mod link;
mod list;
mod listeners;
mod lookup;
mod marker;
mod outcome;
mod planning;
mod receivers;
mod record;
mod retrying;
mod scheduling;
mod search_attributes;
mod speed;
mod stand_ins;
mod suspended;
mod turns;
mod updates;
mod urgency;
mod visibility;
mod worker;
mod workflows;

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::Severity;
use crate::fault::Fault;
use crate::plan::{RetryConfig, RetryPolicy};

pub use acknowledge::{TakenOver, acknowledge};
pub use activities::AlertActivities;
pub use afterwards::{AcknowledgementWorkflow, Closed, complete};
pub use backlog::watch_backlog;
pub use calls::Calls;
pub use cause::Cause;
pub use check::unknown_workflows;
pub use codec::{Codec, EncryptionConfig, EncryptionKeyConfig};
pub use continued::{Answer, Continuation};
pub use dead_letters::{
    DeliveryFilter, DeliveryPage, DeliveryProgress, ListedDelivery, Order, count_kept, deliveries, order,
};
pub use dispatch::Dispatch;
pub use embedded::{Embedded, EmbeddedConfig, EmbeddedError};
pub use json::Json;
pub use lanes::{keep_lanes, keep_own_queue};
pub use late_delivery::{LateDeliveryWorkflow, Undelivered};
pub use link::{Link, LinkConfig, LinkError, is_address_in_environment};
pub use list::{AlertFilter, AlertPage, LARGEST_PAGE, ListedAlert, ListedOutcome, list};
pub use lookup::{AlertState, Found, FoundAlert, LookupError, Pending, State, ledger_of, lookup};
pub use marker::{ForeignStore, OwnershipError, own_queue};
pub use receivers::Receivers;
pub use retrying::Retrying;
pub use suspended::{Resumption, resume};
pub use worker::{Worker, WorkerError};
pub use workflows::{AlertProcessingWorkflow, Batch, BatchAlertProcessingWorkflow, BatchLedger, Job};

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
    /// How long the embedded server keeps what is finished, such as `720h`, which its UI shows. At least a day, which is Temporal's shortest. Default 30 days.
    #[schemars(with = "Option<String>")]
    pub retention: Option<SignedDuration>,
    /// What Temporal and the store hold is encrypted. What alerts are found by stays readable: severity, type, source, status, key.
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
    /// Of `process_alert` itself: for a worker that does not answer. After the last attempt the alert goes on unprocessed.
    #[serde(default)]
    pub process_alert: RetryConfig,
    /// How long alerts wait for processors that ask for another attempt; how often and how soon such a processor is asked again is in
    /// its own file.
    #[serde(default)]
    pub processors: ProcessorsConfig,
    /// Of `send_notification`; a receiver's own `[retry]` comes before it.
    #[serde(default)]
    pub send_notification: RetryConfig,
    /// Of `update_alert_status`; an updater's own `[retry]` comes before it.
    #[serde(default)]
    pub update_alert_status: RetryConfig,
}

/// `[activities.processors]` of the configuration file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessorsConfig {
    /// How long an alert waits for further attempts of its processors, over all of them, such as `10s`, the default. Then it goes on
    /// without those that did not succeed. `0s`: they are passed over at once.
    #[schemars(with = "Option<String>")]
    pub wait: Option<SignedDuration>,
    /// The same of a critical alert; `1s` if absent.
    #[schemars(with = "Option<String>")]
    pub wait_critical: Option<SignedDuration>,
}

/// The longest that alerts can be made to wait for their processors.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);

impl ProcessorsConfig {
    /// What is wrong with it beyond its schema; `path` says where it is set.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let fault = |(key, wait): (&str, Option<SignedDuration>)| {
            let wait = wait.filter(|wait| !(SignedDuration::ZERO..=LONGEST_WAIT).contains(wait))?;
            let message = format!("{wait:#} is not from 0s to {LONGEST_WAIT:#}, such as 10s");
            Some(Fault { path: format!("{path}.{key}"), value: None, message })
        };
        [("wait", self.wait), ("wait-critical", self.wait_critical)].into_iter().filter_map(fault).collect()
    }
}

/// How long alerts wait for further attempts of their processors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ProcessorWaits {
    usual: SignedDuration,
    critical: SignedDuration,
}

impl ProcessorWaits {
    /// How long an alert of this severity waits.
    fn of(&self, severity: Severity) -> Duration {
        let wait = if severity == Severity::Critical { self.critical } else { self.usual };
        wait.unsigned_abs()
    }
}

impl From<&ProcessorsConfig> for ProcessorWaits {
    fn from(config: &ProcessorsConfig) -> Self {
        Self {
            usual: config.wait.unwrap_or(SignedDuration::from_secs(10)),
            critical: config.wait_critical.unwrap_or(SignedDuration::from_secs(1)),
        }
    }
}

/// The retry policies in force. They are part of what is submitted: a workflow keeps those it was started with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ActivityConfig {
    /// Of `process_alert`.
    pub process_alert: RetryPolicy,
    /// How long alerts wait for further attempts of their processors.
    pub processors: ProcessorWaits,
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
            processors: ProcessorWaits::from(&config.processors),
            send_notification: outward.overridden_by(&config.send_notification),
            update_alert_status: outward.overridden_by(&config.update_alert_status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_wait_ten_seconds_for_their_processors_and_critical_ones_one() {
        let waits = ProcessorWaits::from(&ProcessorsConfig::default());
        let seconds = [Severity::Low, Severity::High, Severity::Critical].map(|one| waits.of(one).as_secs());
        assert_eq!(seconds, [10, 10, 1]);
    }

    #[test]
    fn a_wait_for_processors_has_bounds() {
        let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
        let config = ProcessorsConfig { wait: seconds(601), wait_critical: seconds(-1) };
        let texts: Vec<_> = config.faults("processors").iter().map(Fault::to_string).collect();
        let expected = [
            "processors.wait: 10m 1s is not from 0s to 10m, such as 10s",
            "processors.wait-critical: 1s ago is not from 0s to 10m, such as 10s",
        ];
        assert_eq!(texts, expected);
        assert!(ProcessorsConfig { wait: seconds(0), wait_critical: seconds(600) }.faults("").is_empty());
    }
}
