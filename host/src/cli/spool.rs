//! `campanile spool …`: spooled requests that failed by their content, and handing them over again.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::output::{self, say};
use super::table::Column::{Reason, Text, Time, Whole};
use super::table::{Column, Rows};
use super::{Target, answered, no_answer};
use crate::time;
use crate::webhook::{SetAside, SpoolPage};

const TIMEOUT: Duration = Duration::from_secs(10);
const COLUMNS: [Column; 7] = [
    Time("RECEIVED"),
    Text("SOURCE"),
    Text("SENDER"),
    Whole("FAILURES"),
    Whole("BYTES"),
    Reason("ERROR"),
    Whole("REQUEST"),
];

#[derive(Args, Debug)]
pub(super) struct Spool {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List requests that were set aside since they failed by their content, the latest first
    #[command(after_help = "Example:\n  campanile spool list --json")]
    List(List),
    /// Hand them over again, behind all that waits
    #[command(after_help = "Example:\n  campanile spool retry --source cloudwatch-sns")]
    Retry(Order),
    /// Drop them
    #[command(after_help = "Example:\n  campanile spool discard grafana-0d9a7f3e5a0c4c0f9b392f3c1d1f6a55")]
    Discard(Order),
}

impl Spool {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Retry(order) => order.run("/spool/retry").await,
            Command::Discard(order) => order.run("/spool/discard").await,
        }
    }
}

#[derive(Args, Debug)]
struct List {
    /// As the host's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let value = ask(&self.target, Method::GET, "/spool", &[]).await?;
        if self.json {
            output::json(&value);
            return Ok(ExitCode::SUCCESS);
        }
        let SpoolPage { status, set_aside } = serde_json::from_value(value)?;
        let mut rows = Rows::new(&COLUMNS);
        for request in &set_aside {
            rows.add(row(request));
        }
        rows.print();
        say!();
        say!("{} requests wait, {} are set aside", status.requests, status.set_aside);
        Ok(ExitCode::SUCCESS)
    }
}

fn row(request: &SetAside) -> [String; 7] {
    [
        request.received_at.map(time::text).unwrap_or_default(),
        request.source.clone(),
        request.sender.clone(),
        request.failures.to_string(),
        request.bytes.to_string(),
        request.error.clone(),
        request.id.clone(),
    ]
}

#[derive(Args, Debug)]
struct Order {
    /// The request, by its id
    id: Option<String>,
    /// Those to this source
    #[arg(long)]
    source: Option<String>,
    /// All that are set aside, where nothing else says which
    #[arg(long)]
    all: bool,
    /// As the host's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Order {
    async fn run(self, path: &str) -> anyhow::Result<ExitCode> {
        let all = self.all.then(|| "true".to_owned());
        let given = [("id", &self.id), ("source", &self.source), ("all", &all)];
        let pairs: Vec<_> =
            given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        if pairs.is_empty() {
            bail!("say which: an id, --source, or --all");
        }
        let value = ask(&self.target, Method::POST, path, &pairs).await?;
        let reached = value["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
        if self.json {
            output::json(&value);
        } else {
            reached.iter().filter_map(Value::as_str).for_each(|id| say!("{id}"));
        }
        match &self.id {
            Some(id) if reached.is_empty() => {
                bail!("no request {id} is set aside: `campanile spool list` lists those that are")
            }
            _ => {
                if !self.json {
                    say!("{} requests", reached.len());
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn ask(target: &Target, method: Method, path: &str, pairs: &[(&str, &str)]) -> anyhow::Result<Value> {
    let mut url = target.at(path)?;
    url.query_pairs_mut().extend_pairs(pairs);
    let response = target.http(TIMEOUT)?.request(method, url.clone()).send().await;
    answered(response.map_err(|error| no_answer(&url, error))?).await
}
