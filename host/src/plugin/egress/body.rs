//! Bodies within bounds: the plugin's is read whole, the server's is passed on as it comes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::failure::{Failure, hyper_code};

/// The most that a request's body may hold, in bytes.
pub(super) const MOST_SENT: usize = 1024 * 1024;
/// The most that a response's body may hold, in bytes.
pub(super) const MOST_RECEIVED: u64 = 4 * 1024 * 1024;

/// The whole body that the plugin writes. Trailers are left out.
pub(super) async fn read_whole(body: WasiBody, by: Instant) -> Result<Bytes, Failure> {
    match timeout_at(by, Limited::new(body, MOST_SENT).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the request's body is larger than {MOST_SENT} bytes");
            Err(Failure::new(Error::HttpRequestBodySize(Some(MOST_SENT as u64 + 1)), text))
        }
        Ok(Err(_)) => {
            Err(Failure::new(Error::HttpProtocolError, "the plugin did not finish the request's body"))
        }
        Err(_) => Err(Failure::new(
            Error::ConnectionWriteTimeout,
            "the plugin did not finish the request's body in time",
        )),
    }
}

/// A response's body: at most [`MOST_RECEIVED`] bytes, each part within `pause` of the one before, all of it by the
/// deadline. Owns the connection, so that dropping the body closes it.
pub(super) struct ResponseBody {
    incoming: Incoming,
    left: u64,
    pause: Duration,
    deadline: Instant,
    patience: Pin<Box<Sleep>>,
    _connection: AbortOnDropJoinHandle<()>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        pause: Duration,
        deadline: Instant,
        connection: AbortOnDropJoinHandle<()>,
    ) -> Result<Self, Failure> {
        if incoming.size_hint().lower() > MOST_RECEIVED {
            return Err(Failure::new(
                too_large(),
                format!("the response's body is larger than {MOST_RECEIVED} bytes"),
            ));
        }
        let patience = Box::pin(sleep_until(deadline.min(Instant::now() + pause)));
        Ok(Self { incoming, left: MOST_RECEIVED, pause, deadline, patience, _connection: connection })
    }

    fn accept(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.left = self.left.checked_sub(length).ok_or_else(too_large)?;
        let next = self.deadline.min(Instant::now() + self.pause);
        self.patience.as_mut().reset(next);
        Ok(frame)
    }
}

fn too_large() -> Error {
    Error::HttpResponseBodySize(Some(MOST_RECEIVED + 1))
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match pin!(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| match frame {
                Ok(frame) => self.accept(frame),
                Err(error) => Err(hyper_code(&error)),
            })),
            Poll::Pending => {
                ready!(self.patience.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
