//! The composition root: the only file that knows every wall. Builds the process, runs it, takes it down.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use temporalio_common::telemetry::metrics::TemporalMeter;
use temporalio_sdk::Runtime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, PLUGIN_POLL, Role, list};
use crate::fault::Fault;
use crate::plugin::{MailSetup, Mailer, PluginConfig, Registry, Secrets, Trust};
use crate::telemetry::Metrics;
use crate::temporal::{
    self, ActivityConfig, AlertActivities, Embedded, EmbeddedConfig, Link, LinkConfig, Worker,
};
use crate::webhook::{self, Surroundings};

/// How long open requests may go on after the host was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// The delay before a worker that stopped by itself is started again.
const WORKER_RESTART: Duration = Duration::from_secs(1);
/// How long the embedded server keeps finished workflows when nothing is set.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What the process keeps to itself: the secrets that plugins use, and the password of the mail server.
#[derive(Default)]
pub struct Kept {
    secrets: Secrets,
    mail: Option<MailSetup>,
}

impl Kept {
    /// Reads it from files and from the environment, which is why it comes before everything that has threads or children:
    /// nobody else can look at the environment or change it meanwhile. A process without plugins keeps nothing.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the tables `secrets` and `mail`, or cannot be read.
    pub fn read(config: &Config) -> Result<Self, Vec<Fault>> {
        if !config.role.works() {
            return Ok(Self::default());
        }
        let file = &config.file;
        let secrets = Secrets::load(file.secrets.clone());
        let mail = file.mail.clone().map(MailSetup::read).transpose();
        match (secrets, mail) {
            (Ok(secrets), Ok(mail)) => Ok(Self { secrets, mail }),
            (secrets, mail) => Err([secrets.err(), mail.err()].into_iter().flatten().flatten().collect()),
        }
    }
}

/// A host, built and bound but not yet serving.
pub struct App {
    listener: TcpListener,
    config: Config,
    metrics: Metrics,
    runtime: Arc<Runtime>,
    registry: Option<Registry>,
    embedded: Option<Embedded>,
    link: Link,
    activities: ActivityConfig,
}

impl App {
    /// Builds the process: listener, plugins, Temporal. Fails on what an operator has to mend; a plugin that
    /// cannot be loaded or a Temporal that cannot be reached is not among that.
    pub async fn build(config: Config, kept: Kept) -> anyhow::Result<Self> {
        let (metrics, runtime, meter) = Metrics::init()?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("cannot listen on {}: choose another address with --listen", config.listen)
        })?;
        let registry = if config.role.works() { Some(open_plugins(&config, kept).await?) } else { None };
        let embedded = start_embedded(&config).await?;
        let link = connect(&config, embedded.as_ref(), meter)?;
        let activities = ActivityConfig::from(&config.file.activities);
        Ok(Self {
            listener,
            config,
            metrics,
            runtime: Arc::new(runtime),
            registry,
            embedded,
            link,
            activities,
        })
    }

    /// Serves until `stop`, then finishes what runs, within bounds.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let polling = Arc::new(AtomicBool::new(false));
        let surroundings = Surroundings {
            link: self.link.clone(),
            activities: self.activities,
            registry: self.registry.clone(),
            metrics: self.metrics,
            accepts: self.config.role.accepts(),
            polling: polling.clone(),
            started: Instant::now(),
            body_limit: self.config.file.webhook.body_limit,
            sync_timeout_max: self.config.file.webhook.sync_timeout_max.unsigned_abs(),
        };
        let (stop_serving, not_serving) = watch::channel(false);
        let (stop_working, not_working) = watch::channel(false);
        let address = self.listener.local_addr()?;
        let server = serve(self.listener, webhook::router(surroundings), not_serving);
        tracing::info!(%address, role = self.config.role.as_str(), version = env!("CARGO_PKG_VERSION"), "listening");

        let worker = self.registry.map(|registry| {
            let catch_all = self.config.file.routing.catch_all.clone();
            let activities = AlertActivities { registry, catch_all };
            tokio::spawn(work(self.runtime, self.link, activities, polling, not_working))
        });
        stop.await;
        tracing::info!("stopping");
        // First the webhook: whoever waits for what becomes of an alert needs the worker.
        stop_serving.send_replace(true);
        if tokio::time::timeout(DRAIN, server).await.is_err() {
            tracing::warn!("open requests did not end in time");
        }
        stop_working.send_replace(true);
        if let Some(worker) = worker {
            worker.await?;
        }
        if let Some(mut embedded) = self.embedded {
            tokio::task::spawn_blocking(move || embedded.stop()).await?;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

async fn open_plugins(config: &Config, kept: Kept) -> anyhow::Result<Registry> {
    let plugins = plugin_config(config, kept).map_err(|faults| unusable(&faults))?;
    Registry::open(plugins).await.context("the plugin engine cannot be made")
}

/// What the plugins' wall needs to know. Reads the keys that plugins are signed with; needs a tokio runtime.
///
/// # Errors
///
/// Everything that is wrong with the table `trust`, or the path of this program is not known.
pub fn plugin_config(config: &Config, kept: Kept) -> Result<PluginConfig, Vec<Fault>> {
    let file = &config.file;
    Ok(PluginConfig {
        trust: Trust::open(&file.trust, config.lock.clone(), &config.plugins)?,
        directory: config.plugins.clone(),
        poll_interval: PLUGIN_POLL,
        cache_dir: config.data_dir.join("cache"),
        executable: executable()?,
        compilation: file.compilation.clone(),
        calls: file.calls.clone(),
        limits: file.limits.clone(),
        secrets: kept.secrets,
        mail: kept.mail.map(Mailer::new),
        egress: file.egress.clone(),
    })
}

/// This program, also after another version was put in its place: Linux keeps the file that runs.
fn executable() -> Result<PathBuf, Vec<Fault>> {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => Ok(running.to_owned()),
        false => std::env::current_exe()
            .map_err(|error| vec![Fault::whole(format!("the path of this program is not known: {error}"))]),
    }
}

