//! Configuration: flags and environment (one derive), then the file, then defaults; one valid value at the end.

mod effect;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::fault::Fault;
use crate::last_resort::LastResortConfig;
use crate::operator_file;
use crate::plan::{MOST_RECEIVERS, PlanLimits};
use crate::plugin::{
    CallsConfig, CompilationConfig, EgressConfig, Limits, MailConfig, PluginSettings, SecretConfig,
    TrustConfig,
};
use crate::routing::{
    MuteConfig, ReceiverConfig, RouteConfig, Router, RoutesConfig, RoutingConfig, UpdaterConfig, WindowConfig,
};
use crate::store::StoreConfig;
use crate::telemetry::LogFormat;
use crate::temporal::{ActivitiesConfig, TemporalConfig};
use crate::toml_file;
use crate::webhook::{BodyLimits, KeyConfig, Listen, SourceConfig, SpoolConfig, TlsConfig};

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Both of the others.
    #[default]
    All,
    /// Accepts alerts; needs no plugins but sources.
    Webhook,
    /// Runs workflows, activities and plugins.
    Worker,
}

impl Role {
    /// The name as it is given.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::All => "all",
            Role::Webhook => "webhook",
            Role::Worker => "worker",
        }
    }

    /// Whether it accepts alerts.
    pub fn accepts(self) -> bool {
        self != Role::Worker
    }

    /// Whether it runs workflows and plugins.
    pub fn works(self) -> bool {
        self != Role::Webhook
    }
}

