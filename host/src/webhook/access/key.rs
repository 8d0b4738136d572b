//! API keys: made, kept as hashes, found in requests, recognised in constant time.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{BY_SIGNATURE, BY_SNS, KeyConfig};
use crate::fault::Fault;
use crate::scope::name_fault;

/// What every key begins with, so that scanners for secrets know one, and a path that has one in it is not logged.
const PREFIX: &str = "cmp_";
/// How often a text that may hide a key is decoded.
const MOST_ENCODED: usize = 3;
/// How much of a key is chance, in bytes.
const ENTROPY: usize = 32;

/// One key, as far as the host knows it.
#[derive(Debug)]
pub(in crate::webhook) struct Key {
    pub(in crate::webhook) name: Arc<str>,
    /// Among what the alerts count that it posts.
    pub(in crate::webhook) scope: Arc<str>,
    hash: [u8; 32],
    pub(super) sources: Vec<String>,
    pub(super) admin: bool,
    pub(super) in_url: bool,
    /// Requests a second.
    limit: Option<(u32, Arc<Limiter>)>,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// Where a key stands after one more request.
pub(in crate::webhook) struct Rate {
    /// Requests a second.
    pub(in crate::webhook) limit: u32,
    /// How many more would pass now.
    pub(in crate::webhook) remaining: u32,
    /// Until one would pass again, if this one does not.
    pub(in crate::webhook) wait: Option<Duration>,
}

impl Key {
    pub(super) fn new(name: &str, config: &KeyConfig) -> Result<Self, Vec<Fault>> {
        let fault = |key: &str, value: &str, message: &str| Fault {
            path: format!("keys.{name}.{key}"),
            value: Some(value.into()),
            message: message.to_owned(),
        };
        let is_reserved = [BY_SIGNATURE, BY_SNS].contains(&name);
        let reserved = || format!("{name:?} is what ledgers call signed requests: choose another name");
        if let Some(message) = name_fault(name).or_else(|| is_reserved.then(reserved)) {
            return Err(vec![Fault { path: format!("keys.{name}"), value: None, message }]);
        }
        if let Some(scope) = &config.scope
            && let Some(message) = name_fault(scope)
        {
            return Err(vec![Fault { path: format!("keys.{name}.scope"), value: None, message }]);
        }
        let hex = config.hash.strip_prefix("sha256:").unwrap_or_default();
        let Some(hash) = hex::decode(hex).ok().and_then(|bytes| bytes.try_into().ok()) else {
            let message = "is not sha256: and 64 hexadecimal digits: `campanile keys new` prints the line";
            return Err(vec![fault("hash", &config.hash, message)]);
        };
        if config.sources.is_empty() && !config.admin {
            let message =
                "names nothing that the key opens: sources = [\"alerts\"], sources = [\"*\"] or admin = true";
            return Err(vec![fault("sources", "", message)]);
        }
        let limit =
            config.rate_limit.and_then(|rate| Some((rate, Arc::new(limiter(NonZeroU32::new(rate)?)))));
        let KeyConfig { sources, admin, in_url, .. } = config.clone();
        let scope = config.scope.as_deref().unwrap_or(name).into();
        Ok(Self { name: name.into(), scope, hash, sources, admin, in_url, limit })
    }

    pub(super) fn is(&self, presented: &Presented) -> bool {
        let is_named = presented.name.as_ref().is_none_or(|name| **name == *self.name);
        is_named & bool::from(self.hash.ct_eq(&presented.hash))
    }

    /// Goes on with the count of `other` if that is this key, with the same limit.
    pub(super) fn keep_rate(&mut self, other: &Key) {
        if self.name == other.name
            && let (Some((limit, counted)), Some((before, counting))) = (&mut self.limit, &other.limit)
            && limit == before
        {
            *counted = counting.clone();
        }
    }

    /// Counts one request; `None` if the key has no limit.
    pub(in crate::webhook) fn count(&self) -> Option<Rate> {
        let (limit, limiter) = self.limit.as_ref()?;
        Some(match limiter.check() {
            Ok(state) => Rate { limit: *limit, remaining: state.remaining_burst_capacity(), wait: None },
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Rate { limit: *limit, remaining: 0, wait: Some(wait) }
            }
        })
    }

