//! The end of a call's requests. Those whose futures the plugin still holds are finished, as if it had waited for them;
//! what it dropped before an answer came is listed.

use std::mem;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::p2::types::HostFutureIncomingResponse;

use super::call::EgressCall;
use super::journal::{Entry, Progress};

/// What a call left of its requests, each text with method and URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::plugin) struct Settled {
    /// Those that the plugin had not waited for, and that succeeded.
    pub finished: Vec<String>,
    /// Those that it had not waited for, and that did not, with the reason.
    pub failed: Vec<String>,
    /// Those that it dropped before an answer came.
    pub dropped: Vec<String>,
    /// Whether any request failed since the plugin did not finish its body.
    pub has_unfinished_body: bool,
}

impl EgressCall {
    /// Finishes the requests whose answers the plugin has not taken, by `until` or until `stop`, and forgets all else
    /// that the plugin holds in `table`: it is not to run again.
    pub(in crate::plugin) async fn settle(
        &self,
        table: &mut ResourceTable,
        until: Instant,
        stop: &CancellationToken,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut held = Vec::new();
        for one in &self.requested {
            match one.future.and_then(|future| untaken(table, future)) {
                Some(future) => held.push((one.entry.clone(), future)),
                None if one.entry.progress() == Progress::Pending => {
                    settled.dropped.push(one.entry.requested().to_owned());
                }
                None => {}
            }
        }
        abort_bodies(table);
        drop(mem::take(table));
        for (entry, mut future) in held {
            tokio::select! {
                _ = timeout_at(until, future.ready()) => {}
                () = stop.cancelled() => {}
            }
            settled.note(&entry);
        }
        let is_unfinished =
            |progress| matches!(progress, Progress::Failed { is_unfinished, .. } if is_unfinished);
        settled.has_unfinished_body = self.requested.iter().any(|one| is_unfinished(one.entry.progress()));
        settled
    }
}

impl Settled {
    /// Notes how a request ended that the plugin had not waited for.
    fn note(&mut self, entry: &Entry) {
        let requested = entry.requested();
        match entry.progress() {
            Progress::Answered(status) if status.is_success() => {
                self.finished.push(format!("{requested}: {}", shown(status)));
            }
            Progress::Answered(status) => self.failed.push(format!("{requested}: {}", shown(status))),
            Progress::Failed { why, .. } => self.failed.push(format!("{requested}: {why}")),
            Progress::Pending => {
                self.failed.push(format!("{requested}: no answer came in the time of the call"))
            }
        }
    }
}

fn shown(status: StatusCode) -> String {
    format!("it was answered {}", status.as_u16())
}

/// The future under this handle, unless the plugin has dropped it or taken what came of it.
fn untaken(table: &mut ResourceTable, future: u32) -> Option<HostFutureIncomingResponse> {
    let future = table.get_mut(&Resource::<HostFutureIncomingResponse>::new_borrow(future)).ok()?;
    let future = mem::replace(future, HostFutureIncomingResponse::Consumed);
    (!matches!(future, HostFutureIncomingResponse::Consumed)).then_some(future)
}

/// Ends every body that the plugin has not finished as one that is not complete. If they were only dropped, wasmtime would
/// take what was written for all of it.
pub(in crate::plugin) fn abort_bodies(table: &mut ResourceTable) {
    let bodies = table.iter_mut().filter_map(|entry| entry.downcast_mut::<HostOutgoingBody>());
    for body in bodies {
        let (empty, _) = HostOutgoingBody::new(StreamContext::Request, None, 1, 1);
        mem::replace(body, empty).abort();
    }
}
