//! `campanile check`: everything that `campanile serve` would stop at or complain about, without starting anything.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use campanile_store::{Location, StoreError, StoreReader};
use clap::Args;

use super::output::say;
use crate::app::{Kept, check_door, plugin_config};
use crate::config::{self, Config, ConfigFile, Flags};
use crate::plugin::{Checked, CheckedDirectory, Checker, PluginConfig, Role};
use crate::reload::{
    misfits, scopes_without_sender, shared_scopes, ungranted, unknown_sources, uses_its_file,
};
use crate::webhook::Listen;

#[derive(Args, Debug)]
pub(super) struct Check {
    /// Configuration file
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Plugin directory [default: plugins.d]
    #[arg(long, env = "CAMPANILE_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// A file with keys, as `serve` takes it
    #[arg(long, env = "CAMPANILE_KEYS_FILE", value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// Data directory, where the store is without --store-url [default: data]
    #[arg(long, env = "CAMPANILE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A PostgreSQL database for the store, postgres://USER@HOST/NAME
    #[arg(long, env = "CAMPANILE_STORE_URL", hide_env_values = true, value_name = "URL")]
    store_url: Option<String>,
    /// Where the host would listen [default: 127.0.0.1:8000]
    #[arg(long, env = "CAMPANILE_LISTEN", value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// What the host would do [default: all]
    #[arg(long, env = "CAMPANILE_ROLE", value_name = "ROLE")]
    role: Option<config::Role>,
    /// Leave out the store and the values of secrets, rarely at hand in CI: of plugins, the mail server, signatures, the last resort, and
    /// the files for TLS
    #[arg(long)]
    without_secrets: bool,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { config, plugins, keys_file, data_dir, store_url, listen, role, without_secrets } = self;
        let flags =
            Flags { config, plugins, keys_file, data_dir, store_url, listen, role, ..Flags::default() };
        let config = Config::load(flags)?;
        let (plugins, mut faults) = tables(&config, without_secrets);
        let is_complete = plugins.is_some();
        // Something is wrong with the tables otherwise, and is listed.
        let checked = match plugins {
            Some(plugins) => look(plugins, config.role.works()).await,
            None => Ok(Vec::new()),
        };
        let count = checked.as_ref().map_or(0, Vec::len);
        let notifiers = checked.iter().flatten().filter(|plugin| notifies(plugin)).count();
        if let Ok(checked) = &checked
            && is_complete
            && config.role.accepts()
        {
            let plugins = sources(checked);
            faults.extend(unknown_sources(&config.file, &plugins).iter().map(ToString::to_string));
            shared_scopes(&config.file, &plugins).iter().for_each(|fault| say!("warning: {fault}"));
            if !without_secrets {
                warn_of_lost_scopes(&config, &plugins).await;
            }
        }
        match checked {
            Ok(checked) if config.role.works() => {
                for name in unused_secrets(&checked, &config.file) {
                    say!("warning: secrets.{name}: is granted to no plugin, receiver or updater");
                }
                faults.extend(plugin_faults(&checked, &config.file));
                let find = |name: &str| checked.iter().find(|plugin| plugin.name == name)?.plugin.clone();
                let found = [misfits(&config.file, &find), ungranted(&config.file, &find)];
                faults.extend(found.iter().flatten().map(ToString::to_string));
                faults.extend(out_of_reach(&checked, &config.file));
            }
            Ok(checked) => faults.extend(refused(&checked)),
            Err(fault) => faults.push(fault),
        }
        match config.router(true) {
            Ok((router, odd)) => {
                odd.iter().for_each(|fault| say!("warning: {fault}"));
                let most = router.limits().receivers;
                if config.role.works() && !router.has_routes() && notifiers > most {
                    say!(
                        "warning: without routes an alert goes to every notifier whose `when` takes it: there are {notifiers}, more \
                         than the {most} of [limits] receivers, and the rest is left out"
                    );
                }
            }
            Err(more) => faults.extend(more.iter().map(ToString::to_string)),
        }
        Ok(concluded(&faults, count, &config))
    }
}

/// The configuration as plugins need it, and what is wrong with it. If something is, the plugins are looked at all the
/// same, as far as that goes without secrets and mail.
fn tables(config: &Config, without_secrets: bool) -> (Option<PluginConfig>, Vec<String>) {
    let mut config = config.clone();
    if without_secrets {
        config.file.secrets.clear();
        config.file.sources.values_mut().for_each(|source| source.signature = None);
        config.file.last_resort = None;
        if let Some(mail) = &mut config.file.mail {
            (mail.username, mail.password_file, mail.password_env) = (None, None, None);
        }
    }
    let (kept, mut faults) = match Kept::read(&config) {
        Ok(kept) => (kept, Vec::new()),
        Err(faults) => (Kept::default(), faults),
    };
    if !without_secrets {
        faults.extend(check_door(&config, &kept).err());
    }
    let plugins = plugin_config(&config, kept).map_err(|more| faults.extend(more)).ok();
    (plugins, faults.iter().map(ToString::to_string).collect())
}

/// Checks the plugins. Unless they are `needed`, the directory may be missing.
async fn look(plugins: PluginConfig, needed: bool) -> Result<Vec<Checked>, String> {
    let directory = plugins.directory.clone();
    let checker = Checker::open(plugins).map_err(|error| error.to_string())?;
    for door in checker.open_doors() {
        say!("warning: {door}");
    }
    let CheckedDirectory { plugins, warnings } = match checker.directory().await {
        Err(error) if error.kind() == ErrorKind::NotFound && !needed => return Ok(Vec::new()),
        checked => checked.map_err(|error| {
            format!("the plugin directory {} cannot be read: {error}", directory.display())
        })?,
    };
    for warning in warnings {
        say!("warning: {}: {}", warning.file, warning.message);
    }
    Ok(plugins)
}

