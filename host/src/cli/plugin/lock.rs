//! `campanile plugin lock`: the lock file of what is in the plugin directory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::say;
use crate::config::{Config, Flags};
use crate::plugin::{LockChange, write_lock};

#[derive(Args, Debug)]
pub(super) struct Lock {
    /// Configuration file, which says where plugins and lock file are
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Plugin directory [default: plugins.d]
    #[arg(long, env = "CAMPANILE_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Lock file [default: campanile.lock beside the configuration file]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
}

impl Lock {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let flags = Flags { config: self.config, plugins: self.plugins, ..Flags::default() };
        let config = Config::load(flags)?;
        let lock = self.lock.unwrap_or(config.lock);
        let changes = write_lock(&lock, &config.plugins)?;
        for change in &changes {
            match change {
                LockChange::Removed(entry) => say!("- {entry}"),
                LockChange::Added(entry) => say!("+ {entry}"),
            }
        }
        if changes.is_empty() {
            say!("{} admits what is in {} already", lock.display(), config.plugins.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
