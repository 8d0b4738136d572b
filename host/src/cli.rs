//! The command line: one file per command.
#![warn(clippy::print_stdout)]

mod alerts;
mod check;
mod deliveries;
mod explain;
mod healthcheck;
mod keys;
mod output;
mod plugin;
mod plugins;
mod routes;
mod send;
mod serve;
mod spool;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use reqwest::Url;
use serde::de::DeserializeOwned;

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
    Serve(serve::Serve),
    /// Post alerts to a running host
    Send(send::Send),
    /// List the alerts of a running host, and show what became of one
    Alerts(alerts::Alerts),
    /// List what nobody could deliver, and have it tried again
    Deliveries(deliveries::Deliveries),
    /// List spooled requests that failed by their content, and hand them over again
    Spool(spool::Spool),
    /// Show and test who gets what; needs no running host
    Routes(routes::Routes),
    /// Show what a running host has loaded, and what it refused and why
    Plugins(plugins::Plugins),
    /// Check configuration and plugins without starting anything; exit code 0 if all is well
    Check(check::Check),
    /// Show what a source makes of a request, and what would be a repeat of it; posts nothing
    ExplainAlert(explain::Explain),
    /// Check, sign, verify and lock plugins; needs no running host
    Plugin(plugin::Plugin),
    /// Make keys that open the webhook
    Keys(keys::Keys),
    /// Ask a running host whether it can do its work; exit code 0 if it can
    Healthcheck(healthcheck::Healthcheck),
    /// Compile a component: the host runs this by itself
    #[command(hide = true)]
    Compile(Compile),
}

/// Which host a command talks to.
#[derive(Args, Debug)]
struct Target {
    /// Address of the host, without a key in it
    #[arg(
        long,
        env = "CAMPANILE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000",
        hide_env_values = true
    )]
    url: String,
    /// A key that opens it there, if it asks for one
    #[arg(long, env = "CAMPANILE_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
}

impl Target {
    /// The address of a path there. What could be a secret is refused: errors and logs repeat addresses.
    fn at(&self, path: &str) -> anyhow::Result<Url> {
        let base = Url::parse(&self.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.context("--url is not an address such as http://127.0.0.1:8000")?;
        let is_plain = base.username().is_empty() && base.password().is_none();
        if !is_plain || base.query().is_some() || base.fragment().is_some() {
            bail!(
                "--url has a user, a query or a fragment: give the address alone, and the key by --key or CAMPANILE_KEY"
            );
        }
        Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).context("--url cannot be used")
    }

    /// A client that shows the key; the host answers in less than `timeout`.
    fn http(&self, timeout: Duration) -> anyhow::Result<reqwest::Client> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let bearer = HeaderValue::try_from(format!("Bearer {key}"));
            let mut bearer = bearer.context("the key has characters that no key has")?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        // A host is reached directly: a proxy of the environment would rarely lead to it, and never to loopback.
        Ok(reqwest::Client::builder().no_proxy().default_headers(headers).timeout(timeout).build()?)
    }
}

/// Reads the arguments, runs the command, and prints why it failed, if it does.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect())
}

fn run(arguments: Vec<OsString>) -> ExitCode {
    let ran = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli.run(),
        Err(error) => return misread(&arguments, error),
    };
    ran.unwrap_or_else(|error| {
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        // What an error repeats is at the beginning of no line.
        output::error(format_args!("error: {}", chain.join(": ").replace('\n', "\n  ")));
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
    output::error(error.render());
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

/// Runs a command that waits for something, such as a host's answer.
fn client(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// What a host answered, or its refusal in its own words.
async fn answered<T: DeserializeOwned>(response: reqwest::Response) -> anyhow::Result<T> {
    let (url, status) = (response.url().clone(), response.status());
    let body = response.bytes().await.map_err(reqwest::Error::without_url)?;
    if !status.is_success() {
        let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        match refusal["message"].as_str() {
            Some(message) => bail!("{}", shown::line(message)),
            None => {
                bail!("{url} answered {status}, not as a campanile does: is that a proxy in front of it?")
            }
        }
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} is not a campanile"))
}

/// Why a host did not answer.
fn no_answer(url: &Url, error: reqwest::Error) -> anyhow::Error {
    anyhow::Error::new(error.without_url()).context(format!("no answer from {url}: is the host running?"))
}

#[cfg(test)]
mod tests;
