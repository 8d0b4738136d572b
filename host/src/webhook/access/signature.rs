//! HMAC-SHA256 signatures over raw bodies: one verifier, told where the signature stands, how it is written and what is
//! signed. The schemes' parameters are those of their publishers: GitHub (docs.github.com, "Validating webhook
//! deliveries"), Grafana (grafana/alerting, `http/hmac.go`), PagerDuty (developer.pagerduty.com, "Verifying signatures"),
//! Sentry (docs.sentry.io, "Webhooks"), Standard Webhooks 1.0.0.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::Secret;
use super::config::{Encoding, SchemeName, SecretFrom, SignatureConfig};
use crate::fault::Fault;
use crate::plugin::read_secret;
use crate::webhook::request::Known;

/// How far a timestamp may be from ours when nothing is set.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The most signatures of one request that are looked at.
const MOST_SIGNATURES: usize = 8;
/// The longest id that counts.
const LONGEST_ID: usize = 200;
/// What stands before a secret of Standard Webhooks.
const WHSEC: &str = "whsec_";

/// Checks the signatures of one source.
#[derive(Debug)]
pub(in crate::webhook) struct Verifier {
    header: HeaderName,
    encoding: Encoding,
    prefix: String,
    separator: Option<String>,
    signed: Vec<Part>,
    timestamp: Option<HeaderName>,
    id: Option<HeaderName>,
    tolerance: Duration,
    remember: Option<Duration>,
    secrets: Vec<Secret>,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Timestamp,
    Id,
    Body,
}

impl Verifier {
    /// Reads the secrets; `at` is the path of the source's table.
    pub(super) fn new(at: &str, config: &SignatureConfig) -> Result<Self, Vec<Fault>> {
        let at = format!("{at}.signature");
        let scheme = Scheme::of(config.scheme, config.timestamp_header.is_some());
        let mut faults = Faults { at: &at, found: Vec::new() };
        let own = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        let header = faults.header("header", &own(&config.header, scheme.header));
        let timestamp = config.timestamp_header.as_deref().or(scheme.timestamp);
        let timestamp = timestamp.and_then(|name| faults.header("timestamp-header", name));
        let id = config.id_header.as_deref().or(scheme.id);
        let id = id.and_then(|name| faults.header("id-header", name));
        let signed = parts(&own(&config.signed, scheme.signed));
        faults.check_parts(&signed, timestamp.is_some(), id.is_some());
        if config.remember.is_some() && (timestamp.is_some() || id.is_some()) {
            faults.add("remember", "is for signatures without a time and an id: with them it has no effect");
        }
        if config.remember.is_some_and(|remember| remember < SignedDuration::from_secs(1)) {
            faults.add("remember", "is less than a second: such as \"24h\"");
        }
        let secrets = faults.secrets(&config.secrets, config.scheme == SchemeName::StandardWebhooks);
        let Some(header) = header.filter(|_| faults.found.is_empty()) else { return Err(faults.found) };
        Ok(Self {
            header,
            encoding: config.encoding.unwrap_or(scheme.encoding),
            prefix: own(&config.prefix, scheme.prefix),
            separator: config.separator.clone().or_else(|| scheme.separator.map(str::to_owned)),
            signed,
            timestamp,
            id,
            tolerance: config.tolerance.map_or(TOLERANCE, |tolerance| tolerance.unsigned_abs()),
            remember: config.remember.map(|remember| remember.unsigned_abs()),
            secrets,
        })
    }

    /// The header that holds the signature.
    pub(super) fn header(&self) -> &str {
        self.header.as_str()
    }

