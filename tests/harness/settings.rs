//! How a test wants its host: plugins, configuration, role, server. Starting twice from the same settings is a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::alerts::unique;
use crate::host::{Host, Server};
use crate::plugin::Plugin;

/// What every host of the tests is told, so that retries take no time: four attempts, a tenth of a second apart.
const QUICK_RETRIES: &str = r#"
[activities.send-notification]
initial-interval = "100ms"
maximum-interval = "500ms"
maximum-attempts = 4

[activities.update-alert-status]
initial-interval = "100ms"
maximum-interval = "500ms"
maximum-attempts = 4
"#;

/// The settings of one host. Clones share the directory, and with it the plugins.
#[derive(Clone)]
pub struct Settings {
    pub(crate) server: Server,
    pub(crate) role: &'static str,
    pub(crate) task_queue: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    config: String,
    data: String,
    /// Whether its store is a database of PostgreSQL, which its clones share.
    pub(crate) shares_store: bool,
    pub(crate) store: Arc<OnceCell<String>>,
    directory: Arc<TempDir>,
}

impl Settings {
    /// A host of all roles on the shared Temporal server, with an empty plugin directory and quick retries.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("plugins.d")).expect("a new directory");
        Self {
            server: Server::Shared,
            role: "all",
            task_queue: format!("queue-{}-{}", std::process::id(), unique("")),
            arguments: Vec::new(),
            environment: Vec::new(),
            config: QUICK_RETRIES.to_owned(),
            data: "data".to_owned(),
            // `TESTS_STORE=postgres` has each test run on PostgreSQL.
            shares_store: std::env::var("TESTS_STORE").is_ok_and(|store| store == "postgres"),
            store: Arc::default(),
            directory: Arc::new(directory),
        }
    }

    /// With this plugin in its directory.
    pub fn plugin(self, plugin: Plugin) -> Self {
        self.drop_plugin(&plugin);
        self
    }

    /// On this Temporal server.
    pub fn server(mut self, server: Server) -> Self {
        self.server = server;
        self
    }

    /// In this role, with a data directory of its own, and a store that it shares with its clones unless it has all roles.
    pub fn role(mut self, role: &'static str) -> Self {
        self.role = role;
        self.data = unique("data-");
        self.shares_store |= role != "all";
        self
    }

    /// With this data directory.
    pub fn and_data(mut self, directory: &Path) -> Self {
        self.data = directory.to_str().expect("UTF-8").to_owned();
        self
    }

    /// With a store that it shares with its clones.
    pub fn shared_store(mut self) -> Self {
        self.shares_store = true;
        self
    }

    /// With this text as its configuration file, instead of the quick retries.
    pub fn config(mut self, text: &str) -> Self {
        self.config = text.to_owned();
        self
    }

    /// With these lines behind its configuration file.
    pub fn and_config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// With this part of its configuration file replaced.
    pub fn replace_in_config(mut self, from: &str, to: &str) -> Self {
        assert!(self.config.contains(from), "{from:?} is not in the configuration");
        self.config = self.config.replace(from, to);
        self
    }

    /// With one more argument of `serve`. A flag comes in place of the harness's own.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The text of its configuration file.
    pub fn config_text(&self) -> &str {
        &self.config
    }

    /// Starts the host and waits until it can take and work on alerts.
    pub async fn start(&self) -> Host {
        Host::start(self).await
    }

    /// Writes a file beside the configuration and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory().join(name);
        fs::write(&path, text).expect("the directory is writable");
        path
    }

    /// Drops a plugin as operators should: both files are written aside and renamed into place, the sidecar first.
    pub fn drop_plugin(&self, plugin: &Plugin) {
        if !plugin.sidecar.is_empty() {
            self.place(&format!("{}.toml", plugin.name), plugin.sidecar.as_bytes());
        }
        self.place(&format!("{}.wasm", plugin.name), &plugin.component);
    }

    /// Puts one file into the plugin directory by a rename.
    pub fn place(&self, name: &str, bytes: &[u8]) {
        let aside = self.plugins().join(format!(".{name}.tmp"));
        fs::write(&aside, bytes).expect("the plugin directory is writable");
        fs::rename(aside, self.plugins().join(name)).expect("a rename within one directory");
    }

    /// The plugin directory.
    pub fn plugins(&self) -> PathBuf {
        self.directory().join("plugins.d")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory().join(&self.data)
    }

    /// The configuration file, written as the settings say.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.write("campanile.toml", &self.config)
    }

    /// The directory of everything that is this host's.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}
