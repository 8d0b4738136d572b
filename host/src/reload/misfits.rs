//! What is wrong with receivers and updaters beyond the configuration itself, as far as plugins are there.

use std::sync::Arc;

use crate::config::ConfigFile;
use crate::fault::Fault;
use crate::plugin::{Plugin, Role};
use crate::routing::RouteConfig;

/// What is wrong with receivers and updaters beyond the configuration itself, as far as their plugins are there: settings do not
/// fit the plugin, a plugin is for something else, or a secret is not there.
pub fn misfits(file: &ConfigFile, find: &dyn Fn(&str) -> Option<Arc<Plugin>>) -> Vec<Fault> {
    let mut faults = unfit_settings(file, find);
    for (path, role, name) in named(file) {
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

/// Who is named in routes, in fallbacks and in the catch-all, each with the place.
pub(super) fn named(file: &ConfigFile) -> Vec<(String, Role, &String)> {
    let mut found = Vec::new();
    named_in("routes", &file.routes, &mut found);
    let receivers = file.receivers.iter();
    let fallbacks = receivers.map(|(name, config)| (format!("receivers.{name}.fallback"), &config.fallback));
    let catch_all = ("routing.catch-all".to_owned(), &file.routing.catch_all);
    for (list, names) in fallbacks.chain([catch_all]) {
        let names = names.iter().enumerate();
        found.extend(names.map(|(index, name)| (format!("{list}[{index}]"), Role::Notifier, name)));
    }
    found
}

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
