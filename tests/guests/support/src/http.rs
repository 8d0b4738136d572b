//! One HTTP POST over `wasi:http/outgoing-handler`.

use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};

/// What the server answered.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// `x-receipt`: what the recording server calls the delivery.
    pub receipt: Option<String>,
}

/// Posts a JSON text to `url`, with a time limit of five seconds for the first byte of the answer.
pub fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, String> {
    let request = request(url, headers)?;
    let out = request.body().map_err(|()| "the request has no body")?;
    let options = RequestOptions::new();
    options.set_first_byte_timeout(Some(5_000_000_000)).map_err(|()| "no first-byte timeout")?;
    let future = handle(request, Some(options)).map_err(|error| format!("{error:?}"))?;
    write(out, body.as_bytes())?;
    future.subscribe().block();
    let answer = future.get().ok_or("no answer")?.map_err(|()| "taken twice")?;
    answer.map(|response| read(&response)).map_err(|error| format!("{error:?}"))
}

/// The head of a POST to `url`.
pub(crate) fn request(url: &str, headers: &[(&str, &str)]) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url:?} is not a URL"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fields = Fields::new();
    for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
        fields.append(name, value.as_bytes()).map_err(|error| format!("{name}: {error:?}"))?;
    }
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let request = OutgoingRequest::new(fields);
    let refused = |()| format!("{url:?} was refused");
    request.set_method(&Method::Post).map_err(refused)?;
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some(path)).map_err(refused)?;
    Ok(request)
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    let stream = body.write().map_err(|()| "the body has no stream")?;
    for chunk in bytes.chunks(4096) {
        stream.blocking_write_and_flush(chunk).map_err(|error| format!("{error:?}"))?;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|error| format!("{error:?}"))
}

fn read(response: &IncomingResponse) -> Answer {
    let headers = response.headers();
    let text = |name: &str| {
        let value = headers.get(name).into_iter().next()?;
        String::from_utf8(value).ok()
    };
    Answer {
        status: response.status(),
        retry_after: text("retry-after").and_then(|seconds| seconds.parse().ok()),
        receipt: text("x-receipt"),
    }
}
