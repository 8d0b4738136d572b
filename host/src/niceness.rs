//! Which threads the kernel serves first: those that accept alerts, then those of Temporal's client and workers, then those that run
//! guests and the embedded Temporal server. A burst is accepted while what was accepted before is delivered, and a guest that computes
//! holds up neither.

/// How much threads yield, as in nice(1). Each step of five is a third of a processor that both want.
const WORKER: i32 = 5;
const GUEST: i32 = 10;

/// Has the calling thread yield to the webhook's threads.
pub(crate) fn yield_to_webhook() {
    set(WORKER);
}

/// Has the calling thread, and each process that it starts, yield to the workers' threads, too.
pub(crate) fn yield_to_workers() {
    set(GUEST);
}

fn set(niceness: i32) {
    // On Linux this concerns the calling thread only.
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, niceness)
    {
        tracing::debug!(%error, "a thread runs at the usual priority");
    }
}
