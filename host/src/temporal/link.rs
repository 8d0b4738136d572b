//! The connection to Temporal: made in the background, so that the host answers (with an error that says so) while
//! Temporal is away, and prepared before the first alert goes through it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, io};

use parking_lot::Mutex;
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::{Code, IntoRequest, Status};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression, Url};
use temporalio_common::envconfig::{ConfigError, load_client_config_profile};
use temporalio_common::protos::temporal::api::namespace::v1::NamespaceConfig;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    CountWorkflowExecutionsRequest, DescribeNamespaceRequest, UpdateNamespaceRequest,
};
use temporalio_common::telemetry::metrics::TemporalMeter;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::backlog::Backlog;
use super::cause::Cause;
use super::codec::Codec;
use super::search_attributes;
use crate::operator_file;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take until it has answered, too: longer than that, so that it differs from one that does not even listen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the embedded server may take to listen before attempts to connect are warned of.
const EMBEDDED_START: Duration = Duration::from_secs(30);
/// The delay between attempts to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// How long search attributes that were registered may be unknown to the server's caches: it renews them every minute.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(75);
const KNOWN_INTERVAL: Duration = Duration::from_millis(100);
/// A server that has not answered for so long is away, and how often it is asked.
const AWAY: Duration = Duration::from_secs(5);
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a health check waits for Temporal.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// The variables that name files.
const FILE_VARIABLES: [&str; 4] = [
    "TEMPORAL_CONFIG_FILE",
    "TEMPORAL_TLS_CLIENT_CERT_PATH",
    "TEMPORAL_TLS_CLIENT_KEY_PATH",
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
];

/// Where Temporal is, and what is ours there.
#[derive(Clone)]
pub struct LinkConfig {
    /// `host:port` or a URL; absent: as the `TEMPORAL_*` environment or `temporal.toml` says.
    pub address: Option<String>,
    /// The namespace; absent: likewise, else `default`.
    pub namespace: Option<String>,
    /// The task queue.
    pub task_queue: String,
    /// Where the server's web UI is, if that is known.
    pub ui: Option<String>,
    /// What encrypts, if what Temporal stores is to be encrypted.
    pub codec: Option<Codec>,
    /// The retention to set on the namespace, if it is ours to set (the embedded server's is).
    pub retention: Option<Duration>,
}

impl LinkConfig {
    fn options(&self) -> Result<(ConnectionOptions, ClientOptions), LinkError> {
        let (mut connection, mut client) = match (self.retention, &self.address) {
            // The embedded server: what the environment says is about another one.
            (Some(_), Some(address)) => {
                let connection = ConnectionOptions::new(url(address, false)?).build();
                (connection, ClientOptions::new("default").build())
            }
            _ => from_environment(&named_files(), ClientOptions::load_from_config)?,
        };
        if let Some(address) = &self.address {
            connection.target =
                url(address, connection.tls_options.is_some() || connection.api_key.is_some())?;
        }
        if let Some(namespace) = &self.namespace {
            client.namespace.clone_from(namespace);
        }
        if let Some(codec) = &self.codec {
            client.data_converter = codec.clone().converter();
        }
        connection.connect_timeout = Some(CONNECT_TIMEOUT);
        if connection.target.host_str().is_some_and(is_loopback) {
            connection.grpc_compression = GrpcCompression::None;
        }
        Ok((connection, client))
    }

    /// A client for a few questions: nothing is prepared in the namespace.
    ///
    /// # Errors
    ///
    /// Temporal does not answer, or the configuration cannot be used.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let (connection, options) = self.options().map_err(|error| error.to_string())?;
        let address = connection.target.to_string();
        let connecting = tokio::time::timeout(ANSWER_TIMEOUT, Connection::connect(connection));
        let connection = connecting.await.map_err(|_| format!("{address} does not answer"))?;
        let connection = connection.map_err(|error| format!("{address}: {}", Cause::of(&error)))?;
        Client::new(connection, options).map_err(|error| error.to_string())
    }
}

/// Why there can never be a connection as configured.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The `TEMPORAL_*` environment or `temporal.toml` is not usable.
    #[error("the TEMPORAL_* environment or temporal.toml cannot be used: {0}")]
    Environment(String),
    /// The address is not one.
    #[error("temporal address {address:?} is not host:port or a URL, such as 127.0.0.1:7233")]
    Address {
        /// What was given.
        address: String,
    },
}

/// Whether the `TEMPORAL_*` environment or `temporal.toml` name a server.
pub fn is_address_in_environment() -> Result<bool, LinkError> {
    let profile = from_environment(&named_files(), |options| load_client_config_profile(options, None))?;
    Ok(profile.address.is_some())
}

