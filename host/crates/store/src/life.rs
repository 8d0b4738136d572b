//! The life of an alert: what a post becomes, by what the store knows of its identity. No I/O.
//!
//! An alert is open from its first firing to its resolve. A life has one or more notifications: the first, those that
//! escalate or renew it, and its resolve.

use serde::{Deserialize, Serialize};

/// Microseconds: a span of time, or a time since 1970.
pub type Micros = i64;

/// How far the starts of two replicas of one sender may lie apart: they evaluate the same rule at their own intervals.
pub const REPLICAS_APART: Micros = 300 * 1_000_000;

/// What a post says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The condition holds.
    Firing,
    /// It has ended.
    Resolved,
}

/// How bad an alert is: by severity, then by what the vendor has between two severities. One with a vendor's level is worse than
/// one without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity {
    /// In ascending order; 3 is critical.
    pub rank: i16,
    /// Such as 1 for Datadog's Warn and 2 for its Alert.
    pub vendor_level: Option<i64>,
}

/// One post of an alert.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Whether it holds.
    pub status: Status,
    /// How bad it is.
    pub severity: Severity,
    /// When the condition began, by the sender's clock.
    pub starts_at: Option<Micros>,
    /// When it ended, by the sender's clock.
    pub ends_at: Option<Micros>,
    /// The source says that it has no end.
    pub is_momentary: bool,
}

/// How posts of one source are deduplicated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// How long a post without a start is a duplicate of the last notification.
    pub repeat_window: Micros,
    /// How long a resolve is held back for another replica of the sender.
    pub replicas: Micros,
    /// How long a resolve is held back in case the alert fires again.
    pub hold_down: Micros,
}

impl Policy {
    fn hold(self) -> Micros {
        self.replicas.max(self.hold_down)
    }
}

/// Whether a life is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It fires.
    Open,
    /// It was resolved.
    Ended,
    /// It has no end.
    Momentary,
}

/// What the store knows of an identity: its newest life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Whether it is over.
    pub state: State,
    /// The worst that was notified.
    pub severity: Severity,
    /// The latest start that was notified, by the sender's clock.
    pub starts_at: Option<Micros>,
    /// When it was notified last by the store's clock, or would have been, had it not been acknowledged.
    pub notified_at: Micros,
    /// Until when its resolve is held back.
    pub held_until: Option<Micros>,
}

/// What a post becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// A life begins.
    New,
    /// It is known already: counted.
    Duplicate,
    /// It became worse: notified again.
    Escalated,
    /// It began anew, or still holds after a long time: notified again unless it is acknowledged.
    Renewed,
    /// It fires again while its resolve was held back.
    Flapped,
    /// It ends the life.
    Resolves,
    /// A resolve of what is not open.
    NothingOpen,
}

impl Disposition {
    /// All of them, in the order of their numbers in the store.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Duplicate,
        Self::Escalated,
        Self::Renewed,
        Self::Flapped,
        Self::Resolves,
        Self::NothingOpen,
    ];

    /// The name as it appears in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Duplicate => "duplicate",
            Self::Escalated => "escalated",
            Self::Renewed => "renewed",
            Self::Flapped => "flapped",
            Self::Resolves => "resolves",
            Self::NothingOpen => "nothing-open",
        }
    }
}

/// What a post becomes, and what becomes of the life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the post becomes.
    pub disposition: Disposition,
    /// Whether it is worse than what was notified of the life before.
    pub is_worse: bool,
    /// The life after it.
    pub life: Life,
}

/// Decides about a post at `now`, by the newest life of its identity, if there is one. The rows of the table are tried from top
/// to bottom.
pub fn decide(life: Option<Life>, post: Post, policy: Policy, now: Micros) -> Decision {
    if post.is_momentary {
        return momentary(life, post, policy, now);
    }
    match (life.filter(|life| life.state == State::Open), post.status) {
        (None, Status::Firing) => begun(post, State::Open, now),
        (Some(open), Status::Firing) => fires(open, post, policy, now),
        (Some(open), Status::Resolved) if !ends_before(post, open) => resolves(open, policy, now),
        (_, Status::Resolved) => Decision {
            disposition: Disposition::NothingOpen,
            is_worse: false,
            life: life.unwrap_or_else(|| begun(post, State::Ended, now).life),
        },
    }
}

fn momentary(life: Option<Life>, post: Post, policy: Policy, now: Micros) -> Decision {
    let is_recent =
        |life: &Life| life.state == State::Momentary && now - life.notified_at < policy.repeat_window;
    match life.filter(is_recent) {
        Some(life) => Decision { disposition: Disposition::Duplicate, is_worse: false, life },
        None => begun(post, State::Momentary, now),
    }
}

fn begun(post: Post, state: State, now: Micros) -> Decision {
    let life = Life {
        state,
        severity: post.severity,
        starts_at: post.starts_at,
        notified_at: now,
        held_until: None,
    };
    Decision { disposition: Disposition::New, is_worse: false, life }
}

fn fires(open: Life, post: Post, policy: Policy, now: Micros) -> Decision {
    let is_worse = post.severity > open.severity;
    let disposition = match open {
        _ if open.held_until.is_some() => Disposition::Flapped,
        _ if is_worse => Disposition::Escalated,
        _ if is_duplicate(open, post, policy, now) => Disposition::Duplicate,
        _ => Disposition::Renewed,
    };
    // Most receivers have what flapped already: they are reminded as if it had not.
    let notified_at = if disposition == Disposition::Flapped && !is_worse { open.notified_at } else { now };
    let life = match disposition {
        Disposition::Duplicate => open,
        _ => Life {
            severity: open.severity.max(post.severity),
            starts_at: open.starts_at.max(post.starts_at),
            notified_at,
            held_until: None,
            ..open
        },
    };
    Decision { disposition, is_worse, life }
}

fn is_duplicate(open: Life, post: Post, policy: Policy, now: Micros) -> bool {
    match (open.starts_at, post.starts_at) {
        (Some(known), Some(start)) if start <= known => true,
        (Some(known), Some(start)) => policy.replicas > 0 && start - known < REPLICAS_APART,
        _ => now - open.notified_at < policy.repeat_window,
    }
}

/// Whether a resolve ended before the life began: it is of an earlier one.
fn ends_before(post: Post, open: Life) -> bool {
    post.ends_at.zip(open.starts_at).is_some_and(|(end, start)| end < start)
}

fn resolves(open: Life, policy: Policy, now: Micros) -> Decision {
    let life = match (open.held_until, policy.hold()) {
        (Some(_), _) => open,
        (None, 0) => Life { state: State::Ended, ..open },
        (None, hold) => Life { held_until: Some(now + hold), ..open },
    };
    Decision { disposition: Disposition::Resolves, is_worse: false, life }
}
