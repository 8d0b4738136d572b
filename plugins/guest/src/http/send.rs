//! The exchange itself: blocking calls on `wasi:http`. How long an answer may take is the operator's word: the time of the call.

use super::target::Target;
use super::transport;
use super::wait;
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

/// Who asks.
const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));

/// The most that `wasi:io` takes in one write, in bytes.
const WRITE_LIMIT: usize = 4096;

/// Sends the request and reads the start of the answer.
pub(crate) fn send(request: &Request, target: &Target) -> Result<Answer, Failure> {
    let outgoing = head(request, target)?;
    let answer = exchange(outgoing, request);
    let answer = answer.map_err(|error| transport::failure(&error, target.authority))?;
    Ok(Answer { authority: target.authority.to_owned(), ..answer })
}

fn head(request: &Request, target: &Target) -> Result<OutgoingRequest, Failure> {
    let outgoing = OutgoingRequest::new(headers(request)?);
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
        Method::Get => WasiMethod::Get,
        Method::Post => WasiMethod::Post,
        Method::Put => WasiMethod::Put,
        Method::Patch => WasiMethod::Patch,
        Method::Delete => WasiMethod::Delete,
    }
}

fn headers(request: &Request) -> Result<Fields, Failure> {
    let fields = Fields::new();
    let given = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let length = request.body.len().to_string();
    let length = Some(("content-length", length.as_str()))
        .filter(|_| !matches!(request.method, Method::Get | Method::Delete));
    for (name, value) in [("user-agent", USER_AGENT)].into_iter().chain(length).chain(given) {
        fields.set(name, &[value.as_bytes().to_vec()]).map_err(|error| {
            permanent("invalid-header", format!("the header `{name}` cannot be sent: {error}"))
        })?;
    }
    Ok(fields)
}

/// The body's own errors are not reported: whoever does not take it says why in place of the answer.
fn exchange(outgoing: OutgoingRequest, request: &Request) -> Result<Answer, ErrorCode> {
    let outgoing_body = if request.body.is_empty() { None } else { outgoing.body().ok() };
    let response = outgoing_handler::handle(outgoing, Some(timeouts()))?;
    if let Some(outgoing_body) = outgoing_body {
        write(outgoing_body, request.body.as_bytes());
    }
    read(answered(&response)?, request.answer_limit)
}

fn timeouts() -> RequestOptions {
    let options = RequestOptions::new();
    // A host without these timeouts has its own deadline around the call.
    let _ = options.set_connect_timeout(Some(CONNECT_TIMEOUT));
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

fn answered(response: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    response.subscribe().block();
    // Ready and not taken yet, so both layers are there.
    response.get().and_then(Result::ok).unwrap_or(Err(ErrorCode::InternalError(None)))
}

fn read(response: IncomingResponse, limit: usize) -> Result<Answer, ErrorCode> {
    let (status, headers) = (response.status(), response.headers());
    let header = |name: &str| {
        let value = headers.get(name).into_iter().next()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    };
    Ok(Answer {
        status,
        authority: String::new(),
        retry_after: wait::retry_after(header),
        text: String::from_utf8_lossy(&start_of_body(&response, limit)).into_owned(),
    })
}

/// What can be read; a body that breaks off does not change what the status said.
fn start_of_body(response: &IncomingResponse, limit: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let Ok(body) = response.consume() else { return text };
    let Ok(stream) = body.stream() else { return text };
    while text.len() < limit {
        match stream.blocking_read((limit - text.len()) as u64) {
            Ok(more) => text.extend(more),
            Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => break,
        }
    }
    text
}