/// The files that the environment names, behind their variables.
fn named_files() -> Vec<(&'static str, PathBuf)> {
    let named = FILE_VARIABLES.into_iter().filter_map(|name| Some((name, PathBuf::from(env::var_os(name)?))));
    named.filter(|(_, path)| !path.as_os_str().is_empty()).collect()
}

/// What `load` makes of the environment and `temporal.toml`. Files that hold it up, `named` ones or others, end it.
fn from_environment<T: Send + 'static>(
    named: &[(&str, PathBuf)],
    load: impl FnOnce(LoadClientConfigProfileOptions) -> Result<T, ConfigError> + Send + 'static,
) -> Result<T, LinkError> {
    let unreadable =
        |what: &str, error: io::Error| LinkError::Environment(format!("{what} cannot be read: {error}"));
    let files: Vec<_> = named.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    for ((_, path), text) in named.iter().zip(&files) {
        operator_file::state(path).map_err(|error| unreadable(text, error))?;
    }
    let path = named.first().map_or(Path::new("temporal.toml"), |(_, path)| path.as_path());
    let what = if files.is_empty() { "temporal.toml".to_owned() } else { files.join(", ") };
    let load = move || Ok(load(LoadClientConfigProfileOptions::default()).map_err(|error| error.to_string()));
    let loaded = operator_file::within(operator_file::READ_LIMIT, path, load);
    loaded.map_err(|error| unreadable(&what, error))?.map_err(LinkError::Environment)
}

/// A connection that comes and stays.
#[derive(Clone)]
pub struct Link {
    client: watch::Receiver<Option<Client>>,
    /// The server's URL.
    pub address: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The task queue.
    pub task_queue: Arc<str>,
    ui: Option<Arc<str>>,
    /// Whether what Temporal stores is encrypted.
    pub encrypts: bool,
    /// Whether the server is the host's own.
    pub is_embedded: bool,
    pub(super) backlog: Backlog,
    /// Why there is no connection, or was no answer the last time that there was none.
    trouble: Arc<Mutex<Cause>>,
    /// Whether the task queue is known to be this host's store's.
    owned: Arc<watch::Sender<bool>>,
    /// When Temporal last answered.
    answered: Arc<Mutex<Option<Instant>>>,
}

impl Link {
    /// Starts connecting. Returns at once.
    pub fn start(config: LinkConfig, meter: TemporalMeter) -> Result<Self, LinkError> {
        let (mut connection, client) = config.options()?;
        connection.metrics_meter = Some(meter);
        let (sender, receiver) = watch::channel(None);
        let link = Self {
            client: receiver,
            address: connection.target.as_str().into(),
            namespace: client.namespace.as_str().into(),
            task_queue: config.task_queue.into(),
            ui: config.ui.map(Into::into),
            encrypts: config.codec.is_some(),
            is_embedded: config.retention.is_some(),
            backlog: Backlog::default(),
            trouble: Arc::new(Mutex::new(Cause::NotYet)),
            owned: Arc::new(watch::channel(false).0),
            answered: Arc::default(),
        };
        tokio::spawn(connect(connection, client, config.retention, sender, link.trouble.clone()));
        Ok(link)
    }

    /// The client, if the connection was made. It reconnects by itself after that.
    pub fn client(&self) -> Option<Client> {
        self.client.borrow().clone()
    }

    /// Why there is no connection, or was no answer the last time that there was none.
    pub fn trouble(&self) -> Cause {
        self.trouble.lock().clone()
    }

    /// Remembers that Temporal has answered.
    pub(super) fn note_answer(&self) {
        *self.answered.lock() = Some(Instant::now());
    }

    /// Whether Temporal has not answered for some seconds, or never has; also while it is not known whose the task queue is.
    pub fn is_away(&self) -> bool {
        !*self.owned.borrow() || self.answered.lock().is_none_or(|answered| answered.elapsed() > AWAY)
    }

    /// Remembers why Temporal cannot be used.
    pub(super) fn note_trouble(&self, why: &str) {
        *self.trouble.lock() = Cause::Unable(why.to_owned());
    }

    /// The task queue is this host's store's.
    pub(super) fn own(&self) {
        self.note_answer();
        self.owned.send_replace(true);
    }

    /// The client, if the task queue is known to be this host's store's.
    pub(super) fn owned_client(&self) -> Option<Client> {
        self.client().filter(|_| *self.owned.borrow())
    }

    /// The client, as soon as the connection is made and the task queue is known to be this host's store's. `None` if the host is going
    /// down before.
    pub async fn owned(&mut self) -> Option<Client> {
        self.owned.subscribe().wait_for(|owned| *owned).await.ok()?;
        self.connected().await
    }

    /// Asks Temporal again and again whether it answers, as long as the process runs.
    pub(super) async fn watch(self) -> ! {
        loop {
            self.is_reachable().await;
            tokio::time::sleep(if self.is_away() { KNOWN_INTERVAL } else { WATCH_INTERVAL }).await;
        }
    }

