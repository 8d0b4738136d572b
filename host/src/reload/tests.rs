use std::path::Path;

use super::*;
use crate::app::{Kept, plugin_config};
use crate::config::Flags;
use crate::webhook::NewKey;

/// A configuration in force, as a host without Temporal would have it.
struct Host {
    directory: tempfile::TempDir,
    config: Config,
    in_force: InForce,
    reloads: Reloads,
}

const FEW: &str = "calls.concurrency = 2\n";

impl Host {
    fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), text);
        let path = |name: &str| Some(directory.path().join(name));
        let flags = Flags {
            config: path("campanile.toml"),
            plugins: path("plugins.d"),
            data_dir: path("data"),
            ..Flags::default()
        };
        let config = Config::load(flags).unwrap();
        let plugins = plugin_config(&config, Kept::read(&config).unwrap()).unwrap();
        let in_force = InForce {
            routing: Routing::default(),
            registry: Registry::open(plugins).unwrap(),
            access: Live::read(&config).unwrap().access.into(),
        };
        Self { directory, config, in_force, reloads: Reloads::default() }
    }

    /// Changes the file, and gives what is refused of it.
    fn change(&self, text: &str) -> Option<String> {
        write(self.directory.path(), text);
        self.reloads.take(&self.config, &self.in_force);
        self.reloads.refused().map(|refused| refused.reason)
    }

    fn asks(&self) -> bool {
        self.in_force.access.current().asks()
    }
}

fn write(directory: &Path, text: &str) {
    std::fs::write(directory.join("campanile.toml"), format!("{FEW}{text}")).unwrap();
}

#[tokio::test]
async fn keys_and_routes_are_taken_over_together_or_not_at_all() {
    let host = Host::start("");
    let hash = NewKey::make().hash;
    let key = format!("[keys.a]\nhash = '{hash}'\nsources = ['alerts']\n");
    let refused = host.change(&format!("{key}[[routes]]\nreceivers = ['nobody']")).unwrap();
    assert!(refused.starts_with("routes[0].receivers[0]: nobody is neither"), "{refused}");
    assert!(!host.asks() && !host.in_force.routing.current().has_routes());

    let twice = format!("{key}{}", key.replace("keys.a", "keys.b"));
    let refused = host.change(&format!("{twice}[[routes]]\nreceivers = []")).unwrap();
    assert!(refused.starts_with("keys.b.hash: is the hash of keys.a, too"), "{refused}");
    assert!(!host.asks() && !host.in_force.routing.current().has_routes());

    assert_eq!(host.change(&format!("{key}[[routes]]\nreceivers = []")), None);
    assert!(host.asks() && host.in_force.routing.current().has_routes());
}

/// `/health` is open to everybody.
#[tokio::test]
async fn health_names_the_place_and_no_value() {
    let host = Host::start("");
    let secret = "hunter2-secret-pw";
    for (text, place) in [
        (
            format!("[mail]\nhost = 'smtp.example.com'\nfrom = 'a@example.com'\npassword = '{secret}'"),
            "mail.password",
        ),
        (
            format!("[sources.am.signature]\nscheme = 'github'\nsecrets = ['{secret}']"),
            "sources.am.signature.secrets[0]",
        ),
    ] {
        host.change(&text).unwrap();
        let shown = serde_json::to_value(host.reloads.refused()).unwrap();
        assert_eq!(shown["places"], serde_json::json!([place]));
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn a_refusal_is_one_line_with_its_cause() {
    let host = Host::start("");
    let refused = host.change("webhook.body-limit = 'x'\nwebhook.concurrency = 'y'").unwrap();
    assert!(refused.contains(" is not valid: webhook."), "{refused}");
    std::fs::remove_file(host.directory.path().join("campanile.toml")).unwrap();
    host.reloads.take(&host.config, &host.in_force);
    let refused = host.reloads.refused().map(|refused| refused.reason).unwrap();
    assert!(refused.contains("cannot be read: No such file"), "{refused}");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_until_it_is_changed_back() {
    let host = Host::start("");
    let text =
        "webhook.body-limit = 2048\n[store]\nurl = 'postgres://db/alerts'\n[sources.sentry]\nspool = true";
    assert_eq!(host.change(text), None);
    assert_eq!(host.reloads.needs_restart(), ["store.url", "webhook.body-limit"]);
    assert!(host.change("webhook.body-limit = 'x'").is_some());
    assert_eq!(host.reloads.needs_restart(), ["store.url", "webhook.body-limit"]);
    assert_eq!(host.change(""), None);
    assert!(host.reloads.needs_restart().is_empty());
}

#[tokio::test]
async fn the_files_of_secrets_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a-value-of-a-secret").unwrap();
    let text = format!("[secrets.A]\nfile = '{}'\nhosts = ['a.example']", secret.display());
    let host = Host::start(&text);
    assert!(host.config.stamps.contains_key(&secret));
    std::fs::write(&secret, "short").unwrap();
    let refused = host.change(&text).unwrap();
    assert!(refused.starts_with("secrets.A: has 5 characters, fewer than 12"), "{refused}");
    std::fs::remove_file(&secret).unwrap();
    assert!(host.change(&text).unwrap().contains("cannot be read"));
    std::fs::write(&secret, "another-value-of-it").unwrap();
    assert_eq!(host.change(&text), None);
}
