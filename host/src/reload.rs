//! Following the configuration file: routes that were changed are taken over while the host runs, all of them or none. What is
//! not usable is refused, and those before stay.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use utoipa::ToSchema;

use crate::config::{Config, list, modified};
use crate::routing::Routing;
use crate::telemetry::metric;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How the routes stand. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reloads(Arc<Mutex<Option<RefusedRoutes>>>);

/// Routes in the configuration file that are not in force, since they are not usable.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefusedRoutes {
    /// What is wrong with them.
    pub reason: String,
    /// Since when they are refused.
    #[schema(value_type = String, format = DateTime)]
    pub since: jiff::Timestamp,
}

impl Reloads {
    /// What is in the file and was refused; `None` if what is in the file is in force.
    pub fn refused(&self) -> Option<RefusedRoutes> {
        self.0.lock().clone()
    }

    /// Follows the file as long as the process runs: on SIGHUP, and when it has changed.
    pub async fn follow(self, config: Config, routing: Routing) {
        // Installed in any case: without it, the signal would end the process.
        let mut hangups = signal(SignalKind::hangup()).ok();
        let path = config.path.clone().filter(|_| config.role.works());
        let stamp = || path.as_deref().and_then(modified);
        let (mut taken, mut seen) = (config.stamp, config.stamp);
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => _ = hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = hangup => {}
                () = tokio::time::sleep(INTERVAL) => {
                    let before = std::mem::replace(&mut seen, stamp());
                    // What changed just now may still be being written.
                    if seen == taken || seen != before {
                        continue;
                    }
                }
            }
            taken = stamp();
            if path.is_some() {
                self.take(&config, &routing);
            }
        }
    }

    fn take(&self, config: &Config, routing: &Routing) {
        let read = config.reread().map_err(|error| error.to_string());
        let routes = read.and_then(|config| config.router(true).map_err(|faults| list(&faults)));
        match routes {
            Ok((router, odd)) => {
                odd.iter().for_each(|fault| tracing::warn!("routes: {fault}"));
                routing.replace(router);
                *self.0.lock() = None;
                tracing::info!("routes taken over from the configuration file");
            }
            Err(reason) => {
                tracing::error!("routes refused, those before stay:\n{reason}");
                let since = jiff::Timestamp::now();
                *self.0.lock() = Some(RefusedRoutes { reason, since });
            }
        }
        metric::routes_refused(self.refused().is_some());
    }
}
