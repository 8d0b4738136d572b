//! The way out of one call: what wasmtime-wasi-http asks, with the call's deadline and counters.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant as StdInstant};

use http::header::{EXPECT, HeaderName, TE, TRAILER};
use http::{Request, Response};
use tokio::time::Instant;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::Egress;
use super::journal::{Entry, Journal, Traffic};
use super::outgoing::{host_asked_for, shown};
use crate::plugin::sidecar::Settings;

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

/// The requests of one call.
pub(in crate::plugin) struct EgressCall {
    egress: Arc<Egress>,
    deadline: Instant,
    journal: Arc<Journal>,
}

impl EgressCall {
    /// Nothing that the call starts outlives `deadline`.
    pub(in crate::plugin) fn new(egress: Arc<Egress>, alert: Arc<str>, deadline: StdInstant) -> Self {
        let journal = Arc::new(egress.journal(alert));
        Self { egress, deadline: Instant::from_std(deadline), journal }
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
        let (egress, journal) = (self.egress.clone(), self.journal.clone());
        Box::new(async move {
            let scrubber = egress.scrubber(host_asked_for(request.uri()).as_ref());
            let entry = Entry::new(journal, &shown(request.method(), request.uri()), scrubber);
            match egress.send(request, admitted, times, &entry).await {
                Ok(response) => Ok((response, Box::new(async { Ok(()) }) as _)),
                Err(failure) => Err(entry.fail(failure)),
            }
        })
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
