//! Following the configuration: what was changed in its files is taken over while the host runs, all of it or none. What is not
//! usable is refused, and what was before stays; what takes effect with the next start is named.

mod doubts;
mod misfits;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use utoipa::ToSchema;

use crate::config::{Config, Stamps, list, stamps};
use crate::fault::Fault;
use crate::live::{Live, check_reach};
use crate::plugin::Registry;
use crate::routing::{Router, Routing};
use crate::telemetry::metric;
use crate::webhook::LiveAccess;

pub use doubts::{doubts, scopes_without_sender, shared_scopes, ungranted, unknown_sources, uses_its_file};
pub use misfits::misfits;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is replaced while the host runs.
#[derive(Clone)]
pub struct InForce {
    /// The routes, receivers and updaters.
    pub routing: Routing,
    /// The plugins, with their limits and secrets.
    pub registry: Registry,
    /// Who may post, ask and steer, and what is particular to sources.
    pub access: LiveAccess,
}

/// How the configuration stands. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reloads(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    refused: Option<RefusedConfiguration>,
    needs_restart: Vec<String>,
}

/// A configuration that is in the files and not in force, since it is not usable.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefusedConfiguration {
    /// Where it is wrong. What stands there, which may be a secret, is in the log and in `campanile check` alone.
    #[schema(example = json!(["keys.team-a.hash"]))]
    pub places: Vec<String>,
    /// What is wrong with it.
    #[serde(skip)]
    pub reason: String,
    /// Since when it is refused.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub since: jiff::Timestamp,
}

/// What was read, and is usable as a whole.
struct Ready {
    /// `None` where this process has no use for routes.
    router: Router,
    live: Live,
    odd: Vec<Fault>,
}

impl Reloads {
    /// What is in the files and was refused; `None` if what is in the files is in force.
    pub fn refused(&self) -> Option<RefusedConfiguration> {
        self.0.lock().refused.clone()
    }

    /// The keys that were changed since the start and take effect with the next one.
    pub fn needs_restart(&self) -> Vec<String> {
        self.0.lock().needs_restart.clone()
    }

    /// Follows the files as long as the process runs: on SIGHUP, and when one has changed.
    pub async fn follow(self, config: Config, in_force: InForce) {
        // Installed in any case: without it, the signal would end the process.
        let mut hangups = signal(SignalKind::hangup()).ok();
        let (mut taken, mut seen) = (config.stamps.clone(), config.stamps.clone());
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => _ = hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = hangup => {}
                () = tokio::time::sleep(INTERVAL) => {
                    let before = std::mem::replace(&mut seen, look(taken.clone()).await);
                    // What changed just now may still be being written.
                    if seen == taken || seen != before {
                        continue;
                    }
                }
            }
            if taken.is_empty() {
                continue;
            }
            let now = look(taken).await;
            let (reloads, config, in_force) = (self.clone(), config.clone(), in_force.clone());
            let take = move || reloads.take(&config, &in_force);
            // A panic over one file must not end the following.
            let read = tokio::task::spawn_blocking(take).await.ok().flatten();
            taken = read.unwrap_or(now);
            seen = taken.clone();
        }
    }

    /// Reads the files and takes over what they say; returns their state before, if they could be read.
    fn take(&self, config: &Config, in_force: &InForce) -> Option<Stamps> {
        let next = config
            .reread()
            .map_err(|error| self.refuse(&format!("{:#}", anyhow::Error::from(error))))
            .ok()?;
        self.note_restart(config.needs_restart(&next));
        let merged = config.with_live(next);
        match ready(&merged, in_force) {
            Ok(ready) => self.put_in_force(&merged, ready, in_force),
            Err(faults) => self.refuse(&list(&faults)),
        }
        Some(merged.stamps)
    }

    fn put_in_force(&self, config: &Config, Ready { router, live, odd }: Ready, in_force: &InForce) {
        odd.iter().for_each(|fault| tracing::warn!("configuration: {fault}"));
        in_force.access.replace(live.access);
        in_force.registry.take_over(config.file.plugin_settings(), live.secrets);
        in_force.routing.replace(router);
        self.0.lock().refused = None;
        metric::configuration_refused(false);
        tracing::info!("configuration taken over from its files");
    }

    fn refuse(&self, reason: &str) {
        let faults: Vec<_> = reason.lines().map(str::trim).collect();
        let places = faults.iter().filter_map(|fault| place(fault)).map(str::to_owned).collect();
        let reason = joined(&faults);
        tracing::error!("configuration refused, the one before stays: {reason}");
        let since = jiff::Timestamp::now();
        self.0.lock().refused = Some(RefusedConfiguration { places, reason, since });
        metric::configuration_refused(true);
    }

    fn note_restart(&self, keys: Vec<String>) {
        metric::restart_needed(keys.len());
        let before = std::mem::replace(&mut self.0.lock().needs_restart, keys.clone());
        if keys.is_empty() && !before.is_empty() {
            tracing::info!("nothing in the configuration waits for a restart any more");
        } else if keys != before {
            tracing::warn!("changed, and in effect only after a restart of the host: {}", keys.join(", "));
        }
    }
}

/// Lines as one: what announces others is followed by them.
fn joined(lines: &[&str]) -> String {
    lines.join("; ").replace(":; ", ": ")
}

/// Where a fault is: what stands before its colon, if that is the path of a key.
fn place(fault: &str) -> Option<&str> {
    let (path, _) = fault.split_once(": ")?;
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    path.chars().all(is_of_path).then_some(path)
}

/// The state of files now.
async fn look(files: Stamps) -> Stamps {
    let now = tokio::task::spawn_blocking(move || stamps(files.keys())).await;
    now.unwrap_or_default()
}

/// All that is needed to put a configuration in force; everything that is wrong with it otherwise.
fn ready(config: &Config, in_force: &InForce) -> Result<Ready, Vec<Fault>> {
    let mut faults = Vec::new();
    let live = Live::read(config).map_err(|found| faults.extend(found)).ok();
    faults.extend(live.as_ref().and_then(|live| check_reach(config, &live.access).err()));
    let routes = routes(config, &in_force.registry).map_err(|found| faults.extend(found)).ok();
    match (live, routes) {
        (Some(live), Some(routes)) if faults.is_empty() => {
            let (router, mut odd) = routes;
            odd.extend(doubts(config, &in_force.registry));
            Ok(Ready { router, live, odd })
        }
        _ => Err(faults),
    }
}

fn routes(config: &Config, registry: &Registry) -> Result<(Router, Vec<Fault>), Vec<Fault>> {
    let routes = config.router(true)?;
    // A process that accepts alone has no receivers.
    if !config.role.works() {
        return Ok(routes);
    }
    match misfits(&config.file, &|name| registry.find(name)) {
        misfits if misfits.is_empty() => Ok(routes),
        misfits => Err(misfits),
    }
}

#[cfg(test)]
mod tests;
