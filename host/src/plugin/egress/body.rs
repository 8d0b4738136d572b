//! The body of an answer within bounds: passed on as it comes, or, if it is searched for secrets, as a whole.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, TryStreamExt};
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::call::Times;
use super::failure::Failure;
use super::journal::Entry;
use crate::plugin::limits::ByteSize;
use crate::plugin::secrets::Scrubber;

/// An answer that has begun, with what it holds as long as it lasts.
pub(super) struct Opened {
    pub incoming: Incoming,
    pub _connection: AbortOnDropJoinHandle<()>,
    pub _place: OwnedSemaphorePermit,
}

/// A response's body: at most so many bytes, each part within a pause of the one before, all of it by the deadline. Owns
/// the connection, so that dropping the body closes it.
pub(super) struct ResponseBody {
    opened: Opened,
    most: u64,
    left: u64,
    times: Times,
    patience: Pin<Box<Sleep>>,
    entry: Entry,
}

impl ResponseBody {
    pub(super) fn new(opened: Opened, most: u64, times: Times, entry: Entry) -> Result<Self, Failure> {
        let announced = opened.incoming.size_hint().lower();
        let patience = Box::pin(sleep_until(Self::next(&times)));
        let body = Self { opened, most, left: most, times, patience, entry };
        if announced > most { Err(body.too_large()) } else { Ok(body) }
    }

    /// Until when the next part must have come.
    fn next(times: &Times) -> Instant {
        times.deadline.min(Instant::now() + times.between_bytes)
    }

    /// Counts the next part.
    fn accept(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Failure> {
        self.patience.as_mut().reset(Self::next(&self.times));
        let size = frame.data_ref().map_or(0, |part| part.len() as u64);
        self.left = self.left.checked_sub(size).ok_or_else(|| self.too_large())?;
        Ok(frame)
    }

    fn too_large(&self) -> Failure {
        let code = Error::HttpResponseBodySize(Some(self.most.saturating_add(1)));
        Failure::limit(code, "the response's body is too large", "response-body", ByteSize(self.most))
    }

    fn late(&self) -> Failure {
        let text = "the response's body stopped coming; no more of it came in time";
        Failure::new(Error::ConnectionReadTimeout, text)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let accepted = match pin!(&mut self.opened.incoming).poll_frame(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => self.accept(frame),
            Poll::Ready(Some(Err(error))) => Err(Failure::broken_off(&error)),
            Poll::Pending => {
                ready!(self.patience.as_mut().poll(cx));
                Err(self.late())
            }
        };
        Poll::Ready(Some(accepted.map_err(|failure| self.entry.fail(failure))))
    }

    fn is_end_stream(&self) -> bool {
        self.opened.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.opened.incoming.size_hint()
    }
}

/// A body that is passed on once all of it has come, without secrets: one part, and then the trailers. It is not read before
/// the plugin reads it.
pub(super) fn whole(body: ResponseBody, scrubber: Scrubber) -> WasiBody {
    let frames = async move {
        let (data, trailers) = collected(body).await?;
        let data = Some(scrubber.body(data)).filter(|data| !data.is_empty()).map(Frame::data);
        let trailers = trailers.map(|mut trailers| {
            scrubber.headers(&mut trailers);
            Frame::trailers(trailers)
        });
        Ok::<_, Error>(stream::iter(data.into_iter().chain(trailers).map(Ok)))
    };
    StreamBody::new(stream::once(frames).try_flatten()).boxed_unsync()
}

/// All of a body, in one piece: a server can send a byte at a time, and each part takes more than what is in it.
async fn collected(mut body: ResponseBody) -> Result<(Bytes, Option<HeaderMap>), Error> {
    let (mut data, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(part) => data.extend_from_slice(&part),
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    Ok((data.freeze(), trailers))
}
