//! What the host can run with, and what will fail all the same: addresses of receivers that are not granted, and keys for sources that
//! are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, ConfigFile};
use crate::fault::Fault;
use crate::plugin::{Plugin, Registry};
use crate::webhook::{ALERTS, KeyConfig, SourceConfig};

use super::misfits::named;

/// How many letters may be wrong in a name that was mistyped; of three letters, one.
const MOST_EDITS: usize = 2;
const LETTERS: usize = 3;

/// All of it, by the plugins that are loaded.
pub fn doubts(config: &Config, registry: &Registry) -> Vec<Fault> {
    let mut doubts = match config.role.works() {
        true => ungranted(&config.file, &|name| registry.find(name)),
        false => Vec::new(),
    };
    // Before, it is not known which sources there are.
    if config.role.accepts() && registry.is_first_pass_over() {
        let plugins = registry.source_names();
        doubts.extend(unknown_sources(&config.file, &plugins));
        doubts.extend(shared_scopes(&config.file, &plugins));
    }
    doubts
}

/// Settings of receivers and updaters with an address or a secret that their plugins' grants do not cover.
pub fn ungranted(file: &ConfigFile, find: &dyn Fn(&str) -> Option<Arc<Plugin>>) -> Vec<Fault> {
    let receivers = file.receivers.iter().map(|(name, config)| {
        ("receivers", name, config.plugin.as_ref().unwrap_or(name), &config.config, &config.secrets)
    });
    let updaters = file.updaters.iter().map(|(name, config)| {
        ("updaters", name, config.plugin.as_ref().unwrap_or(name), &config.config, &config.secrets)
    });
    let mut faults = Vec::new();
    for (kind, name, plugin, config, secrets) in receivers.chain(updaters) {
        let found = find(plugin).map(|plugin| plugin.ungranted(config, secrets)).unwrap_or_default();
        let below = |fault: Fault| Fault { path: format!("{kind}.{name}.{}", fault.path), ..fault };
        faults.extend(found.into_iter().map(below));
    }
    faults
}

/// Whether a plugin is called with the settings of its own file: not where only receivers or updaters use it, which bring others.
pub fn uses_its_file(file: &ConfigFile, name: &str) -> bool {
    let is_set_up = file.receivers.contains_key(name) || file.updaters.contains_key(name);
    let is_named = || named(file).iter().any(|(_, _, other)| *other == name);
    let is_for_others = || file.plugin_settings().set_up_elsewhere.contains(name);
    !is_set_up && (!is_for_others() || file.routes.is_empty() || is_named())
}

/// Sources that the configuration names and that are not there, where `plugins` are the names of those that are.
pub fn unknown_sources(file: &ConfigFile, plugins: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, source) in file.sources.iter().filter(|(name, _)| *name != ALERTS) {
        let (key, plugin) = source.plugin.as_ref().map_or(("", name), |plugin| (".plugin", plugin));
        let known = plugins.iter().map(String::as_str);
        let what = "in the plugin directory";
        faults.extend(unknown(format!("sources.{name}{key}"), plugin, what, known));
    }
    for (name, key) in &file.keys {
        for (index, source) in key.sources.iter().enumerate() {
            let known = plugins.iter().chain(file.sources.keys()).map(String::as_str).chain([ALERTS, "*"]);
            let what = "in the plugin directory or under [sources]";
            faults.extend(unknown(format!("keys.{name}.sources[{index}]"), source, what, known));
        }
    }
    faults
}

/// Keys whose alerts share their identities with those of a source, where `plugins` are the names of sources that are there.
pub fn shared_scopes(file: &ConfigFile, plugins: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, key) in file.keys.iter().filter(|(_, key)| opens(key, ALERTS)) {
        let scope = key.scope.as_ref().unwrap_or(name);
        if scope != ALERTS && (plugins.contains(scope) || file.sources.contains_key(scope)) {
            let message = format!(
                "what the key posts to /webhook/{ALERTS} counts among the alerts of the source {scope}, and ends those: set another \
                 scope, such as scope = \"{scope}-{ALERTS}\""
            );
            faults.push(Fault { path: format!("keys.{name}.scope"), value: None, message });
        }
    }
    faults
}

/// Scopes with open alerts, of which `open` says how many, that no key and no source posts to: their resolves cannot come.
pub fn scopes_without_sender(
    file: &ConfigFile,
    plugins: &BTreeSet<String>,
    open: &BTreeMap<String, u64>,
) -> Vec<String> {
    let signs = |source: &SourceConfig| source.signature.is_some() || source.sns.is_some();
    let asks = file.keys.values().any(|key| !key.sources.is_empty()) || file.sources.values().any(signs);
    let is_let_in = |source: &str| {
        !asks
            || file.keys.values().any(|key| opens(key, source))
            || file.sources.get(source).is_some_and(signs)
    };
    let is_of_key = |scope: &str| {
        let posts = |(name, key): (&String, &KeyConfig)| {
            opens(key, ALERTS) && key.scope.as_ref().unwrap_or(name) == scope
        };
        file.keys.iter().any(posts)
    };
    let is_of_source = |scope: &str| match scope {
        ALERTS => !asks || file.sources.get(ALERTS).is_some_and(signs),
        scope => (plugins.contains(scope) || file.sources.contains_key(scope)) && is_let_in(scope),
    };
    let lost = open.iter().filter(|(scope, _)| !is_of_key(scope) && !is_of_source(scope));
    let said = lost.map(|(scope, count)| {
        format!(
            "the scope {scope} has {count} open alerts, and no key or source posts to it: give the key of its sender \
             scope = \"{scope}\", or the source its name back"
        )
    });
    said.collect()
}

