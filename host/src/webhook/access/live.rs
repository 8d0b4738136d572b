//! Who is let in now: replaced whole while the host runs, and each request is looked at by what was in force when it came.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Access;

/// The access in force. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LiveAccess(Arc<ArcSwap<Access>>);

impl From<Access> for LiveAccess {
    fn from(access: Access) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(access)))
    }
}

impl LiveAccess {
    /// What is in force now.
    pub fn current(&self) -> Arc<Access> {
        self.0.load_full()
    }

    /// Puts another in its place. What a key has used up of its rate stays used up.
    pub fn replace(&self, mut access: Access) {
        access.keep_rates(&self.current());
        self.0.store(Arc::new(access));
    }
}
