//! `campanile plugin …`: commands about single plugins, one file per command.

mod check;
mod keygen;
mod lock;
mod release;
mod sign;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::plugin::PASSWORD_VARIABLE;

#[derive(Args, Debug)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check components with the sidecars beside them as a host would load them, and show what they ask for, what they get
    /// and which lines would grant the rest; exit code 0 if a host would load them
    #[command(after_help = "Example:\n  campanile plugin check plugins.d/slack.wasm --config campanile.toml")]
    Check(check::Check),
    /// Make a key to sign plugins with, and show what hosts need to trust it
    #[command(after_help = "Example:\n  campanile plugin keygen --key campanile.key")]
    Keygen(keygen::Keygen),
    /// Sign components and sidecars
    #[command(after_help = "Example:\n  campanile plugin sign slack.wasm slack.toml --key campanile.key")]
    Sign(sign::Sign),
    /// Verify the signatures of components and sidecars
    #[command(after_help = "Example:\n  campanile plugin verify slack.wasm --config campanile.toml")]
    Verify(verify::Verify),
    /// Write the lock file, so that it admits what is in the plugin directory now and nothing else
    #[command(after_help = "Example:\n  campanile plugin lock --config campanile.toml")]
    Lock(lock::Lock),
    /// End the quarantine of a plugin in a running host
    #[command(after_help = "Example:\n  campanile plugin release slack")]
    Release(release::Release),
}

impl Plugin {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(check) => super::client(check.run()),
            Command::Keygen(keygen) => keygen.run(),
            Command::Sign(sign) => sign.run(),
            Command::Verify(verify) => verify.run(),
            Command::Lock(lock) => lock.run(),
            Command::Release(release) => super::client(release.run()),
        }
    }
}

/// The password of a secret key, if one is given.
fn password() -> Option<String> {
    std::env::var(PASSWORD_VARIABLE).ok()
}
