//! The plugins of this process: a call that runs keeps the plugin it started with, whatever replaces that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::admission::Admission;
use super::call::Runtime;
use super::capacity::CallsConfig;
use super::catalog::Catalog;
use super::compile::Compiler;
use super::egress::Connector;
use super::engine::{self, OpenError};
use super::error::CallError;
use super::imports;
use super::inventory::Inventory;
use super::load::Loader;
use super::loaded::Plugin;
use super::mail::Mailer;
use super::meter;
use super::secrets::{LiveSecrets, Secrets};
use super::threads::Threads;
use super::watch::Watcher;
use super::{PluginConfig, PluginSettings, Role};

/// How long a host waits at its start for plugins that are being compiled.
pub const FIRST_PASS: Duration = Duration::from_secs(30);

/// Every plugin of the directory. Cheap to clone; while one clone lives, the directory is watched.
#[derive(Clone)]
pub struct Registry {
    catalog: Arc<Catalog>,
    settings: watch::Sender<PluginSettings>,
    secrets: LiveSecrets,
    first_pass: watch::Receiver<bool>,
    started: Instant,
    threads: Handle,
}

impl Registry {
    /// Begins to load every plugin of the directory and to watch it; needs a tokio runtime. Plugins that cannot be loaded are
    /// refused, logged and listed; they stop no other.
    ///
    /// # Errors
    ///
    /// The engine cannot be made, or what `config` says about the way out cannot be used.
    pub fn open(config: PluginConfig) -> Result<Self, OpenError> {
        meter::describe();
        let (settings, current) = watch::channel(config.settings.clone());
        let loader = loader(&config, current)?;
        let secrets = loader.secrets.clone();
        let threads = loader.runtime.threads.handle().clone();
        let catalog = Arc::new(Catalog::new(config.directory, config.calls.drain));
        let (pass, first_pass) = watch::channel(false);
        let watcher = Watcher::new(loader, config.trust, config.poll_interval, pass);
        tokio::spawn(watcher.run(Arc::downgrade(&catalog)));
        Ok(Self { catalog, settings, secrets, first_pass, started: Instant::now(), threads })
    }

    /// Returns once everything that was in the directory at the start is loaded or refused.
    pub async fn first_pass(&self) {
        // A watcher that is gone looks at nothing any more.
        let _ = self.first_pass.clone().wait_for(|is_over| *is_over).await;
    }

    /// Whether everything that was in the directory at the start is loaded or refused, or has had its time for it.
    pub fn is_first_pass_over(&self) -> bool {
        *self.first_pass.borrow() || self.started.elapsed() >= FIRST_PASS
    }

    /// Why the plugin directory cannot be read now, if so.
    pub fn why_unreadable(&self) -> Option<String> {
        self.catalog.why_unreadable()
    }

    /// Why the first pass is not over yet.
    pub fn why_waiting(&self) -> String {
        self.catalog.why_waiting()
    }

    /// Whether the plugin of this name is not loaded yet: its file is there, or the directory was not looked at so far.
    pub fn is_loading(&self, name: &str) -> bool {
        self.catalog.is_loading(name)
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
        let mut plugins = self.catalog.plugins();
        plugins.retain(|plugin| plugin.role() == role && plugin.is_enabled());
        plugins
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

    /// The names under which there is a source, or may be one: what is loaded, refused, or still to be loaded.
    pub fn source_names(&self) -> BTreeSet<String> {
        let mut names = self.catalog.unknown_names();
        let plugins = self.catalog.plugins();
        let sources = plugins.iter().filter(|plugin| plugin.role() == Role::Source);
        names.extend(sources.map(|plugin| plugin.name().to_owned()));
        names
    }

    /// Uses other secrets and settings from now on. Plugins that were refused, or have other limits now, are loaded again.
    pub fn take_over(&self, settings: PluginSettings, secrets: Secrets) {
        self.secrets.replace(secrets);
        self.settings.send_replace(settings);
    }

    /// Ends the quarantine of a plugin. Whether it was in one; `None` if no such plugin is loaded.
    pub fn release(&self, name: &str) -> Option<bool> {
        Some(self.catalog.find(name)?.breaker.release())
    }

    /// What is loaded and what was refused.
    pub fn inventory(&self) -> Inventory {
        self.catalog.inventory()
    }
}

/// What turns files into plugins, as `config` says; `settings` follows what can change of that.
pub(super) fn loader(
    config: &PluginConfig,
    settings: watch::Receiver<PluginSettings>,
) -> Result<Loader, OpenError> {
    let connector = Connector::new(&config.egress).map_err(OpenError::Egress)?;
    let connector = connector.avoiding(config.off_limits.clone());
    let engine = engine::open(config.calls.concurrency)?;
    let compiler = Compiler::new(&engine, config)?;
    let runtime = Arc::new(runtime(engine, config.mail.clone(), &config.calls)?);
    let secrets = config.secrets.clone().into();
    Ok(Loader::new(runtime, compiler, secrets, connector, settings, config.roles))
}

fn runtime(engine: Engine, mail: Option<Mailer>, calls: &CallsConfig) -> Result<Runtime, OpenError> {
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker).map_err(engine::refused)?;
    let admission = Admission::new(calls.concurrency, calls.memory());
    let threads = Threads::start().map_err(|error| OpenError::Engine(error.into()))?;
    Ok(Runtime { engine, linker, mail, admission, threads })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use crate::operator_file::tests::ODD_FILES;

