//! The real Temporal development server: one for all tests of a process, or one of a test's own to hurt.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::Process;
use crate::tools::temporal_cli;
use crate::wait::until;

/// A server on a free port of the loopback address, without its Web UI.
pub struct Temporal {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl Temporal {
    /// The one that all tests share; each host has its own task queue on it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Temporal> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One for a single test, which may kill it.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let process = launch(directory.path(), port);
        let server = Self { process, port, directory };
        server.ready().await;
        server
    }

    /// Where it listens, or did.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it. Its port stays its own for [`Temporal::restart`].
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Starts it again on its port, with all it knew. One that still runs is killed.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.process = launch(self.directory.path(), self.port);
        self.ready().await;
    }

    /// Runs the Temporal command line against this server and reads its JSON; nothing if it fails.
    pub async fn ask(&self, arguments: &[&str]) -> Option<Value> {
        ask(&self.address(), arguments).await
    }

    /// The history of a workflow, as the command line writes it.
    pub async fn history(&self, workflow_id: &str) -> Value {
        history(&self.address(), workflow_id).await
    }

    /// Whether its database has a text in it, in the clear.
    pub fn holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.directory.path()).expect("readable").flatten();
        files
            .map(|file| std::fs::read(file.path()).expect("readable"))
            .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    async fn ready(&self) {
        until("the Temporal server answers", async || {
            assert!(self.process.exited().is_none(), "the Temporal server ended at once");
            self.ask(&["operator", "namespace", "describe", "--namespace", "default"]).await
        })
        .await;
    }
}

/// Runs the Temporal command line against the server at `address` and reads its JSON; nothing if it fails.
pub async fn ask(address: &str, arguments: &[&str]) -> Option<Value> {
    let mut command = tokio::process::Command::new(temporal_cli());
    command.args(arguments).args(["--address", address, "--output", "json"]).kill_on_drop(true);
    let run = tokio::time::timeout(Duration::from_secs(10), command.output()).await.ok()?;
    let output = run.expect("the Temporal CLI can be started");
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
}

/// The history of a workflow on the server at `address`, as the command line writes it.
pub async fn history(address: &str, workflow_id: &str) -> Value {
    let shown = ask(address, &["workflow", "show", "--workflow-id", workflow_id]).await;
    shown.unwrap_or_else(|| panic!("Temporal at {address} has no history of {workflow_id}"))
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("a bound socket has an address").port()
}

fn launch(directory: &Path, port: u16) -> Process {
    let mut command = Command::new(temporal_cli());
    command
        .args(["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", &port.to_string()])
        .args(["--log-level", "error", "--sqlite-pragma", "journal_mode=WAL"])
        .args(["--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"])
        .args(["--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=false"])
        .args(["--dynamic-config-value", "frontend.namespaceRPS=100000"])
        .args(["--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"])
        .args(["--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"])
        .arg("--db-filename")
        .arg(directory.join("temporal.db"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(command, |_| ()).expect("the Temporal CLI can be started")
}
