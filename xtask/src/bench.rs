//! `cargo xtask bench`: the figures that the README quotes, measured on this machine.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{cargo, run};
use crate::layout::Layout;
use crate::plugins;
use crate::step::{Steps, say};
use crate::tools;

/// The file whose one line is changed to see how long it takes to have that change running.
const CHANGED: &str = "host/src/plan.rs";
/// How long a host may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Bench {
    /// Leave out the time from a changed line to a running host, which rebuilds the host
    #[arg(long)]
    no_rebuild: bool,
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
            let elapsed = changed_line_to_running_host(&layout)?;
            say(&format!(
                "\nfrom a changed line in {CHANGED} to a listening host: {:.1} s\n",
                elapsed.as_secs_f64()
            ));
        }
        // Our own code optimised like the dependencies, which are the same as for tests and not built anew.
        let mut bench = cargo();
        bench.args(["run", "-p", "tests", "--example", "bench"]).env("CARGO_PROFILE_DEV_OPT_LEVEL", "3");
        run(bench.current_dir(root))
    }
}

/// Adds a line that does nothing, builds, starts the host until it listens, and takes the line away again.
fn changed_line_to_running_host(layout: &Layout) -> Result<Duration> {
    let file = layout.root.join(CHANGED);
    let before = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut changed = before.clone();
    changed.extend(b"\n/// Measured.\npub const MEASURED: u64 = 1;\n");
    fs::write(&file, changed)?;
    let started = Instant::now();
    let measured = build_and_listen(layout).map(|()| started.elapsed());
    fs::write(&file, before)?;
    measured
}

fn build_and_listen(layout: &Layout) -> Result<()> {
    run(cargo().args(["build", "--quiet", "-p", "campanile"]).current_dir(&layout.root))?;
    let directory = tempfile::tempdir()?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut host = Command::new(layout.target.join("debug").join("campanile"))
        .args(["serve", "--listen", &address.to_string(), "--temporal-address", "127.0.0.1:1"])
        .arg("--plugins")
        .arg(directory.path())
        .arg("--data-dir")
        .arg(directory.path())
        .stderr(Stdio::null())
        .spawn()?;
    let listening = wait_for(&address.to_string(), Path::new(CHANGED));
    host.kill()?;
    host.wait()?;
    listening
}

fn wait_for(address: &str, changed: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("the host with a changed {} did not listen on {address}", changed.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
