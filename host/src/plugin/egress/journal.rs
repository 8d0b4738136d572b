//! What one call's requests came to: how many and how much, and why some failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;
use parking_lot::Mutex;
use wasmtime_wasi_http::Error;

use super::failure::Failure;
use crate::plugin::secrets::{Mark, Scrubber, Secrets};

/// What a call's requests amount to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::plugin) struct Traffic {
    /// The requests that the plugin asked for.
    pub requests: u64,
    /// Those of them that the host refused, by a grant or a limit.
    pub denied: u64,
    /// What was sent, heads and bodies, without TLS, in bytes.
    pub bytes_out: u64,
    /// What was received, likewise.
    pub bytes_in: u64,
}

/// The requests of one call.
pub(super) struct Journal {
    pub plugin: Arc<str>,
    /// The identity of the alert that the call is about, for the log.
    pub alert: Arc<str>,
    pub mark: Mark,
    /// How many requests may be sent.
    most: u32,
    failures: Mutex<Vec<String>>,
    requests: AtomicU64,
    denied: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Journal {
    pub(super) fn new(plugin: Arc<str>, alert: Arc<str>, most: u32) -> Self {
        Self {
            plugin,
            alert,
            mark: Mark::new(),
            most,
            failures: Mutex::default(),
            requests: AtomicU64::default(),
            denied: AtomicU64::default(),
            sent: AtomicU64::default(),
            received: AtomicU64::default(),
        }
    }

    /// Counts one more request.
    pub(super) fn admit(&self) -> Result<(), Failure> {
        match self.requests.fetch_add(1, Relaxed) {
            before if before < u64::from(self.most) => Ok(()),
            _ => {
                let text = "a call may send no more requests";
                Err(Failure::limit(Error::ConnectionLimitReached, text, "requests", self.most))
            }
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Relaxed),
            denied: self.denied.load(Relaxed),
            bytes_out: self.sent.load(Relaxed),
            bytes_in: self.received.load(Relaxed),
        }
    }

    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }
}

/// How far one request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// No answer came yet.
    Pending,
    /// The head of an answer came.
    Answered(StatusCode),
    /// No answer will come.
    Failed {
        why: String,
        /// The plugin did not finish the request's body.
        is_unfinished: bool,
    },
}

/// One request in the journal, and the search through all that comes of it. Clones are the same request.
#[derive(Clone)]
pub(super) struct Entry {
    journal: Arc<Journal>,
    /// How the operator knows it: its method and URL.
    requested: Arc<str>,
    /// Those in force when it began.
    secrets: Secrets,
    scrubber: Scrubber,
    progress: Arc<Mutex<Progress>>,
}

impl Entry {
    /// `scrubber` searches for those of `secrets` that may come back.
    pub(super) fn new(journal: Arc<Journal>, requested: &str, secrets: Secrets, scrubber: Scrubber) -> Self {
        let requested = scrubber.text(&journal.mark.remove(requested)).into();
        Self { journal, requested, secrets, scrubber, progress: Arc::new(Mutex::new(Progress::Pending)) }
    }

    /// What may be filled into it.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What keeps secrets out of the answer.
    pub(super) fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    pub(super) fn requested(&self) -> &str {
        &self.requested
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.lock().clone()
    }

    /// Notes that the head of an answer came.
    pub(super) fn answered(&self, status: StatusCode) {
        *self.progress.lock() = Progress::Answered(status);
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.journal.mark
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.journal.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.journal.received.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes a failure for the ledger and the log, and hands the code on to the plugin.
    pub(super) fn fail(&self, failure: Failure) -> Error {
        let Journal { plugin, alert, mark, most, failures, denied, .. } = &*self.journal;
        let mut progress = self.progress.lock();
        if *progress == Progress::Pending {
            let why = self.scrubber.text(&mark.remove(&failure.text));
            *progress = Progress::Failed { why, is_unfinished: failure.is_unfinished };
        }
        drop(progress);
        let mut failures = failures.lock();
        denied.fetch_add(u64::from(failure.is_refusal()), Relaxed);
        // One more than can be sent: a plugin that goes on after the last one is told of once.
        if failures.len() <= *most as usize {
            let text = self.scrubber.text(&mark.remove(&format!("{}: {}", self.requested, failure.text)));
            let what = if failure.is_refusal() { "refused" } else { "failed" };
            tracing::warn!(target: "plugin", plugin = &**plugin, alert = &**alert, "http request {what}: {text}");
            failures.push(text);
        }
        failure.code
    }
}
