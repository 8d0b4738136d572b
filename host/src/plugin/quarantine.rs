//! The circuit breaker of a plugin, which operators know as its quarantine: it opens when the plugin crashes or hits its
//! limits on several different inputs in a row. An input that makes it fail by itself is refused alone, and costs no other
//! sender anything. A new version of the plugin starts with a closed breaker.

mod inputs;

use std::collections::HashSet;
use std::mem;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::{CallError, Reason};
use crate::alert::Sender;
use crate::ledger::Retry;

use inputs::Inputs;
pub(super) use inputs::{FailingInput, Input};

/// How long the breaker stays open at first; each time that follows without a good call in between is twice as long.
const FIRST: Duration = Duration::from_secs(30);
/// How long it stays open at most.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// When to come again while the trial call is under way.
const TRIAL_RETRY: Duration = Duration::from_secs(1);

/// The breaker of one plugin.
pub(super) struct Breaker {
    plugin: String,
    /// How many different inputs have to fail in a row; 0 is never.
    after: usize,
    /// Whether senders choose the inputs, so that one of them alone must not open it.
    is_fed_by_senders: bool,
    gauge: metrics::Gauge,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    inputs: Inputs,
    /// Whether the host's own sample is being tried.
    is_sampling: bool,
}

enum State {
    /// Calls are let through. These inputs failed in a row.
    Closed(Vec<(Input, Sender)>),
    /// No call is let through until then.
    Open(Instant, Cause),
    /// One call is let through for trial.
    HalfOpen(Cause),
}

struct Cause {
    length: Duration,
    why: String,
}

/// How a call went, as far as it says something of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct<'a> {
    /// It answered as the contract says, be it with a failure of its own.
    Good,
    /// It crashed, hit a limit, or answered with what cannot be used.
    Failed {
        /// What it did.
        why: &'a str,
        /// Whether it would do so again with this input.
        by_input: bool,
    },
    /// It did not get far enough to tell.
    Unknown,
}

impl Breaker {
    pub(super) fn new(plugin: &str, after: u32, is_fed_by_senders: bool) -> Self {
        let gauge = metrics::gauge!("campanile_plugin_quarantined", "plugin" => plugin.to_owned());
        gauge.set(0.0);
        let inner = Inner { state: State::default(), inputs: Inputs::default(), is_sampling: false };
        Self {
            plugin: plugin.to_owned(),
            after: after as usize,
            is_fed_by_senders,
            gauge,
            inner: Mutex::new(inner),
        }
    }

