//! `campanile keys …`: keys that open the webhook.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use toml::Value;

use super::output::{self, say};
use crate::operator_file;
use crate::scope::name_fault;
use crate::webhook::NewKey;

#[derive(Args, Debug)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key: it is printed once, alone on standard output; standard error has the lines for the configuration
    #[command(after_help = "Example:\n  KEY=$(campanile keys new prometheus-eu --sources alertmanager)")]
    New(New),
}

impl Keys {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::New(new) => new.run(),
        }
    }
}

#[derive(Args, Debug)]
struct New {
    /// Whose it is, such as prometheus-eu: logs and ledgers show the name
    name: String,
    /// Where it lets post: names of sources, `alerts` for /webhook/alerts, `*` for all [default: * without --admin]
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    sources: Vec<String>,
    /// Among what the alerts count that it posts to /webhook/alerts; that of the key which it is to replace [default: NAME]
    #[arg(long)]
    scope: Option<String>,
    /// Let it see and steer plugins and alerts
    #[arg(long)]
    admin: bool,
    /// Let it stand in a URL, for senders that can set nothing else
    #[arg(long)]
    in_url: bool,
    /// Add the lines to this file, for `serve --keys-file`
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Do nothing if the file has a key of this name
    #[arg(long, requires = "file")]
    if_missing: bool,
}

impl New {
    fn run(mut self) -> anyhow::Result<ExitCode> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(is_name) {
            bail!("{:?} is not a name: letters, digits, - and _", self.name);
        }
        if let Some(fault) = self.scope.as_deref().and_then(name_fault) {
            bail!("--scope: {fault}");
        }
        if self.sources.is_empty() && !self.admin {
            self.sources.push("*".to_owned());
        }
        if let Some(file) = &self.file
            && self.is_in(file)?
        {
            let text = format!("{} has a key {} already", file.display(), self.name);
            if !self.if_missing {
                bail!("{text}");
            }
            output::note(text);
            return Ok(ExitCode::SUCCESS);
        }
        let NewKey { key, hash } = NewKey::make();
        if let Some(file) = &self.file {
            self.add(file, &hash).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        say!("{key}");
        output::note("# This is the only time that the key is shown; the host keeps its hash.");
        match &self.file {
            None => output::note(format_args!(
                "# For the host's configuration:\n\n[keys.{}]\n{}",
                self.name,
                self.lines(&hash)
            )),
            Some(file) => output::note(format_args!("# Added to {}.", file.display())),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn is_in(&self, file: &Path) -> anyhow::Result<bool> {
        let text = match operator_file::read_text(file, operator_file::LIST) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let keys: toml::Table = text.parse().with_context(|| format!("{} is not TOML", file.display()))?;
        Ok(keys.contains_key(&self.name))
    }

    fn add(&self, file: &Path, hash: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
        write!(file, "[{}]\n{}\n", self.name, self.lines(hash))?;
        file.sync_all()
    }

    fn lines(&self, hash: &str) -> String {
        let mut lines = format!("hash = \"{hash}\"\n");
        if let Some(scope) = &self.scope {
            lines.push_str(&format!("scope = {}\n", Value::from(scope.as_str())));
        }
        if !self.sources.is_empty() {
            let sources = Value::from(self.sources.clone());
            lines.push_str(&format!("sources = {sources}\n"));
        }
        for (name, is_set) in [("admin", self.admin), ("in-url", self.in_url)] {
            if is_set {
                lines.push_str(&format!("{name} = true\n"));
            }
        }
        lines
    }
}
