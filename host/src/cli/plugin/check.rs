//! `campanile plugin check`: what a host would make of a component, and what to write so that it gets what it asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::app::{Kept, plugin_config, unusable};
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
                    println!("{}", report(file, &checked, &secrets));
                }
                Err(why) => {
                    println!("{why}\n");
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

fn report(file: &Path, checked: &Checked, secrets: &BTreeMap<String, SecretConfig>) -> String {
    let shown = file.display();
    let mut text = match &checked.refused {
        None => format!("{shown}: a host would load it\n"),
        Some(refused) => {
            format!("{shown}: a host would refuse it\n\n  {}: {}\n", refused.file, refused.reason)
        }
    };
    if let Some(profile) = &checked.profile {
        let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        text += &format!("\n{}{}", about(profile, size), wishes(&checked.name, profile));
        text += &to_paste(&checked.name, profile, secrets);
    }
    text
}

fn about(profile: &Profile, size: u64) -> String {
    let Profile { role, contract, version, summary, digest, sidecar, .. } = profile;
    let called = match (sidecar.enabled, &sidecar.when) {
        (false, _) => "never: enabled = false",
        (true, Some(when)) => &format!("if {when}"),
        (true, None) => "for every alert",
    };
    let size = size.div_ceil(1024);
    let mut text = format!(
        "  role     {role}, contract {contract}\n  version  {version}\n  summary  {summary}\n  size     {size} KiB\n  \
         digest   {digest}\n  called   {called}\n"
    );
    if let Some(bounds) = &profile.bounds {
        text += &format!("  limits   {bounds}\n");
    }
    text
}

fn wishes(name: &str, profile: &Profile) -> String {
    if profile.wishes.is_empty() {
        return "\n  asks for nothing by itself; what its settings lead it to is granted by you\n".to_owned();
    }
    let line = |wish: &crate::plugin::Wish| match &wish.verdict {
        Verdict::Granted => format!("  asks for {}: granted\n", wish.what),
        Verdict::Missing => format!("  asks for {}: not granted by {name}.toml\n", wish.what),
        Verdict::Impossible(why) => format!("  asks for {}: cannot be granted, {why}\n", wish.what),
    };
    format!("\n{}", profile.wishes.iter().map(line).collect::<String>())
}

/// Lines for the sidecar and for the host's configuration; nothing if nothing is missing.
fn to_paste(name: &str, profile: &Profile, secrets: &BTreeMap<String, SecretConfig>) -> String {
    let mut text = String::new();
    if !profile.settings.is_empty() {
        text +=
            &format!("\nit needs settings; in {name}.toml:\n\n[config]\n{}\n", profile.settings.join("\n"));
    }
    if let Some(grants) = profile.completed_grants() {
        let lists = [
            ("http", &grants.http),
            ("secrets", &grants.secrets),
            ("private-networks", &grants.private_networks),
            ("mail", &grants.mail),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let lines: String = lists.map(|(key, list)| format!("{key} = {}\n", array(list))).collect();
        text += &format!(
            "\nto grant all of it, in {name}.toml, instead of a table [grants] that is there:\n\n[grants]\n{lines}"
        );
    }
    for secret in profile.undefined_secrets(secrets) {
        text += &format!(
            "\nthe secret {secret} is not known; in the host's configuration, with the value in a variable or a file:\n\n\
             [secrets.{secret}]\nenv = \"{secret}\"\nhosts = {}\n",
            array(&profile.hosts())
        );
    }
    text
}

/// A list of texts as TOML writes it.
fn array(texts: &[String]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}
