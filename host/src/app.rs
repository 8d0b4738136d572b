//! The composition root: the only file that knows every wall. Builds the process, runs it, takes it down.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::Mode;
use temporalio_common::telemetry::metrics::TemporalMeter;
use temporalio_sdk::Runtime;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, PLUGIN_POLL, Role, list};
use crate::disk::{Content, Disks, Place};
use crate::fault::Fault;
use crate::last_resort::{LastResort, Watched};
use crate::live::{Live, check_reach};
use crate::operator_file;
use crate::plugin::{
    self, EgressConfig, FIRST_PASS, MailSetup, Mailer, OffLimits, PluginConfig, Registry, Trust,
};
use crate::records::Records;
use crate::reload::{InForce, Reloads, doubts, misfits};
use crate::routing::{Router, Routing};
use crate::store::StoreHandle;
use crate::telemetry::Metrics;
use crate::temporal::{
    self, ActivityConfig, AlertActivities, Calls, Codec, Dispatch, Embedded, EmbeddedConfig, EmbeddedError,
    Link, LinkConfig, Receivers, Worker,
};
use crate::webhook::{self, Door, Front, Listen, LiveAccess, Places, Room, Spool, Surroundings, Tls};

/// How long open requests may go on after the host was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// The delay before a worker that stopped by itself is started again.
const WORKER_RESTART: Duration = Duration::from_secs(1);
/// What the bodies of all requests that are being read may have together, in bytes.
const BODIES: usize = 256 << 20;
/// What a host with keys does first.
const ENCRYPTING: &str = "opening the store and encrypting what it holds in the clear";
/// How long the embedded server keeps finished workflows when nothing is set.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What the process keeps to itself: the secrets that plugins use, the password of the mail server, what opens the
/// webhook, and the keys to what Temporal stores.
#[derive(Default)]
pub struct Kept {
    live: Live,
    mail: Option<MailSetup>,
    last_resort: Option<LastResort>,
    codec: Option<Codec>,
}

impl Kept {
    /// Reads it from files and from the environment, which is why it comes before everything that has threads or children:
    /// nobody else can look at the environment or change it meanwhile. Sources use none of it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the tables `secrets` and `mail`, or cannot be read.
    pub fn read(config: &Config) -> Result<Self, Vec<Fault>> {
        let file = &config.file;
        let live = Live::read(config);
        let mail = match config.role.works() {
            true => file.mail.clone().map(MailSetup::read).transpose(),
            false => Ok(None),
        };
        let last_resort = file.last_resort.as_ref().map(LastResort::read).transpose();
        let codec = file.temporal.encryption.as_ref().map(Codec::read).transpose();
        match (live, mail, last_resort, codec) {
            (Ok(mut live), Ok(mail), Ok(last_resort), Ok(codec)) => {
                let credentials = [
                    mail.as_ref().and_then(MailSetup::credential),
                    last_resort.as_ref().and_then(LastResort::credential),
                ];
                live.secrets = live.secrets.and_credentials(credentials.into_iter().flatten());
                Ok(Self { live, mail, last_resort, codec })
            }
            (live, mail, last_resort, codec) => {
                let last_resort = last_resort.err().map(|fault| vec![fault]);
                let faults = [live.err(), mail.err(), last_resort, codec.err()];
                Err(faults.into_iter().flatten().flatten().collect())
            }
        }
    }
}

/// A host, built and bound, which answers that it lives and is not ready yet.
pub struct App {
    front: Front,
    config: Config,
    metrics: Metrics,
    runtime: Arc<Runtime>,
    registry: Registry,
    embedded: Option<Embedded>,
    link: Link,
    activities: ActivityConfig,
    routing: Routing,
    access: LiveAccess,
    records: Records,
    last_resort: Option<LastResort>,
    disks: Disks,
}

