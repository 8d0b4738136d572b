//! `campanile healthcheck`: for containers, which have no `curl`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::Target;

#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    target: Target,
}

impl Healthcheck {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let url = self.target.at("/health");
        let response = self.target.http(Duration::from_secs(5))?.get(&url).send().await;
        let response = response.with_context(|| format!("no answer from {url}"))?;
        let status = response.status();
        println!("{}", response.text().await?);
        Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