/// The flags of `campanile serve`. Those that have an environment variable have a key in the configuration file too (but
/// for the file's own name); a flag comes before the variable, the variable before the file, the file before the default.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Configuration file
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the webhook listens [default: 127.0.0.1:8000]; port 0 takes a free one, unix:/path is a socket file
    #[arg(long, env = "CAMPANILE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// Plugin directory [default: plugins.d]
    #[arg(long, env = "CAMPANILE_PLUGINS", value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Data directory: the store without --store-url, the embedded server's database, the compile cache [default: data]
    #[arg(long, env = "CAMPANILE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What this process does [default: all]
    #[arg(long, env = "CAMPANILE_ROLE", value_name = "ROLE")]
    pub role: Option<Role>,
    /// A Temporal server or Temporal Cloud, host:port or URL; without it an embedded server is started, unless
    /// TEMPORAL_ADDRESS or temporal.toml name one
    #[arg(long, env = "CAMPANILE_TEMPORAL_ADDRESS", value_name = "ADDRESS")]
    pub temporal_address: Option<String>,
    /// The `temporal` executable for the embedded server
    #[arg(long, env = "CAMPANILE_TEMPORAL_CLI", value_name = "FILE")]
    pub temporal_cli: Option<PathBuf>,
    /// Port of the embedded server [default: 7233]; 0 takes a free one
    #[arg(long, env = "CAMPANILE_TEMPORAL_PORT", value_name = "PORT")]
    pub temporal_port: Option<u16>,
    /// Port of the embedded server's web UI [default: 8080]; 0 takes a free one
    #[arg(long, env = "CAMPANILE_TEMPORAL_UI_PORT", value_name = "PORT")]
    pub temporal_ui_port: Option<u16>,
    /// Take over an embedded server's database that another version wrote, after a backup
    #[arg(long)]
    pub temporal_upgrade: bool,
    /// A PostgreSQL database for the store, postgres://USER@HOST/NAME; without it, a file in the data directory
    #[arg(long, env = "CAMPANILE_STORE_URL", hide_env_values = true, value_name = "URL")]
    pub store_url: Option<String>,
    /// Temporal namespace [default: default]
    #[arg(long, env = "CAMPANILE_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Temporal task queue [default: campanile]
    #[arg(long, env = "CAMPANILE_TASK_QUEUE", value_name = "NAME")]
    pub task_queue: Option<String>,
    /// A file with keys, each a table as `[keys.NAME]` of the configuration, but without `keys.`
    #[arg(long, env = "CAMPANILE_KEYS_FILE", value_name = "FILE")]
    pub keys_file: Option<PathBuf>,
    /// Log lines for people or as JSON [default: text]
    #[arg(long, env = "CAMPANILE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as `info,campanile=debug`
    #[arg(long, env = "CAMPANILE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Where the webhook listens: an address such as `127.0.0.1:8000`, or `unix:/run/campanile.sock`.
    #[schemars(with = "Option<String>")]
    pub listen: Option<Listen>,
    /// Plugin directory.
    pub plugins: Option<PathBuf>,
    /// Data directory.
    pub data_dir: Option<PathBuf>,
    /// What this process does.
    pub role: Option<Role>,
    /// Logs.
    pub log: LogConfig,
    /// The HTTP side.
    pub webhook: WebhookConfig,
    /// The certificate of the HTTP side.
    pub tls: Option<TlsConfig>,
    /// The durable engine.
    pub temporal: TemporalConfig,
    /// Retry policies.
    pub activities: ActivitiesConfig,
    /// What holds for all routes.
    pub routing: RoutingConfig,
    /// Who gets what, in this order. Without any, every enabled plugin gets every alert that its `when` takes.
    pub routes: Vec<RouteConfig>,
    /// Whom routes can name, besides plugins by their own names.
    pub receivers: BTreeMap<String, ReceiverConfig>,
    /// The same for status updaters.
    pub updaters: BTreeMap<String, UpdaterConfig>,
    /// Times that routes can name.
    pub windows: BTreeMap<String, WindowConfig>,
    /// What nobody is told for a while.
    pub mutes: Vec<MuteConfig>,
    /// What all calls of plugins together may take.
    pub calls: CallsConfig,
    /// What compiling a plugin may take.
    pub compilation: CompilationConfig,
    /// Which plugins may be loaded.
    pub trust: TrustConfig,
    /// Limits of plugins that set none of their own.
    pub limits: Limits,
    /// Outbound HTTP of plugins.
    pub egress: EgressConfig,
    /// The mail server that plugins may send through.
    pub mail: Option<MailConfig>,
    /// A file with more keys, each a table as those of `keys`, but without `keys.`
    pub keys_file: Option<PathBuf>,
    /// Keys that open the webhook, and what shows and steers, by name.
    pub keys: BTreeMap<String, KeyConfig>,
    /// What is particular to a source, by the name in its URL.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Who is told when alerts cannot be handed over.
    pub last_resort: Option<LastResortConfig>,
    /// What is kept while Temporal is away.
    pub spool: SpoolConfig,
    /// Where the host keeps what it has accepted.
    pub store: StoreConfig,
    /// Secrets that the host uses on behalf of plugins, by name.
    pub secrets: BTreeMap<String, SecretConfig>,
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people (`text`) or as JSON (`json`).
    pub format: Option<LogFormat>,
    /// What is logged, such as `info,campanile=debug`.
    pub filter: Option<String>,
}

/// `[webhook]`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// The largest request body, in bytes.
    #[schemars(range(min = 1024))]
    pub body_limit: usize,
    /// The most JSON values in a request body, counted before it is read, also in texts that are JSON themselves.
    #[schemars(range(min = 1000))]
    pub body_values: usize,
    /// The deepest request body, in levels of lists and objects.
    #[schemars(range(min = 8))]
    pub body_depth: usize,
    /// The longest time that `/webhook/alerts/sync` waits, such as `2m`.
    #[schemars(with = "String")]
    pub sync_timeout_max: SignedDuration,
    /// How long an alert with an `id` or `dedup_key`, but without `starts_at`, is the same as one posted before; 1m to 24h.
    #[schemars(with = "String")]
    pub repeat_window: SignedDuration,
    /// How many posts are worked on at once; more are told to come again.
    #[schemars(range(min = 1, max = 65536))]
    pub concurrency: usize,
    /// Listen to others without asking anything of those who post.
    pub anybody_may_post: bool,
    /// Origins whose pages may use the API in a browser, such as `https://status.example.com`; none unless listed.
    pub cors_origins: Vec<String>,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            body_limit: 8 * 1024 * 1024,
            body_values: 100_000,
            body_depth: 100,
            sync_timeout_max: SignedDuration::from_mins(2),
            repeat_window: SignedDuration::from_mins(10),
            concurrency: 1_024,
            anybody_may_post: false,
            cors_origins: Vec::new(),
        }
    }
}

