//! What is known about the plugin directory, as one immutable list of pages that is replaced whole: what runs, what was
//! refused, what is to come, and what may be a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Role;
use super::doubts::{copies, doubts, ungranted};
use super::error::one_line;
use super::inventory::{FileWarning, Inventory, LoadedPlugin, RefusedFile};
use super::load::Refusal;
use super::loaded::Plugin;
use crate::time;

/// The longest reason of a refusal that is kept, in characters: a file's own names may be in it.
const LONGEST_REASON: usize = 2_048;

/// What is known about the directory.
pub(super) struct Catalog {
    pub directory: PathBuf,
    /// How long calls of a plugin that was replaced or removed may go on.
    drain: Duration,
    pages: ArcSwap<Pages>,
}

#[derive(Clone, Default)]
struct Pages {
    /// In ascending order of (`order`, name).
    plugins: Vec<Arc<Plugin>>,
    /// By the plugin's name.
    refused: BTreeMap<String, RefusedFile>,
    /// Names whose files are there and are neither loaded nor refused so far; unknown before the first look.
    expected: Option<BTreeSet<String>>,
    /// Files that do not count, and why.
    ignored: BTreeMap<String, String>,
    /// What is wrong with the directory.
    unreachable: Option<FileWarning>,
}

impl Pages {
    fn warnings(&self) -> Vec<FileWarning> {
        let ignored = self.ignored.iter();
        let ignored = ignored.map(|(file, why)| FileWarning { file: file.clone(), message: why.clone() });
        self.unreachable
            .iter()
            .cloned()
            .chain(ignored)
            .chain(copies(&self.plugins))
            .chain(doubts(&self.plugins))
            .chain(ungranted(&self.plugins))
            .collect()
    }
}

impl Catalog {
    pub(super) fn new(directory: PathBuf, drain: Duration) -> Self {
        Self { directory, drain, pages: ArcSwap::default() }
    }

