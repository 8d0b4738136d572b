//! Secrets that plugins use and never see. A plugin's configuration holds the placeholder `${secret:NAME}`; the plugin
//! puts that text into a request, and the host fills in the value just before it sends, if the plugin's sidecar grants
//! the name and the host's configuration lets that secret go to that host. What comes back from a host is searched for
//! every secret that may go there, whichever plugin sent it, and for those that the plugin is granted.
//!
//! | `kind` | where the placeholder goes | what the host sends |
//! |---|---|---|
//! | `text` | path, query, any header; the body if `secrets-in-body` grants it | the value; in a URL percent-encoded, except `/` in the path; in JSON escaped |
//! | `bearer` | header `authorization`, alone or behind `Bearer` | `Bearer <value>` |
//! | `basic` | header `authorization`, alone or behind `Basic` | `Basic base64(<username>:<value>)` |
//! | `standard-webhooks` | header `webhook-signature`, beside `webhook-id` | the signature, and `webhook-timestamp` |
//! | `sigv4` | header `authorization`, alone | the signature, `x-amz-date`, and what else AWS wants |

mod body;
mod cache;
mod destination;
mod fill;
mod forms;
mod live;
mod mark;
mod read;
mod scrub;
mod sign;
mod sigv4;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Host;

use self::cache::ScrubberCache;
use self::destination::Destination;
use super::grants::Grants;
use crate::fault::Fault;

pub(super) use destination::is_loopback;
pub(super) use fill::{placeholder, placeholders};
pub(super) use live::LiveSecrets;
pub(super) use mark::Mark;
pub use read::read_secret;
pub(super) use read::{SPACE_AROUND, from_environment, has_space_around};
pub(super) use scrub::Scrubber;
pub(super) use sign::{Signer, Unsigned};

/// One table `[secrets.NAME]` of the host's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretConfig {
    /// The environment variable that holds the value. Either this or `file`.
    #[serde(default)]
    pub env: Option<String>,
    /// The file that holds the value; line breaks at its end do not count. A value has at least 12 characters.
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
    secrets: Arc<BTreeMap<String, Arc<Secret>>>,
    scrubbers: Arc<ScrubberCache>,
}

/// A credential that the host itself sends somewhere: no plugin can use it, and answers from there are searched for it.
pub struct Credential {
    /// What it is, such as `mail.password`; with a dot, which no name of a secret has.
    pub name: &'static str,
    /// The value.
    pub value: SecretString,
    /// Where the host sends it.
    pub host: Host<String>,
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
    Basic {
        username: String,
    },
    StandardWebhooks,
    Sigv4(sigv4::Scope),
    /// By the host alone.
    Internal,
}

impl Usage {
    /// Whether nothing is sent that others could use again: only a signature made with the value.
    fn only_signs(&self) -> bool {
        match self {
            Self::StandardWebhooks => true,
            Self::Sigv4(scope) => scope.session_token().is_none(),
            Self::Text | Self::Bearer | Self::Basic { .. } | Self::Internal => false,
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
                Ok(secret) => _ = secrets.insert(name, Arc::new(secret)),
                Err(found) => faults.extend(found),
            }
        }
        faults.extend(read::check_total(secrets.values().map(Arc::as_ref)));
        match faults.is_empty() {
            true => Ok(Self { secrets: Arc::new(secrets), scrubbers: Arc::default() }),
            false => Err(faults),
        }
    }

    /// The same, and credentials of the host itself. Those that are too short to be searched for are left out.
    #[must_use]
    pub fn and_credentials(self, credentials: impl IntoIterator<Item = Credential>) -> Self {
        let mut secrets = (*self.secrets).clone();
        for Credential { name, value, host } in credentials {
            if let Err(problem) = read::check_length(value.expose_secret()) {
                tracing::warn!("answers from {host} are not searched for {name}: it {problem}");
                continue;
            }
            let destinations = vec![Destination::any_port(host)];
            secrets.insert(name.to_owned(), Arc::new(Secret { value, usage: Usage::Internal, destinations }));
        }
        Self { secrets: Arc::new(secrets), scrubbers: Arc::default() }
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

    /// The secrets that are declared and granted to none of the plugins, nor to the receivers that use `elsewhere`: there may be a
    /// typing error.
    pub(super) fn unused<'a>(
        &'a self,
        grants: impl Iterator<Item = &'a Grants>,
        elsewhere: &BTreeSet<String>,
    ) -> Vec<&'a str> {
        let used: BTreeSet<_> = grants.flat_map(Grants::secrets).collect();
        let is_unused =
            |name: &&str| !name.contains('.') && !used.contains(name) && !elsewhere.contains(*name);
        self.secrets.keys().map(String::as_str).filter(is_unused).collect()
    }

    /// Whether a secret of this name is declared.
    pub(super) fn has(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// What keeps secrets out of an answer of `host` to a plugin with these grants: every secret that may go to that host,
    /// by whatever port, since another plugin or receiver may have left it there; and every secret that is granted.
    pub(super) fn scrubber(&self, grants: &Grants, host: Option<&Host<String>>) -> Scrubber {
        let granted: BTreeSet<_> = grants.secrets().collect();
        let is_searched_for = |name: &str, secret: &Secret| {
            granted.contains(name) || host.is_some_and(|host| secret.may_be_at(host))
        };
        let searched = self.secrets.iter().filter(|(name, secret)| is_searched_for(name, secret));
        let searched: BTreeMap<_, _> = searched.map(|(name, secret)| (name.as_str(), &**secret)).collect();
        self.scrubbers.get(&searched)
    }
}

impl Secret {
    fn value(&self) -> &str {
        self.value.expose_secret()
    }

    /// Whether it may have gone to this host, at some port.
    fn may_be_at(&self, host: &Host<String>) -> bool {
        self.destinations.iter().any(|destination| destination.includes(host))
    }

    /// The texts that betray it: in clear, and as they are sent, which servers may write in other forms again.
    fn texts(&self) -> Vec<String> {
        let mut texts = vec![self.value().to_owned()];
        match &self.usage {
            Usage::Bearer | Usage::Internal => {}
            Usage::Text => texts.extend(fill::in_urls(self.value())),
            Usage::Basic { username } => texts.extend(basic_texts(username, self.value())),
            Usage::StandardWebhooks => texts.extend(sign::bare_key(self.value())),
            Usage::Sigv4(scope) => texts.extend(scope.session_token().map(str::to_owned)),
        }
        texts
    }
}

/// What basic authentication sends, before and after it is encoded. Servers may leave out the `=` at the end.
fn basic_texts(username: &str, password: &str) -> [String; 2] {
    let clear = format!("{username}:{password}");
    let encoded = STANDARD_NO_PAD.encode(&clear);
    [clear, encoded]
}

#[cfg(test)]
mod tests;
