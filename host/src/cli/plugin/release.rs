//! `campanile plugin release`: ends the quarantine of a plugin in a running host.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::cli::output::say;
use crate::cli::{Target, answered, no_answer};

#[derive(Args, Debug)]
pub(super) struct Release {
    /// The plugin's name: that of its file, without .wasm
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Release {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut url = self.target.at("/plugins")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([self.name.as_str(), "release"]);
        }
        let response = self.target.http(Duration::from_secs(5))?.post(url.clone()).send().await;
        let response = response.map_err(|error| no_answer(&url, error))?;
        let answer: Value = answered(response).await?;
        match answer["was_quarantined"] == true {
            true => say!("{} is called again", self.name),
            false => say!("{} was not in quarantine", self.name),
        }
        Ok(ExitCode::SUCCESS)
    }
}
