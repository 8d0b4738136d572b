//! `campanile plugins`: what a running host has loaded, and what it refused and why.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::say;
use super::table::Column::{Text, Whole};
use super::table::Rows;
use super::{Target, answered, no_answer};
use crate::plugin::{Inventory, QuarantineStatus, RefusedInput};
use crate::time;

#[derive(Args, Debug)]
pub(super) struct Plugins {
    #[command(flatten)]
    target: Target,
}

impl Plugins {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let url = self.target.at("/plugins")?;
        let response = self.target.http(Duration::from_secs(5))?.get(url.clone()).send().await;
        let response = response.map_err(|error| no_answer(&url, error))?;
        let inventory: Inventory = answered(response).await?;
        let mut loaded = Rows::new(&[
            Whole("PLUGIN"),
            Text("ROLE"),
            Text("VERSION"),
            Whole("GENERATION"),
            Text("DIGEST"),
            Whole("FILE"),
        ]);
        for plugin in &inventory.loaded {
            let name = match (&plugin.quarantine, plugin.enabled) {
                (_, false) => format!("{} (disabled)", plugin.name),
                (Some(_), true) => format!("{} (quarantined)", plugin.name),
                (None, true) => plugin.name.clone(),
            };
            let digest: String = plugin.digest.chars().take(19).collect();
            let generation = plugin.generation.to_string();
            loaded.add([
                name,
                plugin.role.to_string(),
                plugin.version.clone(),
                generation,
                digest,
                plugin.file.clone(),
            ]);
        }
        loaded.print();
        for plugin in &inventory.loaded {
            if let Some(quarantine) = &plugin.quarantine {
                let QuarantineStatus { reason, seconds_left } = quarantine;
                say!();
                say!("quarantined for another {seconds_left} s: {}", plugin.name);
                say!("  it {reason}");
            }
        }
        for plugin in &inventory.loaded {
            for RefusedInput { sender, about, failures, reason, seconds_left } in &plugin.refused_inputs {
                say!();
                say!("refused for another {seconds_left} s: what {sender} sent to {} ({about})", plugin.name);
                say!("  it failed {failures} times: {reason}");
            }
        }
        for refused in &inventory.refused {
            say!();
            say!("refused: {}", refused.file);
            say!("  {}", refused.reason);
            if let Some(time) = refused.next_attempt {
                say!("  this can pass: it is tried again at {}", time::text(time));
            }
        }
        if !inventory.loading.is_empty() {
            say!();
            say!("not loaded yet: {}", inventory.loading.join(", "));
        }
        for warning in &inventory.warnings {
            say!();
            say!("warning: {}", warning.file);
            say!("  {}", warning.message);
        }
        Ok(ExitCode::SUCCESS)
    }
}
