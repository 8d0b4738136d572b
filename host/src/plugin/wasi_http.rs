//! `wasi:http` for plugins: wasmtime's, with two functions in front of its own. A request's body is taken in from the
//! start, and the host knows which futures of answers a plugin holds.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, HostOutgoingRequest as _};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::imports::HostState;

/// The interfaces under the names that `wasmtime-wasi-http` gives them.
const TYPES: &str = "wasi:http/types@0.2.12";
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// Adds all of it.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    linker.instance(TYPES)?.func_wrap(
        "[method]outgoing-request.body",
        |mut store: StoreContextMut<'_, HostState>, (request,)| Ok((store.data_mut().body(&request)?,)),
    )?;
    linker.instance(HANDLER)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, HostState>, (request, options)| {
            Ok((store.data_mut().handle(request, options)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

impl HostState {
    /// The body of a request, to be written.
    pub(super) fn body(
        &mut self,
        request: &Resource<HostOutgoingRequest>,
    ) -> wasmtime::Result<Result<Resource<HostOutgoingBody>, ()>> {
        let made = self.http().body(Resource::new_borrow(request.rep()))?;
        if made.is_ok()
            && let Some(body) = self.http().table.get_mut(request)?.body.take()
        {
            let body = self.requests.take_in(body);
            self.http().table.get_mut(request)?.body = Some(body);
        }
        Ok(made)
    }

    /// Sends a request. The error inside is the plugin's, the one outside ends the call.
    pub(super) fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Handled> {
        match self.http().handle(request, options) {
            Ok(future) => {
                self.requests.hold(future.rep());
                Ok(Ok(future))
            }
            Err(error) => error.downcast().map(Err),
        }
    }
}

#[cfg(test)]
mod tests;