    const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    pub(in crate::plugin) fn config(directory: &Path) -> PluginConfig {
        PluginConfig {
            directory: directory.to_owned(),
            poll_interval: Duration::from_millis(100),
            cache_dir: None,
            executable: "no executable is needed".into(),
            compilation: Default::default(),
            calls: CallsConfig { concurrency: 2, ..CallsConfig::default() },
            settings: Default::default(),
            secrets: Default::default(),
            mail: None,
            egress: Default::default(),
            off_limits: Default::default(),
            trust: Default::default(),
            roles: &Role::ALL,
        }
    }

    async fn open(directory: &Path) -> Registry {
        let registry = Registry::open(config(directory)).unwrap();
        registry.first_pass().await;
        registry
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
        let inventory = registry.inventory();
        assert!(inventory.warnings[0].message.contains("cannot be read"), "{inventory:?}");
        assert_eq!(Inventory { warnings: Vec::new(), ..inventory }, Inventory::default());
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("core.wasm"), CORE_MODULE).unwrap();
        refused(&registry, &["core.wasm"]).await;
        assert_eq!(registry.inventory().warnings, []);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_read_does_not_end_the_first_pass() {
        let parent = tempfile::tempdir().unwrap();
        let [directory, real, aside] = ["plugins.d", "real", "aside"].map(|name| parent.path().join(name));
        symlink(&directory, &directory).unwrap();
        let registry = Registry::open(config(&directory)).unwrap();
        // Several looks fit into that.
        let pass = tokio::time::timeout(Duration::from_millis(500), registry.first_pass()).await;
        assert!(pass.is_err() && !registry.is_first_pass_over());
        let why = registry.why_waiting();
        assert!(why.contains("the plugin directory cannot be read"), "{why}");

        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("core.wasm"), CORE_MODULE).unwrap();
        symlink(&real, &aside).unwrap();
        std::fs::rename(&aside, &directory).unwrap();
        let pass = tokio::time::timeout(Duration::from_secs(10), registry.first_pass()).await;
        assert!(pass.is_ok(), "{}", registry.why_waiting());
        refused(&registry, &["core.wasm"]).await;
    }

    #[tokio::test]
    async fn odd_files_hold_up_nothing_and_are_listed() {
        for place in ODD_FILES {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("core.wasm"), CORE_MODULE).unwrap();
            std::fs::write(directory.path().join("other.wasm"), CORE_MODULE).unwrap();
            let what = place(&directory.path().join("other.toml"));
            place(&directory.path().join("odd.wasm"));
            std::fs::write(directory.path().join("odd.toml"), "").unwrap();
            let registry = tokio::time::timeout(Duration::from_secs(5), open(directory.path())).await;
            let registry = registry.unwrap_or_else(|_| panic!("{what} holds up the first pass"));
            refused(&registry, &["core.wasm", "odd.wasm", "other.toml"]).await;
            for refused in &registry.inventory().refused[1..] {
                assert!(refused.reason.contains(what), "{what}: {refused:?}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_unknown_before_the_first_look() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("core.wasm"), CORE_MODULE).unwrap();
        let registry = Registry::open(config(directory.path())).unwrap();
        assert!(registry.is_loading("core") && registry.is_loading("missing"));
        let text = registry.get(Role::Source, "core").err().unwrap().message;
        assert!(text.contains("is being loaded"), "{text}");
        registry.first_pass().await;
        assert!(!registry.is_loading("core") && !registry.is_loading("missing"));
        assert!(registry.knows_source("core") && !registry.knows_source("missing"));
    }

    #[tokio::test]
    async fn names_that_nearly_count_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("PAGER.WASM"), CORE_MODULE).unwrap();
        let inventory = open(directory.path()).await.inventory();
        assert_eq!(inventory.warnings[0].file, "PAGER.WASM", "{inventory:?}");
        assert!(inventory.warnings[0].message.ends_with("rename it to PAGER.wasm"), "{inventory:?}");
    }
}
