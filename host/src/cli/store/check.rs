//! `campanile store check`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use campanile_store::StoreReader;
use clap::Args;

use super::place::{Place, location};
use crate::cli::output::say;
use crate::config::{Config, Flags};
use crate::temporal::{self, LinkConfig, is_address_in_environment, unknown_workflows};

/// How many workflows are listed that Temporal does not know.
const LISTED: usize = 10;

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    place: Place,
    /// A Temporal server or Temporal Cloud, as `serve` takes it [default: the embedded server]
    #[arg(long, env = "CAMPANILE_TEMPORAL_ADDRESS", value_name = "ADDRESS")]
    temporal_address: Option<String>,
    /// Port of the embedded server [default: 7233]
    #[arg(long, env = "CAMPANILE_TEMPORAL_PORT", value_name = "PORT")]
    temporal_port: Option<u16>,
    /// Temporal namespace [default: default]
    #[arg(long, env = "CAMPANILE_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { place, temporal_address, temporal_port, namespace } = self;
        let config = place.load(Flags { temporal_address, temporal_port, namespace, ..Flags::default() })?;
        let location = location(&config)?;
        let reader = StoreReader::open(&location).await?;
        let mut reader = reader.with_context(|| format!("there is no store at {location}"))?;
        let (found, carriers) = (reader.check().await?, reader.carriers().await?);
        say!("{location}");
        let [waiting, claimed, started, held, suspended, ended] = found.notifications;
        say!("open alerts:   {}", found.open);
        say!("under way:     {waiting} wait, {} are started, {held} are held back", claimed + started);
        say!("suspended:     {suspended}");
        say!("at their end:  {ended}");
        say!("dead letters:  {}", found.dead_letters);
        say!("spooled:       {}", found.spooled);
        found.faults.iter().for_each(|fault| say!("damaged: {fault}"));
        let is_known = compare(&config, carriers).await?;
        if found.faults.is_empty() {
            say!("the store is whole");
        }
        let is_well = found.faults.is_empty() && is_known;
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Says what Temporal does not know of what is started. False if there is something, or Temporal does not answer.
async fn compare(config: &Config, carriers: BTreeMap<String, u64>) -> anyhow::Result<bool> {
    let count: u64 = carriers.values().sum();
    if count == 0 {
        return Ok(true);
    }
    match unknown_workflows(&link(config)?, carriers.keys().cloned()).await {
        Err(why) => {
            say!("temporal:      it is not known whether it has the {count} alerts that are started: {why}");
            Ok(false)
        }
        Ok(unknown) => {
            let lost: u64 = unknown.iter().filter_map(|id| carriers.get(id)).sum();
            say!("temporal:      knows {} of {count} alerts that are started", count - lost);
            unknown.iter().take(LISTED).for_each(|id| say!("  not known: {id}"));
            if unknown.len() > LISTED {
                say!("  and {} more workflows", unknown.len() - LISTED);
            }
            if lost > 0 {
                say!("  a host starts them again when it starts, and within ten minutes while it runs");
            }
            Ok(lost == 0)
        }
    }
}

/// The server that a host would use.
fn link(config: &Config) -> Result<LinkConfig, temporal::LinkError> {
    let temporal = &config.file.temporal;
    let is_embedded = temporal.address.is_none() && !is_address_in_environment()?;
    let embedded = || format!("127.0.0.1:{}", temporal.port.unwrap_or(7233));
    Ok(LinkConfig {
        address: temporal.address.clone().or_else(|| is_embedded.then(embedded)),
        namespace: temporal.namespace.clone(),
        task_queue: String::new(),
        ui: None,
        codec: None,
        // What the environment says is about another server.
        retention: is_embedded.then_some(Duration::ZERO),
    })
}
