//! `[keys.NAME]` and `[sources.NAME]` of the configuration.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::sns::SnsConfig;

/// The plugin whose senders usually come in pairs, and how long a resolve of theirs is held back unless that is set.
const REPLICATED: &str = "prometheus";
const REPLICAS: SignedDuration = SignedDuration::from_mins(2);

/// One key: `campanile keys new` makes it and prints these lines.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeyConfig {
    /// `sha256:…` of the key; the key itself is nowhere.
    pub hash: String,
    /// Among what the alerts count that it posts to `/webhook/alerts`, such as `team-a`: a key of another name with the same scope
    /// goes on with what is open. The key's name unless set.
    #[serde(default)]
    pub scope: Option<String>,
    /// Where it lets post: names of sources, `alerts` for `/webhook/alerts` and `/webhook/alerts/sync`, `*` for all.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Whether it opens what shows and steers plugins and alerts.
    #[serde(default)]
    pub admin: bool,
    /// Whether it may stand in the URL, where logs of proxies keep it: for senders that can set nothing else.
    #[serde(default)]
    pub in_url: bool,
    /// The most requests a second; short bursts of twice as many pass. Without end if absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    pub rate_limit: Option<u32>,
}

/// One source, by the name in its URL.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SourceConfig {
    /// The plugin that decodes for it, if its name is another one.
    pub plugin: Option<String>,
    /// Whether its requests are kept on the disk while Temporal or the plugin is away, and answered with 202: for senders
    /// that never post again, as GitHub, Grafana and Sentry.
    pub spool: bool,
    /// How long a resolve is held back for another replica of the sender, such as `2m`: a firing meanwhile supersedes it, and starts
    /// less than five minutes apart are one; 0s to 24h. `2m` where the plugin is prometheus, else `0s`.
    #[schemars(with = "Option<String>")]
    pub replicas: Option<SignedDuration>,
    /// The signature that its requests carry.
    pub signature: Option<SignatureConfig>,
    /// The topics of Amazon SNS that may post, whose messages Amazon signs.
    pub sns: Option<SnsConfig>,
}

impl SourceConfig {
    /// How long a resolve of the source of this name is held back for another replica of its sender.
    pub fn replicas_or_default(&self, name: &str) -> SignedDuration {
        let plugin = self.plugin.as_deref().unwrap_or(name);
        let default = if plugin == REPLICATED { REPLICAS } else { SignedDuration::ZERO };
        self.replicas.unwrap_or(default)
    }
}

/// How requests are signed: a scheme, and what differs from it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignatureConfig {
    /// Whose way it is.
    pub scheme: SchemeName,
    /// The secrets that it may be made with: the new one and, while it is being changed, the old one.
    pub secrets: Vec<SecretFrom>,
    /// The header that holds it.
    #[serde(default)]
    pub header: Option<String>,
    /// `hex` or `base64`.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// What stands before it, such as `sha256=`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What stands between several, if there may be several.
    #[serde(default)]
    pub separator: Option<String>,
    /// What is signed: `{body}`, `{timestamp}:{body}`, `{id}.{timestamp}.{body}` or the like.
    #[serde(default)]
    pub signed: Option<String>,
    /// The header that holds the time, in seconds since 1970.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// The header that holds the id.
    #[serde(default)]
    pub id_header: Option<String>,
    /// How far that time may be from ours [default: 5m].
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub tolerance: Option<SignedDuration>,
    /// Where neither a time nor an id is signed: how long the same signed bytes are the same request
    /// [default: `webhook.repeat-window`]. Longer for senders whose bodies all differ, as GitHub's, PagerDuty's and Sentry's.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub remember: Option<SignedDuration>,
}

/// A published way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchemeName {
    /// `X-Hub-Signature-256: sha256=<hex>` over the body.
    Github,
    /// `X-Grafana-Alerting-Signature: <hex>` over the body, or over time and body if `timestamp-header` is set.
    Grafana,
    /// `X-PagerDuty-Signature: v1=<hex>,v1=<hex>` over the body.
    Pagerduty,
    /// `Sentry-Hook-Signature: <hex>` over the body.
    Sentry,
    /// `webhook-signature: v1,<base64> v1,<base64>` over id, time and body.
    StandardWebhooks,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Two digits per byte.
    Hex,
    /// RFC 4648, section 4.
    Base64,
}

/// Where a secret is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretFrom {
    /// The environment variable that holds it. Either this or `file`.
    #[serde(default)]
    pub env: Option<String>,
    /// The file that holds it; line breaks at its end do not count.
    #[serde(default)]
    pub file: Option<PathBuf>,
}
