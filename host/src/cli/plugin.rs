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
    Check(check::Check),
    /// Make a key to sign plugins with, and show what hosts need to trust it
    Keygen(keygen::Keygen),
    /// Sign components and sidecars
    Sign(sign::Sign),
    /// Verify the signatures of components and sidecars
    Verify(verify::Verify),
    /// Write the lock file, so that it admits what is in the plugin directory now and nothing else
    Lock(lock::Lock),
    /// End the quarantine of a plugin in a running host
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