/// Says which scopes have open alerts and no sender, by the store as it is now.
async fn warn_of_lost_scopes(config: &Config, plugins: &BTreeSet<String>) {
    // What is wrong with its address is reported elsewhere.
    let Ok(location) = config.file.store.location(&config.data_dir) else { return };
    match open_scopes(&location).await {
        Ok(open) => scopes_without_sender(&config.file, plugins, &open)
            .iter()
            .for_each(|line| say!("warning: {line}")),
        Err(error) => {
            say!("warning: the store {location} cannot be asked for scopes without a sender: {error}");
        }
    }
}

/// How many alerts are open in each scope. None in a store that is not there yet.
async fn open_scopes(location: &Location) -> Result<BTreeMap<String, u64>, StoreError> {
    match StoreReader::open(location).await? {
        Some(mut reader) => reader.open_scopes().await,
        None => Ok(BTreeMap::new()),
    }
}

/// Whether it is a notifier that a host would load.
fn notifies(checked: &Checked) -> bool {
    checked.plugin.is_some() && checked.profile.as_ref().is_some_and(|profile| profile.role == Role::Notifier)
}

fn refused(checked: &[Checked]) -> Vec<String> {
    let refused = checked.iter().filter_map(|plugin| plugin.refused.as_ref());
    refused.map(|refused| format!("{}: {}", refused.file, refused.reason)).collect()
}

fn plugin_faults(checked: &[Checked], file: &ConfigFile) -> Vec<String> {
    let mut faults = refused(checked);
    for plugin in checked {
        for (key, secret) in granted(plugin).filter(|(_, secret)| !file.secrets.contains_key(*secret)) {
            let name = &plugin.name;
            faults.push(format!("{name}.toml: grants.{key}: the configuration has no [secrets.{secret}]"));
        }
    }
    let is_there = |name: &String| file.receivers.contains_key(name) || may_notify(checked, name);
    let missing = file.routing.catch_all.iter().enumerate().filter(|(_, name)| !is_there(name));
    faults.extend(missing.map(|(index, name)| {
        format!("routing.catch-all[{index}]: there is no notifier {name} in the plugin directory")
    }));
    faults
}

/// Addresses and secrets in the plugins' own files that are not granted: each call would fail over them. Of plugins that are only
/// called with other settings, a warning.
fn out_of_reach(checked: &[Checked], file: &ConfigFile) -> Vec<String> {
    let mut faults = Vec::new();
    for plugin in checked.iter().filter_map(|checked| checked.plugin.as_ref()) {
        let found = plugin.ungranted_in_its_file().into_iter();
        let found = found.map(|fault| format!("{}: {fault}", plugin.sidecar_file()));
        match uses_its_file(file, plugin.name()) {
            true => faults.extend(found),
            false => found.for_each(|fault| say!("warning: {fault}")),
        }
    }
    faults
}

/// The secrets that a plugin's own file grants, each with the list that it is in.
fn granted(plugin: &Checked) -> impl Iterator<Item = (&'static str, &String)> {
    plugin.profile.iter().flat_map(|profile| {
        let grants = &profile.sidecar.grants;
        let lists = [("secrets", &grants.secrets), ("secrets-in-body", &grants.secrets_in_body)];
        lists.into_iter().flat_map(|(key, names)| names.iter().map(move |name| (key, name)))
    })
}

/// The secrets that are declared and used nowhere, if all plugins could be asked what they use.
fn unused_secrets<'a>(checked: &[Checked], file: &'a ConfigFile) -> Vec<&'a String> {
    if checked.iter().any(|plugin| plugin.profile.is_none()) {
        return Vec::new();
    }
    let mut used = file.routes().secrets();
    used.extend(checked.iter().flat_map(granted).map(|(_, name)| name.clone()));
    file.secrets.keys().filter(|name| !used.contains(*name)).collect()
}

/// The names of sources, and of plugins that could not be asked whether they are one.
fn sources(checked: &[Checked]) -> BTreeSet<String> {
    let may_be =
        |plugin: &&Checked| plugin.profile.as_ref().is_none_or(|profile| profile.role == Role::Source);
    checked.iter().filter(may_be).map(|plugin| plugin.name.clone()).collect()
}

/// Whether there is a notifier of this name. A plugin that could not be asked might be one, and what is good but for something else
/// is told as such.
fn may_notify(checked: &[Checked], name: &str) -> bool {
    let role = |plugin: &Checked| plugin.profile.as_ref().map(|profile| profile.role);
    let found = checked.iter().find(|plugin| plugin.name == name);
    found.is_some_and(|plugin| {
        plugin.plugin.is_some() || role(plugin).is_none_or(|role| role == Role::Notifier)
    })
}

/// Prints what is wrong, or what a host would do.
fn concluded(faults: &[String], plugins: usize, config: &Config) -> ExitCode {
    let directory = config.plugins.display();
    match (faults, plugins, config.role.works()) {
        ([], 0, true) => say!(
            "warning: the configuration is good, but {directory} holds no plugin: a host would accept alerts and notify \
             no receiver"
        ),
        ([], 0, false) => say!(
            "the configuration is good; {directory} holds no source, so a host would take alerts at /webhook/alerts only"
        ),
        ([], count, _) => say!("the configuration is good, and a host would load every plugin ({count})"),
        (faults, _, _) => faults.iter().for_each(|fault| say!("{fault}")),
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