/// Whether a key lets post to this source.
fn opens(key: &KeyConfig, source: &str) -> bool {
    key.sources.iter().any(|open| open == "*" || open == source)
}

fn unknown<'a>(
    path: String,
    source: &str,
    place: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<Fault> {
    let known: BTreeSet<&str> = known.collect();
    if known.contains(source) {
        return None;
    }
    let edits = known.iter().map(|other| (strsim::damerau_levenshtein(source, other), *other));
    let most = MOST_EDITS.min(source.chars().count() / LETTERS);
    let near = edits.filter(|(edits, _)| *edits <= most).min();
    let hint = near.map(|(_, other)| format!(": did you mean {other}?"));
    let message = format!("there is no source {source} {place}{}", hint.unwrap_or_default());
    Some(Fault { path, value: Some(source.into()), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(toml: &str) -> Vec<String> {
        let file: ConfigFile = toml::from_str(toml).unwrap();
        let plugins = ["grafana", "sentry"].map(str::to_owned).into();
        unknown_sources(&file, &plugins).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plugin_whose_settings_are_elsewhere_does_not_use_its_file() {
        let uses = |toml: &str| uses_its_file(&toml::from_str(toml).unwrap(), "slack");
        let chat = "[receivers.chat]\nplugin = 'slack'\n";
        for (more, expected) in [
            ("", true),
            ("[[routes]]\nreceivers = ['chat']\n", false),
            ("[[routes]]\n[[routes.routes]]\nreceivers = ['slack', 'chat']\n", true),
            ("fallback = ['slack']\n[[routes]]\nreceivers = ['chat']\n", true),
            ("[routing]\ncatch-all = ['slack']\n[[routes]]\nreceivers = ['chat']\n", true),
            ("[receivers.slack]\n", false),
        ] {
            assert_eq!(uses(&format!("{chat}{more}")), expected, "{more}");
        }
        assert!(uses("") && uses("[[routes]]\nreceivers = ['pager']\n"), "the next routes may name it");
    }

    #[test]
    fn a_scope_that_a_key_shares_with_a_source_is_named() {
        let faults = |toml: &str| {
            let plugins = ["grafana".to_owned()].into();
            let faults = shared_scopes(&toml::from_str(toml).unwrap(), &plugins);
            faults.iter().map(|fault| fault.path.clone()).collect::<Vec<_>>()
        };
        let text = "[keys.grafana]\nhash = ''\nsources = ['*']\n[keys.a]\nhash = ''\nsources = ['alerts']\nscope = 'eu'\n\
                    [keys.b]\nhash = ''\nsources = ['alerts']\nscope = 'alerts'\n[keys.eu]\nhash = ''\nsources = ['eu']\n[sources.eu]\n";
        assert_eq!(faults(text), ["keys.a.scope", "keys.grafana.scope"]);
    }

    #[test]
    fn a_scope_that_lost_its_sender_is_named() {
        let lost = |toml: &str| {
            let open = ["alerts", "eu", "grafana", "team-a"].map(|scope| (scope.to_owned(), 2)).into();
            let file = toml::from_str(toml).unwrap();
            let said = scopes_without_sender(&file, &["grafana".to_owned()].into(), &open);
            said.iter().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lost(""), ["eu", "team-a"]);
        assert_eq!(lost("[keys.team-a]\nhash = ''\nsources = ['alerts']"), ["alerts", "eu", "grafana"]);
        let renewed = "[keys.b]\nhash = ''\nsources = ['*']\nscope = 'team-a'\n[sources.eu]\nplugin = 'grafana'\n\
                       [keys.c]\nhash = ''\nsources = ['alerts']\nscope = 'alerts'";
        assert!(lost(renewed).is_empty());
    }

    #[test]
    fn a_mistyped_source_is_named_with_the_one_that_was_meant() {
        let text = "[keys.a]\nhash = ''\nsources = ['grafnaa', 'grafana', 'alerts', 'eu', 'nagios']\n\
                    [keys.b]\nhash = ''\nsources = ['*']\n[keys.c]\nhash = ''\nadmin = true\n[sources.eu]\nplugin = 'sentri'\n\
                    [sources.sentry]\nspool = true\n[sources.grafanna]\n[sources.alerts]\n";
        let expected = [
            "sources.eu.plugin: there is no source sentri in the plugin directory: did you mean sentry?",
            "sources.grafanna: there is no source grafanna in the plugin directory: did you mean grafana?",
            "keys.a.sources[0]: there is no source grafnaa in the plugin directory or under [sources]: did you mean grafana?",
            "keys.a.sources[4]: there is no source nagios in the plugin directory or under [sources]",
        ];
        assert_eq!(said(text), expected);
        assert!(said("[keys.a]\nhash = ''\nsources = ['grafana', 'alerts']").is_empty());
    }
}
