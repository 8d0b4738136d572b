//! Who may post, and who may ask and steer. Everything is decided before the body is read, but for signatures, which are
//! over the raw body and checked before anything reads it.

mod config;
mod key;
mod live;
mod signature;
mod sns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::request::Parts;
use jiff::{SignedDuration, Timestamp};

use super::code::Code;
use super::error::ApiError;
use super::peer::Peer;
use crate::fault::Fault;
use crate::plugin::{EgressConfig, Fetcher};
use crate::scope::name_fault;

pub use config::{KeyConfig, SourceConfig};
pub use key::NewKey;
pub(crate) use key::scrubbed;
pub(super) use key::{Rate, has_key, split_key};
pub use live::LiveAccess;

use key::{Key, Presented};
use signature::Verifier;
use sns::SnsVerifier;

/// The name under which keys are let to `/webhook/alerts` and `/webhook/alerts/sync`.
pub(crate) const ALERTS: &str = "alerts";

/// The longest that a resolve can be held back for another replica.
const LONGEST_REPLICAS: SignedDuration = SignedDuration::from_hours(24);

/// What stands in ledgers and ids in place of a key's name where a signature let the request in.
const BY_SIGNATURE: &str = "signature";
const BY_SNS: &str = "sns";

/// Everything that opens something. Holds no key in clear text, and the secrets that signatures are made with.
#[derive(Debug, Default)]
pub struct Access {
    keys: Vec<Key>,
    sources: BTreeMap<String, Source>,
}

/// What is particular to one source, and what is asked of those who post to it, besides keys.
#[derive(Debug)]
struct Source {
    plugin: Option<String>,
    spool: bool,
    replicas: SignedDuration,
    signature: Option<Verifier>,
    sns: Option<SnsVerifier>,
}

/// Who is at the door.
pub(super) enum Visitor<'a> {
    /// Let in, by the key of this name; nobody asks where nothing is asked for.
    Admitted(Option<&'a Key>),
    /// Let in if the signature over the body is right.
    Signs(&'a Verifier),
    /// Let in if Amazon signed it.
    Sns(&'a SnsVerifier),
}

impl Access {
    /// Takes keys and secrets from the configuration; reads files and variables.
    ///
    /// # Errors
    ///
    /// Everything that cannot be used, with its path.
    pub fn load(
        keys: &BTreeMap<String, KeyConfig>,
        sources: &BTreeMap<String, SourceConfig>,
        egress: &EgressConfig,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let keys: Vec<Key> = keys
            .iter()
            .filter_map(|(name, config)| Key::new(name, config).map_err(|found| faults.extend(found)).ok())
            .collect();
        faults.extend(key::same_hashes(&keys));
        let mut read = BTreeMap::new();
        for (name, config) in sources {
            let at = format!("sources.{name}");
            faults.extend(name_fault(name).map(|message| Fault { path: at.clone(), value: None, message }));
            faults.extend(replicas_fault(&at, config.replicas));
            if name == ALERTS && (config.spool || config.plugin.is_some() || config.replicas.is_some()) {
                let message =
                    "is no plugin's: keys and a signature can be asked for there, and nothing else be set";
                faults.push(Fault { path: at.clone(), value: None, message: message.to_owned() });
            }
            let signature = config.signature.as_ref().map(|config| Verifier::new(&at, config)).transpose();
            let sns = config
                .sns
                .as_ref()
                .map(|config| SnsVerifier::new(&at, config, Fetcher::new(egress)?))
                .transpose();
            match (signature, sns) {
                (Ok(signature), Ok(sns)) => {
                    let replicas = config.replicas_or_default(name);
                    let SourceConfig { plugin, spool, .. } = config.clone();
                    read.insert(name.clone(), Source { plugin, spool, replicas, signature, sns });
                }
                (signature, sns) => {
                    faults.extend([signature.err(), sns.err()].into_iter().flatten().flatten())
                }
            }
        }
        if faults.is_empty() { Ok(Self { keys, sources: read }) } else { Err(faults) }
    }

    /// Takes over what the keys of `before` have used up of their rates.
    fn keep_rates(&mut self, before: &Access) {
        for key in &mut self.keys {
            before.keys.iter().for_each(|other| key.keep_rate(other));
        }
    }

    /// The plugin that the configuration names for a source, which is that of its own name unless set; `None` for a source that it
    /// does not have.
    pub(super) fn plugin_of<'a>(&'a self, source: &'a str) -> Option<&'a str> {
        self.sources.get(source).map(|given| given.plugin.as_deref().unwrap_or(source))
    }

    /// Whether the requests of a source are kept while they cannot be handed over.
    pub(super) fn spools(&self, source: &str) -> bool {
        self.sources.get(source).is_some_and(|source| source.spool)
    }

    /// How long a resolve of a source is held back for another replica of its sender.
    pub fn replicas_of(&self, source: &str) -> SignedDuration {
        let default = || SourceConfig::default().replicas_or_default(source);
        self.sources.get(source).map_or_else(default, |given| given.replicas)
    }

    /// Whether the requests of any source are.
    pub fn has_spool(&self) -> bool {
        self.sources.values().any(|source| source.spool)
    }

    /// Whether anything is asked of those who post.
    pub fn asks(&self) -> bool {
        let signs = self.sources.values().any(|source| source.signature.is_some() || source.sns.is_some());
        signs || self.keys.iter().any(|key| !key.sources.is_empty())
    }

    /// Looks at who posts to `source`. `below` is what stands behind its address, where a key may come first.
    pub(super) fn visitor(&self, source: &str, parts: &Parts, below: &str) -> Result<Visitor<'_>, ApiError> {
        if !self.asks() {
            return Ok(Visitor::Admitted(None));
        }
        if let Some(presented) = Presented::find(parts, below) {
            return self.by_key(source, &presented).map(|key| Visitor::Admitted(Some(key)));
        }
        let given = self.sources.get(source);
        let signs = given.and_then(|source| source.signature.as_ref());
        if let Some(verifier) = signs.filter(|verifier| verifier.is_meant(&parts.headers)) {
            return Ok(Visitor::Signs(verifier));
        }
        let sns = given.and_then(|source| source.sns.as_ref());
        match sns.filter(|verifier| verifier.is_meant(&parts.headers)) {
            Some(verifier) => Ok(Visitor::Sns(verifier)),
            None => Err(self.unauthenticated(source, "no key was given")),
        }
    }

    /// Checks what can only be checked with the raw body.
    pub(super) async fn verify(
        &self,
        source: &str,
        visitor: &Visitor<'_>,
        parts: &Parts,
        body: &[u8],
    ) -> Result<(), ApiError> {
        let verdict = match visitor {
            Visitor::Admitted(_) => Ok(()),
            Visitor::Signs(verifier) => verifier.verify(&parts.headers, body, SystemTime::now()),
            Visitor::Sns(verifier) => verifier.verify(body, Timestamp::now()).await,
        };
        verdict.map_err(|why| self.unauthenticated(source, &why))
    }

    fn by_key(&self, source: &str, presented: &Presented) -> Result<&Key, ApiError> {
        let key = self.key(presented).map_err(|why| self.unauthenticated(source, &why))?;
        match key.opens(source) {
            true => Ok(key),
            false => Err(ApiError::new(
                Code::Forbidden,
                format!("the key {} does not open {source}: its `sources` are {:?}", key.name, key.sources),
            )),
        }
    }

    fn key(&self, presented: &Presented) -> Result<&Key, String> {
        let Some(key) = self.keys.iter().find(|key| key.is(presented)) else {
            return Err("the key is not known here".to_owned());
        };
        if presented.is_in_url && !key.in_url {
            return Err(format!(
                "the key {} may not stand in a URL: send it in a header, or set `in-url = true` for it",
                key.name
            ));
        }
        Ok(key)
    }

    fn signature(&self, source: &str) -> Option<&Verifier> {
        self.sources.get(source)?.signature.as_ref()
    }

    fn unauthenticated(&self, source: &str, why: &str) -> ApiError {
        let key = key_ways(source);
        let wanted = match self.signature(source) {
            Some(verifier) => format!("a signature in the header {}, or {key}", verifier.header()),
            None => key,
        };
        ApiError::new(Code::Unauthenticated, format!("{why}: {source} takes {wanted}"))
    }

    /// Whether whoever asks may see plugins and alerts, and steer: by an admin key, or, where there is none, from this
    /// machine. What a proxy passes on comes from elsewhere.
    pub(super) fn admit_admin(&self, parts: &Parts) -> Result<(), ApiError> {
        if !self.keys.iter().any(|key| key.admin) {
            return match parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_local(parts)) {
                true => Ok(()),
                false => Err(ApiError::new(
                    Code::Unauthenticated,
                    "without an admin key this is for requests from the same machine alone: \
                     make one with `campanile keys new NAME --admin`",
                )),
            };
        }
        let wanted = |why: &str| {
            let message =
                format!("{why}: this takes an admin key, as `authorization: Bearer KEY` or `x-api-key: KEY`");
            ApiError::new(Code::Unauthenticated, message)
        };
        let presented = Presented::find(parts, "").ok_or_else(|| wanted("no key was given"))?;
        let key = self.key(&presented).map_err(|why| wanted(&why))?;
        match key.admin {
            true => Ok(()),
            false => Err(ApiError::new(
                Code::Forbidden,
                format!("the key {} posts, and opens nothing else", key.name),
            )),
        }
    }
}

