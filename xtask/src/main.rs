//! The developer's commands: `cargo xtask up` runs everything on this machine, `cargo xtask test` tests everything,
//! `cargo xtask bench` measures.

mod announce;
mod bench;
mod command;
mod layout;
mod plugins;
mod step;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "What a developer of Campanile runs")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build what is needed and run the host with an embedded Temporal server; Ctrl-C stops it, data survives
    Up(up::Up),
    /// Check, build and test everything
    Test(test::Test),
    /// Measure the figures that the README quotes
    Bench(bench::Bench),
    /// Say where the host listens as soon as it answers (what `up` leaves behind before it becomes the host)
    #[command(hide = true)]
    Announce(announce::Announcement),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Up(up) => up.run(),
        Task::Test(test) => test.run(),
        Task::Bench(bench) => bench.run(),
        Task::Announce(announcement) => announcement.make(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
