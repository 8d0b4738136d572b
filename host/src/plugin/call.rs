//! One call of a plugin: a fresh store on a thread for guests, limits, a deadline, an instance; and every way in which
//! it can fail, as a [`CallError`].

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use wasmtime::component::Linker;
use wasmtime::{Engine, PoolConcurrencyLimitError, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::admission::{Admission, Permit};
use super::bindings::Failure;
use super::egress::Egress;
use super::error::{CallError, LONGEST_MESSAGE, Reason, one_line, shown};
use super::imports::HostState;
use super::limits::{Bounds, ByteSize};
use super::mail::Mailer;
use super::sidecar::Settings;
use super::threads::Threads;
use super::{Role, end};
use crate::ledger::Usage;

/// The longest text on the last request that failed before a crash, in characters, and what comes before it.
const LONGEST_WHY: usize = 300;
const REQUEST: &str = "; its last request that failed: ";

pub(super) type Store = wasmtime::Store<HostState>;

/// What a guest answers; the outer error is a crash.
pub(super) type Answer<'s, T> = BoxFuture<'s, wasmtime::Result<Result<T, Failure>>>;

/// What all calls share.
pub(super) struct Runtime {
    pub engine: Engine,
    pub linker: Linker<HostState>,
    pub mail: Option<Mailer>,
    pub admission: Arc<Admission>,
    pub threads: Threads,
}

/// What one call may do.
pub(super) struct Terms {
    pub plugin: Arc<str>,
    pub role: Role,
    /// The identity of the alert that it is about, for the log.
    pub alert: Arc<str>,
    pub bounds: Arc<Bounds>,
    pub deadline: Duration,
    pub settings: Settings,
    pub egress: Arc<Egress>,
    /// Cancelled when the plugin was replaced and its calls had their time to end.
    pub retired: CancellationToken,
    /// Held until the call is over, also where nobody waits for its answer any more.
    pub permit: Option<Permit>,
}

/// How a call ended.
pub(super) struct Ended<T> {
    /// How long it waited for a free place.
    pub queued: Duration,
    pub usage: Usage,
    /// What the operator should know of it although it succeeded.
    pub warnings: Vec<String>,
    pub result: Result<T, CallError>,
}

impl Runtime {
    /// Runs `body` on a fresh store. If the future is dropped the call ends where it stands, at the latest when the
    /// guest is next asked to yield.
    pub(super) async fn run<T, F>(self: &Arc<Self>, terms: Terms, body: F) -> Ended<T>
    where
        F: for<'s> FnOnce(&'s mut Store) -> Answer<'s, T> + Send + 'static,
        T: Send + 'static,
    {
        let runtime = self.clone();
        let ended = self.threads.run(async move { runtime.run_here(terms, body).await }).await;
        ended.unwrap_or_else(|| {
            let text = "the host panicked in this call: its log says where";
            Ended {
                queued: Duration::ZERO,
                usage: Usage::default(),
                warnings: Vec::new(),
                result: Err(CallError::of(Reason::Host, text)),
            }
        })
    }

    async fn run_here<T, F>(&self, mut terms: Terms, body: F) -> Ended<T>
    where
        F: for<'s> FnOnce(&'s mut Store) -> Answer<'s, T>,
    {
        let _permit = terms.permit.take();
        let (limit, bounds, retired) = (terms.deadline, terms.bounds.clone(), terms.retired.clone());
        let role = terms.role;
        let mut store = self.store(terms);
        let (ended, cpu) = metered(async {
            // The deadline of the store interrupts a guest that computes, this one a guest that waits.
            let answer = tokio::select! {
                answer = tokio::time::timeout(limit, body(&mut store)) => answer,
                () = retired.cancelled() => return Err(replaced()),
            };
            let state = store.data_mut();
            match answer {
                Ok(Ok(Ok(answer))) => {
                    Ok((answer, end::settled(state, role, (limit, bounds.deadline), &retired).await?))
                }
                Ok(Ok(Err(failure))) => Err(explained(failure.into(), state, &bounds)),
                Ok(Err(error)) => match crash(&error, state, limit, &bounds) {
                    late if late.reason == Reason::Deadline => Err(end::late(late, state, &retired).await),
                    crash => Err(crash),
                },
                Err(_) => Err(end::late(too_late(limit, &bounds), state, &retired).await),
            }
        })
        .await;
        let (usage, queued) = (store.data().usage(cpu), Duration::ZERO);
        match ended {
            Ok((answer, warnings)) => Ended { queued, usage, warnings, result: Ok(answer) },
            Err(error) => Ended { queued, usage, warnings: Vec::new(), result: Err(error) },
        }
    }

    fn store(&self, terms: Terms) -> Store {
        let (deadline, bounds) = (Instant::now() + terms.deadline, terms.bounds.clone());
        let mut store = Store::new(&self.engine, HostState::new(terms, self.mail.clone(), deadline));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(usize::try_from(bounds.host_call).unwrap_or(usize::MAX));
        store.set_max_component_handles(bounds.handles as usize);
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

/// Awaits a future and says how much processor time it took.
async fn metered<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut future = pin!(future);
    let mut used = Duration::ZERO;
    let output = std::future::poll_fn(|cx| {
        let before = thread_time();
        let poll: Poll<T> = future.as_mut().poll(cx);
        used += thread_time().saturating_sub(before);
        poll
    });
    let output = output.await;
    (output, used)
}

