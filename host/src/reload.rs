//! Following the configuration file: routes that were changed are taken over while the host runs, all of them or none. What is
//! not usable is refused, and those before stay.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use utoipa::ToSchema;

use crate::config::{Config, ConfigFile, list, modified};
use crate::fault::Fault;
use crate::plugin::{Plugin, Registry, Role};
use crate::routing::{RouteConfig, Routing};
use crate::telemetry::metric;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How the routes stand. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reloads(Arc<Mutex<Option<RefusedRoutes>>>);

/// Routes in the configuration file that are not in force, since they are not usable.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefusedRoutes {
    /// What is wrong with them.
    pub reason: String,
    /// Since when they are refused.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub since: jiff::Timestamp,
}

impl Reloads {
    /// What is in the file and was refused; `None` if what is in the file is in force.
    pub fn refused(&self) -> Option<RefusedRoutes> {
        self.0.lock().clone()
    }

    /// Follows the file as long as the process runs: on SIGHUP, and when it has changed.
    pub async fn follow(self, config: Config, routing: Routing, registry: Registry) {
        // Installed in any case: without it, the signal would end the process.
        let mut hangups = signal(SignalKind::hangup()).ok();
        let path = config.path.clone().filter(|_| config.role.works());
        let stamp = async || {
            let path = path.clone();
            let looked = tokio::task::spawn_blocking(move || path.as_deref().and_then(modified)).await;
            looked.ok().flatten()
        };
        let (mut taken, mut seen) = (config.stamp, config.stamp);
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
                    let before = std::mem::replace(&mut seen, stamp().await);
                    // What changed just now may still be being written.
                    if seen == taken || seen != before {
                        continue;
                    }
                }
            }
            taken = stamp().await;
            if path.is_some() {
                let (reloads, config) = (self.clone(), config.clone());
                let (routing, registry) = (routing.clone(), registry.clone());
                let take = move || reloads.take(&config, &routing, &registry);
                // A panic over one file must not end the following.
                let _ = tokio::task::spawn_blocking(take).await;
            }
        }
    }

    fn take(&self, config: &Config, routing: &Routing, registry: &Registry) {
        let read = config.reread().map_err(|error| error.to_string());
        let routes = read.and_then(|config| {
            let routes = config.router(true).map_err(|faults| list(&faults))?;
            let misfits = misfits(&config.file, &|name| registry.find(name));
            if misfits.is_empty() {
                Ok((routes, config.file.routes().plugins()))
            } else {
                Err(list(&misfits))
            }
        });
        match routes {
            Ok(((router, odd), plugins)) => {
                odd.iter().for_each(|fault| tracing::warn!("routes: {fault}"));
                routing.replace(router);
                registry.set_up_elsewhere(plugins);
                *self.0.lock() = None;
                tracing::info!("routes taken over from the configuration file");
            }
            Err(reason) => {
                let faults: Vec<_> = reason.lines().map(str::trim).collect();
                let reason = faults.join("; ");
                tracing::error!("routes refused, those before stay: {reason}");
                let since = jiff::Timestamp::now();
                *self.0.lock() = Some(RefusedRoutes { reason, since });
            }
        }
        metric::routes_refused(self.refused().is_some());
    }
}

/// What is wrong with receivers and updaters beyond the configuration itself, as far as their plugins are there: settings do not
/// fit the plugin, a plugin is for something else, or a secret is not there.
pub fn misfits(file: &ConfigFile, find: &dyn Fn(&str) -> Option<Arc<Plugin>>) -> Vec<Fault> {
    let mut faults = unfit_settings(file, find);
    let mut named = Vec::new();
    named_in("routes", &file.routes, &mut named);
    let catch_all = file.routing.catch_all.iter().enumerate();
    let catch_all =
        catch_all.map(|(index, name)| (format!("routing.catch-all[{index}]"), Role::Notifier, name));
    for (path, role, name) in named.into_iter().chain(catch_all) {
        let is_set_up = match role {
            Role::Notifier => file.receivers.contains_key(name),
            _ => file.updaters.contains_key(name),
        };
        if !is_set_up && let Some(plugin) = find(name) {
            faults.extend(other_role(path, &plugin, role));
        }
    }
    faults
}

/// The same of `[receivers]` and `[updaters]`.
fn unfit_settings(file: &ConfigFile, find: &dyn Fn(&str) -> Option<Arc<Plugin>>) -> Vec<Fault> {
    let receivers = file.receivers.iter().map(|(name, config)| {
        let plugin = config.plugin.as_ref().unwrap_or(name);
        (format!("receivers.{name}"), Role::Notifier, plugin, &config.config, &config.secrets)
    });
    let updaters = file.updaters.iter().map(|(name, config)| {
        let plugin = config.plugin.as_ref().unwrap_or(name);
        (format!("updaters.{name}"), Role::StatusUpdater, plugin, &config.config, &config.secrets)
    });
    let mut faults = Vec::new();
    for (path, role, name, config, secrets) in receivers.chain(updaters) {
        let unknown = secrets.iter().filter(|secret| !file.secrets.contains_key(*secret));
        let missing = |secret| format!("the configuration has no [secrets.{secret}]");
        faults.extend(unknown.map(|secret| fault(format!("{path}.secrets"), missing(secret))));
        let Some(plugin) = find(name) else { continue };
        if let Some(fault) = other_role(format!("{path}.plugin"), &plugin, role) {
            faults.push(fault);
        } else if let Err(more) = plugin.setup(config, secrets) {
            let below = |fault: Fault| Fault { path: format!("{path}.{}", fault.path), ..fault };
            faults.extend(more.into_iter().map(below));
        }
    }
    faults
}

fn other_role(path: String, plugin: &Plugin, role: Role) -> Option<Fault> {
    let is = plugin.role();
    (is != role).then(|| fault(path, format!("{} is a {is}, not a {role}", plugin.name())))
}

fn fault(path: String, message: String) -> Fault {
    Fault { path, value: None, message }
}

/// Who is named in routes, each with the place.
fn named_in<'a>(at: &str, routes: &'a [RouteConfig], found: &mut Vec<(String, Role, &'a String)>) {
    for (index, route) in routes.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let lists = [
            ("receivers", Role::Notifier, &route.receivers),
            ("updaters", Role::StatusUpdater, &route.updaters),
        ];
        for (list, role, names) in lists {
            let names = names.iter().flatten().enumerate();
            found.extend(names.map(|(index, name)| (format!("{at}.{list}[{index}]"), role, name)));
        }
        named_in(&format!("{at}.routes"), &route.routes, found);
    }
}