impl WebhookConfig {
    fn faults(&self) -> Vec<Fault> {
        let (least, most) = (SignedDuration::from_mins(1), SignedDuration::from_hours(24));
        let window = self.repeat_window;
        let mut faults: Vec<Fault> = self.origins().filter_map(Result::err).collect();
        if window < least || window > most {
            faults.push(Fault {
                path: "webhook.repeat-window".to_owned(),
                value: None,
                message: format!("{window:#} is not between {least:#} and {most:#}"),
            });
        }
        faults
    }

    /// What a body may hold.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits { values: self.body_values, depth: self.body_depth }
    }

    /// `cors-origins` as browsers send them, or what is wrong with each.
    pub fn origins(&self) -> impl Iterator<Item = Result<HeaderValue, Fault>> {
        self.cors_origins.iter().enumerate().map(|(index, text)| {
            let is_origin = |url: url::Url| url.origin().ascii_serialization() == *text;
            let header = HeaderValue::try_from(text).ok();
            header.filter(|_| url::Url::parse(text).is_ok_and(is_origin)).ok_or_else(|| Fault {
                path: format!("webhook.cors-origins[{index}]"),
                value: Some(text.as_str().into()),
                message: "is not an origin such as https://status.example.com".to_owned(),
            })
        })
    }
}

/// Everything that is configured, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the webhook listens.
    pub listen: Listen,
    /// Plugin directory.
    pub plugins: PathBuf,
    /// Data directory.
    pub data_dir: PathBuf,
    /// What this process does.
    pub role: Role,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: Option<String>,
    /// Take over a database of another version.
    pub temporal_upgrade: bool,
    /// Where the lock file of the plugins is, if there is one.
    pub lock: PathBuf,
    /// The files that it was read from, or that it names and that are read again with it.
    pub stamps: Stamps,
    /// The flags that it was read with.
    pub flags: Flags,
    /// The rest of the file, with the flags that concern Temporal in place.
    pub file: ConfigFile,
}

/// Files, each with the time of its last change as it was when it was read, or before.
pub type Stamps = BTreeMap<PathBuf, Option<SystemTime>>;

/// When each of these files was last changed.
pub fn stamps<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Stamps {
    paths.into_iter().map(|path| (path.clone(), modified(path))).collect()
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("configuration file {} is not valid:\n{}", .path.display(), list(.faults))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every fault.
        faults: Vec<Fault>,
    },
}

/// Faults, one per line.
pub fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Puts flags, environment, file and defaults together.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let given = flags.clone();
        // Before they are read: what is changed from then on is another file.
        let mut stamps = stamps(&flags.config);
        let mut file = match &flags.config {
            Some(path) => read(path)?,
            None => ConfigFile::default(),
        };
        let temporal = &mut file.temporal;
        replace(&mut temporal.address, flags.temporal_address);
        replace(&mut temporal.cli, flags.temporal_cli);
        replace(&mut temporal.port, flags.temporal_port);
        replace(&mut temporal.ui_port, flags.temporal_ui_port);
        replace(&mut temporal.namespace, flags.namespace);
        replace(&mut temporal.task_queue, flags.task_queue);
        replace(&mut file.store.url, flags.store_url);
        if let Some(path) = flags.keys_file.or(file.keys_file.take()) {
            stamps.extend(self::stamps([&path]));
            file.keys.extend(keys(&path)?);
        }
        stamps.extend(self::stamps(file.secret_files()));
        let default_listen = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000)));
        Ok(Self {
            listen: flags.listen.or(file.listen.take()).unwrap_or(default_listen),
            plugins: flags.plugins.or(file.plugins.take()).unwrap_or_else(|| "plugins.d".into()),
            data_dir: flags.data_dir.or(file.data_dir.take()).unwrap_or_else(|| "data".into()),
            role: flags.role.or(file.role).unwrap_or_default(),
            log_format: flags.log_format.or(file.log.format).unwrap_or_default(),
            log: flags.log.or(file.log.filter.take()),
            temporal_upgrade: flags.temporal_upgrade,
            lock: file.trust.lock_file(flags.config.as_deref()),
            stamps,
            flags: given,
            file,
        })
    }

    /// The routes as they are configured. Unless they have to be `complete`, plugins that are not there are only odd.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn router(&self, complete: bool) -> Result<(Router, Vec<Fault>), Vec<Fault>> {
        // What cannot be looked at now may be there.
        let has_plugin = |name: &str| {
            let state = operator_file::state(&self.plugins.join(format!("{name}.wasm")));
            state.map_or(true, |state| state.is_some())
        };
        Router::load(&self.file.routes(), &has_plugin, complete, Timestamp::now())
    }

    /// What the files say now, under the same flags.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not valid.
    pub fn reread(&self) -> Result<Self, ConfigError> {
        Self::load(self.flags.clone())
    }
}