/// The processor time of this thread so far.
fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn replaced() -> CallError {
    CallError::of(Reason::Replaced, "the plugin was replaced, and the call did not end in time")
}

/// The plugin's own failure, with what the host knows and the plugin does not: which request failed last and how, and
/// which limit its runtime met, which only says that it is out of memory.
fn explained(failure: CallError, state: &HostState, bounds: &Bounds) -> CallError {
    let memory = state.memory.has_refused().then(|| memory_limit(bounds));
    let known: Vec<_> = memory.into_iter().chain(state.requests.failures().last().cloned()).collect();
    if known.is_empty() {
        return failure;
    }
    let message = one_line(&format!("{}; {}", failure.message, known.join("; ")), LONGEST_MESSAGE);
    CallError { message, ..failure }
}

fn memory_limit(bounds: &Bounds) -> String {
    format!("memory limit {} reached (`memory` in [limits])", ByteSize(bounds.memory))
}

/// `limit` is less than the plugin's own deadline where the caller had no more time.
fn too_late(limit: Duration, bounds: &Bounds) -> CallError {
    let key = if limit == bounds.deadline { " (`deadline` in [limits])" } else { "" };
    CallError::of(Reason::Deadline, format!("it did not answer within {}{key}", shown(limit)))
}

/// What a call that ended without an answer died of.
fn crash(error: &wasmtime::Error, state: &HostState, limit: Duration, bounds: &Bounds) -> CallError {
    if state.memory.has_refused() {
        return CallError::of(Reason::Memory, memory_limit(bounds));
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::of(Reason::Busy, "no memory was free for another call");
    }
    // Every error that passes through the guest's code gets a backtrace of it; what has none came from its answer.
    let in_answer = error.downcast_ref::<WasmBacktrace>().is_none();
    if let Some(text) = host_limit(error, bounds) {
        return CallError::of(if in_answer { Reason::InvalidOutput } else { Reason::HostCalls }, text);
    }
    if let Some(cause) = system_failure(error).filter(|_| in_answer) {
        return CallError::of(Reason::Host, format!("the system has no room for another call: {cause}"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => too_late(limit, bounds),
        Some(trap) => CallError::of(Reason::Trap, crash_text(&trap.to_string(), state)),
        None if in_answer => {
            CallError::of(Reason::InvalidOutput, format!("its answer cannot be used: {}", error.root_cause()))
        }
        None => CallError::of(Reason::Trap, crash_text(&stop_text(error), state)),
    }
}

/// What the operating system refused, such as a descriptor or memory for an instance.
fn system_failure(error: &wasmtime::Error) -> Option<String> {
    error.chain().find(|cause| cause.is::<Errno>() || cause.is::<std::io::Error>()).map(ToString::to_string)
}

/// Which of the limits on what a guest may ask of the host was hit. Most of these errors have no type of their own: a test
/// with a guest that hits each sees to it that their texts stay what they are.
fn host_limit(error: &wasmtime::Error, bounds: &Bounds) -> Option<String> {
    let text = error.root_cause().to_string();
    let is = |words: &str| text.contains(words);
    let is_full = matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full));
    Some(if is("fuel allocated for hostcalls") {
        let most = ByteSize(bounds.host_call);
        format!(
            "it passed more than {most} to a host function or back as its answer (`host-call` in [limits])"
        )
    } else if is_full || is("store handle limit exceeded") {
        format!("it held more than {} handles at once (`handles` in [limits])", bounds.handles)
    } else if is("requested len") {
        format!(
            "it asked for more than {} of random bytes at once (`random` in [limits])",
            ByteSize(bounds.random)
        )
    } else if is("total size of fields exceeds limit") {
        let most = ByteSize(bounds.http.request_head);
        format!("it made headers of more than {most} (`request-head` in [limits])")
    } else {
        return None;
    })
}

/// Why the guest stopped. Two traps come from the contract of WASI's streams, whose own words say too little; a guest
/// that does both sees to it that these words stay what they are.
fn stop_text(error: &wasmtime::Error) -> String {
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return format!("it called exit with code {code} instead of answering");
    }
    let text = error.root_cause().to_string();
    if text.contains("Buffer too large for blocking-write") {
        "it passed more than 4096 bytes to `blocking-write-and-flush` at once, which WASI forbids: write in chunks \
         of 4096 bytes at most"
            .to_owned()
    } else if text.contains("write exceeded budget") {
        "it passed more bytes to `write` than the stream's `check-write` allowed, which WASI forbids: ask \
         `check-write` before each `write`, or use `blocking-write-and-flush` with 4096 bytes at most"
            .to_owned()
    } else {
        text
    }
}

/// A panic says why on stderr: without its words the trap alone helps nobody. Often it is about a request that failed, of
/// which the guest only got a code.
fn crash_text(cause: &str, state: &HostState) -> String {
    let mut text = format!("it crashed: {cause}");
    if let Some(words) = state.output.last_words() {
        text += &format!("; its last words: {words}");
    }
    if let Some(why) = state.requests.failures().last() {
        let left = LONGEST_MESSAGE.saturating_sub(LONGEST_WHY + REQUEST.len());
        text = format!("{}{REQUEST}{}", one_line(&text, left), one_line(why, LONGEST_WHY));
    }
    text
}
