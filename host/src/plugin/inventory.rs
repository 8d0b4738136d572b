//! What is loaded and what was refused: the answer to "which plugins does this host have?".

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::load::Refusal;
use super::quarantine::FailingInput;
use super::{Plugin, Role};

/// Every plugin file of the directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Inventory {
    /// What runs, in ascending order of role, `order` and name.
    pub loaded: Vec<LoadedPlugin>,
    /// What could not be loaded; an older version of the same plugin may still run.
    pub refused: Vec<RefusedFile>,
    /// Names of plugins that are there and not loaded yet.
    #[serde(default)]
    pub loading: Vec<String>,
    /// What works, or is ignored, and may be a mistake: copies of a plugin, names that do not count, a directory that cannot be
    /// read now.
    #[serde(default)]
    pub warnings: Vec<FileWarning>,
}

/// Something about a file that may be a mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct FileWarning {
    /// Its name in the plugin directory; the path of the directory itself.
    #[schema(example = "slack.old.wasm")]
    pub file: String,
    /// What may be wrong, and what would help.
    pub message: String,
}

/// One plugin that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadedPlugin {
    /// The name under which it is addressed: that of its file.
    #[schema(example = "slack")]
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its own version.
    #[schema(example = "1.2.0")]
    pub version: String,
    /// What it does, in its own words.
    pub summary: String,
    /// Its file in the plugin directory.
    #[schema(example = "slack.wasm")]
    pub file: String,
    /// `sha256:…` of that file.
    pub digest: String,
    /// Which load under this name it is since the host started, counted from 1.
    pub generation: u64,
    /// When it was loaded.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub since: jiff::Timestamp,
    /// Whether it is called.
    pub enabled: bool,
    /// Its place in the row.
    pub order: i64,
    /// The condition under which it is called, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub when: Option<String>,
    /// Why it is not called for now, if it is in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub quarantine: Option<QuarantineStatus>,
    /// Inputs that made it fail twice or more, and are refused by themselves for now; the latest, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_inputs: Vec<RefusedInput>,
    /// The HTTP requests it would like to make, whether granted or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants_http: Vec<String>,
    /// The secrets it would like to use, whether granted or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants_secrets: Vec<String>,
}

/// A plugin that failed so often that it is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineStatus {
    /// What it did.
    pub reason: String,
    /// Seconds until one call is let through for trial.
    pub seconds_left: u64,
}

/// A body or an alert that a plugin failed on twice or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedInput {
    /// Who sent it: a key, or an address.
    #[schema(example = "key grafana")]
    pub sender: String,
    /// The trace of the request, or the alert, of the last call with it: what the log names it by.
    pub about: String,
    /// How often the plugin failed on it.
    pub failures: u32,
    /// What the plugin did at last.
    pub reason: String,
    /// Seconds until one call with it is let through.
    pub seconds_left: u64,
}

impl From<FailingInput> for RefusedInput {
    fn from(FailingInput { sender, about, failures, why, seconds_left }: FailingInput) -> Self {
        Self { sender: sender.to_string(), about, failures, reason: why, seconds_left }
    }
}

/// One file that could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedFile {
    /// Its name in the plugin directory.
    #[schema(example = "slack.wasm")]
    pub file: String,
    /// Why, and what would help.
    pub reason: String,
    /// Since when it is refused for this reason.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub since: jiff::Timestamp,
    /// When it is tried again without a change, if the reason can pass.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub next_attempt: Option<jiff::Timestamp>,
}

impl From<Refusal> for RefusedFile {
    /// Refused now.
    fn from(Refusal { file, reason, .. }: Refusal) -> Self {
        Self { file, reason, since: jiff::Timestamp::now(), next_attempt: None }
    }
}

impl From<&Plugin> for LoadedPlugin {
    fn from(plugin: &Plugin) -> Self {
        let description = &plugin.compiled.description;
        let config = &plugin.sidecar.config;
        Self {
            name: plugin.name().to_owned(),
            role: plugin.role(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            file: plugin.file(),
            digest: plugin.digest().to_owned(),
            generation: plugin.generation(),
            since: plugin.loaded_at,
            enabled: config.enabled,
            order: config.order,
            when: config.when.clone(),
            quarantine: plugin.breaker.status().map(|(reason, left)| QuarantineStatus {
                reason,
                seconds_left: left.as_secs_f64().ceil() as u64,
            }),
            refused_inputs: plugin.breaker.failing_inputs().into_iter().map(RefusedInput::from).collect(),
            wants_http: description.http.clone(),
            wants_secrets: description.secrets.clone(),
        }
    }
}
