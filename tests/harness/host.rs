//! The real host: the binary, in a process of its own, on a free port, watched by its log.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::log::Log;
use crate::plugin::Plugin;
use crate::postgres::Postgres;
use crate::process::Process;
use crate::settings::Settings;
use crate::temporal::Temporal;
use crate::tools::temporal_cli;
use crate::wait::{PATIENCE, until};
use crate::web::{Reply, client, send};

/// Which Temporal server a host works with.
#[derive(Clone, Debug)]
pub enum Server {
    /// The one that the tests share.
    Shared,
    /// The one at this address.
    At(String),
    /// One that the host starts and looks after itself, on free ports.
    Embedded,
}

/// A running host. It is killed when this is dropped; when the test has failed, its log is shown.
pub struct Host {
    process: Process,
    log: Log,
    settings: Settings,
    url: String,
}

impl Host {
    /// Starts one and waits until it can take alerts and, if that is its role, work on them.
    pub async fn start(settings: &Settings) -> Self {
        let host = Self::listening(settings).await;
        if settings.role != "webhook" {
            host.log.message("worker polling").await;
        }
        until("the host is healthy", async || (host.get("/health").await.status == 200).then_some(())).await;
        until("its plugins are loaded", async || {
            let is_ready = host.get("/readyz").await.status == 200;
            let health = host.get("/health").await.json();
            (is_ready && health["plugins"]["loading"] == json!([])).then_some(())
        })
        .await;
        host
    }

    /// Starts one and waits only until it listens.
    pub async fn listening(settings: &Settings) -> Self {
        let (process, log) = Self::launched(settings).await;
        let listening = log.find_within(PATIENCE, |event| event["message"] == "listening").await;
        let Some(listening) = listening else {
            panic!("the host does not listen; exit {:?}, log:\n{}", process.exited(), log.tail());
        };
        let address = listening["address"].as_str().expect("`listening` carries its address");
        let url = format!("http://{address}");
        Self { process, log, settings: settings.clone(), url }
    }

    /// The workflow that carries the alert of a result.
    pub async fn carrier(&self, result: &Value) -> String {
        let id = result["workflow_id"].as_str().expect("a result has its id");
        let found = self.get(&format!("/alerts/{id}")).await.ok();
        found["carried_by"].as_str().expect("it was started").to_owned()
    }

    /// Waits until the host takes no alerts since Temporal does not answer.
    pub async fn without_temporal(&self) {
        until("temporal does not answer the host", async || {
            (self.get("/health").await.json()["temporal"]["reachable"] == false).then_some(())
        })
        .await;
    }

    /// Starts its process and waits for nothing.
    pub async fn launched(settings: &Settings) -> (Process, Log) {
        let address = address(&settings.server).await;
        let mut command = serve_command(settings, address);
        if settings.shares_store {
            let made = settings.store.get_or_init(async || Postgres::shared().await.database()).await;
            command.env("CAMPANILE_STORE_URL", made);
        }
        launch(command)
    }

    /// Starts one that is expected to give up, and waits for its exit status and its log.
    pub async fn refusing(settings: &Settings) -> (ExitStatus, Log) {
        let (process, log) = Self::launched(settings).await;
        let status = process.wait(PATIENCE).await;
        let status = status.unwrap_or_else(|| panic!("the host still runs; log:\n{}", log.tail()));
        log.finished().await;
        (status, log)
    }