impl App {
    /// Builds the process: listener, plugins, Temporal. The listener answers from the first moment, on the threads of `accepting`, which
    /// write the store, too. Fails on what an operator has to mend; a plugin that cannot be loaded or a Temporal that cannot be reached is
    /// not among that.
    pub async fn build(config: Config, mut kept: Kept, accepting: &Handle) -> anyhow::Result<Self> {
        check_door(&config, &kept).map_err(|fault| unusable(&[fault]))?;
        let router = routes(&config)?;
        let access = LiveAccess::from(std::mem::take(&mut kept.live.access));
        let (metrics, runtime, meter) = Metrics::init()?;
        let tls = config.file.tls.clone().map(Tls::start).transpose().map_err(|fault| unusable(&[fault]))?;
        let front = accepting.spawn(open_front(config.listen.clone(), tls)).await??;
        keep_files_private(&config.data_dir);
        let (last_resort, codec) = (kept.last_resort.take(), kept.codec.take());
        front.at_stage(if codec.is_some() { ENCRYPTING } else { "opening the store" });
        let store = accepting.spawn(open_store(config.clone(), codec.clone())).await??;
        let records = Records::new(store.clone(), codec.clone());
        let off_limits = OffLimits::default();
        if let Listen::Tcp(address) = front.address() {
            off_limits.add_listener("this host itself", *address);
        }
        front.at_stage("making the plugin engine");
        let registry = open_plugins(&config, kept, off_limits.clone())?;
        front.at_stage("looking at Temporal's database and starting its server");
        let embedded = start_embedded(&config, off_limits.clone()).await?;
        let link = connect(&config, embedded.as_ref(), codec, meter)?;
        off_limits.add_url("Temporal", &link.address);
        link.ui().into_iter().for_each(|ui| off_limits.add_url("Temporal's web UI", ui));
        let activities = ActivityConfig::from(&config.file.activities);
        let disks = Disks::default();
        tokio::spawn(disks.clone().watch(places(embedded.as_ref(), &store)));
        Ok(Self {
            front,
            config,
            metrics,
            runtime: Arc::new(runtime),
            registry,
            embedded,
            link,
            activities,
            routing: Routing::new(router),
            access,
            records,
            last_resort,
            disks,
        })
    }