impl ConfigFile {
    /// All that concerns routes.
    pub fn routes(&self) -> RoutesConfig {
        RoutesConfig {
            routing: self.routing.clone(),
            routes: self.routes.clone(),
            receivers: self.receivers.clone(),
            updaters: self.updaters.clone(),
            windows: self.windows.clone(),
            mutes: self.mutes.clone(),
            limits: PlanLimits {
                receivers: self.limits.receivers.map_or(MOST_RECEIVERS, |most| most as usize),
            },
        }
    }

    /// What it says of plugins, besides their own files.
    pub fn plugin_settings(&self) -> PluginSettings {
        let routes = self.routes();
        PluginSettings {
            limits: self.limits.clone(),
            set_up_elsewhere: routes.plugins(),
            secrets_in_use: routes.secrets(),
        }
    }

    /// The files of the values that are read again with it.
    fn secret_files(&self) -> BTreeSet<&PathBuf> {
        let secrets = self.secrets.values();
        let of_plugins = secrets.flat_map(|secret| [&secret.file, &secret.session_token_file]).flatten();
        let signatures = self.sources.values().flat_map(|source| &source.signature);
        let of_signatures =
            signatures.flat_map(|signature| &signature.secrets).flat_map(|secret| &secret.file);
        of_plugins.chain(of_signatures).collect()
    }

    /// What is wrong with it beyond its schema.
    fn faults(&self) -> Vec<Fault> {
        let ActivitiesConfig { process_alert, processors, send_notification, update_alert_status } =
            &self.activities;
        let mut faults = process_alert.faults("activities.process-alert");
        faults.extend(processors.faults("activities.processors"));
        faults.extend(send_notification.faults("activities.send-notification"));
        faults.extend(update_alert_status.faults("activities.update-alert-status"));
        faults.extend(self.calls.faults("calls"));
        faults.extend(self.compilation.faults("compilation"));
        faults.extend(self.limits.faults("limits"));
        faults.extend(self.temporal.faults("temporal"));
        faults.extend(self.store.faults("store"));
        faults.extend(self.webhook.faults());
        faults
    }
}

/// How often the plugin directory is looked at besides the file system's own notices.
pub const PLUGIN_POLL: Duration = Duration::from_secs(2);

fn replace<T>(value: &mut Option<T>, flag: Option<T>) {
    if flag.is_some() {
        *value = flag;
    }
}

/// When a file was last changed.
fn modified(path: &Path) -> Option<SystemTime> {
    operator_file::state(path).ok()??.modified().ok()
}

fn read(path: &Path) -> Result<ConfigFile, ConfigError> {
    let text = text(path)?;
    understood(&text).map_err(|faults| ConfigError::Invalid { path: path.to_owned(), faults })
}

fn keys(path: &Path) -> Result<BTreeMap<String, KeyConfig>, ConfigError> {
    let text = text(path)?;
    toml_file::read(&text).map_err(|faults| ConfigError::Invalid { path: path.to_owned(), faults })
}

