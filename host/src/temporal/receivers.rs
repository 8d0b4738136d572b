//! Whom a name in a plan means now: a plugin, and the settings of the receiver or updater of that name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::speed::Speeds;
use super::turns::{Turns, longest_turn};
use crate::plan::{Planned, RetryPolicy};
use crate::plugin::{CallError, Called, Plugin, Registry, Role, Setup};
use crate::routing::{Receiver, Router, Routing};

/// The receivers and updaters of this process. Cheap to clone.
#[derive(Clone)]
pub struct Receivers {
    /// The plugins.
    pub registry: Registry,
    /// The routes, and what is configured of receivers.
    pub routing: Routing,
    /// The host's own task queue: those of receivers are named after it.
    task_queue: Arc<str>,
    known: Arc<Mutex<HashMap<(Role, String), Known>>>,
    /// How quick they are.
    speeds: Speeds,
    /// When those with a rate limit have their turns.
    turns: Turns,
}

/// Settings that were checked, and what they were made of.
struct Known {
    receiver: Arc<Receiver>,
    plugin: Arc<Plugin>,
    setup: Arc<Setup>,
}

/// Who is called.
pub(super) struct Callee {
    pub(super) plugin: Arc<Plugin>,
    /// Absent if it has no settings besides those of the plugin's own file.
    pub(super) setup: Option<Arc<Setup>>,
}

impl Receivers {
    /// Receivers of these plugins.
    pub fn new(registry: Registry, routing: Routing, task_queue: Arc<str>) -> Self {
        let (known, speeds, turns) = (Arc::default(), Speeds::default(), Turns::default());
        Self { registry, routing, task_queue, known, speeds, turns }
    }

    /// The task queues that receivers have of their own, each with its limit of attempts a second.
    pub(super) fn lanes(&self) -> BTreeMap<String, Option<f64>> {
        let lanes = self.routing.current().lanes().into_iter();
        lanes.map(|(lane, limit)| (self.queue(&lane), limit)).collect()
    }

    fn queue(&self, lane: &str) -> String {
        format!("{}/{lane}", self.task_queue)
    }

    /// Notes how long a call took, unless the plugin did not come to run.
    pub(super) fn note_speed<T>(&self, role: Role, name: &str, called: &Called<T>) {
        if called.usage.is_some() {
            self.speeds.note(role, name, called.duration.saturating_sub(called.queued));
        }
    }

    /// Waits for the turn of a receiver that has a rate limit, for at most `patience`.
    pub(super) async fn wait_turn(&self, name: &str, patience: Duration) {
        let Some(receiver) = configured(&self.routing.current(), Role::Notifier, name) else { return };
        if let (Some(lane), Some(rate)) = (receiver.lane(name), receiver.rate_limit) {
            self.turns.wait(&lane, rate, patience).await;
        }
    }

    /// Who has this name now.
    pub(super) fn find(&self, role: Role, name: &str) -> Result<Callee, CallError> {
        let Some(receiver) = configured(&self.routing.current(), role, name) else {
            return Ok(Callee { plugin: self.registry.get(role, name)?, setup: None });
        };
        let plugin = self.registry.get(role, &receiver.plugin)?;
        let setup = self.setup(role, name, receiver, &plugin)?;
        Ok(Callee { plugin, setup: Some(setup) })
    }

    /// One of a plan: `usual` is the retry policy of its activity.
    pub(super) fn planned(&self, router: &Router, role: Role, name: &str, usual: RetryPolicy) -> Planned {
        let receiver = configured(router, role, name);
        let fallback = receiver.iter().flat_map(|receiver| &receiver.fallback);
        // Those of a fallback itself do not count: each receiver says all of its own.
        let fallback = fallback.map(|next| self.alone(router, role, next, usual)).collect();
        Planned { fallback, ..self.alone(router, role, name, usual) }
    }

    /// The same without those who stand in for it.
    fn alone(&self, router: &Router, role: Role, name: &str, usual: RetryPolicy) -> Planned {
        let receiver = configured(router, role, name);
        let plugin = receiver.as_ref().map_or(name, |receiver| &receiver.plugin);
        let of_plugin = self.registry.get(role, plugin).ok().map(|plugin| plugin.retry().clone());
        let own = receiver.as_ref().map(|receiver| receiver.retry.clone());
        let set: Vec<_> = [of_plugin, own].into_iter().flatten().filter(|retry| retry.is_set()).collect();
        let retry = (!set.is_empty()).then(|| set.iter().fold(usual, |retry, set| retry.overridden_by(set)));
        let queue = receiver.as_ref().and_then(|receiver| receiver.lane(name)).map(|lane| self.queue(&lane));
        let turn = receiver.as_ref().and_then(|receiver| receiver.rate_limit).map(longest_turn);
        let slow = self.speeds.is_slow(role, name);
        Planned { name: name.to_owned(), retry, queue, turn, slow, ..Planned::default() }
    }

    fn setup(
        &self,
        role: Role,
        name: &str,
        receiver: Arc<Receiver>,
        plugin: &Arc<Plugin>,
    ) -> Result<Arc<Setup>, CallError> {
        let key = (role, name.to_owned());
        let is_same =
            |known: &&Known| Arc::ptr_eq(&known.receiver, &receiver) && Arc::ptr_eq(&known.plugin, plugin);
        if let Some(known) = self.known.lock().get(&key).filter(is_same) {
            return Ok(known.setup.clone());
        }
        let setup = plugin.setup(&receiver.config, &receiver.secrets).map(Arc::new).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let text = format!(
                "the settings of {name} do not fit the plugin {}: {}",
                plugin.name(),
                faults.join("; ")
            );
            CallError::not_loaded(text)
        })?;
        let known = Known { receiver, plugin: plugin.clone(), setup: setup.clone() };
        self.known.lock().insert(key, known);
        Ok(setup)
    }
}

fn configured(router: &Router, role: Role, name: &str) -> Option<Arc<Receiver>> {
    match role {
        Role::StatusUpdater => router.updater(name).cloned(),
        _ => router.receiver(name).cloned(),
    }
}