    /// Where it listens, such as `http://127.0.0.1:43210`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub async fn kill9(self) {
        self.process.kill().await;
    }

    /// Asks it to stop by `SIGTERM` and waits for its exit status.
    pub async fn stop(self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process
            .wait(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("the host ignores SIGTERM:\n{}", self.log.tail()))
    }

    /// Posts a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.request(client().post(self.at(path)).json(body)).await
    }

    /// Gets a page.
    pub async fn get(&self, path: &str) -> Reply {
        self.request(client().get(self.at(path))).await
    }

    /// Sends any request.
    pub async fn request(&self, request: reqwest::RequestBuilder) -> Reply {
        send(request).await.unwrap_or_else(|error| panic!("no answer from the host: {error:?}"))
    }

    /// The address of a path on it.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Posts alerts and gives the ids of the workflows that hold them, one per alert.
    pub async fn submit(&self, alerts: &[Value]) -> Vec<String> {
        let answer = self.post("/webhook/alerts", &json!({"alerts": alerts})).await.ok();
        ids(&answer)
    }

    /// Posts alerts, waits for their completion, and gives the answer's `results`, one per alert.
    pub async fn submit_sync(&self, alerts: &[Value]) -> Vec<Value> {
        let answer = self.post("/webhook/alerts/sync?timeout=60s", &json!({"alerts": alerts})).await.ok();
        answer["results"].as_array().expect("a sync answer has results").clone()
    }

    /// Posts one alert, waits for its completion, and gives its ledger.
    pub async fn ledger(&self, alert: Value) -> Value {
        let results = self.submit_sync(&[alert]).await;
        assert_eq!(results[0]["completed"], true, "{results:?}");
        results[0]["ledger"].clone()
    }

    /// What the host says of a workflow that has come to its end.
    pub async fn completed(&self, workflow_id: &str) -> Value {
        until(&format!("{workflow_id} completes"), async || {
            let state = self.get(&format!("/alerts/{workflow_id}")).await.ok();
            (state["state"] == "completed").then_some(state)
        })
        .await
    }

    /// What it says of its plugins.
    pub async fn plugins(&self) -> Value {
        self.get("/plugins").await.ok()
    }

    /// Drops a plugin into its directory.
    pub fn drop_plugin(&self, plugin: &Plugin) {
        self.settings.drop_plugin(plugin);
    }

    /// The entry of a loaded plugin that is as wanted, once it is.
    pub async fn loaded(&self, name: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        self.listed("loaded", &format!("plugin {name} is loaded as wanted"), |entry| {
            entry["name"] == name && wanted(entry)
        })
        .await
    }

    /// The entry of a refused file, once it is refused.
    pub async fn refused(&self, file: &str) -> Value {
        self.listed("refused", &format!("{file} is refused"), |entry| {
            entry["file"].as_str().is_some_and(|path| path.ends_with(file))
        })
        .await
    }

    async fn listed(&self, list: &str, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let plugins = self.plugins().await;
            let found = plugins[list].as_array().into_iter().flatten().find(|entry| wanted(entry));
            if let Some(entry) = found {
                return entry.clone();
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}; {plugins}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Host {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the host ({}):\n{}", self.settings.role, self.log.tail());
        }
    }
}

/// The `workflow_ids` of an answer.
pub fn ids(answer: &Value) -> Vec<String> {
    let ids = answer["workflow_ids"].as_array().expect("an answer has workflow_ids");
    ids.iter().map(|id| id.as_str().expect("an id is a string").to_owned()).collect()
}

/// The host's binary, built with the tests' own profile: the tests never meet an old one. `CAMPANILE_BIN` names another.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("CAMPANILE_BIN").map_or_else(build, PathBuf::from)).clone()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("tests run in <target>/<profile>/deps");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "campanile", "--bin", "campanile"]);
    // Of the test's own package: a dependency's build script that looks at them would have half the tree built anew.
    for (name, _) in std::env::vars() {
        if name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile has a name");
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    cargo.arg("--target-dir").arg(profile.parent().expect("a profile is in a target directory"));
    let status = cargo.current_dir(crate::project::root()).status().expect("cargo can be started");
    assert!(status.success(), "the host does not build: {status}");
    profile.join("campanile")
}

/// A command of the host's binary, in an environment that tells it nothing.
pub fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars() {
        if name.starts_with("CAMPANILE_") || name.starts_with("TEMPORAL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

async fn address(server: &Server) -> Option<String> {
    match server {
        Server::Shared => Some(Temporal::shared().await.address()),
        Server::At(address) => Some(address.clone()),
        Server::Embedded => None,
    }
}

fn serve_command(settings: &Settings, temporal: Option<String>) -> Command {
    let path = |path: PathBuf| path.display().to_string();
    let mut flags = vec![
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--log-format", "json".to_owned()),
        ("--role", settings.role.to_owned()),
        ("--config", path(settings.config_file())),
        ("--plugins", path(settings.plugins())),
        ("--data-dir", path(settings.data())),
        ("--task-queue", settings.task_queue.clone()),
    ];
    match temporal {
        Some(address) => flags.push(("--temporal-address", address)),
        None => flags.extend([
            ("--temporal-port", "0".to_owned()),
            ("--temporal-ui-port", "0".to_owned()),
            ("--temporal-cli", path(temporal_cli())),
        ]),
    }
    flags.retain(|(flag, _)| !settings.arguments.iter().any(|given| given == flag));
    let mut command = command();
    command.arg("serve").args(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    command.args(&settings.arguments);
    command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn launch(command: Command) -> (Process, Log) {
    let mut log = None;
    let process = Process::start(command, |child| log = child.stderr.take().map(Log::follow));
    (process.expect("the host's binary can be started"), log.expect("the host's stderr is a pipe"))
}