    pub(super) fn opens(&self, source: &str) -> bool {
        self.sources.iter().any(|open| open == "*" || open == source)
    }
}

/// One key under two names: what it opens, and whom a ledger names, would depend on the order of names.
pub(super) fn same_hashes(keys: &[Key]) -> Vec<Fault> {
    let mut first: BTreeMap<[u8; 32], &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for key in keys {
        if let Some(other) = first.get(&key.hash) {
            let name = &key.name;
            let message = format!(
                "is the hash of keys.{other}, too: give each sender a key of its own (`campanile keys new {name}`), or one table \
                 the `sources` of both"
            );
            faults.push(Fault { path: format!("keys.{name}.hash"), value: None, message });
        }
        first.entry(key.hash).or_insert(&key.name);
    }
    faults
}

fn limiter(rate: NonZeroU32) -> Limiter {
    let quota = Quota::per_second(rate).allow_burst(rate.saturating_add(rate.get()));
    RateLimiter::direct(quota).with_middleware()
}

/// A key as a request carries it.
pub(super) struct Presented {
    /// The name that basic authentication gives.
    name: Option<String>,
    hash: [u8; 32],
    pub(super) is_in_url: bool,
}

impl Presented {
    /// The key in the headers, else in the query, else at the beginning of the path behind a source's address.
    pub(super) fn find(parts: &Parts, below: &str) -> Option<Self> {
        if let Some(given) = only(parts, AUTHORIZATION.as_str()) {
            return Some(Self::in_authorization(given));
        }
        if let Some(key) = only(parts, "x-api-key") {
            return Some(Self::new(None, key.trim(), false));
        }
        let query = parts.uri.query().unwrap_or_default();
        let token = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
        let in_query = token.map(|(_, key)| Self::new(None, &key, true));
        in_query.or_else(|| Some(Self::new(None, split_key(below).0?, true)))
    }

    /// `Bearer KEY`, `GenieKey KEY` as Opsgenie's clients send it, or `Basic` with the key's name and the key. Anything else is
    /// no key of this host.
    fn in_authorization(text: &str) -> Self {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (name, key) = pair.as_deref().and_then(|pair| pair.split_once(':')).unwrap_or_default();
            return Self::new(Some(name.to_owned()), key, false);
        }
        let is_key = ["bearer", "geniekey"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        Self::new(None, if is_key { rest.trim() } else { "" }, false)
    }

    fn new(name: Option<String>, key: &str, is_in_url: bool) -> Self {
        Self { name, hash: Sha256::digest(key).into(), is_in_url }
    }
}

/// A header's value. Of several, or of one that is no text, none is taken: nobody has an empty key.
fn only<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let mut values = parts.headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first.to_str().unwrap_or_default() })
}

/// A path's first segment, if it is a key, and what is behind it.
pub(in crate::webhook) fn split_key(below: &str) -> (Option<&str>, &str) {
    let (first, rest) = below.split_once('/').unwrap_or((below, ""));
    if is_key(first) { (Some(first), rest) } else { (None, below) }
}

/// Whether a text looks like a key.
fn is_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Whether a text has a key in it, as it is or percent-encoded, once or several times.
pub(in crate::webhook) fn has_key(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..MOST_ENCODED {
        if text.contains(PREFIX) {
            return true;
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    text.contains(PREFIX)
}

/// A text with `***` for every key in it; all of it, if a key is hidden in it.
pub(crate) fn scrubbed(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut parts = text.split(PREFIX);
    let mut scrubbed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        scrubbed.push_str("***");
        scrubbed.push_str(part.trim_start_matches(is_part));
    }
    if has_key(&scrubbed) { "***".to_owned() } else { scrubbed }
}

/// A key that was just made: the only time that anybody sees it.
pub struct NewKey {
    /// The key.
    pub key: String,
    /// What the configuration holds of it.
    pub hash: String,
}

impl NewKey {
    /// Makes one of 256 bits of the system's chance: nothing to guess, so a plain hash of it gives nothing away.
    pub fn make() -> Self {
        let chance: [u8; ENTROPY] = rand::random();
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(chance));
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(&key)));
        Self { key, hash }
    }
}
