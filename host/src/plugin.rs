//! The plugin wall: WebAssembly components from a directory, compiled and checked once, called in a fresh sandbox each
//! time. Nobody outside sees a type of wasmtime or of `wit/`.
//!
//! `registry` knows what is loaded and `watch` keeps it true to the directory; `load` turns a file into a [`Plugin`];
//! `call` runs one call of it with the imports of `imports`, within the bounds of `limits`.

mod admission;
mod bindings;
mod cache;
mod call;
mod capacity;
mod catalog;
mod check;
mod code;
mod compile;
mod contract;
mod descriptors;
mod doors;
mod doubts;
mod egress;
mod end;
mod engine;
mod error;
mod files;
mod grants;
mod imports;
mod intake;
mod inventory;
mod last_words;
mod limits;
mod load;
mod loaded;
mod mail;
mod meter;
mod output;
mod quarantine;
mod reach;
mod registry;
mod sample;
mod schema;
mod secrets;
mod setup;
mod sidecar;
mod threads;
mod trust;
mod wasi_http;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use capacity::CallsConfig;
pub use check::{Checked, CheckedDirectory, Checker, Profile, Verdict, Wish};
pub use compile::{CompilationConfig, Compile};
pub use descriptors::raise_descriptor_limit;
pub use egress::{EgressConfig, Fetcher, OffLimits};
pub use engine::OpenError;
pub use error::{Blame, CallError, Reason};
pub use grants::GrantsConfig;
pub use inventory::{FileWarning, Inventory, LoadedPlugin, QuarantineStatus, RefusedFile, RefusedInput};
pub use limits::{ByteSize, Limits};
pub use loaded::Plugin;
pub use mail::{MailConfig, MailSetup, Mailer};
#[cfg(test)]
pub(crate) use meter::describe as describe_metrics;
pub use registry::{FIRST_PASS, Registry};
pub use secrets::{Credential, SecretConfig, Secrets, read_secret};
pub use setup::Setup;
pub use sidecar::SidecarConfig;
pub use trust::{
    LockChange, LockError, PASSWORD_VARIABLE, PublicKey, Signed, SigningError, SigningKey, Trust,
    TrustConfig, sign_file, verify_file, write_lock,
};

use crate::alert::AlertItem;
use crate::ledger::{DeliveryResult, Outcome, Usage};
use crate::plan::Earlier;

/// What the wall needs to know.
#[derive(Debug)]
pub struct PluginConfig {
    /// The directory that holds the plugins.
    pub directory: PathBuf,
    /// How often the directory is looked at, besides the system's own notifications.
    pub poll_interval: Duration,
    /// Where compiled code is kept over restarts, a directory of this program alone; it is not kept if absent.
    pub cache_dir: Option<PathBuf>,
    /// This program, to be run again to compile plugins.
    pub executable: PathBuf,
    /// What compiling a plugin may take.
    pub compilation: CompilationConfig,
    /// What all calls together may take.
    pub calls: CallsConfig,
    /// What can change while the host runs.
    pub settings: PluginSettings,
    /// The secrets that plugins may be granted.
    pub secrets: Secrets,
    /// The way out for mail, if there is one.
    pub mail: Option<Mailer>,
    /// How requests of plugins leave the host.
    pub egress: EgressConfig,
    /// What they never reach.
    pub off_limits: OffLimits,
    /// What is asked of plugins before they are loaded.
    pub trust: Trust,
    /// Which plugins this process loads; the others in the directory are none of its business.
    pub roles: &'static [Role],
}