    /// What runs under this name.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Plugin>> {
        self.pages.load().plugins.iter().find(|plugin| plugin.name() == name).cloned()
    }

    /// Publishes a plugin in place of what ran under its name.
    pub(super) fn publish(&self, plugin: Plugin) {
        let plugin = Arc::new(plugin);
        let (name, role) = (plugin.name(), plugin.role());
        let (digest, generation, enabled) = (plugin.digest(), plugin.generation(), plugin.is_enabled());
        let before = self.find(name);
        let what = if before.is_some() { "replaced" } else { "loaded" };
        tracing::info!(plugin = name, %role, digest, generation, enabled, "plugin {what}");
        self.change(|pages| {
            pages.plugins.retain(|other| other.name() != name);
            pages.plugins.push(plugin.clone());
            pages.plugins.sort_by(|a, b| (a.order(), a.name()).cmp(&(b.order(), b.name())));
            pages.refused.remove(name);
        });
        before.into_iter().for_each(|before| self.retire(&before));
    }

    /// Gives the calls that a plugin still runs the time to end.
    fn retire(&self, plugin: &Plugin) {
        let (drain, retired) = (self.drain, plugin.retired.clone());
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            retired.cancel();
        });
    }

    /// Takes back a refusal: the files are again those of what runs.
    pub(super) fn accept(&self, name: &str) {
        self.change(|pages| _ = pages.refused.remove(name));
    }

    /// Lists a refusal; what runs under this name stays.
    /// It is tried again at `next_attempt`, if that is set, or when its files change.
    pub(super) fn refuse(&self, name: &str, refusal: Refusal, next_attempt: Option<jiff::Timestamp>) {
        let reason = one_line(&refusal.reason, LONGEST_REASON);
        let known = self.pages.load().refused.get(name).filter(|known| known.reason == reason).cloned();
        if let Some(known) = known {
            if known.next_attempt != next_attempt {
                let refused = RefusedFile { next_attempt, ..known };
                self.change(|pages| _ = pages.refused.insert(name.to_owned(), refused.clone()));
            }
            return;
        }
        let file = refusal.file;
        let next = next_attempt.map(time::text);
        match self.find(name) {
            Some(kept) => tracing::warn!(
                file,
                kept = kept.generation(),
                next_attempt = next,
                "plugin refused, the one before stays: {reason}"
            ),
            None => tracing::warn!(file, next_attempt = next, "plugin refused: {reason}"),
        }
        let refused = RefusedFile { file, reason, since: jiff::Timestamp::now(), next_attempt };
        self.change(|pages| _ = pages.refused.insert(name.to_owned(), refused.clone()));
    }

    /// Removes a plugin whose file is gone; calls that run have the time to end.
    pub(super) fn unload(&self, name: &str) {
        let plugin = self.find(name);
        if let Some(plugin) = &plugin {
            let (digest, generation) = (plugin.digest(), plugin.generation());
            tracing::info!(plugin = name, digest, generation, "plugin unloaded: its file is gone");
        }
        self.change(|pages| {
            pages.plugins.retain(|plugin| plugin.name() != name);
            pages.refused.remove(name);
        });
        plugin.into_iter().for_each(|plugin| self.retire(&plugin));
    }

    pub(super) fn has_refused(&self, name: &str) -> bool {
        self.pages.load().refused.contains_key(name)
    }

    /// The names of the plugins that are refused.
    pub(super) fn refused_names(&self) -> Vec<String> {
        self.pages.load().refused.keys().cloned().collect()
    }

    /// The names of plugins of which it is not known what they are for: they are refused, or not loaded yet.
    pub(super) fn unknown_names(&self) -> BTreeSet<String> {
        let pages = self.pages.load();
        pages.refused.keys().chain(pages.expected.iter().flatten()).cloned().collect()
    }

    /// What runs, what was refused and what may be a mistake.
    pub(super) fn inventory(&self) -> Inventory {
        let pages = self.pages.load();
        let mut loaded: Vec<_> =
            pages.plugins.iter().map(|plugin| LoadedPlugin::from(plugin.as_ref())).collect();
        loaded.sort_by_key(|plugin| plugin.role);
        Inventory {
            loaded,
            refused: pages.refused.values().cloned().collect(),
            loading: pages.expected.iter().flatten().cloned().collect(),
            warnings: pages.warnings(),
        }
    }

    /// Everything that runs.
    pub(super) fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.pages.load().plugins.clone()
    }

    pub(super) fn is_loading(&self, name: &str) -> bool {
        let pages = self.pages.load();
        let is_expected = pages.expected.as_ref().is_none_or(|expected| expected.contains(name));
        is_expected && self.find(name).is_none() && !pages.refused.contains_key(name)
    }

    /// Lists what is to be loaded.
    pub(super) fn expect(&self, names: BTreeSet<String>) {
        if self.pages.load().expected.as_ref() != Some(&names) {
            self.change(|pages| pages.expected = Some(names.clone()));
        }
    }

    /// Lists files that do not count.
    pub(super) fn ignore(&self, files: BTreeMap<String, String>) {
        if self.pages.load().ignored != files {
            self.change(|pages| pages.ignored.clone_from(&files));
        }
    }

    /// Lists what is wrong with the directory now.
    pub(super) fn reach_directory(&self, error: Option<&io::Error>) {
        let warning = error.map(|error| FileWarning {
            file: self.directory.display().to_string(),
            message: format!("the plugin directory cannot be read ({error}): what is loaded goes on, and it is used once it can"),
        });
        if self.pages.load().unreachable != warning {
            self.change(|pages| pages.unreachable.clone_from(&warning));
        }
    }

    /// What is wrong with the directory now.
    pub(super) fn why_unreadable(&self) -> Option<String> {
        self.pages.load().unreachable.as_ref().map(|warning| warning.message.clone())
    }

    /// Why not everything is loaded: the directory cannot be read, or these are still being loaded.
    pub(super) fn why_waiting(&self) -> String {
        if let Some(why) = self.why_unreadable() {
            return why;
        }
        let pages = self.pages.load();
        let names: Vec<_> = pages.expected.iter().flatten().map(String::as_str).collect();
        format!("plugins are being loaded: {}", names.join(", "))
    }

    fn change(&self, change: impl Fn(&mut Pages)) {
        let before = self.pages.rcu(|pages| {
            let mut pages = Pages::clone(pages);
            change(&mut pages);
            pages
        });
        let known = before.warnings();
        for warning in self.pages.load().warnings().iter().filter(|warning| !known.contains(warning)) {
            tracing::warn!(file = warning.file, "{}", warning.message);
        }
        self.measure();
    }

    fn measure(&self) {
        let pages = self.pages.load();
        for role in Role::ALL {
            let count = pages.plugins.iter().filter(|plugin| plugin.role() == role).count();
            metrics::gauge!("campanile_plugins_loaded", "role" => role.as_str()).set(count as f64);
        }
        metrics::gauge!("campanile_plugins_refused").set(pages.refused.len() as f64);
    }

    pub(super) fn why_missing(&self, name: &str) -> String {
        match self.pages.load().refused.get(name) {
            Some(refused) => {
                format!("{name} is not loaded, since {} was refused: {}", refused.file, refused.reason)
            }
            None if self.is_loading(name) => format!("{name} is being loaded: try again in a few seconds"),
            None => format!("{name} is not loaded: drop {name}.wasm into {}", self.directory.display()),
        }
    }
}
