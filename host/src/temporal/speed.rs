//! Which receivers and updaters are slow. `process_alert` records that in its plan: the first attempt of a slow one is durable,
//! so that it holds no workflow task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::calls::PATIENCE;
use crate::plugin::Role;

/// After how many slow calls in a row one counts as slow.
pub(super) const MANY: u32 = 3;

/// How long the calls took, as this process saw them. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Speeds(Arc<Mutex<HashMap<(Role, String), u32>>>);

impl Speeds {
    /// A call took this long, the wait for a free place not counted.
    pub(super) fn note(&self, role: Role, name: &str, duration: Duration) {
        let mut slow = self.0.lock();
        let key = (role, name.to_owned());
        if duration <= PATIENCE {
            slow.remove(&key);
            return;
        }
        let count = slow.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether its latest calls all outlasted a local activity.
    pub(super) fn is_slow(&self, role: Role, name: &str) -> bool {
        self.0.lock().get(&(role, name.to_owned())).is_some_and(|count| *count >= MANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_slow_after_slow_calls_in_a_row_until_a_quick_one() {
        let speeds = Speeds::default();
        let note = |millis| speeds.note(Role::Notifier, "mail", Duration::from_millis(millis));
        let is_slow = |role| speeds.is_slow(role, "mail");
        note(3_000);
        note(3_000);
        assert!(!is_slow(Role::Notifier), "one or two may be chance");
        note(3_000);
        assert!(is_slow(Role::Notifier) && !is_slow(Role::StatusUpdater));
        note(100);
        assert!(!is_slow(Role::Notifier));
    }
}
