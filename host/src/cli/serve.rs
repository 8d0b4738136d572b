//! `campanile serve`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::app::{App, Kept, unusable};
use crate::config::{Config, Flags};
use crate::plugin::raise_descriptor_limit;
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
        let descriptors = raise_descriptor_limit();
        tracing::debug!(descriptors, "limit on open files");
        let kept = Kept::read(&config).map_err(|faults| unusable(&faults))?;
        let accepting = Builder::new_multi_thread().thread_name("accept").enable_all().build()?;
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let mut signals = Signals::new()?;
            let (stop, mut stopping) = watch::channel(false);
            let serving = async {
                let mut told = async || {
                    // A sender that is gone has stopped, too.
                    let _ = stopping.wait_for(|stop| *stop).await;
                };
                let app = tokio::select! {
                    app = App::build(config, kept, accepting.handle()) => app?,
                    () = told() => return Ok(()),
                };
                app.run(told()).await
            };
            // From one stream: signals that nobody has looked at yet count as one.
            let forced = async {
                signals.any().await;
                stop.send_replace(true);
                signals.any().await;
            };
            tokio::select! {
                result = serving => result,
                () = forced => bail!("told to stop a second time: stopped without waiting for what runs"),
            }
        });
        // Whatever still runs has had its time.
        runtime.shutdown_background();
        accepting.shutdown_background();
        result.map(|()| ExitCode::SUCCESS)
    }
}

/// The signals that ask a process to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// Ends with the next SIGINT or SIGTERM.
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
