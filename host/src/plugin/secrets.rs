//! Secrets that plugins use and never see. A plugin's configuration holds the placeholder `${secret:NAME}`; the plugin
//! puts that text into the path, the query or a header of a request, and the host fills in the value just before it
//! sends, if the plugin's sidecar grants the name and the host's configuration lets that secret go to that host.
//!
//! | `kind` | where the placeholder goes | what the host sends |
//! |---|---|---|
//! | `text` | path, query, any header | the value; in a URL percent-encoded, except `/` in the path |
//! | `bearer` | header `authorization`, alone or behind `Bearer` | `Bearer <value>` |
//! | `basic` | header `authorization`, alone or behind `Basic` | `Basic base64(<username>:<value>)` |
//! | `standard-webhooks` | header `webhook-signature`, beside `webhook-id` | the signature, and `webhook-timestamp` |

mod fill;
mod sign;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::grants::{HostPattern, host_of};
use crate::fault::Fault;

pub(super) use fill::placeholder;
pub(super) use sign::Signer;

/// One table `[secrets.NAME]` of the host's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretConfig {
    /// The environment variable that holds the value. Either this or `file`.
    #[serde(default)]
    pub env: Option<String>,
    /// The file that holds the value; line breaks at its end do not count.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// How the value is used.
    #[serde(default)]
    pub kind: SecretKind,
    /// Where it may go: `hooks.slack.com`, `*.example.com`, `10.0.0.1:8080`; any port unless one is given. Only by HTTPS,
    /// except on loopback; `http://` in front allows it in clear text.
    pub hosts: Vec<String>,
    /// The user's name; for `kind = "basic"` only.
    #[serde(default)]
    pub username: Option<String>,
}

/// How a secret is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// As it is, in path, query or header.
    #[default]
    Text,
    /// As a bearer token.
    Bearer,
    /// As the password of HTTP basic authentication.
    Basic,
    /// As the key that signs the body in the Standard Webhooks form; the value itself is never sent.
    StandardWebhooks,
}

/// Every secret of the host, read once. Cheap to clone; its `Debug` shows names only.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    secrets: Arc<BTreeMap<String, Secret>>,
}

/// One secret. `SecretString` keeps the value out of `Debug` and wipes it from memory in the end.
#[derive(Debug)]
struct Secret {
    value: SecretString,
    kind: SecretKind,
    username: String,
    destinations: Vec<Destination>,
}

impl Secrets {
    /// Reads every secret's value, from the environment or its file.
    ///
    /// # Errors
    /// All that is wrong with the tables, with paths such as `secrets.SLACK_PATH.file`; no value is repeated.
    pub fn load(config: BTreeMap<String, SecretConfig>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut secrets = BTreeMap::new();
        for (name, table) in config {
            match Secret::load(&name, table) {
                Ok(secret) => _ = secrets.insert(name, secret),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(Self { secrets: Arc::new(secrets) }) } else { Err(faults) }
    }
}

impl Secret {
    fn load(name: &str, config: SecretConfig) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults { name, found: Vec::new() };
        if !is_name(name) {
            faults.add("", format!("\"{name}\" is not a name: letters, digits, _ and -, at most 64"));
        }
        let destinations = destinations(&config.hosts, &mut faults);
        check_username(&config, &mut faults);
        let value = read(&config).and_then(|value| usable(value, config.kind));
        match value {
            Ok(value) if faults.found.is_empty() => Ok(Self {
                value: value.into(),
                kind: config.kind,
                username: config.username.unwrap_or_default(),
                destinations,
            }),
            Ok(_) => Err(faults.found),
            Err((key, message)) => {
                faults.add(key, message);
                Err(faults.found)
            }
        }
    }

    fn value(&self) -> &str {
        self.value.expose_secret()
    }
}

struct Faults<'a> {
    name: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, key: &str, message: String) {
        let dot = if key.is_empty() { "" } else { "." };
        self.found.push(Fault { path: format!("secrets.{}{dot}{key}", self.name), value: None, message });
    }
}

/// Whether this can be the name of a secret, and so stand in a placeholder.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(fill::is_name_byte)
}

