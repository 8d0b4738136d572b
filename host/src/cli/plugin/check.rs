//! `campanile plugin check`: what a host would make of a component, and what to write so that it gets what it asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::app::{Kept, plugin_config, unusable};
use crate::cli::output::{self, say};
use crate::config::{Config, Flags};
use crate::plugin::{Checked, Checker, Profile, SecretConfig, Verdict};

#[derive(Args, Debug)]
pub(super) struct Check {
    /// Components, wherever they lie
    #[arg(required = true, value_name = "FILE.wasm")]
    files: Vec<PathBuf>,
    /// Configuration file: limits, secrets and trusted keys
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = Config::load(Flags { config: self.config, ..Flags::default() })?;
        // To explain a plugin, the names of secrets are enough: their values need not be at hand, nor a mail server.
        let secrets = std::mem::take(&mut config.file.secrets);
        config.file.mail = None;
        let plugins = plugin_config(&config, Kept::default()).map_err(|faults| unusable(&faults))?;
        let checker = Checker::open(plugins).context("the plugin engine cannot be made")?;
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            match checker.file(file).await {
                Ok(checked) => {
                    if checked.refused.is_some() {
                        code = ExitCode::FAILURE;
                    }
                    report(file, &checked, &secrets).iter().for_each(output::line);
                    say!();
                }
                Err(why) => {
                    say!("{why}");
                    say!();
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

/// Line by line: what a plugin says stays within the line that it is in.
fn report(file: &Path, checked: &Checked, secrets: &BTreeMap<String, SecretConfig>) -> Vec<String> {
    let shown = file.display();
    let out_of_reach = out_of_reach(checked);
    let mut lines = match &checked.refused {
        None if out_of_reach.is_empty() => vec![format!("{shown}: a host would load it")],
        None => {
            let mut lines = vec![
                format!("{shown}: a host would load it, and calls with its settings would fail"),
                String::new(),
            ];
            lines.extend(out_of_reach);
            lines
        }
        Some(refused) => vec![
            format!("{shown}: a host would refuse it"),
            String::new(),
            format!("  {}: {}", refused.file, refused.reason),
        ],
    };
    if let Some(profile) = &checked.profile {
        let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        lines.push(String::new());
        lines.extend(about(profile, size));
        lines.extend(wishes(&checked.name, profile));
        lines.extend(to_paste(&checked.name, profile, secrets));
    }
    lines
}

/// What its settings ask for and are not granted, a line each.
fn out_of_reach(checked: &Checked) -> Vec<String> {
    let plugin = checked.plugin.iter();
    let of_plugin = plugin.flat_map(|plugin| {
        let found = plugin.ungranted_in_its_file().into_iter();
        found.map(|fault| format!("  {}: {fault}", plugin.sidecar_file()))
    });
    of_plugin.collect()
}

fn about(profile: &Profile, size: u64) -> Vec<String> {
    let Profile { role, contract, version, summary, digest, sidecar, .. } = profile;
    let called = match (sidecar.enabled, &sidecar.when) {
        (false, _) => "never: enabled = false",
        (true, Some(when)) => &format!("if {when}"),
        (true, None) => "for every alert",
    };
    let size = size.div_ceil(1024);
    let mut lines = vec![
        format!("  role     {role}, contract {contract}"),
        format!("  version  {version}"),
        format!("  summary  {summary}"),
        format!("  size     {size} KiB"),
        format!("  digest   {digest}"),
        format!("  called   {called}"),
    ];
    lines.extend(profile.bounds.iter().map(|bounds| format!("  limits   {bounds}")));
    lines
}

fn wishes(name: &str, profile: &Profile) -> Vec<String> {
    let line = |wish: &crate::plugin::Wish| match &wish.verdict {
        Verdict::Granted => format!("  asks for {}: granted", wish.what),
        Verdict::Missing => format!("  asks for {}: not granted by {name}.toml", wish.what),
        Verdict::Impossible(why) => format!("  asks for {}: cannot be granted, {why}", wish.what),
    };
    let mut lines = vec![String::new()];
    lines.extend(profile.wishes.iter().map(line));
    if profile.wishes.is_empty() {
        lines.push("  asks for nothing by itself; what its settings lead it to is granted by you".to_owned());
    }
    lines
}

/// Lines for the sidecar and for the host's configuration; nothing if nothing is missing.
fn to_paste(name: &str, profile: &Profile, secrets: &BTreeMap<String, SecretConfig>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut part = |head: String, table: String, keys: Vec<String>| {
        lines.extend([String::new(), head, String::new(), table]);
        lines.extend(keys);
    };
    if !profile.settings.is_empty() {
        let settings = profile.settings.clone();
        part(format!("it needs settings; in {name}.toml:"), "[config]".to_owned(), settings);
    }
    if let Some(grants) = profile.completed_grants() {
        let lists = [
            ("http", &grants.http),
            ("secrets", &grants.secrets),
            ("private-networks", &grants.private_networks),
            ("mail", &grants.mail),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let head = format!("to grant all of it, in {name}.toml, instead of a table [grants] that is there:");
        part(
            head,
            "[grants]".to_owned(),
            lists.map(|(key, list)| format!("{key} = {}", array(list))).collect(),
        );
    }
    for secret in profile.undefined_secrets(secrets) {
        let head = format!(
            "the secret {secret} is not known; in the host's configuration, with the value in a variable or a file:"
        );
        let keys = vec![format!("env = \"{secret}\""), format!("hosts = {}", array(&profile.hosts()))];
        part(head, format!("[secrets.{secret}]"), keys);
    }
    lines
}

/// A list of texts as TOML writes it.
fn array(texts: &[String]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::printed;
    use crate::plugin::Role;

    fn checked(text: &str) -> Checked {
        let profile = Profile {
            role: Role::Notifier,
            contract: "0.1.0".to_owned(),
            version: text.to_owned(),
            summary: text.to_owned(),
            digest: "sha256:0".to_owned(),
            bounds: None,
            sidecar: toml::from_str("").unwrap(),
            wishes: Vec::new(),
            settings: vec![format!("{text} = \"…\"  # {text}")],
        };
        Checked { name: "slack".to_owned(), profile: Some(profile), refused: None, plugin: None }
    }

    #[test]
    fn what_a_plugin_says_of_itself_stays_in_its_lines() {
        let lines = |text: &str| {
            let report = report(Path::new("slack.wasm"), &checked(text), &BTreeMap::new());
            printed(|| report.iter().for_each(output::line))
        };
        let nasty = lines("x\n\n[grants]\r\nhttp = [\"*\"]\u{1b}[1A\u{202e}\u{9b}");
        assert_eq!(nasty.len(), lines("x").len());
        assert!(!nasty.iter().any(|line| line.contains(crate::shown::is_unprintable) || line == "[grants]"));
    }
}
