//! `campanile store …`: looking a store over, backing it up and restoring it, and what is suspended in it.

mod backup;
mod check;
mod place;
mod restore;
mod resume;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(super) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look the store over: whether it is whole, what is in it, and what Temporal does not know of it; exit code 0 if all is well
    #[command(after_help = "Example:\n  campanile store check --data-dir data")]
    Check(check::Check),
    /// Copy the embedded Temporal server's database and the store to a new directory, also while a host runs
    #[command(
        after_help = "Example:\n  campanile store backup /var/backups/campanile-2026-12-01 --data-dir data"
    )]
    Backup(backup::Backup),
    /// Put a backup into an empty data directory. Alerts under way that are older than an hour are suspended
    #[command(
        after_help = "Example:\n  campanile store restore /var/backups/campanile-2026-12-01 --data-dir data"
    )]
    Restore(restore::Restore),
    /// Suspend what is under way and older than an hour, after a database was restored by its own tools; no host may run
    #[command(
        after_help = "Example:\n  campanile store suspend --store-url postgres://campanile@db.example/campanile"
    )]
    Suspend(restore::Suspend),
    /// Have suspended alerts of a running host go on: receivers are notified of them. `campanile alerts list --outcome
    /// suspended` lists them
    #[command(after_help = "Example:\n  campanile store resume --all")]
    Resume(resume::Order),
    /// End suspended alerts of a running host: no receiver is notified of them
    #[command(after_help = "Example:\n  campanile store discard alert-db-1-20261201-031500")]
    Discard(resume::Order),
}

impl Store {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(check) => check.run().await,
            Command::Backup(backup) => backup.run().await,
            Command::Restore(restore) => restore.run().await,
            Command::Suspend(suspend) => suspend.run().await,
            Command::Resume(order) => order.run("/store/resume").await,
            Command::Discard(order) => order.run("/store/discard").await,
        }
    }
}
