//! The command line: one file per command.
#![warn(clippy::print_stdout)]

mod alerts;
mod check;
mod deliveries;
mod explain;
mod healthcheck;
mod keys;
mod outline;
mod output;
mod plugin;
mod plugins;
mod routes;
mod send;
mod serve;
mod spool;
mod store;
mod table;
mod target;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::target::{Target, answered, no_answer};
use crate::plugin::Compile;
use crate::shown;

/// A WebAssembly plugin host where alert activities are sandboxed modules
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept alerts and run the plugins
    #[command(after_help = "Example:\n  campanile serve --config campanile.toml --plugins plugins.d")]
    Serve(serve::Serve),
    /// Post alerts to a running host
    #[command(after_help = "Example:\n  campanile send examples/batch.json --sync")]
    Send(send::Send),
    /// List the alerts of a running host, and show what became of one
    Alerts(alerts::Alerts),
    /// List what nobody could deliver, and have it tried again
    Deliveries(deliveries::Deliveries),
    /// List spooled requests that failed by their content, and hand them over again
    Spool(spool::Spool),
    /// Look the store over, back it up, restore it, and decide on alerts that are suspended
    Store(store::Store),
    /// Show and test who gets what; needs no running host
    Routes(routes::Routes),
    /// Show what a running host has loaded, and what it refused and why
    #[command(after_help = "Example:\n  campanile plugins --url https://alerts.example.com --cacert ca.pem")]
    Plugins(plugins::Plugins),
    /// Check configuration and plugins without starting anything; exit code 0 if all is well
    #[command(after_help = "Example:\n  campanile check --config campanile.toml --plugins plugins.d")]
    Check(check::Check),
    /// Show what a source makes of a request, and what would be a repeat of it; posts nothing
    #[command(after_help = "Example:\n  campanile explain-alert body.json --source alertmanager")]
    ExplainAlert(explain::Explain),
    /// Check, sign, verify and lock plugins; needs no running host
    Plugin(plugin::Plugin),
    /// Make keys that open the webhook
    Keys(keys::Keys),
    /// Ask a running host whether it can do its work; exit code 0 if it can
    #[command(after_help = "Example:\n  campanile healthcheck --url http://127.0.0.1:8000")]
    Healthcheck(healthcheck::Healthcheck),
    /// Compile a component: the host runs this by itself
    #[command(hide = true)]
    Compile(Compile),
}

/// Reads the arguments, runs the command, and prints why it failed, if it does.
pub fn main() -> ExitCode {
    let code = run(std::env::args_os().collect());
    match output::lost() {
        None => code,
        Some(error) => {
            output::note(format_args!("error: standard output cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> ExitCode {
    let ran = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli.run(),
        Err(error) => return misread(&arguments, error),
    };
    ran.unwrap_or_else(|error| {
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        // What an error repeats is at the beginning of no line.
        output::note(format_args!("error: {}", chain.join(": ").replace('\n', "\n  ")));
        ExitCode::FAILURE
    })
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn misread(arguments: &[OsString], error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        output::lines(error.render());
        return ExitCode::SUCCESS;
    }
    // They are repeated: each on the line where it is.
    let shown = arguments.iter().map(|argument| shown::line(&argument.to_string_lossy()).into_owned());
    let error = Cli::try_parse_from(shown).err().unwrap_or(error);
    output::note(error.render());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

impl Cli {
    /// Runs the command.
    fn run(self) -> anyhow::Result<ExitCode> {
        // One TLS implementation for everything in the process. Fails only if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Send(send) => client(send.run()),
            Command::Alerts(alerts) => client(alerts.run()),
            Command::Deliveries(deliveries) => client(deliveries.run()),
            Command::Spool(spool) => client(spool.run()),
            Command::Store(store) => client(store.run()),
            Command::Routes(routes) => routes.run(),
            Command::Plugins(plugins) => client(plugins.run()),
            Command::Check(check) => client(check.run()),
            Command::ExplainAlert(explain) => client(explain.run()),
            Command::Plugin(plugin) => plugin.run(),
            Command::Keys(keys) => keys.run(),
            Command::Healthcheck(healthcheck) => client(healthcheck.run()),
            Command::Compile(compile) => compile.run().map(|()| ExitCode::SUCCESS),
        }
    }
}

/// Reads a word of a fixed list, in any case: the host has the list.
fn word(text: &str) -> Result<String, Infallible> {
    Ok(text.to_ascii_lowercase())
}

/// Reads a file that a command is given; `-` is standard input.
fn read_input(file: &Path) -> io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}

/// Runs a command that waits for something, such as a host's answer.
fn client(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

#[cfg(test)]
mod tests;
