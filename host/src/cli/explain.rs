//! `campanile explain-alert`: what a source makes of a request, alert by alert, who would get it, and what would be taken for a
//! repeat of it. Needs no running host, and posts nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use campanile_store::life::Policy;
use clap::Args;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use super::outline::field;
use super::output::say;
use crate::alert::{Alert, Sender};
use crate::app::{Kept, plugin_config, unusable};
use crate::config::{Config, ConfigFile, Flags};
use crate::fault::Fault;
use crate::life_table;
use crate::plugin::{Decoded, PluginConfig, Registry, Role, SourceRequest};
use crate::routing::Router;
use crate::webhook::{DryRun, KeyConfig, read_body, read_decoded, read_posted};

/// The name of what `/webhook/alerts` takes, which needs no plugin.
const ALERTS: &str = "alerts";
/// How long a plugin directory may be unreadable.
const DIRECTORY_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// A request's body; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The source that it would be posted to
    #[arg(long, default_value = ALERTS)]
    source: String,
    /// What the client puts behind the source's address, such as /api/v2/alerts
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// A header of the request, as `name: value`; can be given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Configuration file
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Plugin directory [default: plugins.d]
    #[arg(long, env = "CAMPANILE_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
}

/// Reads `name: value`.
fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let named = text.split_once(':').and_then(|(name, value)| {
        Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
    });
    named.with_context(|| format!("{text:?} is not a header such as `content-type: application/json`"))
}

impl Explain {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let body = super::read_input(&self.file)
            .with_context(|| format!("{} cannot be read", self.file.display()))?;
        let (config, plugins) = (self.config.clone(), self.plugins.clone());
        let config = Config::load(Flags { config, plugins, ..Flags::default() })?;
        let (router, _) = config.router(false).map_err(|faults| unusable(&faults))?;
        let read = self.read(&config, body).await?;
        for warning in &read.warnings {
            say!("warning: {warning}");
        }
        let refusal = read.refusal();
        if refusal.is_none() || !read.alerts.is_empty() {
            self.show(&read, &self.known_by(&config.file, &router), &router);
        }
        if let Some(refusal) = refusal {
            bail!("{} refuses it: {refusal}", self.source);
        }
        let is_good = read.alerts.iter().all(|read| read.alert.is_ok());
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Prints what would be taken, alert by alert.
    fn show(&self, DryRun { alerts, delivery_id, .. }: &DryRun, known: &KnownBy, router: &Router) {
        if let Some(id) = delivery_id {
            say!("the delivery is {id}: a repeat of it is recognised, and runs nothing again");
        }
        let left_out = alerts.iter().filter(|read| read.alert.is_err()).count();
        say!("alerts: {}", alerts.len() - left_out);
        if left_out > 0 {
            say!("left out: {left_out}");
        }
        for (index, read) in alerts.iter().enumerate() {
            say!();
            // A source counts the entries of a body, of which it may leave out some, as its warnings say.
            match self.source.as_str() {
                ALERTS => say!("alerts[{index}]"),
                source => say!("alert {} of {} that {source} found", index + 1, alerts.len()),
            }
            read.odd.iter().for_each(|line| say!("  warning: {line}"));
            explain(&read.alert, delivery_id.is_some(), known, router);
        }
    }

    /// Reads the request as the webhook does.
    async fn read(&self, config: &Config, body: Vec<u8>) -> anyhow::Result<DryRun> {
        let (webhook, headers) = (&config.file.webhook, HeaderMap::from_iter(self.headers.clone()));
        let body = read_body(&headers, body, webhook.body_limit, webhook.body_limits())?;
        match self.source.as_str() {
            ALERTS => Ok(read_posted(&headers, &body)?),
            source => Ok(read_decoded(source, self.decode(config, body.into()).await?)?),
        }
    }

