//! What is to be accepted, and what was.

use sha2::{Digest as _, Sha256};

use crate::dispatch::Claim;
use crate::life::{Disposition, Micros, Policy, Post};

/// A SHA-256.
pub type Digest = [u8; 32];

/// One request: all of its alerts are accepted, or none.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id by which its sender may repeat it.
    pub id: Option<RequestId>,
    /// What its alerts have in common.
    pub origin: Vec<u8>,
    /// The alerts, in the order of the request.
    pub alerts: Vec<Incoming>,
    /// Who starts the workflows of its alerts at once.
    pub claim: Option<Lease>,
}

/// Who has claimed what, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub host: String,
    /// How long the claim holds if its workflow does not report, in microseconds.
    pub lease: Micros,
}

impl Request {
    /// The size of what it brings, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.origin.len() + self.alerts.iter().map(|alert| alert.document.len()).sum::<usize>()
    }
}

/// A sender's own id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// Of the id, within the scope in which it counts.
    pub digest: Digest,
    /// Of what was posted under it: the same id with other content is an error.
    pub content: Digest,
}

/// An alert that is to be accepted.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// What its id begins with; the store adds the time: `alert-42@grafana-`. Different for each identity, and for each alert
    /// without one.
    pub id_prefix: String,
    /// Among what its key counts. Without U+0000.
    pub scope: String,
    /// What its sender calls it. Without U+0000.
    pub key: Option<String>,
    /// What it says.
    pub post: Post,
    /// How posts of its source are deduplicated.
    pub policy: Policy,
    /// The alert itself.
    pub document: Vec<u8>,
    /// What it can be searched by, in lower case and without U+0000; nothing where documents are encrypted.
    pub words: Option<String>,
}

impl Incoming {
    /// What it is known by.
    pub(crate) fn identity(&self) -> Option<Digest> {
        Some(digest(&[self.scope.as_bytes(), self.key.as_deref()?.as_bytes()]))
    }
}

/// A digest of several parts, none of which runs into the next.
pub fn digest(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What a request became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Each of its alerts, in their order.
    pub alerts: Vec<Placed>,
    /// It had been accepted before, under the same id.
    pub is_repeat: bool,
    /// What the request's claim is on: workflows that are to be started.
    pub claims: Vec<Claim>,
}

/// What an alert became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id; of what made no notification of its own, that of its life.
    pub id: String,
    /// What it became.
    pub disposition: Disposition,
    /// Its place in the order of acceptance. What made no notification shares its place with what comes after a restart.
    pub number: i64,
    /// When it was accepted, by the store's clock.
    pub at: Micros,
}

impl Accepted {
    /// How many of its alerts are notified of, if it is no repeat.
    pub(crate) fn notified(&self) -> i64 {
        let is_notified = |placed: &&Placed| {
            !matches!(placed.disposition, Disposition::Duplicate | Disposition::NothingOpen)
        };
        let count = if self.is_repeat { 0 } else { self.alerts.iter().filter(is_notified).count() };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// As it is kept for when the request is repeated: a line for each alert.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let line = |placed: &Placed| {
            format!("{} {} {} {}\n", placed.number, placed.at, placed.disposition.as_str(), placed.id)
        };
        self.alerts.iter().map(line).collect::<String>().into_bytes()
    }

    /// What [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let line = |line: &str| {
            let mut parts = line.splitn(4, ' ');
            let (number, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let name = parts.next()?;
            let disposition = Disposition::ALL.into_iter().find(|one| one.as_str() == name)?;
            Some(Placed { id: parts.next()?.to_owned(), disposition, number, at })
        };
        let alerts = std::str::from_utf8(bytes).ok()?.lines().map(line).collect::<Option<_>>()?;
        Some(Self { alerts, is_repeat: true, claims: Vec::new() })
    }
}