/// A configuration that cannot be used, with every fault.
pub fn unusable(faults: &[Fault]) -> anyhow::Error {
    anyhow::anyhow!("the configuration is not usable:\n{}", list(faults))
}

/// The embedded server, unless a Temporal server is named somewhere.
async fn start_embedded(config: &Config) -> anyhow::Result<Option<Embedded>> {
    let temporal = &config.file.temporal;
    if temporal.address.is_some() || temporal::is_address_in_environment()? {
        return Ok(None);
    }
    if config.role != Role::All {
        let role = config.role.as_str();
        bail!("--role {role} needs a server that others share: pass --temporal-address HOST:PORT");
    }
    let embedded = EmbeddedConfig {
        cli: temporal.cli.clone(),
        data_dir: config.data_dir.clone(),
        port: temporal.port.unwrap_or(7233),
        ui_port: temporal.ui_port.unwrap_or(8080),
        namespace: temporal.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        upgrade: config.temporal_upgrade,
    };
    tracing::info!(
        "starting the embedded temporal server: for a laptop or a small team; \
         past one machine, pass --temporal-address"
    );
    Ok(Some(tokio::task::spawn_blocking(move || Embedded::start(embedded)).await??))
}

fn connect(config: &Config, embedded: Option<&Embedded>, meter: TemporalMeter) -> anyhow::Result<Link> {
    let temporal = &config.file.temporal;
    let retention = temporal.retention.map_or(RETENTION, |retention| retention.unsigned_abs());
    let link = LinkConfig {
        address: embedded.map(|server| server.address.to_string()).or_else(|| temporal.address.clone()),
        namespace: temporal.namespace.clone(),
        task_queue: temporal.task_queue.clone().unwrap_or_else(|| "campanile".to_owned()),
        retention: embedded.map(|_| retention),
    };
    Ok(Link::start(link, meter)?)
}

/// Serves HTTP until told to stop, then until the open requests have ended.
fn serve(listener: TcpListener, router: axum::Router, mut stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let stop = async move { told(&mut stopped).await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "http server stopped");
        }
    })
}

/// Keeps a worker polling from the moment Temporal is connected until told to stop.
async fn work(
    runtime: Arc<Runtime>,
    mut link: Link,
    activities: AlertActivities,
    polling: Arc<AtomicBool>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let client = tokio::select! {
            client = link.connected() => client,
            () = told(&mut stopped) => None,
        };
        let Some(client) = client else { return };
        match Worker::start(&runtime, client, &link.task_queue, activities.clone(), polling.clone()) {
            Err(error) => tracing::error!(%error, "no worker"),
            Ok(mut worker) => {
                tokio::select! {
                    () = worker.ended() => {}
                    () = told(&mut stopped) => return worker.stop().await,
                }
            }
        }
        tokio::time::sleep(WORKER_RESTART).await;
    }
}

/// Returns when the process is to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}