    /// Serves until `stop`, then finishes what runs, within bounds.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let polling = Arc::new(AtomicBool::new(false));
        let accepting = Some(&self.records).filter(|_| self.config.role.accepts());
        let receivers =
            Receivers::new(self.registry.clone(), self.routing.clone(), self.link.task_queue.clone());
        let dispatch = accepting.map(|records| {
            Dispatch::new(records.clone(), self.link.clone(), receivers.clone(), self.activities)
        });
        let reconciling = dispatch.clone();
        let surroundings = Surroundings {
            link: self.link.clone(),
            activities: self.activities,
            registry: self.registry.clone(),
            metrics: self.metrics,
            accepts: self.config.role.accepts(),
            works: self.config.role.works(),
            polling: polling.clone(),
            disks: self.disks,
            started: Instant::now(),
            reloads: Reloads::default(),
            routing: self.routing.clone(),
            access: self.access.clone(),
            spool: accepting.map(|records| Spool::new(records.clone(), &self.config.file.spool)),
            records: accepting.cloned(),
            dispatch: dispatch.clone(),
            places: Places::new(self.config.file.webhook.concurrency),
            room: Room::new(BODIES.max(3 * self.config.file.webhook.body_limit)),
            body_limit: self.config.file.webhook.body_limit,
            body_limits: self.config.file.webhook.body_limits(),
            repeat_window: self.config.file.webhook.repeat_window.unsigned_abs(),
            cors_origins: self.config.file.webhook.origins().flatten().collect(),
            sync_timeout_max: self.config.file.webhook.sync_timeout_max.unsigned_abs(),
        };
        let (stop_working, not_working) = watch::channel(false);
        let address = self.front.address().to_string();
        let spooled = tokio::spawn(webhook::hand_over(surroundings.clone()));
        let mut dispatching = dispatch.map(|dispatch| tokio::spawn(dispatch.run()));
        let foreign = temporal::own_queue(self.link.clone(), self.records.handle.clone());
        if let Some(last_resort) = self.last_resort {
            let watched = Watched {
                link: surroundings.link.clone(),
                registry: surroundings.registry.clone(),
                spool: surroundings.spool.clone(),
                store: self.records.handle.clone(),
                disks: surroundings.disks.clone(),
            };
            tokio::spawn(last_resort.watch(watched, roots(&self.config.file.egress)?));
        }
        let (reloads, config) = (surroundings.reloads.clone(), self.config.clone());
        tokio::spawn(report_misfits(config.clone(), self.registry.clone()));
        let in_force =
            InForce { routing: self.routing.clone(), registry: self.registry.clone(), access: self.access };
        tokio::spawn(reloads.follow(config, in_force));
        tokio::spawn(temporal::count_kept(self.records.clone()));
        tokio::spawn(temporal::watch_backlog(self.link.clone(), self.config.role.works()));
        let (stop_serving, mut server) = self.front.show(webhook::router(surroundings));
        tracing::info!(
            address,
            role = self.config.role.as_str(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );

        let records = self.records.clone();
        let mut worker = self.config.role.works().then(|| {
            let registry = self.registry;
            let calls = Calls::new(&self.link.task_queue);
            let activities = AlertActivities { receivers, link: self.link.clone(), records, calls };
            tokio::spawn(async move {
                let mut stopped = not_working.clone();
                tokio::select! {
                    () = plugins_loaded(&registry) => {}
                    () = told(&mut stopped) => return,
                }
                let (runtime, link) = (self.runtime.clone(), self.link.clone());
                let lanes = temporal::keep_lanes(
                    runtime.clone(),
                    link.clone(),
                    activities.clone(),
                    not_working.clone(),
                );
                if let Some(dispatch) = reconciling {
                    tokio::select! {
                        () = dispatch.reconciled() => {}
                        () = told(&mut stopped) => return,
                    }
                }
                let work = |queue, polling| {
                    let (runtime, link) = (runtime.clone(), link.clone());
                    work(runtime, link, queue, activities.clone(), polling, not_working.clone())
                };
                let worker = work(link.task_queue.to_string(), polling);
                let critical = work(link.critical_queue(), Arc::default());
                let others = async { _ = tokio::join!(worker, critical, lanes) };
                temporal::keep_own_queue(runtime, link, activities, stopped, others).await;
            })
        });
        let failed = tokio::select! {
            () = stop => None,
            error = never_ready(self.embedded.as_ref()) => Some(error.into()),
            foreign = foreign => Some(foreign.into()),
            error = ended(&mut worker, "worker") => Some(error),
            error = ended(&mut server, "webhook") => Some(error),
            error = ended(&mut dispatching, "dispatcher") => Some(error),
        };
        tracing::info!("stopping");
        // First the webhook: whoever waits for what becomes of an alert needs the worker.
        stop_serving.send_replace(true);
        if let Some(server) = server
            && tokio::time::timeout(DRAIN, server).await.is_err()
        {
            tracing::warn!("open requests did not end in time");
        }
        spooled.abort();
        if let Some(dispatching) = dispatching {
            dispatching.abort();
        }
        stop_working.send_replace(true);
        if let Some(worker) = worker {
            worker.await?;
        }
        self.records.handle.close().await;
        if let Some(mut embedded) = self.embedded {
            tokio::task::spawn_blocking(move || embedded.stop()).await?;
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// Returns once a task has ended that goes on for as long as the host: by a panic. A host without it would only look well.
async fn ended(task: &mut Option<JoinHandle<()>>, name: &str) -> anyhow::Error {
    let Some(handle) = task else { return std::future::pending().await };
    let ended = handle.await;
    *task = None;
    let stopped = || format!("the {name} of this host stopped by itself: the log above says why");
    ended
        .err()
        .map_or_else(|| anyhow::anyhow!(stopped()), |error| anyhow::Error::new(error).context(stopped()))
}

/// Returns once the plugins are loaded that were there at the start, or have had their time for it: an alert that is worked on
/// before goes to fewer receivers.
async fn plugins_loaded(registry: &Registry) {
    if tokio::time::timeout(FIRST_PASS, registry.first_pass()).await.is_err() {
        let why = registry.why_waiting();
        tracing::warn!("the worker starts though not everything is loaded after {FIRST_PASS:?}: {why}");
    }
}

/// From here on this process, and each that it starts, writes files which its user alone can read. The socket file was made
/// before: who may open it is the operator's affair.
fn keep_files_private(data_dir: &Path) {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let mode = data_dir.metadata().map_or(0, |directory| directory.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let directory = data_dir.display();
        tracing::warn!(
            "others can look into the data directory {directory}, mode {mode:o}: chmod 700 {directory}"
        );
    }
}

/// What has to be written to: the embedded server's database, and the store's.
fn places(embedded: Option<&Embedded>, store: &StoreHandle) -> Vec<Place> {
    let database = embedded.map(|server| (Content::Temporal, server.database().to_owned()));
    let store = store.file().map(|file| (Content::Store, file.to_owned()));
    let place = |(content, file): (Content, PathBuf)| {
        Some(Place { content, directory: file.parent()?.to_owned(), file })
    };
    database.into_iter().chain(store).filter_map(place).collect()
}

/// Logs what is wrong with receivers, updaters and keys once the plugins are there.
async fn report_misfits(config: Config, registry: Registry) {
    registry.first_pass().await;
    for misfit in misfits(&config.file, &|name| registry.find(name)) {
        tracing::error!("what goes to it fails until this is mended: {misfit}");
    }
    doubts(&config, &registry).iter().for_each(|doubt| tracing::warn!("configuration: {doubt}"));
}

/// Returns only if the embedded server does not come to answer.
async fn never_ready(embedded: Option<&Embedded>) -> EmbeddedError {
    if let Some(embedded) = embedded
        && let Err(error) = embedded.ready().await
    {
        return error;
    }
    std::future::pending().await
}

/// The routes. A plugin that is not there is no reason not to start.
fn routes(config: &Config) -> anyhow::Result<Router> {
    let (router, odd) = config.router(false).map_err(|faults| unusable(&faults))?;
    odd.iter().for_each(|fault| tracing::warn!("routes: {fault}"));
    Ok(router)
}

/// Whether the webhook can be opened.
///
/// # Errors
///
/// Others could post without being asked anything, or a file for TLS cannot be used.
pub fn check_door(config: &Config, kept: &Kept) -> Result<(), Fault> {
    check_reach(config, &kept.live.access)?;
    config.file.tls.as_ref().map_or(Ok(()), Tls::check)
}

/// The certificate authorities that the operator added to those of the system.
fn roots(egress: &EgressConfig) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let mut roots = Vec::new();
    for file in &egress.root_certificates {
        let unusable = || format!("egress.root-certificates: {} cannot be used", file.display());
        let text = operator_file::read(file, operator_file::LIST).with_context(unusable)?;
        roots.extend(reqwest::Certificate::from_pem_bundle(&text).with_context(unusable)?);
    }
    Ok(roots)
}

/// The listener.
async fn open_front(listen: Listen, tls: Option<Tls>) -> anyhow::Result<Front> {
    let door = Door::bind(&listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another address with --listen"))?;
    Ok(Front::open(door, tls))
}

/// The store.
async fn open_store(config: Config, codec: Option<Codec>) -> anyhow::Result<StoreHandle> {
    let store = &config.file.store;
    if config.role != Role::All && store.url.is_none() {
        let role = config.role.as_str();
        bail!(
            "--role {role} needs a store that others share: pass --store-url postgres://USER@HOST/NAME, or set [store] url"
        );
    }
    Ok(StoreHandle::open(store, &config.data_dir, codec).await?)
}

fn open_plugins(config: &Config, kept: Kept, off_limits: OffLimits) -> anyhow::Result<Registry> {
    let plugins = plugin_config(config, kept).map_err(|faults| unusable(&faults))?;
    Registry::open(PluginConfig { off_limits, ..plugins }).context("the plugin engine cannot be made")
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
        cache_dir: Some(config.data_dir.join("cache")),
        executable: executable()?,
        compilation: file.compilation.clone(),
        calls: file.calls.clone(),
        settings: file.plugin_settings(),
        secrets: kept.live.secrets,
        mail: kept.mail.map(Mailer::new),
        egress: file.egress.clone(),
        off_limits: OffLimits::default(),
        roles: match config.role {
            Role::All => &plugin::Role::ALL,
            Role::Webhook => &plugin::Role::RECEIVING,
            Role::Worker => &plugin::Role::WORKING,
        },
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
async fn start_embedded(config: &Config, off_limits: OffLimits) -> anyhow::Result<Option<Embedded>> {
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
        off_limits,
    };
    tracing::info!(
        "starting the embedded temporal server: for a laptop or a small team; \
         past one machine, pass --temporal-address"
    );
    Ok(Some(tokio::task::spawn_blocking(move || Embedded::start(embedded)).await??))
}

fn connect(
    config: &Config,
    embedded: Option<&Embedded>,
    codec: Option<Codec>,
    meter: TemporalMeter,
) -> anyhow::Result<Link> {
    let temporal = &config.file.temporal;
    let retention = temporal.retention.map_or(RETENTION, |retention| retention.unsigned_abs());
    let link = LinkConfig {
        address: embedded.map(|server| server.address.to_string()).or_else(|| temporal.address.clone()),
        namespace: temporal.namespace.clone(),
        task_queue: temporal.task_queue.clone().unwrap_or_else(|| "campanile".to_owned()),
        ui: embedded.map(|server| format!("http://{}", server.ui)).or_else(|| temporal.ui_url.clone()),
        codec,
        retention: embedded.map(|_| retention),
    };
    Ok(Link::start(link, meter)?)
}

/// Keeps a worker polling from the moment Temporal is connected until told to stop.
async fn work(
    runtime: Arc<Runtime>,
    mut link: Link,
    task_queue: String,
    activities: AlertActivities,
    polling: Arc<AtomicBool>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let client = tokio::select! {
            client = link.owned() => client,
            () = told(&mut stopped) => None,
        };
        let Some(client) = client else { return };
        match Worker::start(&runtime, client, &task_queue, activities.clone(), polling.clone()) {
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