    /// The client, as soon as the connection is made. `None` if the host is going down before.
    pub async fn connected(&mut self) -> Option<Client> {
        self.client.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The task queue of critical alerts, which has a worker of its own: they wait behind no others.
    pub fn critical_queue(&self) -> String {
        format!("{}:critical", self.task_queue)
    }

    /// Where Temporal's web UI is, if that is known.
    pub fn ui(&self) -> Option<&str> {
        self.ui.as_deref()
    }

    /// Whether any worker polls the task queue; `None` if that is not known now.
    pub fn is_queue_polled(&self) -> Option<bool> {
        self.backlog.is_polled()
    }

    /// The page of a workflow in Temporal's web UI.
    pub fn page(&self, workflow_id: &str) -> Option<String> {
        let mut url = Url::parse(self.ui.as_ref()?).ok()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend([
            "namespaces",
            &self.namespace,
            "workflows",
            workflow_id,
        ]);
        Some(url.into())
    }

    /// What the server calls the namespace, which no other server does. `None` if it does not answer.
    pub(super) async fn namespace_id(&self) -> Option<String> {
        let namespace = self.namespace.to_string();
        let request = DescribeNamespaceRequest { namespace, ..Default::default() }.into_request();
        let answer = self.client()?.connection().workflow_service().describe_namespace(request).await;
        Some(answer.ok()?.into_inner().namespace_info?.id)
    }

    /// Whether Temporal answers now, its database included: what the namespace is is read from there.
    pub async fn is_reachable(&self) -> bool {
        let Some(client) = self.client() else { return false };
        let mut service = client.connection().workflow_service();
        let mut ask = async || {
            let namespace = self.namespace.to_string();
            let mut request = DescribeNamespaceRequest { namespace, ..Default::default() }.into_request();
            request.set_timeout(HEALTH_TIMEOUT);
            service.describe_namespace(request).await
        };
        let asked = async {
            match ask().await {
                // The server closes connections of a certain age, whatever is under way on them.
                Err(status) if status.code() == Code::Cancelled => ask().await,
                answer => answer,
            }
        };
        let cause = match tokio::time::timeout(HEALTH_TIMEOUT, asked).await {
            Ok(Ok(_)) => {
                self.note_answer();
                return true;
            }
            Ok(Err(status)) => Cause::of(&status),
            Err(_) => Cause::TimedOut(HEALTH_TIMEOUT),
        };
        *self.trouble.lock() = cause;
        false
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn url(address: &str, tls: bool) -> Result<Url, LinkError> {
    let scheme = if tls { "https" } else { "http" };
    let full = if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") };
    match Url::parse(&full) {
        Ok(url) if url.host().is_some() => Ok(url),
        _ => Err(LinkError::Address { address: address.to_owned() }),
    }
}

async fn connect(
    connection: ConnectionOptions,
    client: ClientOptions,
    retention: Option<Duration>,
    sender: watch::Sender<Option<Client>>,
    trouble: Arc<Mutex<Cause>>,
) {
    let address = connection.target.to_string();
    if retention.is_some() {
        embedded_listens(&connection.target).await;
    }
    let mut said = String::new();
    loop {
        match connect_once(connection.clone(), client.clone(), retention).await {
            Ok(client) => {
                tracing::info!(address, namespace = client.options().namespace, "temporal connected");
                sender.send_replace(Some(client));
                // The client lives as long as somebody can ask for it.
                return sender.closed().await;
            }
            Err(error) => {
                *trouble.lock() = error.cause();
                let text = error.to_string();
                if text != said {
                    tracing::warn!(address, error = text, "temporal not connected: trying again");
                    said = text;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT_DELAY) => {}
            () = sender.closed() => return,
        }
    }
}

/// Waits for the embedded server, which may still be starting: an attempt before that would only be warned of.
async fn embedded_listens(target: &Url) {
    let Some(address) = target.host_str().zip(target.port()) else { return };
    let listens = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(KNOWN_INTERVAL).await;
        }
    };
    let _ = tokio::time::timeout(EMBEDDED_START, listens).await;
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("no answer: {0}")]
    Connect(#[from] ClientConnectError),
    #[error("it took the connection, and did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    #[error("client options refused: {0}")]
    Options(String),
    #[error("{what} failed: {status}")]
    Prepare { what: &'static str, status: Box<Status> },
}

impl ConnectError {
    /// What it means to those who wait for the connection.
    fn cause(&self) -> Cause {
        match (self, Cause::of(self)) {
            (Self::Silent, _) => Cause::TimedOut(ANSWER_TIMEOUT),
            (_, Cause::Unable(text)) => Cause::NotConnected(text),
            (_, cause) => cause,
        }
    }
}

async fn connect_once(
    connection: ConnectionOptions,
    options: ClientOptions,
    retention: Option<Duration>,
) -> Result<Client, ConnectError> {
    let connecting = tokio::time::timeout(ANSWER_TIMEOUT, Connection::connect(connection));
    let connection = connecting.await.map_err(|_| ConnectError::Silent)??;
    let namespace = options.namespace.clone();
    if let Some(retention) = retention {
        set_retention(&connection, &namespace, retention).await?;
    }
    register_search_attributes(&connection, &namespace).await?;
    search_attributes_are_known(&connection, &namespace).await?;
    Client::new(connection, options).map_err(|error| ConnectError::Options(error.to_string()))
}

async fn set_retention(
    connection: &Connection,
    namespace: &str,
    retention: Duration,
) -> Result<(), ConnectError> {
    let config = NamespaceConfig {
        workflow_execution_retention_ttl: retention.try_into().ok(),
        ..NamespaceConfig::default()
    };
    let request = UpdateNamespaceRequest {
        namespace: namespace.to_owned(),
        config: Some(config),
        ..UpdateNamespaceRequest::default()
    };
    let result = connection.workflow_service().update_namespace(request.into_request()).await;
    result.map(|_| ()).map_err(|status| prepare("setting the namespace's retention", status))
}

/// Registers what is missing. Where that is not allowed (Temporal Cloud), an operator has to: said, not fatal here,
/// since starting a workflow says it again.
async fn register_search_attributes(connection: &Connection, namespace: &str) -> Result<(), ConnectError> {
    let mut service = connection.operator_service();
    let list = ListSearchAttributesRequest { namespace: namespace.to_owned() };
    let known = match service.list_search_attributes(list.into_request()).await {
        Ok(answer) => answer.into_inner().custom_attributes,
        Err(status) if is_not_allowed(&status) => return not_registered(namespace, &status),
        Err(status) => return Err(prepare("listing the search attributes", status)),
    };
    let missing = search_attributes::ALL.iter().filter(|key| !known.contains_key(key.name()));
    let search_attributes: std::collections::HashMap<String, i32> =
        missing.map(|key| (key.name().to_owned(), key.indexed_value_type() as i32)).collect();
    if search_attributes.is_empty() {
        return Ok(());
    }
    let add = AddSearchAttributesRequest { search_attributes, namespace: namespace.to_owned() };
    match service.add_search_attributes(add.into_request()).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) if is_not_allowed(&status) => not_registered(namespace, &status),
        Err(status) => Err(prepare("registering the search attributes", status)),
    }
}

/// Waits until the server's own caches have them: until then it would refuse alerts.
async fn search_attributes_are_known(connection: &Connection, namespace: &str) -> Result<(), ConnectError> {
    let query = search_attributes::ALL.map(|key| format!("{} = ''", key.name())).join(" AND ");
    let request = CountWorkflowExecutionsRequest { namespace: namespace.to_owned(), query };
    let deadline = Instant::now() + KNOWN_TIMEOUT;
    loop {
        let count = request.clone().into_request();
        match connection.workflow_service().count_workflow_executions(count).await {
            Err(status) if status.code() == Code::InvalidArgument && Instant::now() < deadline => {
                tokio::time::sleep(KNOWN_INTERVAL).await;
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                return Err(prepare("looking for the search attributes", status));
            }
            // What else can go wrong with counting says nothing about them.
            _ => return Ok(()),
        }
    }
}

fn not_registered(namespace: &str, status: &Status) -> Result<(), ConnectError> {
    let names = search_attributes::ALL.map(|key| key.name().to_owned()).join(", ");
    tracing::warn!(
        namespace,
        %status,
        "search attributes cannot be registered from here: if they are not there yet, create {names} (Keyword)"
    );
    Ok(())
}

fn is_not_allowed(status: &Status) -> bool {
    matches!(status.code(), Code::PermissionDenied | Code::Unimplemented | Code::Unauthenticated)
}

fn prepare(what: &'static str, status: Status) -> ConnectError {
    ConnectError::Prepare { what, status: Box::new(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::operator_file::tests::are_refused_in_time;

    #[test]
    fn files_of_the_environment_that_hold_up_are_refused_with_their_variable() {
        are_refused_in_time("temporal.toml", |path| {
            let named = [("TEMPORAL_CONFIG_FILE", path.to_owned())];
            let error = from_environment(&named, |_| -> Result<(), _> { panic!("it is read") }).unwrap_err();
            let text = error.to_string();
            let expected = format!("TEMPORAL_CONFIG_FILE={} cannot be read", path.display());
            assert!(text.contains(&expected), "{text}");
            text
        });
    }
}