    /// By what a repeat of the request is recognised: the id that is signed with it, else what is signed. Without a time in
    /// that, the same bytes are the same request for `remember`, or as long as repeats are recognised at all (`window`).
    pub(in crate::webhook) fn known(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        at: Timestamp,
        window: Duration,
    ) -> Known {
        let text = |name: &Option<HeaderName>| headers.get(name.as_ref()?)?.to_str().ok();
        if let Some(id) = text(&self.id) {
            return Known { id: Some(id.to_owned()).filter(|id| id.len() <= LONGEST_ID), digest: None };
        }
        let since = text(&self.timestamp).map_or_else(
            || at.as_second().div_euclid(seconds(self.remember.unwrap_or(window))).to_string(),
            str::to_owned,
        );
        let digest = Sha256::new().chain_update(&since).chain_update(b"/").chain_update(body).finalize();
        Known { id: None, digest: Some(format!("signed/{}", hex::encode(digest))) }
    }

    /// Whether a request carries a signature at all.
    pub(super) fn is_meant(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(&self.header)
    }

    /// Whether one of the signatures is right, over these bytes, by one of the secrets, and recent.
    ///
    /// # Errors
    ///
    /// What is wrong, for the sender.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<(), String> {
        let given = self.only(headers, &self.header)?;
        let timestamp = self.timestamp.as_ref().map(|name| self.only(headers, name)).transpose()?;
        let id = self.id.as_ref().map(|name| self.only(headers, name)).transpose()?;
        timestamp.map_or(Ok(()), |timestamp| self.check_time(timestamp, now))?;
        let signatures: Vec<_> = self.signatures(given).collect();
        let mut macs = self.secrets.iter().filter_map(|secret| self.mac(secret, timestamp, id, body));
        // In constant time, each.
        let is_right = !signatures.is_empty()
            && macs.any(|mac| signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()));
        if is_right { Ok(()) } else { Err(format!("the signature in {} is not right", self.header)) }
    }

    /// The header's only value: of two, one would be checked and the other believed.
    fn only<'a>(&self, headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, String> {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().map_err(|_| format!("the header {name} is not plain text")),
            (None, _) => Err(format!("the header {name} is missing")),
            (Some(_), Some(_)) => Err(format!("the header {name} is there twice")),
        }
    }

    /// The signatures that are written as they should be.
    fn signatures<'a>(&'a self, given: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
        let several: Box<dyn Iterator<Item = &str>> = match self.separator.as_deref() {
            Some(separator) => Box::new(given.split(separator)),
            None => Box::new(std::iter::once(given)),
        };
        several.take(MOST_SIGNATURES).filter_map(|text| {
            let text = text.trim().strip_prefix(&*self.prefix)?;
            match self.encoding {
                Encoding::Hex => hex::decode(text).ok(),
                Encoding::Base64 => STANDARD.decode(text).ok(),
            }
        })
    }

    /// What a signature by this secret has to be.
    fn mac(
        &self,
        secret: &Secret,
        timestamp: Option<&str>,
        id: Option<&str>,
        body: &[u8],
    ) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret()).ok()?;
        for part in &self.signed {
            mac.update(match part {
                Part::Text(text) => text.as_bytes(),
                Part::Timestamp => timestamp.unwrap_or_default().as_bytes(),
                Part::Id => id.unwrap_or_default().as_bytes(),
                Part::Body => body,
            });
        }
        Some(mac)
    }

    fn check_time(&self, timestamp: &str, now: SystemTime) -> Result<(), String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Ok(then) = timestamp.trim().parse::<u64>() else {
            return Err(format!("the timestamp {timestamp:?} is not seconds since 1970"));
        };
        if now.abs_diff(then) <= self.tolerance.as_secs() {
            return Ok(());
        }
        let (off, most) = (now.abs_diff(then), self.tolerance.as_secs());
        Err(format!(
            "the signature is of a time {off} s from ours, more than {most} s: an old request, or a wrong clock"
        ))
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).max(1)
}

/// What a publisher's scheme says.
struct Scheme {
    header: &'static str,
    encoding: Encoding,
    prefix: &'static str,
    separator: Option<&'static str>,
    signed: &'static str,
    timestamp: Option<&'static str>,
    id: Option<&'static str>,
}

