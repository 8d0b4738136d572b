//! `campanile plugins`: what a running host has loaded, and what it refused and why.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::table::table;
use super::{Target, answered};
use crate::plugin::{Inventory, QuarantineStatus, RefusedInput};

#[derive(Args, Debug)]
pub(super) struct Plugins {
    #[command(flatten)]
    target: Target,
}

impl Plugins {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let url = self.target.at("/plugins");
        let response = self.target.http(Duration::from_secs(5))?.get(&url).send().await;
        let response = response.with_context(|| format!("no answer from {url}: is the host running?"))?;
        let inventory: Inventory = answered(response).await?;
        let mut loaded = table(&["PLUGIN", "ROLE", "VERSION", "GENERATION", "DIGEST", "FILE"]);
        for plugin in &inventory.loaded {
            let name = match (&plugin.quarantine, plugin.enabled) {
                (_, false) => format!("{} (disabled)", plugin.name),
                (Some(_), true) => format!("{} (quarantined)", plugin.name),
                (None, true) => plugin.name.clone(),
            };
            let digest: String = plugin.digest.chars().take(19).collect();
            let generation = plugin.generation.to_string();
            loaded.add_row([
                name,
                plugin.role.to_string(),
                plugin.version.clone(),
                generation,
                digest,
                plugin.file.clone(),
            ]);
        }
        println!("{loaded}");
        for plugin in &inventory.loaded {
            if let Some(quarantine) = &plugin.quarantine {
                let QuarantineStatus { reason, seconds_left } = quarantine;
                println!("\nquarantined for another {seconds_left} s: {}\n  it {reason}", plugin.name);
            }
        }
        for plugin in &inventory.loaded {
            for RefusedInput { sender, about, failures, reason, seconds_left } in &plugin.refused_inputs {
                println!(
                    "\nrefused for another {seconds_left} s: what {sender} sent to {} ({about})",
                    plugin.name
                );
                println!("  it failed {failures} times: {reason}");
            }
        }
        for refused in &inventory.refused {
            println!("\nrefused: {}\n  {}", refused.file, refused.reason);
            if let Some(time) = refused.next_attempt {
                println!("  this can pass: it is tried again at {time:.0}");
            }
        }
        if !inventory.loading.is_empty() {
            println!("\nnot loaded yet: {}", inventory.loading.join(", "));
        }
        for warning in &inventory.warnings {
            println!("\nwarning: {}\n  {}", warning.file, warning.message);
        }
        Ok(ExitCode::SUCCESS)
    }
}
