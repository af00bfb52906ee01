//! A body that promises its whole length and breaks the connection half-way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// Announces all of a text, yields the first half, then fails.
#[derive(Debug)]
pub struct CutShort {
    announced_bytes: u64,
    half: Option<Bytes>,
    paused: bool,
}

impl CutShort {
    /// Half of `whole`.
    pub fn new(whole: String) -> Self {
        let whole = Bytes::from(whole);
        Self {
            announced_bytes: whole.len() as u64,
            half: Some(whole.slice(..whole.len() / 2)),
            paused: false,
        }
    }
}

impl HttpBody for CutShort {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.paused {
            // The server writes out what it has only while it waits for more; without this pause it would
            // close the connection before the client has seen a byte.
            self.paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced_bytes)
    }
}
