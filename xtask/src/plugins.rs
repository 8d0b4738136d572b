//! The shipped plugins: building them and putting them where the host loads them from.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, run};
use crate::layout::Layout;

/// The plugins in `plugins/`, by the names of their directories and files; their packages are `plugin-<name>`.
pub(crate) const SHIPPED: [&str; 35] = [
    "triage",
    "log",
    "slack",
    "discord",
    "telegram",
    "mattermost",
    "teams",
    "googlechat",
    "ntfy",
    "pushover",
    "pagerduty",
    "opsgenie",
    "jira",
    "sns",
    "webhook",
    "email",
    "http-status",
    "pagerduty-status",
    "jira-status",
    "github-issue",
    "alertmanager-silence",
    "alertmanager",
    "prometheus",
    "grafana",
    "cloudwatch-sns",
    "datadog",
    "pagerduty-events",
    "sentry",
    "azure-monitor",
    "github",
    "gcp-monitoring",
    "uptime-kuma",
    "zabbix",
    "opsgenie-api",
    "json",
];
/// Those that work without an address to send to: what a newcomer sees.
const ENABLED: [&str; 15] = [
    "triage",
    "log",
    "alertmanager",
    "prometheus",
    "grafana",
    "cloudwatch-sns",
    "datadog",
    "pagerduty-events",
    "sentry",
    "azure-monitor",
    "github",
    "gcp-monitoring",
    "uptime-kuma",
    "zabbix",
    "opsgenie-api",
];

/// `cargo <command> -p plugin-triage …`, for the target that plugins are built for.
pub(crate) fn cargo_for_plugins(command: &str) -> Command {
    let mut cargo = cargo();
    cargo.args([command, "--target", "wasm32-wasip2"]);
    cargo.args(SHIPPED.map(|name| format!("--package=plugin-{name}")));
    cargo
}

/// Builds all of them as components.
pub(crate) fn build(layout: &Layout) -> Result<String> {
    run(cargo_for_plugins("build").arg("--release").current_dir(&layout.root))?;
    Ok(format!("{} built", SHIPPED.len()))
}

/// Puts all into `plugins-available`, with the sidecars to copy, and brings those that are enabled up to date.
/// A new plugin directory gets [`ENABLED`]; an old one keeps the choice, and every sidecar, of whoever made it.
pub(crate) fn install(layout: &Layout) -> Result<String> {
    let available = layout.kept().join("plugins-available");
    let loaded = layout.plugins();
    let new = !loaded.is_dir();
    for folder in [&available, &loaded] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut changed = 0;
    for name in SHIPPED {
        let component = layout.plugin(name);
        let file = format!("{name}.wasm");
        put(&component, &available.join(&file))?;
        let sidecar = layout.root.join("plugins").join(name).join(format!("{name}.toml"));
        if sidecar.is_file() {
            put(&sidecar, &available.join(format!("{name}.toml")))?;
        }
        let wanted = if new { ENABLED.contains(&name) } else { loaded.join(&file).is_file() };
        if wanted && put(&component, &loaded.join(&file))? {
            changed += 1;
        }
    }
    Ok(format!("{changed} changed in {}", loaded.display()))
}

/// Copies `file` to `at` by renaming, so that a host that watches never reads half of it. `false` if it was there.
fn put(file: &Path, at: &Path) -> Result<bool> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if fs::read(at).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let half_done = at.with_extension("part");
    fs::write(&half_done, bytes)
        .and_then(|()| fs::rename(&half_done, at))
        .with_context(|| format!("cannot write {}", at.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(folder: &Path) -> Layout {
        let layout =
            Layout { root: folder.join("tree"), target: folder.join("target"), cache: folder.join("cache") };
        for name in SHIPPED {
            let file = layout.plugin(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, name).unwrap();
        }
        let sidecar = layout.root.join("plugins/slack/slack.toml");
        fs::create_dir_all(sidecar.parent().unwrap()).unwrap();
        fs::write(sidecar, "enabled = true").unwrap();
        layout
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_plugin_directory_gets_what_works_without_settings() {
        let folder = tempfile::tempdir().unwrap();
        let layout = built(folder.path());
        install(&layout).unwrap();
        let mut enabled = ENABLED.map(|name| format!("{name}.wasm"));
        enabled.sort();
        assert_eq!(files(&layout.plugins()), enabled);
        assert_eq!(files(&layout.kept().join("plugins-available")).len(), SHIPPED.len() + 1);
    }

    #[test]
    fn the_operators_choice_and_sidecars_stay() {
        let folder = tempfile::tempdir().unwrap();
        let layout = built(folder.path());
        install(&layout).unwrap();
        let plugins = layout.plugins();
        fs::remove_file(plugins.join("log.wasm")).unwrap();
        let sources = ENABLED.iter().filter(|name| !["log", "triage"].contains(name));
        sources.for_each(|name| fs::remove_file(plugins.join(format!("{name}.wasm"))).unwrap());
        fs::write(plugins.join("slack.wasm"), "old").unwrap();
        fs::write(plugins.join("slack.toml"), "enabled = false").unwrap();
        install(&layout).unwrap();
        assert_eq!(files(&plugins), ["slack.toml", "slack.wasm", "triage.wasm"]);
        assert_eq!(fs::read_to_string(plugins.join("slack.wasm")).unwrap(), "slack");
        assert_eq!(fs::read_to_string(plugins.join("slack.toml")).unwrap(), "enabled = false");
    }
}
