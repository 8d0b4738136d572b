//! `campanile deliveries …`: dead letters, and trying them again.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::output::{self, say};
use super::table::Column::{Reason, Text, Time, Title, Whole};
use super::table::{Column, Rows};
use super::{Target, answered, no_answer};
use crate::temporal::{DeliveryPage, DeliveryProgress, ListedDelivery};
use crate::time;

/// The host itself waits five seconds for Temporal, and tells many one after the other.
const TIMEOUT: Duration = Duration::from_secs(60);
const EXHAUSTED: [Column; 6] = [
    Time("EXHAUSTED"),
    Text("RECEIVER"),
    Reason("ERROR"),
    Whole("SEVERITY"),
    Title("TITLE"),
    Whole("DELIVERY"),
];
const ENDED: [Column; 6] =
    [Time("ENDED"), Reason("HOW"), Text("RECEIVER"), Whole("SEVERITY"), Title("TITLE"), Whole("DELIVERY")];

#[derive(Args, Debug)]
pub(super) struct Deliveries {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the deliveries that exhausted their retries, the latest first
    #[command(after_help = "Example:\n  campanile deliveries list --receiver payments --since 2h")]
    List(List),
    /// Try dead letters again, each under its own id
    #[command(after_help = "Example:\n  campanile deliveries retry alert-disk-20261126-052419/payments")]
    Retry(Order),
    /// Discard dead letters: they are never tried again
    #[command(after_help = "Example:\n  campanile deliveries discard --error http-404")]
    Discard(Order),
}

impl Deliveries {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Retry(order) => order.run("/deliveries/retry").await,
            Command::Discard(order) => order.run("/deliveries/discard").await,
        }
    }
}

/// Everything that is given has to hold.
#[derive(Args, Debug)]
struct Filter {
    /// The delivery, or the alert, by its id
    id: Option<String>,
    /// The receiver
    #[arg(long)]
    receiver: Option<String>,
    /// The code of the last error, such as http-503
    #[arg(long)]
    error: Option<String>,
    /// low, medium, high or critical
    #[arg(long, value_parser = super::word)]
    severity: Option<String>,
    /// Those that exhausted their retries then or later, such as 2h or 2023-12-01T14:30:22Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl Filter {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        let given = [
            ("id", &self.id),
            ("receiver", &self.receiver),
            ("error", &self.error),
            ("severity", &self.severity),
            ("since", &self.since),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Those that were delivered after all, or discarded
    #[arg(long)]
    ended: bool,
    /// How many at most, 1 to 1,000
    #[arg(long, default_value = "50")]
    limit: u16,
    /// As the host's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let limit = self.limit.to_string();
        let mut pairs = self.filter.pairs();
        pairs.extend([("limit", limit.as_str()), ("ended", if self.ended { "true" } else { "false" })]);
        let value = ask(&self.target, Method::GET, "/deliveries", &pairs).await?;
        if self.json {
            output::json(&value);
            return Ok(ExitCode::SUCCESS);
        }
        let page: DeliveryPage = serde_json::from_value(value)?;
        let mut rows = Rows::new(if self.ended { &ENDED } else { &EXHAUSTED });
        for delivery in &page.deliveries {
            rows.add(if self.ended { ended(delivery) } else { exhausted(delivery) });
        }
        rows.print();
        if page.more {
            say!();
            say!("there are more: narrow the filter, or raise --limit");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn exhausted(delivery: &ListedDelivery) -> [String; 6] {
    let error = delivery.error.as_deref().unwrap_or("-");
    [
        time::text(delivery.exhausted_at),
        delivery.receiver.clone(),
        match delivery.state {
            DeliveryProgress::Retrying => format!("{error} ({delivery})"),
            _ => error.to_owned(),
        },
        delivery.severity.to_string(),
        delivery.title.clone(),
        delivery.id.clone(),
    ]
}

fn ended(delivery: &ListedDelivery) -> [String; 6] {
    [
        delivery.ended_at.map_or_else(|| "-".to_owned(), time::text),
        delivery.to_string(),
        delivery.receiver.clone(),
        delivery.severity.to_string(),
        delivery.title.clone(),
        delivery.id.clone(),
    ]
}

#[derive(Args, Debug)]
struct Order {
    #[command(flatten)]
    filter: Filter,
    /// All dead letters, where no filter is given
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
        let mut pairs = self.filter.pairs();
        if self.all {
            pairs.push(("all", "true"));
        }
        if pairs.is_empty() {
            bail!("say which: an id, --receiver, --error, --severity or --since, or --all");
        }
        let value = ask(&self.target, Method::POST, path, &pairs).await?;
        let reached = value["deliveries"].as_array().map(Vec::as_slice).unwrap_or_default();
        if self.json {
            output::json(&value);
        } else {
            reached.iter().filter_map(Value::as_str).for_each(|id| say!("{id}"));
        }
        match &self.filter.id {
            Some(id) if reached.is_empty() => Err(nothing_waits(id)),
            _ => {
                if !self.json {
                    say!("{} deliveries", reached.len());
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The error of an order to a delivery, or to those of an alert, where none of them waits.
fn nothing_waits(id: &str) -> anyhow::Error {
    anyhow!(
        "no dead letter {id} waits to be tried again, or none of that alert: `campanile deliveries list` lists those that wait, \
         and with --ended those that were delivered or discarded"
    )
}

async fn ask(target: &Target, method: Method, path: &str, pairs: &[(&str, &str)]) -> anyhow::Result<Value> {
    let mut url = target.at(path)?;
    url.query_pairs_mut().extend_pairs(pairs);
    let response = target.http(TIMEOUT)?.request(method, url.clone()).send().await;
    answered(response.map_err(|error| no_answer(&url, error))?).await
}
