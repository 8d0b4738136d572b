//! Requests to post.

use campanile_store::life::{Policy, Post, Severity, Status};
use campanile_store::{End, Incoming, Outcome, Request, RequestId, digest};

pub(crate) const SECOND: i64 = 1_000_000;
/// When the conditions of the samples began: 2026-11-29T10:00:00Z.
pub(crate) const START: i64 = 1_795_946_400 * SECOND;

/// An alert that fires, by its key.
pub(crate) fn firing(key: &str) -> Incoming {
    Incoming {
        id_prefix: format!("alert-{key}@grafana-"),
        scope: "grafana".to_owned(),
        key: Some(key.to_owned()),
        post: Post {
            status: Status::Firing,
            severity: Severity { rank: 1, vendor_level: None },
            starts_at: Some(START),
            ends_at: None,
            is_momentary: false,
        },
        policy: Policy { repeat_window: 3_600 * SECOND, ..Policy::default() },
        document: format!("{{\"title\":\"{key}\"}}").into_bytes(),
        words: Some(key.to_owned()),
    }
}

/// Its resolve.
pub(crate) fn resolved(key: &str) -> Incoming {
    let mut alert = firing(key);
    alert.post.status = Status::Resolved;
    alert.post.ends_at = Some(START + 60 * SECOND);
    alert
}

/// An alert without an identity.
pub(crate) fn unidentified(number: usize) -> Incoming {
    Incoming { id_prefix: format!("alert-{number:08x}-"), key: None, ..firing("none") }
}

pub(crate) fn request(alerts: Vec<Incoming>) -> Request {
    Request { id: None, origin: b"{}".to_vec(), alerts, claim: None }
}

/// A request that its sender may repeat under this id.
pub(crate) fn named(id: &str, alerts: Vec<Incoming>) -> Request {
    let documents: Vec<_> = alerts.iter().map(|alert| alert.document.as_slice()).collect();
    let id = RequestId { digest: digest(&[id.as_bytes()]), content: digest(&documents) };
    Request { id: Some(id), ..request(alerts) }
}

/// The end of a notification that reached no receiver.
pub(crate) fn ended(id: &str, outcome: Outcome, ledger: &[u8]) -> End {
    End { id: id.to_owned(), outcome, ledger: ledger.to_vec(), reached: Vec::new(), dead_letters: Vec::new() }
}