    /// Lets a call through, or says when to come again.
    pub(super) fn enter(&self, input: Input, sender: &Sender) -> Result<Permit<'_>, CallError> {
        let mut inner = self.inner.lock();
        if let Some(failing) = inner.inputs.refuse(input) {
            return Err(self.refused_input(&failing));
        }
        let is_trial = match &inner.state {
            State::Closed(_) => false,
            State::Open(until, cause) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(self.refused(cause, left.max(TRIAL_RETRY)));
                }
                inner.half_open();
                true
            }
            State::HalfOpen(cause) => return Err(self.refused(cause, TRIAL_RETRY)),
        };
        Ok(Permit { breaker: self, input, sender: sender.clone(), is_trial })
    }

    fn refused(&self, cause: &Cause, wait: Duration) -> CallError {
        let Self { plugin, .. } = self;
        let seconds = wait.as_secs_f64().ceil();
        let text = format!(
            "{plugin} is in quarantine for another {seconds} s, since it {}; \
             `campanile plugin release {plugin}` or a new version ends that",
            cause.why
        );
        CallError { retry: after(wait), ..CallError::of(Reason::Quarantined, text) }
    }

    fn refused_input(&self, failing: &FailingInput) -> CallError {
        let (plugin, FailingInput { failures, why, seconds_left, .. }) = (&self.plugin, failing);
        let text = format!(
            "{plugin} failed {failures} times on this very input, at last: {why}; it is not tried again for \
             {seconds_left} s; `campanile plugin release {plugin}` or a new version ends that"
        );
        let wait = Duration::from_secs(*seconds_left);
        CallError { retry: after(wait), ..CallError::of(Reason::FailingInput, text) }
    }

    /// Closes the breaker and forgets what failed. Whether it was open.
    pub(super) fn release(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.inputs = Inputs::default();
        let was_open = !matches!(mem::take(&mut inner.state), State::Closed(_));
        if was_open {
            self.gauge.set(0.0);
            tracing::info!(plugin = self.plugin, "plugin released from quarantine by request");
        }
        was_open
    }

    /// Why it is open and for how much longer.
    pub(super) fn status(&self) -> Option<(String, Duration)> {
        match &self.inner.lock().state {
            State::Closed(_) => None,
            State::Open(until, cause) => {
                Some((cause.why.clone(), until.saturating_duration_since(Instant::now())))
            }
            State::HalfOpen(cause) => Some((cause.why.clone(), Duration::ZERO)),
        }
    }

    /// The inputs that are refused by themselves, the latest first.
    pub(super) fn failing_inputs(&self) -> Vec<FailingInput> {
        self.inner.lock().inputs.refused()
    }

    fn conclude(&self, permit: &Permit<'_>, about: &str, conduct: Conduct<'_>) -> Option<Trial<'_>> {
        let mut inner = self.inner.lock();
        match conduct {
            Conduct::Failed { why, by_input: true } if self.is_fed_by_senders => {
                inner.inputs.failed(permit.input, &permit.sender, about, why);
            }
            Conduct::Good => inner.inputs.passed(permit.input),
            _ => {}
        }
        let needs_sample = match (&mut inner.state, conduct) {
            (State::HalfOpen(_), Conduct::Failed { .. }) if permit.is_trial && self.is_fed_by_senders => true,
            (State::HalfOpen(_), conduct) if permit.is_trial => {
                self.end_trial(&mut inner, conduct);
                false
            }
            // Calls that began before it opened do not count.
            (State::Open(..) | State::HalfOpen(_), _) | (_, Conduct::Unknown) => false,
            (State::Closed(failed), Conduct::Good) => {
                failed.clear();
                false
            }
            (State::Closed(failed), Conduct::Failed { why, .. }) => {
                if self.after > 0 && !failed.iter().any(|(input, _)| *input == permit.input) {
                    failed.push((permit.input, permit.sender.clone()));
                    // The sample may take its time.
                    failed.drain(..failed.len().saturating_sub(2 * self.after));
                }
                let count = failed.len();
                let senders: HashSet<_> = failed.iter().map(|(_, sender)| sender).collect();
                let is_enough = self.after > 0 && count >= self.after;
                let is_one_sender = self.is_fed_by_senders && senders.len() < 2;
                if is_enough && !is_one_sender {
                    let why = format!("failed on {count} different inputs in a row, at last: {why}");
                    self.open(&mut inner, FIRST, why);
                }
                is_enough && is_one_sender
            }
        };
        let is_first = needs_sample && !mem::replace(&mut inner.is_sampling, true);
        is_first.then(|| Trial { breaker: self, is_over: false })
    }

    /// The end of the host's own sample call.
    fn sampled(&self, conduct: Conduct<'_>) {
        let mut inner = self.inner.lock();
        inner.is_sampling = false;
        match (&mut inner.state, conduct) {
            (State::HalfOpen(_), conduct) => self.end_trial(&mut inner, conduct),
            (State::Closed(failed), Conduct::Good) => failed.clear(),
            (State::Closed(failed), Conduct::Failed { why, .. }) => {
                let count = failed.len();
                let why = format!("failed on {count} different inputs in a row and on the host's own: {why}");
                self.open(&mut inner, FIRST, why);
            }
            _ => {}
        }
    }

    fn end_trial(&self, inner: &mut Inner, conduct: Conduct<'_>) {
        let State::HalfOpen(cause) = mem::take(&mut inner.state) else { return };
        match conduct {
            Conduct::Good => {
                self.gauge.set(0.0);
                tracing::info!(
                    plugin = self.plugin,
                    "plugin released from quarantine: its trial call went well"
                );
            }
            Conduct::Unknown => inner.state = State::Open(Instant::now(), cause),
            Conduct::Failed { why, .. } => {
                let length = cause.length.saturating_mul(2).min(LONGEST);
                self.open(inner, length, format!("failed its trial call: {why}"));
            }
        }
    }

    fn open(&self, inner: &mut Inner, length: Duration, why: String) {
        self.gauge.set(1.0);
        metrics::counter!("campanile_plugin_quarantines_total", "plugin" => self.plugin.clone()).increment(1);
        tracing::error!(plugin = self.plugin, "plugin quarantined for {length:?}: it {why}");
        inner.state = State::Open(Instant::now() + length, Cause { length, why });
    }
}

impl Inner {
    fn half_open(&mut self) {
        if let State::Open(_, cause) = mem::take(&mut self.state) {
            self.state = State::HalfOpen(cause);
        }
    }
}

impl Default for State {
    fn default() -> Self {
        State::Closed(Vec::new())
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if !matches!(self.inner.get_mut().state, State::Closed(_)) {
            self.gauge.set(0.0);
        }
    }
}

fn after(wait: Duration) -> Retry {
    Retry::After { after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) }
}

/// The right to one call.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    input: Input,
    sender: Sender,
    is_trial: bool,
}

impl<'a> Permit<'a> {
    /// Says how the call went; `about` names it in the log. A permit that is dropped instead says nothing. If the failure may
    /// be the sender's, the host has to try its own sample and to say how that went.
    pub(super) fn conclude(mut self, about: &str, conduct: Conduct<'_>) -> Option<Trial<'a>> {
        let trial = self.breaker.conclude(&self, about, conduct);
        self.is_trial = false;
        trial
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.conclude(self, "", Conduct::Unknown);
        }
    }
}

/// A call with the host's own sample that is to be made.
pub(super) struct Trial<'a> {
    breaker: &'a Breaker,
    is_over: bool,
}

impl Trial<'_> {
    /// Says how it went.
    pub(super) fn conclude(mut self, conduct: Conduct<'_>) {
        self.is_over = true;
        self.breaker.sampled(conduct);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.breaker.sampled(Conduct::Unknown);
        }
    }
}

#[cfg(test)]
mod tests;
