//! The plugins that are loaded, as one immutable catalogue that is replaced whole: a call that runs keeps the plugin it
//! started with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::admission::Admission;
use super::call::Runtime;
use super::capacity::CallsConfig;
use super::compile::Compiler;
use super::doors;
use super::egress::Connector;
use super::engine::{self, OpenError};
use super::error::{CallError, one_line};
use super::imports;
use super::inventory::{Inventory, LoadedPlugin, RefusedFile};
use super::load::{Loader, Refusal};
use super::loaded::Plugin;
use super::mail::Mailer;
use super::meter;
use super::threads::Threads;
use super::watch::Watcher;
use super::{PluginConfig, Role};

/// The longest reason of a refusal that is kept, in characters: a file's own names may be in it.
const LONGEST_REASON: usize = 2_048;

/// Every plugin of the directory. Cheap to clone; while one clone lives, the directory is watched.
#[derive(Clone)]
pub struct Registry {
    catalog: Arc<Catalog>,
    set_up_elsewhere: watch::Sender<BTreeSet<String>>,
    threads: Handle,
}

impl Registry {
    /// Loads every plugin of the directory, then watches it. Plugins that cannot be loaded are refused, logged and
    /// listed; they stop nobody.
    ///
    /// # Errors
    ///
    /// The engine cannot be made, or what `config` says about the way out cannot be used.
    pub async fn open(config: PluginConfig) -> Result<Self, OpenError> {
        meter::describe();
        let (set_up_elsewhere, elsewhere) = watch::channel(config.set_up_elsewhere.clone());
        let loader = loader(&config, elsewhere)?;
        let threads = loader.runtime.threads.handle().clone();
        for door in doors::open_doors(&config.directory) {
            tracing::warn!("{door}");
        }
        let catalog = Arc::new(Catalog::new(config.directory, config.calls.drain));
        let mut watcher = Watcher::new(loader, config.trust, config.poll_interval);
        watcher.load_all(&catalog).await;
        let plugins = &catalog.pages.load().plugins;
        config.secrets.say_unused(plugins.iter().map(|plugin| plugin.egress.grants()));
        tokio::spawn(watcher.run(Arc::downgrade(&catalog)));
        Ok(Self { catalog, set_up_elsewhere, threads })
    }

    /// The threads on which guests run. Calls can be made from everywhere, but from there they cost no change of threads.
    pub fn threads(&self) -> &Handle {
        &self.threads
    }

    /// The enabled processors, in ascending order of (`order`, name).
    pub fn processors(&self) -> Vec<Arc<Plugin>> {
        self.enabled(Role::Processor)
    }

    /// The enabled notifiers, in ascending order of (`order`, name).
    pub fn notifiers(&self) -> Vec<Arc<Plugin>> {
        self.enabled(Role::Notifier)
    }

    /// The enabled status updaters, in ascending order of (`order`, name).
    pub fn updaters(&self) -> Vec<Arc<Plugin>> {
        self.enabled(Role::StatusUpdater)
    }

    fn enabled(&self, role: Role) -> Vec<Arc<Plugin>> {
        let pages = self.catalog.pages.load();
        pages.plugins.iter().filter(|plugin| plugin.role() == role && plugin.is_enabled()).cloned().collect()
    }

    /// The newest good generation of one plugin.
    ///
    /// # Errors
    ///
    /// No such plugin is loaded and enabled; the message says what to do about it.
    pub fn get(&self, role: Role, name: &str) -> Result<Arc<Plugin>, CallError> {
        match self.catalog.find(name) {
            Some(plugin) if plugin.role() != role => {
                Err(CallError::not_loaded(format!("{name} is a {}, but a {role} is needed", plugin.role())))
            }
            Some(plugin) if !plugin.is_enabled() => Err(CallError::not_loaded(format!(
                "{name} is switched off: set enabled = true in {name}.toml"
            ))),
            Some(plugin) => Ok(plugin),
            None => Err(CallError::not_loaded(self.catalog.why_missing(name))),
        }
    }

    /// What is loaded under a name, whatever it is for.
    pub fn find(&self, name: &str) -> Option<Arc<Plugin>> {
        self.catalog.find(name)
    }

    /// Whether a source of this name is there or was refused, so that it may well come back.
    pub fn knows_source(&self, name: &str) -> bool {
        let found = self.catalog.find(name);
        found.is_some_and(|plugin| plugin.role() == Role::Source) || self.catalog.has_refused(name)
    }

    /// Says anew which plugins have receivers or updaters with settings of their own. Those that were refused are looked at again.
    pub fn set_up_elsewhere(&self, plugins: BTreeSet<String>) {
        self.set_up_elsewhere.send_replace(plugins);
    }

    /// Ends the quarantine of a plugin. Whether it was in one; `None` if no such plugin is loaded.
    pub fn release(&self, name: &str) -> Option<bool> {
        Some(self.catalog.find(name)?.breaker.release())
    }

