//! `campanile routes …`: who gets what, asked before it is in force. Needs no running host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::output::{self, say};
use crate::app::unusable;
use crate::config::{Config, Flags};
use crate::routing::Router;
use crate::webhook::read_alert;

#[derive(Args, Debug)]
pub(super) struct Routes {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the routes as a tree
    #[command(after_help = "Example:\n  campanile routes show --config campanile.toml")]
    Show(Show),
    /// Show where alerts go, and why
    #[command(after_help = "Example:\n  campanile routes test alert.json --at 2026-11-28T03:00:00Z")]
    Test(Test),
    /// Check a directory of cases, each an alert and who has to get it; exit code 0 if all are right
    #[command(after_help = "Example:\n  campanile routes check cases/ --config campanile.toml")]
    Check(Check),
}

impl Routes {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Show(show) => show.run(),
            Command::Test(test) => test.run(),
            Command::Check(check) => check.run(),
        }
    }
}

#[derive(Args, Debug)]
struct Show {
    #[command(flatten)]
    source: Source,
}

impl Show {
    fn run(self) -> anyhow::Result<ExitCode> {
        output::lines(self.source.router()?);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Args, Debug)]
struct Test {
    /// Files with an alert each, or with a request as /webhook/alerts takes it; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// When the alert comes, for windows and mutes [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    source: Source,
}

impl Test {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (router, at) = (self.source.router()?, self.at.unwrap_or_else(Timestamp::now));
        for file in &self.files {
            for alert in alerts(file)? {
                say!("{}: {}", file.display(), alert["title"].as_str().unwrap_or("an alert"));
                if !router.has_routes() {
                    say!(
                        "  there are no routes: every enabled plugin gets it whose `when` takes it (campanile plugins lists them)"
                    );
                    continue;
                }
                let (routed, visits) = router.route(&alert, at);
                for visit in &visits {
                    say!("{:indent$}{}", "", visit.explained(&alert), indent = 2 + 2 * visit.depth);
                }
                say!("  → {routed}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Args, Debug)]
struct Check {
    /// Files `*.json`, each with `alert`, `receivers`, and where it matters `updaters` and `at`
    #[arg(value_name = "CASES_DIR")]
    directory: PathBuf,
    #[command(flatten)]
    source: Source,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What comes.
    alert: Value,
    /// Who has to get it, in any order.
    receivers: BTreeSet<String>,
    /// Where it has to be written back; not looked at if absent.
    #[serde(default)]
    updaters: Option<BTreeSet<String>>,
    /// When it comes; now if absent.
    #[serde(default)]
    at: Option<Timestamp>,
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let router = self.source.router()?;
        let files = cases(&self.directory)?;
        let mut wrong = 0;
        for file in &files {
            if let Some((why, decisions)) = check(&router, file)? {
                say!("{}: {why}", file.display());
                decisions.iter().for_each(|line| say!("  {line}"));
                wrong += 1;
            }
        }
        say!("{} cases, {wrong} wrong", files.len());
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn cases(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("{} cannot be read", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(unreadable)? {
        files.push(entry.with_context(unreadable)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    if files.is_empty() {
        bail!(
            "{} has no case: put files such as {{\"alert\": {{…}}, \"receivers\": [\"slack\"]}} there, as NAME.json",
            directory.display()
        );
    }
    Ok(files)
}

/// What is wrong with a case, if something is, and each route that was asked.
fn check(router: &Router, file: &Path) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let case: Case = serde_json::from_value(json(file)?)
        .with_context(|| format!("{} is no case with `alert` and `receivers`", file.display()))?;
    let alert = understood(file, &case.alert)?;
    let (routed, visits) = router.route(&alert, case.at.unwrap_or_else(Timestamp::now));
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let (receivers, updaters) = (set(&routed.receivers), set(&routed.updaters));
    let told = if receivers == case.receivers {
        None
    } else {
        Some(format!("goes to [{}], not to [{}]", list(&receivers), list(&case.receivers)))
    };
    let written = case.updaters.filter(|expected| *expected != updaters);
    let written = written
        .map(|expected| format!("is written back by [{}], not by [{}]", list(&updaters), list(&expected)));
    let visits = visits.iter().map(|visit| visit.explained(&alert));
    Ok(told.or(written).map(|why| (why, visits.chain(routed.failed_mutes).collect())))
}

/// Where the routes are.
#[derive(Args, Debug)]
struct Source {
    /// Configuration file
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Plugin directory, where routes look for receivers and updaters [default: plugins.d]
    #[arg(long, env = "CAMPANILE_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
}

impl Source {
    /// The routes that are configured; says what is odd about them.
    fn router(self) -> anyhow::Result<Router> {
        let Self { config, plugins } = self;
        let config = Config::load(Flags { config, plugins, ..Flags::default() })?;
        let (router, odd) = config.router(false).map_err(|faults| unusable(&faults))?;
        odd.iter().for_each(|fault| say!("warning: {fault}"));
        Ok(router)
    }
}

fn json(file: &Path) -> anyhow::Result<Value> {
    let text = super::read_input(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (document, odd) =
        campanile_lenient::read(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    odd.iter().for_each(|line| say!("{}: warning: {line}", file.display()));
    Ok(document)
}

fn alerts(file: &Path) -> anyhow::Result<Vec<Value>> {
    let document = json(file)?;
    let alerts = match document.get("alerts") {
        Some(Value::Array(alerts)) => alerts.clone(),
        _ => vec![document],
    };
    alerts.iter().map(|alert| understood(file, alert)).collect()
}

/// The alert as routes see it: as the webhook would take it.
fn understood(file: &Path, alert: &Value) -> anyhow::Result<Value> {
    let (alert, odd) = read_alert(&alert.to_string(), "").map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}: the alert is not valid: {}", file.display(), faults.join("; "))
    })?;
    odd.iter().for_each(|line| say!("{}: warning: {line}", file.display()));
    Ok(serde_json::to_value(alert)?)
}
