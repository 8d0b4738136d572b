//! The body of a request on its way through the handlers. Its end is reported, and what a handler has not read, as one that
//! refuses early, is read before the answer is sent: many clients of HTTP/2 take an answer before that for a broken stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How much is read for the answer's sake, in bytes, and for how long.
const MOST: u64 = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that a handler reads.
struct Reported<F> {
    /// `None` once it was dropped.
    body: Option<Incoming>,
    unread: Option<oneshot::Sender<Incoming>>,
    ended: Option<F>,
}

/// What a handler has not read.
pub(super) struct Unread(Option<oneshot::Receiver<Incoming>>);

/// The request as handlers read it, and what they leave of it. Calls `ended` once the body is at its end.
pub(super) fn report<F>(request: hyper::Request<Incoming>, ended: F) -> (Request, Unread)
where
    F: FnOnce() + Send + Unpin + 'static,
{
    // A client that waits for a `100 Continue` gets the refusal in its place.
    let expects = request.headers().contains_key(EXPECT);
    let (unread, left) = oneshot::channel();
    let request = request.map(|body| {
        let mut reported = Reported { body: Some(body), unread: Some(unread), ended: Some(ended) };
        if reported.is_end_stream() {
            reported.end();
        }
        axum::body::Body::new(reported)
    });
    (request, Unread((!expects).then_some(left)))
}

impl Unread {
    /// Reads it, if it is small and comes soon.
    pub(super) async fn read(self) {
        let Some(mut body) = self.0.and_then(|mut left| left.try_recv().ok()) else { return };
        if body.is_end_stream() || body.size_hint().lower() > MOST {
            return;
        }
        let reading = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len) as u64;
                if read > MOST {
                    break;
                }
            }
        };
        // A slow sender is answered all the same.
        _ = timeout(PATIENCE, reading).await;
    }
}

impl<F: FnOnce()> Reported<F> {
    fn end(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended();
        }
    }
}

impl<F: FnOnce() + Unpin> Body for Reported<F> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<F> Drop for Reported<F> {
    fn drop(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take(), self.unread.take()) {
            // The connection may be gone.
            _ = unread.send(body);
        }
    }
}
