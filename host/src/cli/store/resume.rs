//! `campanile store resume` and `campanile store discard`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use crate::cli::output::{self, say};
use crate::cli::{Target, answered, no_answer};

/// A hundred thousand alerts take their time.
const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Args, Debug)]
pub(super) struct Order {
    /// The alert, by its id
    id: Option<String>,
    /// All that are suspended
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// As the host's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Order {
    pub(super) async fn run(self, path: &str) -> anyhow::Result<ExitCode> {
        let mut url = self.target.at(path)?;
        match &self.id {
            Some(id) => url.query_pairs_mut().append_pair("id", id),
            None if self.all => url.query_pairs_mut().append_pair("all", "true"),
            None => bail!("say which: an id, or --all. campanile alerts list --outcome suspended lists them"),
        };
        let response = self.target.http(TIMEOUT)?.post(url.clone()).send().await;
        let value = answered(response.map_err(|error| no_answer(&url, error))?).await?;
        if self.json {
            output::json(&value);
            return Ok(ExitCode::SUCCESS);
        }
        let changed = value["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        changed.iter().filter_map(Value::as_str).for_each(|id| say!("{id}"));
        match &self.id {
            Some(id) if changed.is_empty() => bail!("no alert {id} is suspended"),
            _ => say!("{} alerts", changed.len()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