fn check_username(config: &SecretConfig, faults: &mut Faults<'_>) {
    match (&config.username, config.kind) {
        (None, SecretKind::Basic) => faults.add("username", "is required for kind = \"basic\"".to_owned()),
        (Some(name), SecretKind::Basic) if name.contains(|odd: char| odd == ':' || odd.is_control()) => {
            faults.add(
                "username",
                "holds a colon or control character, which HTTP basic authentication forbids".to_owned(),
            );
        }
        (Some(_), SecretKind::Text | SecretKind::Bearer | SecretKind::StandardWebhooks) => {
            faults.add("username", "has a meaning for kind = \"basic\" only".to_owned());
        }
        _ => {}
    }
}

/// The value as it is configured, or the key at fault and what is wrong.
fn read(config: &SecretConfig) -> Result<String, (&'static str, String)> {
    let (key, text) = match (&config.env, &config.file) {
        (Some(variable), None) => ("env", from_environment(variable)),
        (None, Some(file)) => {
            let text = fs::read_to_string(file)
                .map_err(|error| format!("{} cannot be read: {error}", file.display()));
            ("file", text)
        }
        _ => return Err(("", "needs either env = \"VARIABLE\" or file = \"/path\"".to_owned())),
    };
    let text = text.map_err(|message| (key, message))?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        return Err((key, "leads to an empty value".to_owned()));
    }
    Ok(value.to_owned())
}

/// The value of an environment variable, or why there is none. Names that no variable can have are refused first, since
/// the standard library panics on them.
pub(super) fn from_environment(variable: &str) -> Result<String, String> {
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return Err(format!("\"{variable}\" is not the name of an environment variable"));
    }
    env::var(variable).map_err(|error| match error {
        env::VarError::NotPresent => format!("the environment variable {variable} is not set"),
        env::VarError::NotUnicode(_) => format!("the environment variable {variable} is not UTF-8"),
    })
}

fn usable(value: String, kind: SecretKind) -> Result<String, (&'static str, String)> {
    let usable = match kind {
        SecretKind::StandardWebhooks => sign::is_key(&value),
        SecretKind::Text | SecretKind::Bearer | SecretKind::Basic => !value.contains(char::is_control),
    };
    match (usable, kind) {
        (true, _) => Ok(value),
        (false, SecretKind::StandardWebhooks) => Err((
            "",
            "is not a Standard Webhooks key: base64, with or without whsec_ in front; make one with \
             `openssl rand -base64 32`"
                .to_owned(),
        )),
        (false, _) => Err(("", "holds a control character, such as a line break inside".to_owned())),
    }
}

/// Where a secret may go: one entry of `hosts`.
#[derive(Debug)]
struct Destination {
    host: HostPattern,
    /// Any port if absent.
    port: Option<u16>,
    clear_text: bool,
}

impl Destination {
    fn parse(text: &str) -> Result<Self, String> {
        let (clear_text, authority) = match text.strip_prefix("http://") {
            Some(authority) => (true, authority),
            None => (false, text.strip_prefix("https://").unwrap_or(text)),
        };
        let (host, port) = HostPattern::parse_authority(authority)?;
        Ok(Self { host, port, clear_text })
    }

    fn matches(&self, url: &Url) -> bool {
        self.host.matches(url) && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    /// Whether what is sent stays between the two ends.
    fn is_private(&self, url: &Url) -> bool {
        self.clear_text || url.scheme() == "https" || host_of(url).is_some_and(|host| is_loopback(&host))
    }
}

fn destinations(hosts: &[String], faults: &mut Faults<'_>) -> Vec<Destination> {
    if hosts.is_empty() {
        faults
            .add("hosts", "is empty; name where the secret may go, such as [\"hooks.slack.com\"]".to_owned());
    }
    let mut destinations = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        match Destination::parse(host) {
            Ok(destination) => destinations.push(destination),
            Err(message) => faults.add(&format!("hosts[{index}]"), message),
        }
    }
    destinations
}

/// Whether a host is this machine by its very name.
pub(super) fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests;
