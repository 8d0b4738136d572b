//! The routes that are in force: replaced whole, while what was planned goes on as planned.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Router;

/// The routes in force. Cheap to clone.
#[derive(Clone, Default)]
pub struct Routing(Arc<ArcSwap<Router>>);

impl Routing {
    /// These, for a start.
    pub fn new(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router)))
    }

    /// Those that are in force now.
    pub fn current(&self) -> Arc<Router> {
        self.0.load_full()
    }

    /// Puts others in their place.
    pub fn replace(&self, router: Router) {
        self.0.store(Arc::new(router));
    }
}