/// What is wrong with the `replicas` of a source.
fn replicas_fault(at: &str, replicas: Option<SignedDuration>) -> Option<Fault> {
    let given = replicas.filter(|given| !(SignedDuration::ZERO..=LONGEST_REPLICAS).contains(given))?;
    let message = format!("{given:#} is not between 0s and {LONGEST_REPLICAS:#}: an example is 2m");
    Some(Fault { path: format!("{at}.replicas"), value: None, message })
}

/// In which ways a key may be sent to a source, those of vendors' clients among them.
fn key_ways(source: &str) -> String {
    let in_url = match source {
        ALERTS => format!("/webhook/{ALERTS}?token=KEY"),
        source => format!("/webhook/{source}/KEY"),
    };
    format!(
        "a key: `authorization: Bearer KEY` (`GenieKey KEY`, as Opsgenie's clients send it), `x-api-key: KEY`, basic authentication \
         with the key's name and the key, or, of a client that has an address alone, as PagerDuty's have, {in_url} with a key \
         that has `in-url = true`"
    )
}

/// A secret that a signature is made with.
type Secret = secrecy::SecretBox<[u8]>;

/// The name of a caller, for the ledger.
pub(super) fn caller(visitor: &Visitor<'_>) -> Option<Arc<str>> {
    match visitor {
        Visitor::Admitted(key) => key.map(|key| key.name.clone()),
        Visitor::Signs(_) => Some(BY_SIGNATURE.into()),
        Visitor::Sns(_) => Some(BY_SNS.into()),
    }
}

/// The scope of the key of a caller.
pub(super) fn scope(visitor: &Visitor<'_>) -> Option<Arc<str>> {
    match visitor {
        Visitor::Admitted(key) => key.map(|key| key.scope.clone()),
        Visitor::Signs(_) | Visitor::Sns(_) => None,
    }
}

#[cfg(test)]
mod tests;
