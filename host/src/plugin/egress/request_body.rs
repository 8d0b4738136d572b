//! The body of a request. The host takes it in from the moment it exists, so that a plugin can write it before it hands
//! the request over, and reads it whole before it sends anything.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::{Error, WasiBody};

use super::failure::Failure;
use crate::plugin::limits::ByteSize;

/// Takes a body in while the plugin writes it, in pieces of any size. Without this, wasmtime holds two writes back until
/// the request is handed over, and lets the plugin wait with the third. What is beyond `most` bytes is not taken.
pub(super) fn taken_in(body: WasiBody, most: u64) -> WasiBody {
    let written = Arc::new(AtomicU64::new(0));
    let whole = spawn(collect(body, most, written.clone()));
    TakenIn { whole: Some(whole), written }.boxed_unsync()
}

/// One byte more than `most` is enough to know that it is too large.
async fn collect(mut body: WasiBody, most: u64, written: Arc<AtomicU64>) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while whole.len() as u64 <= most
        && let Some(frame) = body.frame().await
    {
        // Trailers are left out.
        let Ok(part) = frame?.into_data() else { continue };
        whole.extend_from_slice(&part);
        written.store(whole.len() as u64, Relaxed);
    }
    Ok(whole.freeze())
}

/// A body that comes in one part, once it is finished. The hint of its size is what is there so far.
struct TakenIn {
    whole: Option<AbortOnDropJoinHandle<Result<Bytes, Error>>>,
    written: Arc<AtomicU64>,
}

impl Body for TakenIn {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(whole) = &mut self.whole else { return Poll::Ready(None) };
        let whole = ready!(Pin::new(whole).poll(cx));
        self.whole = None;
        Poll::Ready(Some(whole.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::default();
        hint.set_lower(self.written.load(Relaxed));
        hint
    }
}

/// The whole body that the plugin writes, at most `most` bytes. `announced` is the length that the plugin gave.
pub(super) async fn read_whole(
    mut body: WasiBody,
    announced: Option<u64>,
    most: u64,
    by: Instant,
) -> Result<Bytes, Failure> {
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let read = timeout_at(by, Limited::new(&mut body, limit).collect()).await;
    let written = body.size_hint().lower();
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let code = Error::HttpRequestBodySize(Some(most.saturating_add(1)));
            Err(Failure::limit(code, "the request's body is too large", "request-body", ByteSize(most)))
        }
        Ok(Err(_)) => Err(Failure::unfinished(Error::HttpProtocolError, unfinished(written, announced))),
        Err(_) => Err(Failure::unfinished(Error::ConnectionWriteTimeout, unfinished(written, announced))),
    }
}

fn unfinished(written: u64, announced: Option<u64>) -> String {
    let how = "it has to write all of it, drop the body's stream and call `outgoing-body.finish`";
    match announced {
        Some(announced) if announced < written => format!(
            "the plugin wrote {written} bytes of the request's body, but its content-length says {announced}: \
             leave that header out, the host writes it"
        ),
        Some(announced) if announced > written => format!(
            "the plugin wrote {written} of the {announced} bytes that its content-length says, and did not finish \
             the request's body: {how}"
        ),
        _ => format!("the plugin wrote {written} bytes and did not finish the request's body: {how}"),
    }
}

/// Reads the body of a request that is refused, and forgets it, so that the plugin comes to the point where it learns
/// why; at most `most` bytes, and not past `by`.
pub(super) async fn drain(body: WasiBody, most: u64, by: Instant) {
    let mut body = Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX));
    _ = timeout_at(by, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}
