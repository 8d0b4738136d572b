//! The life table, once more: what the store says in one transaction over rows, said again over plain values. It replays what
//! was posted in the order in which the store committed it.

use std::collections::HashMap;

use campanile_store::life::{Policy, Post, Severity, Status};
use campanile_store::{Disposition, Micros};

/// An identity, as people would describe it.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The worst that was notified, while it is open.
    open: Option<Severity>,
    start: Option<Micros>,
    notified: Micros,
    is_held: bool,
    momentary: Option<Micros>,
}

/// All identities.
#[derive(Default)]
pub(crate) struct Model(HashMap<String, Known>);

impl Model {
    /// What the post of `key` at `now` has to become.
    pub(crate) fn post(&mut self, key: Option<&str>, post: Post, policy: Policy, now: Micros) -> Disposition {
        let Some(key) = key else { return Disposition::New };
        let known = self.0.entry(key.to_owned()).or_default();
        if post.is_momentary {
            return known.happen(policy, now);
        }
        let Some(worst) = known.open else { return known.begin(post, now) };
        if post.status == Status::Resolved {
            return known.resolve(post, policy);
        }
        let later = match (post.starts_at, known.start) {
            (Some(new), Some(old)) if policy.replicas > 0 => new - old >= 300_000_000,
            (Some(new), Some(old)) => new > old,
            _ => now >= known.notified + policy.repeat_window,
        };
        let disposition = if known.is_held {
            Disposition::Flapped
        } else if post.severity > worst {
            Disposition::Escalated
        } else if later {
            Disposition::Renewed
        } else {
            return Disposition::Duplicate;
        };
        let is_reminder = known.is_held && post.severity <= worst;
        known.open = Some(worst.max(post.severity));
        known.start = known.start.max(post.starts_at);
        known.notified = if is_reminder { known.notified } else { now };
        known.is_held = false;
        disposition
    }
}

impl Known {
    fn happen(&mut self, policy: Policy, now: Micros) -> Disposition {
        if self.momentary.is_some_and(|before| now < before + policy.repeat_window) {
            return Disposition::Duplicate;
        }
        *self = Known { momentary: Some(now), ..Known::default() };
        Disposition::New
    }

    fn begin(&mut self, post: Post, now: Micros) -> Disposition {
        if post.status == Status::Resolved {
            return Disposition::NothingOpen;
        }
        *self = Known { open: Some(post.severity), start: post.starts_at, notified: now, ..Known::default() };
        Disposition::New
    }

    fn resolve(&mut self, post: Post, policy: Policy) -> Disposition {
        if post.ends_at.is_some_and(|end| self.start.is_some_and(|start| end < start)) {
            return Disposition::NothingOpen;
        }
        match policy.hold_down.max(policy.replicas) {
            0 => self.open = None,
            _ => self.is_held = true,
        }
        Disposition::Resolves
    }
}
