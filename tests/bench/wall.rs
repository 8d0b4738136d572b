//! The plugin wall on its own, within this process: a directory of plugins and alerts for them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use campanile::alert::{AlertItem, Origin};
use campanile::plugin::{
    CallsConfig, CompilationConfig, EgressConfig, OffLimits, Plugin, PluginConfig, PluginSettings, Registry,
    Role, Secrets, Trust,
};
use campanile_store::Disposition;
use harness::alerts::{alert, labelled, unique};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// The time that a call is given by its caller.
pub(crate) const BUDGET: Duration = Duration::from_secs(5);

/// Plugins that are loaded.
pub(crate) struct Wall {
    registry: Registry,
    _directory: TempDir,
}

impl Wall {
    /// Loads these plugins: names, components, sidecars.
    pub(crate) async fn open(plugins: &[(&str, Vec<u8>, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, component, sidecar) in plugins {
            place(directory.path(), name, component, sidecar);
        }
        let registry = Registry::open(config(directory.path())).expect("an engine");
        registry.first_pass().await;
        Self { registry, _directory: directory }
    }

    /// The threads on which plugins run, and the activities that call them.
    pub(crate) fn threads(&self) -> &Handle {
        self.registry.threads()
    }

    /// The plugin of this name.
    pub(crate) fn plugin(&self, name: &str) -> Arc<Plugin> {
        let all = [self.registry.processors(), self.registry.notifiers(), self.registry.updaters()];
        let mut all = all.into_iter().flatten();
        all.find(|plugin| plugin.name() == name).unwrap_or_else(|| {
            panic!("{name} is not loaded: {:?}", self.registry.inventory().refused);
        })
    }
}

/// Writes a plugin's files.
pub(crate) fn place(directory: &Path, name: &str, component: &[u8], sidecar: &str) {
    let write = |extension: &str, bytes: &[u8]| {
        std::fs::write(directory.join(format!("{name}.{extension}")), bytes).expect("a writable directory");
    };
    write("toml", sidecar.as_bytes());
    write("wasm", component);
}

/// A host's usual settings, for the plugins of a directory.
pub(crate) fn config(directory: &Path) -> PluginConfig {
    PluginConfig {
        directory: directory.to_owned(),
        poll_interval: Duration::from_secs(60),
        cache_dir: Some(directory.join(".cache")),
        executable: harness::host::binary(),
        compilation: CompilationConfig::default(),
        calls: CallsConfig::default(),
        settings: PluginSettings::default(),
        secrets: Secrets::load(BTreeMap::new()).expect("no secrets, no faults"),
        mail: None,
        egress: EgressConfig::default(),
        off_limits: OffLimits::default(),
        trust: Trust::default(),
        roles: &Role::ALL,
    }
}

/// An alert whose label `do` says what a hostile guest is to do.
pub(crate) fn item(deed: &str) -> AlertItem {
    // An input that failed twice is refused by itself: each is another one.
    let alert = labelled(alert(&unique("called ")), "do", deed);
    AlertItem {
        id: "alert-1".to_owned(),
        thread_id: "alert-1".to_owned(),
        disposition: Disposition::New,
        is_worse: false,
        acknowledged: None,
        alert: serde_json::from_value(alert).expect("a valid alert"),
        origin: Arc::new(Origin {
            metadata: Arc::default(),
            received_at: jiff::Timestamp::now(),
            traceparent: String::new(),
            via: None,
            key: None,
            from: None,
            sealed: false,
            warnings: Vec::new(),
        }),
    }
}
