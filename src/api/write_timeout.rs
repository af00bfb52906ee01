//! Gives up a connection whose client does not read its answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may go without reading anything of an answer.
const STALL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take to read everything that waits for it. The longest answers have a few MiB.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// A connection whose writes fail if the client does not read.
#[derive(Debug)]
pub(super) struct WriteTimeout {
    stream: TcpStream,
    /// Since when something waits to be written.
    blocked_since: Option<Instant>,
    /// When the waiting write fails.
    give_up: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl WriteTimeout {
    pub(super) fn new(stream: TcpStream) -> Self {
        let give_up = Box::pin(sleep_until(Instant::now()));
        Self { stream, blocked_since: None, give_up, is_waiting: false }
    }

    /// Turns a write that has waited for too long into an error.
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        let now = Instant::now();
        let since = *self.blocked_since.get_or_insert(now);
        if !self.is_waiting {
            self.is_waiting = true;
            self.give_up.as_mut().reset((now + STALL_PATIENCE).min(since + WRITE_PATIENCE));
        }
        match self.give_up.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once all has been handed to the socket.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked_since = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
