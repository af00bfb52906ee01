//! A body that is sent while it is being made. One part may wait to be sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes};
use http_body::Frame;
use tokio::sync::mpsc;

/// Takes the parts of the body. A part that is an error breaks the connection.
pub(super) type BodySender = mpsc::Sender<Result<Bytes, BoxError>>;

/// See the module.
struct Parts(mpsc::Receiver<Result<Bytes, BoxError>>);

/// A body and the sender of its parts.
pub(super) fn streamed() -> (BodySender, Body) {
    let (sender, parts) = mpsc::channel(1);
    (sender, Body::new(Parts(parts)))
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}
