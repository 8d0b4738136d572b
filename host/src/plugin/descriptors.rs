//! File descriptors: a process may have only so many open, and when they run out, what fails first is anything at all. The host takes
//! as many as it may, and all plugins together get half of them: one for each connection, as long as it is open, and one for each
//! memory of a loaded component, which wasmtime keeps the first contents of in a file of the kernel's.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// What plugins get if the process has no limit, or a very high one.
const MOST: u64 = 1 << 16;

/// Raises the soft limit on open files to the hard one, and gives the limit that holds then; `None` is no limit.
pub fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        if let Err(error) = raised {
            tracing::warn!(%error, "the limit on open files stays at {}", current.unwrap_or_default());
        }
    }
    getrlimit(Resource::Nofile).current
}

/// The descriptors that all plugins share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Descriptors {
    most: u32,
    free: Arc<Semaphore>,
}

impl Descriptors {
    /// Half of what this process may have.
    pub(super) fn of_process() -> Self {
        let half = getrlimit(Resource::Nofile).current.map_or(MOST, |limit| (limit / 2).min(MOST));
        Self::new(u32::try_from(half).unwrap_or(u32::MAX))
    }

    /// So many.
    pub(super) fn new(most: u32) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most as usize)) }
    }

    /// How many there are.
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// Waits for so many to be free. They are held as long as what this gives; `None` if they were not free in time.
    pub(super) async fn take(&self, count: u32, by: Instant) -> Option<OwnedSemaphorePermit> {
        timeout_at(by, self.free.clone().acquire_many_owned(count)).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_takes_all_descriptors_that_it_may_have() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let less = maximum.map_or(1 << 20, |maximum| maximum - 1);
        setrlimit(Resource::Nofile, Rlimit { current: Some(less), maximum }).unwrap();
        assert_eq!(raise_descriptor_limit(), maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
        let half = maximum.map_or(MOST, |maximum| maximum / 2).min(MOST);
        assert_eq!(u64::from(Descriptors::of_process().most()), half);
    }
}
