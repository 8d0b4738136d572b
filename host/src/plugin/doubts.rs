//! What works and may be a mistake: plugins that are there twice, since a copy that was left beside a plugin is a plugin of its own
//! and is called as well, conditions that read what alerts do not have, and addresses that are not granted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::inventory::FileWarning;
use super::{Plugin, Role};
use crate::condition::Condition;

/// A warning for each enabled plugin that is the same as one before it in the order of names: the same component, or one that
/// gives itself the same name. Sources are left out, since each is called only at its own address.
pub(super) fn copies<'a>(plugins: impl IntoIterator<Item = &'a Arc<Plugin>>) -> Vec<FileWarning> {
    let mut plugins: Vec<_> = plugins.into_iter().filter(|plugin| plugin.is_called_unasked()).collect();
    plugins.sort_by_key(|plugin| plugin.name());
    let mut by_digest: BTreeMap<&str, String> = BTreeMap::new();
    let mut by_name: BTreeMap<(Role, &str), String> = BTreeMap::new();
    let mut warnings = Vec::new();
    for plugin in plugins {
        let (file, own_name) = (plugin.file(), plugin.compiled.description.name.as_str());
        let same = by_digest.get(plugin.digest()).map(|other| format!("it is the same component as {other}"));
        let alike = || {
            let other = by_name.get(&(plugin.role(), own_name))?;
            Some(format!("it calls itself {own_name:?}, as {other} does"))
        };
        if let Some(what) = same.or_else(alike) {
            warnings.push(FileWarning { message: advice(&what, plugin.name()), file: file.clone() });
        }
        by_digest.entry(plugin.digest()).or_insert_with(|| file.clone());
        by_name.entry((plugin.role(), own_name)).or_insert(file);
    }
    warnings
}

/// A warning for each field of a plugin's `when` that alerts do not have, and for each word that a field never has.
pub(super) fn doubts<'a>(plugins: impl IntoIterator<Item = &'a Arc<Plugin>>) -> Vec<FileWarning> {
    let mut warnings = Vec::new();
    for plugin in plugins {
        let doubts = plugin.sidecar.when.iter().flat_map(Condition::doubts);
        let doubts = doubts.map(|doubt| format!("when: {doubt}"));
        warnings.extend(doubts.map(|message| FileWarning { file: plugin.sidecar_file(), message }));
    }
    warnings
}

/// A warning for each address and secret in a plugin's own settings that its grants do not cover.
pub(super) fn ungranted<'a>(plugins: impl IntoIterator<Item = &'a Arc<Plugin>>) -> Vec<FileWarning> {
    let of_plugin = |plugin: &Arc<Plugin>| {
        let file = plugin.sidecar_file();
        let faults = plugin.ungranted_in_its_file().into_iter();
        faults.map(move |fault| FileWarning { file: file.clone(), message: fault.to_string() })
    };
    plugins.into_iter().flat_map(of_plugin).collect()
}

fn advice(what: &str, name: &str) -> String {
    format!(
        "{what}, and both are enabled: one alert may go through each. If one of them is a left-over copy, delete that one, or set \
         enabled = false in its sidecar (for this one {name}.toml)"
    )
}
