//! `campanile serve`.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::{Config, Flags};
use crate::telemetry;

#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(self.flags)?;
        telemetry::init_logs(config.log_format, config.log.as_deref())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let stop = stop_signal()?;
            App::build(config).await?.run(stop).await
        });
        // Whatever still runs has had its time.
        runtime.shutdown_background();
        result.map(|()| ExitCode::SUCCESS)
    }
}

/// Ends with the first SIGINT or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