impl Scheme {
    fn of(name: SchemeName, is_timed: bool) -> Self {
        let plain = Self {
            header: "",
            encoding: Encoding::Hex,
            prefix: "",
            separator: None,
            signed: "{body}",
            timestamp: None,
            id: None,
        };
        match name {
            SchemeName::Github => Self { header: "x-hub-signature-256", prefix: "sha256=", ..plain },
            SchemeName::Grafana => {
                let signed = if is_timed { "{timestamp}:{body}" } else { "{body}" };
                Self { header: "x-grafana-alerting-signature", signed, ..plain }
            }
            SchemeName::Pagerduty => {
                Self { header: "x-pagerduty-signature", prefix: "v1=", separator: Some(","), ..plain }
            }
            SchemeName::Sentry => Self { header: "sentry-hook-signature", ..plain },
            SchemeName::StandardWebhooks => Self {
                header: "webhook-signature",
                encoding: Encoding::Base64,
                prefix: "v1,",
                separator: Some(" "),
                signed: "{id}.{timestamp}.{body}",
                timestamp: Some("webhook-timestamp"),
                id: Some("webhook-id"),
            },
        }
    }
}

/// Cuts `{id}.{timestamp}.{body}` into its parts.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    let names = [("{timestamp}", Part::Timestamp), ("{id}", Part::Id), ("{body}", Part::Body)];
    while let Some((at, name, part)) = names
        .iter()
        .filter_map(|(name, part)| Some((rest.find(name)?, *name, part)))
        .min_by_key(|found| found.0)
    {
        if at > 0 {
            parts.push(Part::Text(rest[..at].to_owned()));
        }
        parts.push(part.clone());
        rest = &rest[at + name.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    parts
}

/// What is wrong with one table.
struct Faults<'a> {
    at: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, key: &str, message: impl Into<String>) {
        let path = format!("{}.{key}", self.at);
        self.found.push(Fault { path, value: None, message: message.into() });
    }

    fn header(&mut self, key: &str, name: &str) -> Option<HeaderName> {
        match HeaderName::try_from(name) {
            Ok(name) => Some(name),
            Err(_) => {
                self.add(key, format!("{name:?} is not a header's name such as X-Signature"));
                None
            }
        }
    }

    fn check_parts(&mut self, signed: &[Part], has_timestamp: bool, has_id: bool) {
        if !signed.contains(&Part::Body) {
            self.add("signed", "must have {body} in it: what is not signed cannot be trusted");
        }
        if signed.contains(&Part::Timestamp) != has_timestamp {
            self.add("signed", "must have {timestamp} in it if there is a `timestamp-header`, and else not");
        }
        if signed.contains(&Part::Id) != has_id {
            self.add("signed", "must have {id} in it if there is an `id-header`, and else not");
        }
    }

    fn secrets(&mut self, given: &[SecretFrom], is_encoded: bool) -> Vec<Secret> {
        if given.is_empty() {
            self.add("secrets", "is empty: secrets = [{ file = \"/run/secrets/webhook\" }]");
        }
        let mut secrets = Vec::new();
        for (index, from) in given.iter().enumerate() {
            match secret(from, is_encoded) {
                Ok(secret) => secrets.push(secret),
                Err(message) => self.add(&format!("secrets[{index}]"), message),
            }
        }
        secrets
    }
}

fn secret(from: &SecretFrom, is_encoded: bool) -> Result<Secret, String> {
    let text = read_secret(from.env.as_deref(), from.file.as_deref())?;
    let bytes = if is_encoded {
        let encoded = text.strip_prefix(WHSEC).unwrap_or(&text);
        STANDARD
            .decode(encoded)
            .map_err(|_| format!("is not {WHSEC} and base64, as Standard Webhooks has it"))?
    } else {
        text.into_bytes()
    };
    Ok(bytes.into_boxed_slice().into())
}
