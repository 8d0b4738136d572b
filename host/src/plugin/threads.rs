//! The threads on which guests run: a runtime of their own, so that one that computes takes no turn of the webhook's or
//! the Temporal worker's, and a little less willing to run, so that the kernel serves those first. Activities run on
//! them, too, so that a call costs no change of threads.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, thread};

use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};

use crate::niceness;

thread_local! {
    static IS_FOR_GUESTS: Cell<bool> = const { Cell::new(false) };
}

/// The threads; they end with this value.
pub(super) struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// As many as the machine has processors, and never just one: a guest is interrupted only where it yields.
    pub(super) fn start() -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plugin")
            .on_thread_start(|| {
                IS_FOR_GUESTS.set(true);
                niceness::yield_to_webhook();
            })
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn what calls plugins.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future there; it ends where it stands if the caller's own is dropped. `None` if it panicked.
    pub(super) async fn run<T>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
    {
        match IS_FOR_GUESTS.get() {
            true => AssertUnwindSafe(future).catch_unwind().await.ok(),
            false => Attached(self.handle.spawn(future)).await.ok(),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Not the runtime's own way, which waits, and may not within another runtime.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// A task that ends with whoever waits for it.
struct Attached<T>(JoinHandle<T>);

impl<T> Future for Attached<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Attached<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn a_panic_is_seen_and_hurts_nobody() {
        let threads = Threads::start().unwrap();
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        assert_eq!(threads.run(async { panic!("as asked") }).await, None::<()>);
        let threads = Arc::new(threads);
        let inner = threads.clone();
        let on_them = threads.run(async move { inner.run(async { panic!("as asked") }).await });
        assert_eq!(on_them.await, Some(None::<()>));
        panic::set_hook(hook);
        assert_eq!(threads.run(async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn a_call_from_one_of_them_stays_there() {
        let threads = Arc::new(Threads::start().unwrap());
        let inner = threads.clone();
        let here = || thread::current().id();
        let on_them = threads.run(async move { (here(), inner.run(async move { here() }).await) }).await;
        let (outside, inside) = on_them.unwrap();
        assert_eq!(Some(outside), inside);
        assert_ne!(outside, here());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_dropped() {
        let threads = Threads::start().unwrap();
        let held = Arc::new(());
        let inside = held.clone();
        let call = threads.run(async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
        let dropped = async {
            while Arc::strong_count(&held) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), dropped).await.unwrap();
    }
}
