//! One request over a fresh connection, and what of the answer the plugin may see.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Request, Response, response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::io::{InspectReader, InspectWriter};
use wasmtime_wasi_http::{Error, WasiBody};

use super::body::{Opened, ResponseBody, whole};
use super::call::Times;
use super::connect::Stream;
use super::failure::Failure;
use super::journal::Entry;
use super::searchable;
use crate::plugin::limits::{ByteSize, HttpBounds};

/// The terms of one exchange.
pub(super) struct Exchange<'a> {
    pub bounds: &'a HttpBounds,
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
        let opened = Opened { incoming, _connection: connection, _place: place };
        let body = ResponseBody::new(opened, self.bounds.response_body, self.times, self.entry.clone())?;
        let body = match self.entry.scrubber() {
            scrubber if scrubber.is_needed() => whole(body, scrubber.clone()),
            _ => body.boxed_unsync(),
        };
        Ok(Response::from_parts(head, body))
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

    /// Checks a response's head, and takes secrets out of it.
    fn clean(&self, head: &mut response::Parts) -> Result<(), Failure> {
        // The client reads on to the end of its buffer before it says that it is full.
        if size(&head.headers) > self.bounds.response_head {
            return Err(self.head_too_large());
        }
        match self.entry.scrubber() {
            scrubber if scrubber.is_needed() => searchable::clean(head, scrubber),
            _ => Ok(()),
        }
    }
}

fn size(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}