    async fn decode(&self, config: &Config, body: Vec<u8>) -> anyhow::Result<Decoded> {
        let source = config.file.sources.get(&self.source);
        let name = source.and_then(|source| source.plugin.as_deref()).unwrap_or(&self.source);
        let plugins = plugin_config(config, Kept::default()).map_err(|faults| unusable(&faults))?;
        let plugins = PluginConfig { cache_dir: None, roles: &Role::RECEIVING, ..plugins };
        let registry = Registry::open(plugins)?;
        while tokio::time::timeout(DIRECTORY_PATIENCE, registry.first_pass()).await.is_err() {
            if let Some(why) = registry.why_unreadable() {
                bail!("{why}");
            }
        }
        let plugin = registry.get(Role::Source, name)?;
        // The body is unpacked already.
        let headers = self.headers.iter().filter(|(name, _)| name != CONTENT_ENCODING);
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        let (method, path) = ("POST".to_owned(), self.path.clone());
        let request = SourceRequest { method, path, headers: headers.collect(), body };
        plugin
            .decode(request, Sender::host(), "explain")
            .await
            .result
            .with_context(|| format!("{name} cannot read this"))
    }

    /// By what the store would recognise the alerts.
    fn known_by(&self, file: &ConfigFile, router: &Router) -> KnownBy {
        let opens_alerts = |key: &KeyConfig| key.sources.iter().any(|open| open == "*" || open == ALERTS);
        let scope = match self.source.as_str() {
            ALERTS if file.keys.values().any(opens_alerts) => "the scope of its key".to_owned(),
            source => source.to_owned(),
        };
        let source = file.sources.get(&self.source).cloned().unwrap_or_default();
        let micros = |span: SignedDuration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4);
        let policy = Policy {
            repeat_window: micros(file.webhook.repeat_window),
            replicas: micros(source.replicas_or_default(&self.source)),
            hold_down: micros(router.hold_down().unwrap_or_default()),
        };
        KnownBy { scope, policy }
    }
}

/// By what the store would recognise alerts.
struct KnownBy {
    /// Among what their keys count.
    scope: String,
    policy: Policy,
}

fn explain(alert: &Result<Alert, Vec<Fault>>, is_delivery_known: bool, known: &KnownBy, router: &Router) {
    match alert {
        Ok(alert) => {
            say!("  {}, {}: {}", alert.severity, alert.status, alert.title);
            show_fields(alert);
            show_identity(alert, is_delivery_known, known);
            explain_routes(router, alert);
        }
        Err(faults) => faults.iter().for_each(|fault| say!("  left out: {fault}")),
    }
}

/// The alert as processors get it, but for what its first line says.
fn show_fields(alert: &Alert) {
    // An alert came from JSON, so it goes back into JSON.
    let document = serde_json::to_value(alert).unwrap_or_default();
    let fields = document.as_object().into_iter().flatten();
    let is_shown = |name: &str, value: &serde_json::Value| {
        !["title", "severity", "status"].contains(&name) && value != ""
    };
    let fields = fields.filter(|(name, value)| is_shown(name, value));
    fields.flat_map(|(name, value)| field(name, value)).for_each(|line| say!("  {line}"));
}

/// Each route that is asked, as if no processor changed the alert.
fn explain_routes(router: &Router, alert: &Alert) {
    if !router.has_routes() {
        return say!("  there are no routes: every enabled plugin gets it whose `when` takes it");
    }
    // An alert came from JSON, so it goes back into JSON.
    let document = serde_json::to_value(alert).unwrap_or_default();
    let (routed, visits) = router.route(&document, Timestamp::now());
    for visit in &visits {
        say!("  {:indent$}{}", "", visit.explained(&document), indent = 2 * visit.depth);
    }
    say!("  → {routed}");
}

/// What the post would become: the first row that holds.
fn show_identity(alert: &Alert, is_delivery_known: bool, known: &KnownBy) {
    let field = if alert.id.is_some() { "id" } else { "dedup_key" };
    let Some(key) = alert.identity() else {
        return match is_delivery_known {
            true => say!("  has no identity of its own: only the delivery tells a duplicate"),
            false => say!("  has no identity: every post of it is another alert"),
        };
    };
    let within = if alert.secret_scope.is_some() { ", within a credential of the sender" } else { "" };
    say!("  is known by {field} {key:?} of {}{within}, and becomes", known.scope);
    for row in life_table::rows(alert, known.policy) {
        say!("    {}: {}", row.becomes.as_str(), row.when);
    }
}
