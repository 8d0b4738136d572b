//! `campanile healthcheck`: for containers, which have no `curl`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::say;
use super::{Target, no_answer};

#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    target: Target,
}

impl Healthcheck {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let url = self.target.at("/health")?;
        let response = self.target.http(Duration::from_secs(5))?.get(url.clone()).send().await;
        let response = response.map_err(|error| no_answer(&url, error))?;
        let status = response.status();
        say!("{}", response.text().await?);
        Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