    /// What is loaded and what was refused.
    pub fn inventory(&self) -> Inventory {
        let pages = self.catalog.pages.load();
        let mut loaded: Vec<_> =
            pages.plugins.iter().map(|plugin| LoadedPlugin::from(plugin.as_ref())).collect();
        loaded.sort_by_key(|plugin| plugin.role);
        Inventory { loaded, refused: pages.refused.values().cloned().collect() }
    }
}

/// What turns files into plugins, as `config` says; `elsewhere` follows what it says of plugins that are set up elsewhere.
pub(super) fn loader(
    config: &PluginConfig,
    elsewhere: watch::Receiver<BTreeSet<String>>,
) -> Result<Loader, OpenError> {
    let connector = Connector::new(&config.egress).map_err(OpenError::Egress)?;
    let connector = connector.avoiding(config.off_limits.clone());
    let engine = engine::open(config.calls.concurrency)?;
    let compiler = Compiler::new(&engine, config)?;
    let runtime = Arc::new(runtime(engine, config.mail.clone(), &config.calls)?);
    let (limits, secrets) = (config.limits.clone(), config.secrets.clone());
    Ok(Loader::new(runtime, compiler, limits, secrets, connector, elsewhere, config.roles))
}

fn runtime(engine: Engine, mail: Option<Mailer>, calls: &CallsConfig) -> Result<Runtime, OpenError> {
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker).map_err(engine::refused)?;
    let admission = Admission::new(calls.concurrency, calls.memory());
    let threads = Threads::start().map_err(|error| OpenError::Engine(error.into()))?;
    Ok(Runtime { engine, linker, mail, admission, threads })
}

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
}

impl Catalog {
    fn new(directory: PathBuf, drain: Duration) -> Self {
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
    pub(super) fn refuse(&self, name: &str, refusal: Refusal) {
        let reason = one_line(&refusal.reason, LONGEST_REASON);
        let known = self.pages.load().refused.get(name).is_some_and(|known| known.reason == reason);
        if known {
            return;
        }
        let file = refusal.file;
        match self.find(name) {
            Some(kept) => tracing::warn!(
                file,
                kept = kept.generation(),
                "plugin refused, the one before stays: {reason}"
            ),
            None => tracing::warn!(file, "plugin refused: {reason}"),
        }
        let refused = RefusedFile { file, reason, since: jiff::Timestamp::now() };
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

    fn change(&self, change: impl Fn(&mut Pages)) {
        self.pages.rcu(|pages| {
            let mut pages = Pages::clone(pages);
            change(&mut pages);
            pages
        });
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

    fn why_missing(&self, name: &str) -> String {
        match self.pages.load().refused.get(name) {
            Some(refused) => {
                format!("{name} is not loaded, since {} was refused: {}", refused.file, refused.reason)
            }
            None => format!("{name} is not loaded: drop {name}.wasm into {}", self.directory.display()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    pub(in crate::plugin) fn config(directory: &Path) -> PluginConfig {
        PluginConfig {
            directory: directory.to_owned(),
            poll_interval: Duration::from_millis(100),
            cache_dir: None,
            executable: "no executable is needed".into(),
            compilation: Default::default(),
            calls: CallsConfig { concurrency: 2, ..CallsConfig::default() },
            limits: Default::default(),
            secrets: Default::default(),
            mail: None,
            egress: Default::default(),
            off_limits: Default::default(),
            trust: Default::default(),
            set_up_elsewhere: Default::default(),
            roles: &Role::ALL,
        }
    }

    async fn open(directory: &Path) -> Registry {
        Registry::open(config(directory)).await.unwrap()
    }

    /// Waits until the files that are refused are these.
    async fn refused(registry: &Registry, files: &[&str]) {
        let is_so =
            || registry.inventory().refused.iter().map(|refused| &*refused.file).eq(files.iter().copied());
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), wait).await;
        assert!(in_time.is_ok(), "refused are {:?}, not {files:?}", registry.inventory().refused);
    }

    #[tokio::test]
    async fn bad_files_are_all_listed_and_the_directory_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, bytes: &[u8]| std::fs::write(directory.path().join(file), bytes).unwrap();
        write("core.wasm", CORE_MODULE);
        write("lost.toml", b"");
        write("not yet.wasm.part", CORE_MODULE);
        let registry = open(directory.path()).await;
        refused(&registry, &["core.wasm", "lost.toml"]).await;

        write("core.toml", b"enabled = false");
        write("odd name.wasm", CORE_MODULE);
        refused(&registry, &["core.wasm", "lost.toml", "odd name.wasm"]).await;
        let text = registry.get(Role::Notifier, "core").err().unwrap().message;
        assert!(text.contains("core.wasm was refused: this is a core module"), "{text}");

        std::fs::remove_file(directory.path().join("core.wasm")).unwrap();
        std::fs::remove_file(directory.path().join("lost.toml")).unwrap();
        refused(&registry, &["core.toml", "odd name.wasm"]).await;
    }

    #[tokio::test]
    async fn a_directory_that_appears_later_is_used() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("plugins.d");
        let registry = open(&directory).await;
        assert_eq!(registry.inventory(), Inventory::default());
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("core.wasm"), CORE_MODULE).unwrap();
        refused(&registry, &["core.wasm"]).await;
    }
}
