//! Secrets that plugins use and never see. A plugin's configuration holds the placeholder `${secret:NAME}`; the plugin
//! puts that text into a request, and the host fills in the value just before it sends, if the plugin's sidecar grants
//! the name and the host's configuration lets that secret go to that host. What comes back is searched for the value.
//!
//! | `kind` | where the placeholder goes | what the host sends |
//! |---|---|---|
//! | `text` | path, query, any header; the body if `secrets-in-body` grants it | the value; in a URL percent-encoded, except `/` in the path; in JSON escaped |
//! | `bearer` | header `authorization`, alone or behind `Bearer` | `Bearer <value>` |
//! | `basic` | header `authorization`, alone or behind `Basic` | `Basic base64(<username>:<value>)` |
//! | `standard-webhooks` | header `webhook-signature`, beside `webhook-id` | the signature, and `webhook-timestamp` |
//! | `sigv4` | header `authorization`, alone | the signature, `x-amz-date`, and what else AWS wants |

mod body;
mod destination;
mod fill;
mod mark;
mod read;
mod scrub;
mod sign;
mod sigv4;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use self::destination::Destination;
use super::grants::Grants;
use crate::fault::Fault;

pub(super) use destination::is_loopback;
pub(super) use fill::placeholder;
pub(super) use mark::Mark;
pub(super) use read::from_environment;
pub use read::read_secret;
pub(super) use scrub::{Scrubber, Scrubbing};
pub(super) use sign::{Signer, Unsigned};

/// One table `[secrets.NAME]` of the host's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The access key that the value belongs to, such as `AKIAIOSFODNN7EXAMPLE`; for `kind = "sigv4"` only.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// The AWS region that is signed for, such as `eu-central-1`; for `kind = "sigv4"` only.
    #[serde(default)]
    pub region: Option<String>,
    /// The AWS service that is signed for, such as `sns`; for `kind = "sigv4"` only.
    #[serde(default)]
    pub service: Option<String>,
    /// The environment variable that holds the session token of a temporary key; for `kind = "sigv4"` only.
    #[serde(default)]
    pub session_token_env: Option<String>,
    /// The file that holds it, instead of a variable.
    #[serde(default)]
    pub session_token_file: Option<PathBuf>,
}

/// How a secret is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// As it is, in path, query, header, or a body that is granted.
    #[default]
    Text,
    /// As a bearer token.
    Bearer,
    /// As the password of HTTP basic authentication.
    Basic,
    /// As the key that signs the body in the Standard Webhooks form; the value itself is never sent.
    StandardWebhooks,
    /// As the secret access key that signs the request for AWS (Signature Version 4); the value itself is never sent.
    Sigv4,
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
    usage: Usage,
    destinations: Vec<Destination>,
}

/// A kind, with what belongs to it.
#[derive(Debug)]
enum Usage {
    Text,
    Bearer,
    Basic { username: String },
    StandardWebhooks,
    Sigv4(sigv4::Scope),
}

impl Usage {
    /// Whether nothing is sent that others could use again: only a signature made with the value.
    fn only_signs(&self) -> bool {
        match self {
            Self::StandardWebhooks => true,
            Self::Sigv4(scope) => scope.session_token().is_none(),
            Self::Text | Self::Bearer | Self::Basic { .. } => false,
        }
    }
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
            match read::secret(&name, table) {
                Ok(secret) => _ = secrets.insert(name, secret),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(Self { secrets: Arc::new(secrets) }) } else { Err(faults) }
    }

    /// Says which secrets a plugin is granted that are not declared: requests that use them will be refused, and everything
    /// else goes on.
    pub(super) fn say_undeclared(&self, plugin: &str, grants: &Grants) {
        for name in grants.secrets().filter(|name| !self.secrets.contains_key(*name)) {
            tracing::warn!(
                plugin,
                "secret {name} is granted but not declared; add [secrets.{name}] to the host's configuration"
            );
        }
    }

    /// Says which secrets are declared and granted to none of the plugins: there may be a typing error.
    pub(super) fn say_unused<'a>(&self, grants: impl Iterator<Item = &'a Grants>) {
        let used: BTreeSet<_> = grants.flat_map(Grants::secrets).collect();
        for name in self.secrets.keys().filter(|name| !used.contains(name.as_str())) {
            tracing::info!("secret {name} is declared but granted to no plugin");
        }
    }

    /// What keeps the values of all secrets that are granted out of what a plugin gets to see: of a secret that one
    /// request left somewhere, another can be the answer.
    pub(super) fn scrubber(&self, grants: &Grants) -> Scrubber {
        let granted = grants.secrets().filter_map(|name| self.secrets.get(name));
        Scrubber::new(granted.flat_map(Secret::forms))
    }
}

impl Secret {
    fn value(&self) -> &str {
        self.value.expose_secret()
    }

    /// The texts that betray it, in clear.
    fn forms(&self) -> Vec<String> {
        let mut forms = vec![self.value().to_owned()];
        match &self.usage {
            Usage::Text | Usage::Bearer => {}
            Usage::Basic { username } => forms.push(format!("{username}:{}", self.value())),
            Usage::StandardWebhooks => forms.extend(sign::bare_key(self.value())),
            Usage::Sigv4(scope) => forms.extend(scope.session_token().map(str::to_owned)),
        }
        forms
    }
}

#[cfg(test)]
mod tests;
