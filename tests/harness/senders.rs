//! Real senders in processes of their own: Prometheus and Alertmanager from Debian's packages, told to look and to post
//! every second or so, and client libraries from PyPI.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::host::command;
use crate::log::Log;
use crate::process::Process;
use crate::receiver::Receiver;
use crate::tools::{debian_package, python_package};
use crate::wait::PATIENCE;
use crate::web::{client, send};

/// The last that was heard of the disk counts: a scrape that a busy machine misses resolves nothing.
const RULES: &str = r#"groups:
  - name: tests
    rules:
      - alert: DiskFull
        expr: last_over_time(disk_full[5m]) == 1
        labels: { severity: critical }
        annotations: { summary: "Disk is full" }
"#;

/// A running sender. It is killed when this is dropped; when the test has failed, its log is shown.
pub struct Sender {
    name: &'static str,
    address: String,
    log: Log,
    _process: Process,
    _directory: TempDir,
}

impl Sender {
    /// Prometheus with one rule, the alert `DiskFull`: it fires while `/metrics` of `scraped` says `disk_full 1`, and is
    /// posted again every three seconds. `alertmanager`, an entry of `alertmanagers` in its configuration, says where to.
    /// `None`, said aloud, where there is none.
    pub async fn prometheus(scraped: &Receiver, alertmanager: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("rules.yml"), RULES).expect("the directory is writable");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{ job_name: web-1, static_configs: [{{ targets: [\"127.0.0.1:{}\"] }}] }}]\n\
             alerting: {{ alertmanagers: [{alertmanager}] }}\n",
            scraped.port(),
        );
        // An alert that is posted holds for four times this long: that much may a busy machine take.
        let more = ["--rules.alert.resend-delay=2900ms", "--web.external-url=http://prometheus.example/"];
        let storage = "--storage.tsdb.path";
        Self::start("prometheus", storage, directory, &config, &more).await
    }

    /// Alertmanager with one receiver, `webhook` (an entry of `webhook_configs` in its configuration), which is told
    /// again every second or two of what fires. `None`, said aloud, where there is none.
    pub async fn alertmanager(webhook: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = format!(
            "route: {{ receiver: tests, group_wait: 0s, group_interval: 1s, repeat_interval: 1s }}\n\
             receivers: [{{ name: tests, webhook_configs: [{webhook}] }}]\n"
        );
        let more = ["--cluster.listen-address=", "--web.external-url=http://alertmanager.example/"];
        Self::start("prometheus-alertmanager", "--storage.path", directory, &config, &more).await
    }

    async fn start(
        name: &'static str,
        storage: &str,
        directory: TempDir,
        config: &str,
        more: &[&str],
    ) -> Option<Self> {
        let programs = debian_package(name)?.join("usr/bin");
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).expect("the directory is writable");
        let mut command = Command::new(programs.join(name));
        command.arg("--config.file").arg(file).arg(storage).arg(directory.path().join("data"));
        command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]).args(more);
        command.current_dir(programs).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut log = None;
        let process = Process::start(command, |child| log = child.stderr.take().map(Log::follow));
        let (process, log) = (process.expect("it can be started"), log.expect("its stderr is a pipe"));
        let listening = log.find_within(PATIENCE, |event| event["msg"] == "Listening on").await;
        let address = listening.as_ref().and_then(|event| event["address"].as_str());
        let Some(address) = address.map(str::to_owned) else {
            panic!("{name} does not listen; exit {:?}, log:\n{}", process.exited(), log.tail());
        };
        Some(Self { name, address, log, _process: process, _directory: directory })
    }

    /// Where it listens, such as `127.0.0.1:43210`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a counter of its own metrics stands at, over all labels.
    pub async fn counted(&self, counter: &str) -> f64 {
        let page = send(client().get(format!("http://{}/metrics", self.address))).await;
        total(&page.expect("it answers").text, counter)
    }
}

impl Drop for Sender {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.name, self.log.tail());
        }
    }
}

/// What a counter on a page of metrics stands at, over all labels.
pub fn total(page: &str, counter: &str) -> f64 {
    let samples = page.lines().filter_map(|line| line.strip_prefix(counter));
    samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Makes a key with the command that operators use; gives the key and the lines for the configuration.
pub fn new_key(name: &str, more: &[&str]) -> (String, String) {
    let output = command().args(["keys", "new", name]).args(more).output().expect("the command runs");
    let [key, text] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    let key = key.strip_suffix('\n').expect("a line").to_owned();
    let lines = text.split_once(&format!("[keys.{name}]")).expect("lines for the configuration").1;
    (key, format!("\n[keys.{name}]{lines}"))
}

/// Runs a program in Python with a package from PyPI and an environment; gives what it printed.
pub async fn python(
    requirement: &str,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", program]).args(arguments).env("PYTHONPATH", python_package(requirement));
    command.env("NO_PROXY", "127.0.0.1").envs(environment.iter().copied()).stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output()).await;
    let output = run.expect("no panic").expect("python3 is installed");
    assert!(output.status.success(), "{requirement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
