//! The exchange itself: blocking calls on `wasi:http`, bounded by its timeouts.

use super::target::Target;
use super::transport;
use super::{Answer, Method, Request};
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method as WasiMethod, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::wasi::io::streams::StreamError;
use crate::failure::permanent;
use crate::types::Failure;

/// To connect, in nanoseconds.
const CONNECT_TIMEOUT: u64 = 5_000_000_000;

/// From the request to the first byte of its answer, and between bytes, in nanoseconds.
const READ_TIMEOUT: u64 = 10_000_000_000;

/// The most of an answer's body that is read, in bytes: enough for what a service says about an error.
const ANSWER_LIMIT: usize = 4096;

/// The most that `wasi:io` takes in one write, in bytes.
const WRITE_LIMIT: usize = 4096;

/// Sends the request and reads the start of the answer.
pub(crate) fn send(request: &Request, target: &Target) -> Result<Answer, Failure> {
    let body = request.body.to_string();
    let outgoing = head(request, target, body.len())?;
    exchange(outgoing, body.as_bytes()).map_err(|error| transport::failure(&error, target.authority))
}

fn head(request: &Request, target: &Target, length: usize) -> Result<OutgoingRequest, Failure> {
    let outgoing = OutgoingRequest::new(headers(request, length)?);
    let scheme = if target.tls { Scheme::Https } else { Scheme::Http };
    let accepted = outgoing.set_method(&method(request.method)).is_ok()
        && outgoing.set_scheme(Some(&scheme)).is_ok()
        && outgoing.set_authority(Some(target.authority)).is_ok()
        && outgoing.set_path_with_query(Some(&target.path_and_query)).is_ok();
    if accepted {
        Ok(outgoing)
    } else {
        Err(transport::failure(&ErrorCode::HttpRequestUriInvalid, target.authority))
    }
}

fn method(method: Method) -> WasiMethod {
    match method {
        Method::Post => WasiMethod::Post,
        Method::Put => WasiMethod::Put,
        Method::Patch => WasiMethod::Patch,
    }
}

fn headers(request: &Request, length: usize) -> Result<Fields, Failure> {
    let length = length.to_string();
    let ours = [
        ("content-type", "application/json"),
        ("content-length", &length),
        ("user-agent", concat!("campanile/", env!("CARGO_PKG_VERSION"))),
    ];
    let fields = Fields::new();
    for (name, value) in ours.iter().chain(request.headers).filter(|(_, value)| !value.is_empty()) {
        fields.set(name, &[value.as_bytes().to_vec()]).map_err(|error| {
            permanent("invalid-header", format!("the header `{name}` cannot be sent: {error}"))
        })?;
    }
    Ok(fields)
}

/// The body's own errors are not reported: whoever does not take it says why in place of the answer.
fn exchange(request: OutgoingRequest, body: &[u8]) -> Result<Answer, ErrorCode> {
    let outgoing_body = request.body().ok();
    let response = outgoing_handler::handle(request, Some(timeouts()))?;
    if let Some(outgoing_body) = outgoing_body {
        write(outgoing_body, body);
    }
    read(wait(&response)?)
}

fn timeouts() -> RequestOptions {
    let options = RequestOptions::new();
    // A host without these timeouts has its own deadline around the call.
    let _ = options.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let _ = options.set_first_byte_timeout(Some(READ_TIMEOUT));
    let _ = options.set_between_bytes_timeout(Some(READ_TIMEOUT));
    options
}

fn write(outgoing: OutgoingBody, body: &[u8]) {
    let Ok(stream) = outgoing.write() else { return };
    let taken = body.chunks(WRITE_LIMIT).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    // The stream belongs to the body and has to go before it.
    drop(stream);
    if taken {
        let _ = OutgoingBody::finish(outgoing, None);
    }
}

fn wait(response: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    response.subscribe().block();
    // Ready and not taken yet, so both layers are there.
    response.get().and_then(Result::ok).unwrap_or(Err(ErrorCode::InternalError(None)))
}

fn read(response: IncomingResponse) -> Result<Answer, ErrorCode> {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").into_iter().next();
    Ok(Answer {
        status,
        retry_after: retry_after.map(|value| String::from_utf8_lossy(&value).into_owned()),
        text: String::from_utf8_lossy(&start_of_body(&response)).into_owned(),
    })
}

/// What can be read; a body that breaks off does not change what the status said.
fn start_of_body(response: &IncomingResponse) -> Vec<u8> {
    let mut text = Vec::new();
    let Ok(body) = response.consume() else { return text };
    let Ok(stream) = body.stream() else { return text };
    while text.len() < ANSWER_LIMIT {
        match stream.blocking_read((ANSWER_LIMIT - text.len()) as u64) {
            Ok(more) => text.extend(more),
            Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => break,
        }
    }
    text
}
