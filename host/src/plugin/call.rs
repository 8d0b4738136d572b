//! One call of a plugin: a permit, a fresh store, limits, a deadline, an instance; and every way in which it can fail,
//! as a [`CallError`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::Linker;
use wasmtime::{Engine, PoolConcurrencyLimitError, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::Failure;
use super::egress::Egress;
use super::error::{CallError, LONGEST_MESSAGE, Reason, one_line};
use super::imports::HostState;
use super::limits::{Bounds, ByteSize};
use super::mail::Mailer;
use super::sidecar::Settings;

/// The most bytes that a guest may hand to one host function, or back as its answer.
const HOSTCALL_BYTES: usize = 4 << 20;
/// The most handles (streams, requests, headers) that a guest may hold at once.
const MOST_HANDLES: usize = 1_000;

pub(super) type Store = wasmtime::Store<HostState>;

/// What a guest answers; the outer error is a crash.
pub(super) type Answer<'s, T> = BoxFuture<'s, wasmtime::Result<Result<T, Failure>>>;

/// What all calls share.
pub(super) struct Runtime {
    pub engine: Engine,
    pub linker: Linker<HostState>,
    pub mail: Option<Mailer>,
    /// The places for calls, over all plugins.
    pub places: Semaphore,
}

/// What one call may do.
pub(super) struct Terms<'a> {
    pub plugin: Arc<str>,
    /// The identity of the alert that it is about, for the log.
    pub alert: Arc<str>,
    pub bounds: &'a Bounds,
    pub deadline: Duration,
    pub settings: Settings,
    pub egress: Arc<Egress>,
}

impl Runtime {
    /// Waits for a free place among the plugin's own and then among all, for at most `patience`.
    pub(super) async fn admit<'a>(
        &'a self,
        plugin: &str,
        own: &'a Semaphore,
        patience: Duration,
    ) -> Result<(SemaphorePermit<'a>, SemaphorePermit<'a>), CallError> {
        let until = tokio::time::Instant::now() + patience;
        let busy = |why| {
            let text = format!("no call of {plugin} could start within {}: {why}", shown(patience));
            CallError::of(Reason::Busy, text)
        };
        let own = tokio::time::timeout_at(until, own.acquire()).await.ok().and_then(Result::ok);
        let own = own.ok_or_else(|| busy("as many as its `concurrency` allows are running"))?;
        let place = tokio::time::timeout_at(until, self.places.acquire()).await.ok().and_then(Result::ok);
        let place =
            place.ok_or_else(|| busy("as many as this host runs at once, over all plugins, are running"))?;
        Ok((own, place))
    }

    /// Runs `body` on a fresh store.
    pub(super) async fn run<T, F>(&self, terms: Terms<'_>, body: F) -> Result<T, CallError>
    where
        F: for<'s> FnOnce(&'s mut Store) -> Answer<'s, T>,
    {
        let limit = terms.deadline;
        let memory = terms.bounds.memory;
        let mut store = self.store(terms);
        // The deadline of the store interrupts a guest that computes, this one a guest that waits.
        match tokio::time::timeout(limit, body(&mut store)).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(failure))) => Err(explained(failure.into(), store.data())),
            Ok(Err(error)) => Err(crash(&error, store.data(), limit, memory)),
            Err(_) => Err(too_late(limit)),
        }
    }

    fn store(&self, terms: Terms<'_>) -> Store {
        let deadline = Instant::now() + terms.deadline;
        let mut store = Store::new(&self.engine, HostState::new(terms, self.mail.clone(), deadline));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MOST_HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            Ok(match Instant::now() < deadline {
                // Not wasmtime's own yield: tokio would resume the guest at once, ahead of everybody who waits.
                true => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
                false => UpdateDeadline::Interrupt,
            })
        });
        store
    }
}

/// The plugin's own failure, with what the host knows of the request that failed last: the plugin only got a code.
fn explained(failure: CallError, state: &HostState) -> CallError {
    match state.requests.failures().last() {
        Some(why) => CallError {
            message: one_line(&format!("{}; {why}", failure.message), LONGEST_MESSAGE),
            ..failure
        },
        None => failure,
    }
}

fn too_late(limit: Duration) -> CallError {
    CallError::of(Reason::Deadline, format!("it did not answer within {}", shown(limit)))
}

/// A time without the digits that nobody asked for: `1.5s`, `400ms`.
fn shown(time: Duration) -> String {
    let millis = (time + Duration::from_micros(500)).as_millis();
    format!("{:?}", Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// What a call that ended without an answer died of.
fn crash(error: &wasmtime::Error, state: &HostState, limit: Duration, memory: u64) -> CallError {
    if state.memory.has_refused() {
        return CallError::of(Reason::Memory, format!("memory limit {} reached", ByteSize(memory)));
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::of(Reason::Busy, "no memory was free for another call");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => too_late(limit),
        Some(trap) => CallError::of(Reason::Trap, crash_text(&trap.to_string(), state)),
        // Every error that passes through the guest's code gets a backtrace of it; what has none came from its answer.
        None if error.downcast_ref::<WasmBacktrace>().is_none() => {
            CallError::of(Reason::InvalidOutput, format!("its answer cannot be used: {}", error.root_cause()))
        }
        None => CallError::of(Reason::Trap, crash_text(&stop_text(error), state)),
    }
}

fn stop_text(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(code)) => format!("it called exit with code {code} instead of answering"),
        None => error.root_cause().to_string(),
    }
}

/// A panic says why on stderr: without that line the trap alone helps nobody.
fn crash_text(cause: &str, state: &HostState) -> String {
    match state.output.last_words() {
        Some(words) => format!("it crashed: {cause}; its last words: {words}"),
        None => format!("it crashed: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_without_noise() {
        assert_eq!(shown(Duration::from_micros(999_990)), "1s");
        assert_eq!(shown(Duration::from_millis(1_500)), "1.5s");
        assert_eq!(shown(Duration::from_micros(400_200)), "400ms");
    }
}