/// What the host's configuration says of plugins, besides their own files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginSettings {
    /// The limits of plugins whose own file says nothing.
    pub limits: Limits,
    /// Plugins that have receivers or updaters with settings of their own: their own files need not have all that they cannot
    /// do without.
    pub set_up_elsewhere: BTreeSet<String>,
    /// The secrets that receivers and updaters use, besides those that their plugins are granted.
    pub secrets_in_use: BTreeSet<String>,
}

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Enriches, rescores, relabels or drops alerts before they are routed.
    Processor,
    /// Tells somebody.
    Notifier,
    /// Writes back to an external system what became of an alert.
    StatusUpdater,
    /// Turns a vendor's webhook request into alerts.
    Source,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Processor, Role::Notifier, Role::StatusUpdater, Role::Source];
    /// Those that work on alerts, behind Temporal.
    pub const WORKING: [Role; 3] = [Role::Processor, Role::Notifier, Role::StatusUpdater];
    /// Those that bring alerts, in front of Temporal.
    pub const RECEIVING: [Role; 1] = [Role::Source];

    /// The name in JSON, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Processor => "processor",
            Role::Notifier => "notifier",
            Role::StatusUpdater => "status-updater",
            Role::Source => "source",
        }
    }

    /// The interface that such a plugin exports, without its version.
    fn interface(self) -> &'static str {
        match self {
            Role::Processor => "campanile:processor/processor",
            Role::Notifier => "campanile:notifier/notifier",
            Role::StatusUpdater => "campanile:status-updater/status-updater",
            Role::Source => "campanile:source/source",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a processor makes of an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It goes on as it is.
    Keep,
    /// It goes on with this JSON Merge Patch, an object.
    Change(serde_json::Value),
    /// Nobody is to be told, for this reason.
    Drop(String),
}

/// What the other side answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The other system's own identifier of what was created or changed.
    pub id: Option<String>,
    /// One line.
    pub message: String,
}

/// One alert on its way to one receiver.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The same for every attempt.
    pub delivery_id: &'a str,
    /// The same for a firing and its resolve.
    pub thread_id: &'a str,
    /// Of a resolve: what was answered to the firing.
    pub earlier: Option<&'a Earlier>,
    /// The receiver's name in the plan.
    pub receiver: &'a str,
    /// Counts from 1.
    pub attempt: u32,
    /// The alert.
    pub item: &'a AlertItem,
}

/// One outcome on its way back through one status updater.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The same for every attempt.
    pub change_id: &'a str,
    /// The updater's name in the plan.
    pub updater: &'a str,
    /// Counts from 1.
    pub attempt: u32,
    /// The alert.
    pub item: &'a AlertItem,
    /// What became of it; `None` while retries are under way and nobody has been told yet.
    pub outcome: Option<Outcome>,
    /// Receiver by receiver.
    pub deliveries: &'a [DeliveryResult],
}

/// One HTTP request on its way through a source.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// The method, upper case.
    pub method: String,
    /// Path and query behind the source's own address, starting with `/`.
    pub path: String,
    /// The headers, names in lower case, without credentials.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The raw body.
    pub body: Vec<u8>,
}

/// What a source found in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The alerts, each a JSON object; not checked yet.
    pub alerts: Vec<String>,
    /// What was odd, one line each.
    pub warnings: Vec<String>,
    /// The vendor's own id of this delivery.
    pub delivery_id: Option<String>,
    /// The answer on success, if the host's own would not do.
    pub reply: Option<SourceReply>,
}

/// The answer that a vendor expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReply {
    /// The HTTP status, 200 to 499.
    pub status: u16,
    /// The content type of the body.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// One call and how it ended.
#[derive(Clone, Debug)]
pub struct Called<T> {
    /// `sha256:…` of the component that ran.
    pub digest: String,
    /// Which load of the plugin it was.
    pub generation: u64,
    /// How long it took, waiting for a free place included.
    pub duration: Duration,
    /// How long of that it waited for a free place.
    pub queued: Duration,
    /// What it used up; absent if it did not come to run.
    pub usage: Option<Usage>,
    /// What the operator should know of it although it succeeded, one line each.
    pub warnings: Vec<String>,
    /// What it gave.
    pub result: Result<T, CallError>,
}
