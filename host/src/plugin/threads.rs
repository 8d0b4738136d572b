//! The threads on which guests run: a runtime of their own, so that one that computes takes no turn of the webhook's or
//! the Temporal worker's, and a little less willing to run, so that the kernel serves those first.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, thread};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// How much the guests' threads stand back behind all others, as in nice(1).
const NICENESS: i32 = 5;

/// The threads; they end with this value.
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    /// As many as the machine has processors, and never just one: a guest is interrupted only where it yields.
    pub(super) fn start() -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plugin")
            .on_thread_start(stand_back)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs a future there; it is aborted where it stands if the caller's own is dropped. `None` if it panicked.
    pub(super) async fn run<T>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
    {
        let runtime = self.0.as_ref()?;
        Attached(runtime.spawn(future)).await.ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Not the runtime's own way, which waits, and may not within another runtime.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// On Linux this concerns the calling thread only.
fn stand_back() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, NICENESS)
    {
        tracing::debug!(%error, "the threads of the plugins run at the usual priority");
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
        panic::set_hook(hook);
        assert_eq!(threads.run(async { 1 }).await, Some(1));
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
