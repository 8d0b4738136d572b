//! The way out of one call: what wasmtime-wasi-http asks, with the call's deadline and counters.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant as StdInstant};

use http::header::{EXPECT, HeaderName, TE, TRAILER};
use http::{Request, Response};
use tokio::time::Instant;
use wasmtime_wasi_http::p2::DEFAULT_OUTGOING_BODY_CHUNK_SIZE;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::Egress;
use super::journal::{Entry, Journal, Progress, Traffic};
use super::outgoing::{host_asked_for, shown};
use super::request_body::taken_in;
use crate::plugin::sidecar::Settings;

/// How much a plugin may write at once into a body that cannot be sent.
const SMALL_CHUNK: usize = 4 << 10;

/// How long one request may take.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub deadline: Instant,
    pub connect: Duration,
    pub first_byte: Duration,
    pub between_bytes: Duration,
}

impl Times {
    fn new(deadline: Instant, options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        // A plugin can ask for less than the call has left, never for more; the sum with an instant must not overflow.
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = |limit: Option<Duration>| limit.map_or(left, |limit| limit.min(left));
        Self {
            deadline,
            connect: asked(options.connect_timeout),
            first_byte: asked(options.first_byte_timeout),
            between_bytes: asked(options.between_bytes_timeout),
        }
    }
}

/// One request of a call.
pub(super) struct Requested {
    pub entry: Entry,
    /// The handle under which the plugin got the future of its answer.
    pub future: Option<u32>,
}

/// The requests of one call.
pub(in crate::plugin) struct EgressCall {
    egress: Arc<Egress>,
    deadline: Instant,
    journal: Arc<Journal>,
    /// Those that may be sent, and of those beyond the limit at least what the plugin holds.
    pub(super) requested: Vec<Requested>,
    /// Which of them has no handle yet.
    latest: Option<usize>,
    /// How many bodies of requests the plugin made.
    bodies: u32,
}

impl EgressCall {
    /// Nothing that the call starts outlives `deadline`.
    pub(in crate::plugin) fn new(egress: Arc<Egress>, alert: Arc<str>, deadline: StdInstant) -> Self {
        let journal = Arc::new(egress.journal(alert));
        let deadline = Instant::from_std(deadline);
        Self { egress, deadline, journal, requested: Vec::new(), latest: None, bodies: 0 }
    }

    /// Notes under which handle the plugin got the future of the answer to the request that it made last.
    pub(in crate::plugin) fn hold(&mut self, future: u32) {
        for earlier in &mut self.requested {
            // A handle is given out again once the plugin has dropped what it stood for.
            earlier.future.take_if(|handle| *handle == future);
        }
        if let Some(latest) = self.latest.take() {
            self.requested[latest].future = Some(future);
        }
        // Nothing beyond the limit is sent. What the plugin has dropped of that is not kept.
        let mut sent = self.most();
        self.requested.retain(|one| {
            let may_be_sent = sent > 0;
            sent = sent.saturating_sub(1);
            may_be_sent || one.future.is_some()
        });
    }

    /// Takes a request's body in from now on. Bodies of requests that may not be sent anyway are left where they are.
    pub(in crate::plugin) fn take_in(&self, body: WasiBody) -> WasiBody {
        match self.bodies <= self.most() {
            true => taken_in(body, self.egress.bounds.request_body),
            false => body,
        }
    }

    /// Enters a request into the books of the call.
    fn note(&mut self, request: &Request<WasiBody>) -> Entry {
        let secrets = self.egress.secrets.current();
        let scrubber = secrets.scrubber(&self.egress.grants, host_asked_for(request.uri()).as_ref());
        let requested = shown(request.method(), request.uri());
        let entry = Entry::new(self.journal.clone(), &requested, secrets, scrubber);
        self.latest = Some(self.requested.len());
        self.requested.push(Requested { entry: entry.clone(), future: None });
        entry
    }

    fn most(&self) -> u32 {
        self.egress.bounds.requests
    }

    /// Whether an answer's head came to any of the requests.
    pub(in crate::plugin) fn has_answer(&self) -> bool {
        self.requested.iter().any(|one| matches!(one.entry.progress(), Progress::Answered(_)))
    }

    /// Why requests of this call were refused or failed so far, in the operator's words: the plugin itself only gets
    /// the code. At most one text per request.
    pub(in crate::plugin) fn failures(&self) -> Vec<String> {
        self.journal.failures()
    }

    /// What the requests of this call amount to so far.
    pub(in crate::plugin) fn traffic(&self) -> Traffic {
        self.journal.traffic()
    }

    /// The settings as this call reads them: only placeholders that it was given can be filled into a body.
    pub(in crate::plugin) fn mark(&self, settings: &Settings) -> Settings {
        self.journal.mark.apply(settings)
    }
}

impl Drop for EgressCall {
    fn drop(&mut self) {
        let Traffic { requests, denied, bytes_out, bytes_in } = self.traffic();
        if requests > 0 {
            let Journal { plugin, alert, .. } = &*self.journal;
            tracing::debug!(
                target: "plugin", plugin = &**plugin, alert = &**alert, requests, denied, bytes_out, bytes_in,
                "http requests of the call"
            );
        }
    }
}

/// What a future of [`WasiHttpHooks::send_request`] resolves to: the response, and what drives it on (nothing, since the
/// body owns its connection).
type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for EgressCall {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let admitted = self.journal.admit();
        let times = Times::new(self.deadline, options);
        let egress = self.egress.clone();
        let entry = self.note(&request);
        Box::new(async move {
            match egress.send(request, admitted, times, &entry).await {
                Ok(response) => {
                    entry.answered(response.status());
                    Ok((response, Box::new(async { Ok(()) }) as _))
                }
                Err(failure) => Err(entry.fail(failure)),
            }
        })
    }

    /// A plugin writes as much at once as it likes, within reason; bodies that cannot be sent anyway take little room.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.bodies = self.bodies.saturating_add(1);
        if self.bodies <= self.most() { DEFAULT_OUTGOING_BODY_CHUNK_SIZE } else { SMALL_CHUNK }
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static FILTER: LazyLock<ForbiddenHeaderFilter> = LazyLock::new(|| Arc::new(is_forbidden));
        FILTER.clone()
    }

    /// The host writes that header itself, from the URL that was checked.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

/// The connection's own headers, which plugins neither set nor see.
fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name) || [EXPECT, TE, TRAILER].contains(name)
}
