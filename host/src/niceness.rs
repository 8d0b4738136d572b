//! Which threads the kernel serves first: those that accept alerts, before those that run guests and the embedded Temporal server. A
//! burst is accepted while what was accepted before is delivered.

/// How much the others yield, as in nice(1).
const NICENESS: i32 = 5;

/// Has the calling thread, and each process that it starts, yield to the webhook's threads.
pub(crate) fn yield_to_webhook() {
    // On Linux this concerns the calling thread only.
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, NICENESS)
    {
        tracing::debug!(%error, "a thread runs at the usual priority");
    }
}
