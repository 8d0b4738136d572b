//! Waiting for what has no signal: by looking again and again, up to a deadline that fails the test with a reason.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long tests wait for what should happen soon. Generous: a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` until it gives a value, and panics with `what` past the usual patience.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, probe: impl FnMut() -> F) -> T {
    until_within(what, PATIENCE, probe).await
}

/// Asks `probe` until it gives a value, and panics with `what` past `limit`.
pub async fn until_within<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