fn text(path: &Path) -> Result<String, ConfigError> {
    let text = operator_file::read_text(path, operator_file::LIST);
    text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn understood(text: &str) -> Result<ConfigFile, Vec<Fault>> {
    let (file, mut faults) = toml_file::read_partly::<ConfigFile>(text)?;
    faults.extend(toml_file::located(text, file.faults()));
    if faults.is_empty() { Ok(file) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator_file::tests::are_refused_in_time;
    use crate::toml_file::tests::{any_file, are_placed};
    use arbitrary::Unstructured;

    #[test]
    fn any_configuration_is_understood_or_refused_with_a_place() {
        let example = include_str!("../../campanile.example.toml");
        let read = |text: &str| {
            if let Err(faults) = understood(text) {
                are_placed(&faults, text);
            }
        };
        bolero::check!(name = "config").with_iterations(300).for_each(|bytes: &[u8]| {
            read(&String::from_utf8_lossy(bytes));
            any_file(example, &mut Unstructured::new(bytes)).iter().for_each(|text| read(text));
        });
    }

    fn load(text: &str, flags: Flags) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Flags { config: Some(path), ..flags })
    }

    #[test]
    fn a_flag_comes_before_the_file_and_the_file_before_the_default() {
        let flags = Flags { namespace: Some("flag".to_owned()), ..Flags::default() };
        let text = "plugins = 'p'\n[temporal]\nnamespace = 'file'\ntask-queue = 'file'";
        let config = load(text, flags).unwrap();
        assert_eq!(config.file.temporal.namespace.as_deref(), Some("flag"));
        assert_eq!(config.file.temporal.task_queue.as_deref(), Some("file"));
        assert_eq!(config.plugins, Path::new("p"));
        assert_eq!(config.data_dir, Path::new("data"));
    }

    #[test]
    fn odd_files_are_no_configurations() {
        const SAID: fn(Flags) -> String = |flags| match Config::load(flags) {
            Err(ConfigError::Read { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        };
        are_refused_in_time("campanile.toml", |path| {
            modified(path);
            SAID(Flags { config: Some(path.into()), ..Flags::default() })
        });
        are_refused_in_time("keys.toml", |path| {
            SAID(Flags { keys_file: Some(path.into()), ..Flags::default() })
        });
    }

    #[test]
    fn odd_files_are_no_secrets() {
        are_refused_in_time("secret", |path| {
            let file = path.display();
            let text = format!(
                "[secrets.A]\nfile = '{file}'\nhosts = ['example.com']\n\
                 [secrets.B]\nhosts = ['example.com']\nenv = 'PATH'\nsession-token-file = '{file}'\n\
                 [mail]\nhost = 'example.com'\nfrom = 'a@example.com'\nusername = 'a'\npassword-file = '{file}'\n\
                 [last-resort]\nfile = '{file}'\n[[temporal.encryption.keys]]\nid = 'a'\nfile = '{file}'\n\
                 [sources.a.signature]\nscheme = 'github'\nsecrets = [{{ file = '{file}' }}]\n"
            );
            let faults = crate::app::Kept::read(&load(&text, Flags::default()).unwrap()).err().unwrap();
            let said: Vec<_> = faults.iter().map(Fault::to_string).collect();
            let refused: Vec<_> = said.iter().filter(|said| said.contains("cannot be read: ")).collect();
            assert_eq!(refused.len(), 6, "{said:?}");
            refused
                .iter()
                .map(|said| said.split_once("cannot be read: ").unwrap().1)
                .min()
                .unwrap()
                .to_owned()
        });
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let wrong = "lsten = ':80'\n[webhook]\nbody-limit = 'big'\n[temporal]\nretention = '2h'";
        let text = load(wrong, Flags::default()).unwrap_err().to_string();
        assert!(text.contains("temporal.retention: 2h is shorter than 24h"), "{text}");
        assert!(text.contains("lsten"), "{text}");
        assert!(text.contains("webhook.body-limit"), "{text}");
    }

    #[test]
    fn values_that_could_not_work_are_faults_with_their_place() {
        let text = "[temporal]\nretention = '2h'\n[limits]\nmemory = '2GiB'\n\
                    [activities.process-alert]\ntimeout = '0s'";
        let error = load(text, Flags::default()).unwrap_err().to_string();
        for part in [
            "temporal.retention: 2h is shorter than 24h, Temporal's shortest (line 2",
            "limits.memory: 2 GiB is more than 1 GiB (line 4",
            "activities.process-alert.timeout: 0s is not longer than 0s (line 6",
        ] {
            assert!(error.contains(part), "{part} is missing in:\n{error}");
        }
    }
}
