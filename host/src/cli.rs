//! The command line: one file per command.

mod alerts;
mod check;
mod deliveries;
mod explain;
mod healthcheck;
mod keys;
mod plugin;
mod plugins;
mod routes;
mod send;
mod serve;
mod spool;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use crate::plugin::Compile;

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
    /// Address of the host
    #[arg(long, env = "CAMPANILE_URL", value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: String,
    /// A key that opens it there, if it asks for one
    #[arg(long, env = "CAMPANILE_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
}

impl Target {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    /// A client that shows the key; the host answers in less than `timeout`.
    fn http(&self, timeout: Duration) -> anyhow::Result<reqwest::Client> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let bearer = HeaderValue::try_from(format!("Bearer {key}"));
            headers.insert(AUTHORIZATION, bearer.context("the key has characters that no key has")?);
        }
        // A host is reached directly: a proxy of the environment would rarely lead to it, and never to loopback.
        Ok(reqwest::Client::builder().no_proxy().default_headers(headers).timeout(timeout).build()?)
    }
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
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
    let body = response.bytes().await?;
    if !status.is_success() {
        let refusal: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("{}", refusal["message"].as_str().unwrap_or("the host refuses, and does not say why"));
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} is not a campanile"))
}
