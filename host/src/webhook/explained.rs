//! What hyper does not take for a request, it refuses by itself, with a status and nothing else. On the way out, these
//! answers are exchanged for ones like all others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::code::Code;
use super::error::{self, ApiError};
use super::listen::Stream;
use crate::fault::Fault;

/// Every answer of ours is longer, by the headers that all of them have.
const LONGEST_OF_HYPER: usize = 200;

/// A connection that HTTP/1.1 is spoken on, or HTTP/2, which it leaves alone.
pub(super) struct Explained {
    stream: Box<dyn Stream>,
    /// What is still to be written in place of an answer.
    rest: Bytes,
}

impl Explained {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, rest: Bytes::new() }
    }

    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Explained {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        answer: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(context))?;
        let Some(refusal) = explained(answer) else {
            return Pin::new(&mut self.stream).poll_write(context, answer);
        };
        self.rest = error::raw(refusal);
        // What cannot be written now is written by the flush that follows.
        if let Poll::Ready(Err(error)) = self.poll_rest(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(answer.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What a bare answer of hyper means.
fn explained(answer: &[u8]) -> Option<ApiError> {
    if answer.len() > LONGEST_OF_HYPER || !answer.ends_with(b"\r\n\r\n") {
        return None;
    }
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    match status {
        b"400" => Some(ApiError::invalid(vec![Fault::whole(
            "this is no HTTP request (RFC 9112): a line with method, address and version, then headers as `name: value`",
        )])),
        b"414" | b"431" => Some(ApiError::new(
            Code::HeadTooLarge,
            "the head of the request has more than 64 KiB or 100 lines: send fewer or shorter headers",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_answers_are_exchanged() {
        let code = |answer: &str| explained(answer.as_bytes()).map(|refusal| refusal.code());
        let date = "date: Thu, 26 Nov 2026 05:32:10 GMT\r\n\r\n";
        let bare =
            |status: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n{date}");
        assert_eq!(code(&bare("431 Request Header Fields Too Large")), Some(Code::HeadTooLarge));
        assert_eq!(code(&bare("400 Bad Request")), Some(Code::InvalidRequest));
        assert_eq!(code(&bare("200 OK")), None);
        assert_eq!(code(&format!("{}{{}}", bare("400 Bad Request"))), None);
        assert_eq!(code(&format!("HTTP/1.1 400 Bad Request\r\nx-a: {}\r\n{date}", "a".repeat(200))), None);
        assert_eq!(code("PRI * HTTP/2.0\r\n\r\n"), None);
    }
}
