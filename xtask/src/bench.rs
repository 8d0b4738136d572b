//! `cargo xtask bench`: the figures that the README quotes, measured on this machine.

use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{cargo, run, works};
use crate::layout::Layout;
use crate::plugins;
use crate::step::{Steps, say};
use crate::tools;

/// The files of which a line is changed to see how long it takes to have that change running: a small one, and one that
/// much of the host depends on.
const CHANGED: [&str; 2] = ["host/src/plan.rs", "host/src/plugin/engine.rs"];
/// How long a host may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a fresh clone may take until its first alert is delivered.
const COLD_PATIENCE: Duration = Duration::from_secs(90 * 60);

#[derive(Args)]
pub(crate) struct Bench {
    /// Measure these parts alone: calls, sandbox, directory, alerts, delivery, ingest, store
    parts: Vec<String>,
    /// Leave out the time from a changed line to a running host, which rebuilds the host
    #[arg(long)]
    no_rebuild: bool,
    /// Also measure the time from a fresh clone to the first delivered alert, with an empty build directory: twenty minutes
    /// on two cores
    #[arg(long)]
    cold: bool,
}

impl Bench {
    /// Builds, measures, prints. Fails if a promised bound does not hold.
    pub(crate) fn run(&self) -> Result<()> {
        let layout = Layout::find()?;
        let root = layout.root.as_path();
        let mut steps = Steps::new(4);
        steps.quiet("wasm targets", tools::wasm_targets)?;
        steps.quiet("Temporal CLI", || {
            tools::temporal(&layout).map(|program| program.display().to_string())
        })?;
        steps.loud("plugins as components", || plugins::build(&layout))?;
        steps.loud("host", || {
            run(cargo().args(["build", "-p", "campanile"]).current_dir(root))?;
            Ok("built")
        })?;
        if !self.no_rebuild {
            for file in CHANGED {
                let elapsed = changed_line_to_running_host(&layout, file)?.as_secs_f64();
                say(&format!("\nfrom a changed line in {file} to a listening host: {elapsed:.1} s\n"));
            }
        }
        if self.cold {
            let elapsed = clone_to_first_alert(&layout)?.as_secs();
            say(&format!(
                "\nfrom a fresh clone, nothing built, to the first delivered alert: {} min {} s\n",
                elapsed / 60,
                elapsed % 60
            ));
        }
        // Our own code at the level it is shipped at; the dependencies are those of the tests and not built anew.
        let shipped = ["campanile", "campanile-store", "tests"].map(|package| {
            let own = format!("profile.dev.package.{package}");
            [
                format!("{own}.opt-level=3"),
                format!("{own}.debug-assertions=false"),
                format!("{own}.overflow-checks=false"),
            ]
        });
        let shipped: Vec<String> =
            shipped.concat().into_iter().flat_map(|set| ["--config".to_owned(), set]).collect();
        run(cargo().args(&shipped).args(["build", "-p", "campanile"]).current_dir(root))?;
        let mut bench = cargo();
        bench
            .args(&shipped)
            .args(["run", "-p", "tests", "--example", "bench", "--"])
            .args(&self.parts)
            .env("CAMPANILE_BIN", layout.host());
        run(bench.current_dir(root))
    }
}

/// Adds a line that does nothing, builds, starts the host until it listens, and takes the line away again.
fn changed_line_to_running_host(layout: &Layout, file: &str) -> Result<Duration> {
    let file = layout.root.join(file);
    let before = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut changed = before.clone();
    changed.extend(b"\n#[allow(dead_code)]\nconst MEASURED: u64 = 1;\n");
    fs::write(&file, changed)?;
    let started = Instant::now();
    let measured = build_and_listen(layout).map(|()| started.elapsed());
    fs::write(&file, before)?;
    measured
}

fn build_and_listen(layout: &Layout) -> Result<()> {
    run(cargo().args(["build", "--quiet", "-p", "campanile"]).current_dir(&layout.root))?;
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let mut host = Command::new(layout.host())
        .args(["serve", "--listen", &address, "--temporal-address", "127.0.0.1:1"])
        .arg("--plugins")
        .arg(directory.path())
        .arg("--data-dir")
        .arg(directory.path())
        .stderr(Stdio::null())
        .spawn()?;
    let listening = wait(PATIENCE, Duration::from_millis(5), || TcpStream::connect(&address).is_ok());
    host.kill()?;
    host.wait()?;
    listening
}

/// Clones, runs `cargo xtask up` with an empty build directory and tool cache (cargo's own downloads stay), and sends an
/// alert until it is delivered.
fn clone_to_first_alert(layout: &Layout) -> Result<Duration> {
    let directory = tempfile::tempdir()?;
    let (clone, target) = (directory.path().join("clone"), directory.path().join("target"));
    run(Command::new("git").args(["clone", "--quiet"]).arg(&layout.root).arg(&clone))?;
    let address = free_address()?;
    let started = Instant::now();
    let mut up = cargo();
    up.args(["xtask", "up", "--listen", &address, "--temporal-port", "0", "--ui-port", "0"]);
    up.env("CARGO_TARGET_DIR", &target).env("XDG_CACHE_HOME", directory.path().join("cache"));
    let mut up = up.current_dir(&clone).spawn()?;
    let campanile = target.join("debug/campanile");
    let url = format!("http://{address}");
    let delivered = wait(COLD_PATIENCE, Duration::from_millis(500), || {
        let mut send = Command::new(&campanile);
        send.args(["send", "--sync", "--url", &url, "examples/performance-cpu.json"]).current_dir(&clone);
        works(&mut send)
    });
    let elapsed = started.elapsed();
    run(Command::new("kill").args(["-INT", &up.id().to_string()]))?;
    up.wait()?;
    delivered.map(|()| elapsed)
}

fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn wait(patience: Duration, interval: Duration, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_so() {
        if Instant::now() > deadline {
            bail!("nothing came of it within {patience:?}");
        }
        std::thread::sleep(interval);
    }
    Ok(())
}
