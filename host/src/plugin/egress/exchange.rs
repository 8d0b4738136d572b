//! One request over a fresh connection, and what of the answer the plugin may see.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Request, Response, response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::io::{InspectReader, InspectWriter};
use wasmtime_wasi_http::{Error, WasiBody};

use super::body::{Opened, ResponseBody};
use super::call::Times;
use super::connect::Stream;
use super::failure::Failure;
use super::journal::Entry;
use crate::plugin::limits::{ByteSize, HttpBounds};
use crate::plugin::secrets::Scrubber;

/// The terms of one exchange.
pub(super) struct Exchange<'a> {
    pub bounds: &'a HttpBounds,
    pub scrubber: &'a Scrubber,
    pub times: Times,
    pub entry: &'a Entry,
}

impl Exchange<'_> {
    /// Sends the request; the response's body then owns the connection and its place among those of the plugin.
    pub(super) async fn run(
        &self,
        stream: Box<dyn Stream>,
        place: OwnedSemaphorePermit,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<WasiBody>, Failure> {
        let late = |_| Failure::new(Error::HttpResponseTimeout, "the server did not answer in time");
        let answered_by = self.times.deadline.min(Instant::now() + self.times.first_byte);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(usize::try_from(self.bounds.response_head).unwrap_or(usize::MAX));
        builder.max_headers(self.bounds.response_headers as usize);
        let handshake = builder.handshake(TokioIo::new(self.counted(stream)));
        let (mut sender, connection) = handshake.await.map_err(|error| self.failed(&error))?;
        // What goes wrong with the connection is seen by whoever waits for the answer or reads its body.
        let connection = wasmtime_wasi::runtime::spawn(async move { _ = connection.await });
        let answer = timeout_at(answered_by, sender.send_request(request)).await.map_err(late)?;
        let (mut head, incoming) = answer.map_err(|error| self.failed(&error))?.into_parts();
        self.clean(&mut head)?;
        let opened =
            Opened { incoming, scrubbing: self.scrubber.start(), _connection: connection, _place: place };
        let body = ResponseBody::new(opened, self.bounds.response_body, self.times, self.entry.clone())?;
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }

    fn counted(&self, stream: Box<dyn Stream>) -> impl Stream + use<> {
        let (sent, received) = (self.entry.clone(), self.entry.clone());
        let stream = InspectWriter::new(stream, move |bytes: &[u8]| sent.count_sent(bytes.len()));
        InspectReader::new(stream, move |bytes: &[u8]| received.count_received(bytes.len()))
    }

    fn failed(&self, error: &hyper::Error) -> Failure {
        match error.is_parse_too_large() {
            true => self.head_too_large(),
            false => Failure::exchange(error),
        }
    }

    fn head_too_large(&self) -> Failure {
        let HttpBounds { response_head, response_headers, .. } = self.bounds;
        let text = format!(
            "the response's head is above one of the limits response-head = \"{}\" and \
             response-headers = {response_headers}; to allow more, raise it in [limits]",
            ByteSize(*response_head)
        );
        Failure::new(Error::HttpResponseHeaderSectionSize(None), text)
    }

    /// Checks a response's head, and takes secrets out of it. What is encoded cannot be searched, and the length is no
    /// longer that of the body.
    fn clean(&self, head: &mut response::Parts) -> Result<(), Failure> {
        // The client reads on to the end of its buffer before it says that it is full.
        if size(&head.headers) > self.bounds.response_head {
            return Err(self.head_too_large());
        }
        if !self.scrubber.is_needed() {
            return Ok(());
        }
        // The plugin gets to see the name of the coding, and a server can write there what it likes.
        let coding =
            |name, harmless| coding(&head.headers, name, harmless).map(|coding| self.scrubber.text(&coding));
        if let Some(coding) = coding(&CONTENT_ENCODING, "identity") {
            let text = encoded("content-encoding", &coding);
            return Err(Failure::new(Error::HttpResponseContentCoding(Some(coding)), text));
        }
        if let Some(coding) = coding(&TRANSFER_ENCODING, "chunked") {
            let text = encoded("transfer-encoding", &coding);
            return Err(Failure::new(Error::HttpResponseTransferCoding(Some(coding)), text));
        }
        head.headers.remove(CONTENT_LENGTH);
        self.scrubber.headers(&mut head.headers);
        Ok(())
    }
}

fn size(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}

/// The first coding of a response besides the harmless one.
fn coding(headers: &HeaderMap, name: &http::HeaderName, harmless: &str) -> Option<String> {
    let codings = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let codings: Vec<String> = codings
        .flat_map(|value| value.split(',').map(|coding| coding.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    codings.into_iter().find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(harmless))
}

fn encoded(header: &str, coding: &str) -> String {
    format!(
        "the server answered with {header} \"{coding}\", though it was asked for none; what comes back to a plugin \
         with secrets is searched for them, and that cannot be"
    )
}
