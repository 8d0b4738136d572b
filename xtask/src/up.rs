//! `cargo xtask up`: everything on this machine with one command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::announce::Places;
use crate::command::{cargo, run};
use crate::layout::Layout;
use crate::step::Steps;
use crate::{plugins, tools};

#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    places: Places,
    /// Further flags for `campanile serve`, such as `-- --log debug --config campanile.toml`
    #[arg(last = true, value_name = "SERVE FLAGS")]
    serve: Vec<OsString>,
}

impl Up {
    /// Prepares what is missing, then becomes the host: signals, the exit code and the terminal are the host's own.
    pub(crate) fn run(&self) -> Result<()> {
        let layout = Layout::find()?;
        let mut steps = Steps::new(6);
        steps.quiet("ports", || self.places.check_free())?;
        steps.quiet("wasm targets", tools::wasm_targets)?;
        steps.quiet("Temporal CLI", || tools::temporal_for(&layout.data(), &layout))?;
        steps.loud("plugins", || plugins::build(&layout))?;
        steps.loud("host", || build_host(&layout))?;
        steps.quiet("plugin directory", || plugins::install(&layout))?;
        self.places.announce_later()?;
        // Returns only if it could not start: from here on this process is the host.
        Err(self.host(&layout).exec()).with_context(|| format!("cannot start {}", layout.host().display()))
    }

    fn host(&self, layout: &Layout) -> Command {
        let mut host = Command::new(layout.host());
        host.arg("serve").arg("--data-dir").arg(layout.data()).arg("--plugins").arg(layout.plugins());
        host.args(["--listen", &self.places.webhook().to_string()]);
        host.args(["--temporal-port", &self.places.temporal_port.to_string()]);
        host.args(["--temporal-ui-port", &self.places.ui_port.to_string()]);
        host.args(&self.serve);
        host
    }
}

fn build_host(layout: &Layout) -> Result<&'static str> {
    run(cargo().args(["build", "-p", "campanile"]).current_dir(&layout.root))?;
    Ok("built")
}
