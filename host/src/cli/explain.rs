//! `campanile explain-alert`: what a source makes of a request, and what would be taken for a repeat of it. Needs no running
//! host, and posts nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::output::say;
use crate::alert::{Alert, Sender, Status, resolve_id, timed_id};
use crate::app::{Kept, plugin_config, unusable};
use crate::config::{Config, Flags};
use crate::plugin::{Decoded, PluginConfig, Registry, Role, SourceRequest};
use crate::routing::Router;
use crate::scope::Scope;
use crate::webhook::read_alert;

/// The name of what `/webhook/alerts` takes, which needs no plugin.
const ALERTS: &str = "alerts";
/// How long a plugin directory may be unreadable.
const DIRECTORY_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// A request's body
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The source that it would be posted to
    #[arg(long, default_value = ALERTS)]
    source: String,
    /// What the client puts behind the source's address, such as /api/v2/alerts
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// A header of the request, as `name: value`; can be given several times
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

impl Explain {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let body =
            std::fs::read(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
        let config = Config::load(self.flags.clone())?;
        let window = config.file.webhook.repeat_window;
        let (router, _) = config.router(false).map_err(|faults| unusable(&faults))?;
        let decoded = match self.source.as_str() {
            ALERTS => posted(&body)?,
            _ => self.decode(&config, body).await?,
        };
        for warning in &decoded.warnings {
            say!("warning: {warning}");
        }
        if let Some(id) = &decoded.delivery_id {
            say!("the delivery is {id}: a repeat of it is recognised, and runs nothing again");
        }
        say!("alerts: {}", decoded.alerts.len());
        let mut is_good = true;
        for (index, text) in decoded.alerts.iter().enumerate() {
            say!();
            say!("alerts[{index}]");
            is_good &= self.explain(text, decoded.delivery_id.is_some(), window, &router);
        }
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        let headers = self.headers.iter().map(|header| match header.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec())),
            None => bail!("{header:?} is not a header such as `content-type: application/json`"),
        });
        let headers = headers.collect::<anyhow::Result<_>>()?;
        let request = SourceRequest { method: "POST".to_owned(), path: self.path.clone(), headers, body };
        plugin
            .decode(request, Sender::host(), "explain")
            .await
            .result
            .with_context(|| format!("{name} cannot read this"))
    }

    /// Whether the alert can be used.
    fn explain(&self, text: &str, is_delivery_known: bool, window: SignedDuration, router: &Router) -> bool {
        match read_alert(text, "") {
            Ok((alert, odd)) => {
                odd.iter().for_each(|line| say!("  warning: {line}"));
                say!("  {}, {}: {}", alert.severity, alert.status, alert.title);
                say!("  {}", identity(self.scope(), &alert, is_delivery_known, window));
                explain_routes(router, &alert);
                true
            }
            Err(faults) => {
                faults.iter().for_each(|fault| say!("  left out: {fault}"));
                false
            }
        }
    }

    /// That of the alerts which come by this source.
    fn scope(&self) -> Scope<'_> {
        Scope::of_alerts((self.source != ALERTS).then_some(&*self.source))
    }
}

/// The alerts of a request to `/webhook/alerts`.
fn posted(body: &[u8]) -> anyhow::Result<Decoded> {
    let (document, warnings) = campanile_lenient::read(body).context("the body is not JSON")?;
    let alerts = match &document["alerts"] {
        Value::Array(alerts) => alerts.clone(),
        _ => vec![document.clone()],
    };
    let delivery_id = document["batch_id"].as_str().map(str::to_owned);
    let alerts = alerts.iter().map(Value::to_string).collect();
    Ok(Decoded { alerts, warnings, delivery_id, ..Decoded::default() })
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
        say!("  {:indent$}{visit}", "", indent = 2 * visit.depth);
    }
    say!("  → {routed}");
}

fn identity(scope: Scope<'_>, alert: &Alert, is_delivery_known: bool, window: SignedDuration) -> String {
    let field = if alert.id.is_some() { "id" } else { "dedup_key" };
    match (alert.identity(), alert.starts_at) {
        (Some(key), Some(start)) => {
            let firing = timed_id(scope, key, start);
            let id = if alert.status == Status::Resolved { resolve_id(&firing) } else { firing };
            format!(
                "is {id}, by {field} and starts_at: posted again it is a repeat, for as long as Temporal keeps it"
            )
        }
        (Some(key), None) if alert.status == Status::Firing => format!(
            "is known by {field} {key:?}: posted again within {window:#} it is a repeat, unless it was resolved or is worse"
        ),
        (Some(key), None) => format!("ends the latest alert with the {field} {key:?}"),
        (None, _) if is_delivery_known => {
            "has no identity of its own: only the delivery tells a repeat".to_owned()
        }
        (None, _) => "has no identity: every post of it is another alert".to_owned(),
    }
}
