//! `[[routes]]`, `[receivers.NAME]`, `[updaters.NAME]`, `[windows.NAME]`, `[[mutes]]` and `[routing]` of the configuration:
//! what is read again while the host runs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::window::WindowConfig;
use crate::plan::{PlanLimits, RetryConfig};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct RoutesConfig {
    /// What holds for all.
    pub routing: RoutingConfig,
    /// Who gets what, in this order. Without any, every enabled plugin gets every alert that its `when` takes.
    pub routes: Vec<RouteConfig>,
    /// Whom routes can name, besides plugins by their own names.
    pub receivers: BTreeMap<String, ReceiverConfig>,
    /// The same for status updaters.
    pub updaters: BTreeMap<String, UpdaterConfig>,
    /// Times that routes can name.
    pub windows: BTreeMap<String, WindowConfig>,
    /// What nobody is told for a while.
    pub mutes: Vec<MuteConfig>,
    /// How many receivers and updaters one alert may have; part of `[limits]`.
    #[serde(skip)]
    pub limits: PlanLimits,
}

impl RoutesConfig {
    /// The plugins that receivers and updaters use with settings of their own.
    pub fn plugins(&self) -> BTreeSet<String> {
        let receivers = self.receivers.iter().map(|(name, config)| config.plugin.as_ref().unwrap_or(name));
        let updaters = self.updaters.iter().map(|(name, config)| config.plugin.as_ref().unwrap_or(name));
        receivers.chain(updaters).cloned().collect()
    }

    /// The secrets that receivers and updaters use, besides those that the plugins' own files grant.
    pub fn secrets(&self) -> BTreeSet<String> {
        let receivers = self.receivers.values().flat_map(|config| &config.secrets);
        let updaters = self.updaters.values().flat_map(|config| &config.secrets);
        receivers.chain(updaters).cloned().collect()
    }
}

/// `[routing]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RoutingConfig {
    /// The receivers of alerts that no receiver wants.
    pub catch_all: Vec<String>,
    /// How long an alert has to have been resolved before its end is told, such as `2m`. What fires again meanwhile goes on as it
    /// was, and nobody is told. Absent: ends are told at once.
    #[schemars(with = "Option<String>")]
    pub hold_down: Option<SignedDuration>,
}

/// One of `[[routes]]`: an alert that it takes goes to its receivers, or to those of the first route below that takes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RouteConfig {
    /// What it is called in ledgers [default: its number].
    pub name: Option<String>,
    /// A CEL expression over `alert` that says which alerts it takes; all if absent.
    pub when: Option<String>,
    /// Who is told; those of the route above if absent.
    pub receivers: Option<Vec<String>>,
    /// Where the outcome is written back; as with the route above if absent.
    pub updaters: Option<Vec<String>>,
    /// Whether the routes after it get to see the alert, too.
    #[serde(rename = "continue")]
    pub goes_on: bool,
    /// It tells somebody in these windows alone.
    pub active: Vec<String>,
    /// It tells nobody in these windows.
    pub mute: Vec<String>,
    /// Routes below: the first that takes the alert takes this one's place.
    pub routes: Vec<RouteConfig>,
}

/// `[receivers.NAME]`: a notifier with settings of its own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReceiverConfig {
    /// The plugin [default: that of the receiver's name].
    pub plugin: Option<String>,
    /// Settings, over those of the plugin's own file.
    pub config: Map<String, Value>,
    /// Secrets that it may use, besides those that the plugin's own file grants.
    pub secrets: Vec<String>,
    /// How often and for how long it is tried.
    pub retry: RetryConfig,
    /// How many attempts a second, such as `1` or `0.2`: each process begins them at least `1 / rate-limit` seconds apart, and over all
    /// processes it is so many on the average. It is then tried only from a task queue of its own.
    #[schemars(range(min = 0.001, max = 100_000.0))]
    pub rate_limit: Option<f64>,
    /// A task queue of its own, so that nothing waits behind it.
    pub task_queue: Option<String>,
    /// Receivers that are told when this one is given up, one after the other, until one has it.
    pub fallback: Vec<String>,
}

/// `[updaters.NAME]`: a status updater with settings of its own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct UpdaterConfig {
    /// The plugin [default: that of the updater's name].
    pub plugin: Option<String>,
    /// Settings, over those of the plugin's own file.
    pub config: Map<String, Value>,
    /// Secrets that it may use, besides those that the plugin's own file grants.
    pub secrets: Vec<String>,
    /// How often and for how long it is tried.
    pub retry: RetryConfig,
}

/// One of `[[mutes]]`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MuteConfig {
    /// A CEL expression over `alert` that says which alerts nobody is told.
    pub when: String,
    /// Until when: RFC 3339. A mute without an end would be forgotten.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// Why, for ledgers.
    pub reason: String,
}
