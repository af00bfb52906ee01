//! A body that is given back when it is no longer needed: sent, read to its end, or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

/// The same body; `give_back` gets what is left of it.
pub(super) fn returned(body: Body, give_back: impl FnOnce(Body) + Send + Unpin + 'static) -> Body {
    Body::new(Returned { body, give_back: Some(give_back) })
}

struct Returned<F: FnOnce(Body)> {
    body: Body,
    /// Taken when dropped.
    give_back: Option<F>,
}

impl<F: FnOnce(Body) + Unpin> http_body::Body for Returned<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F: FnOnce(Body)> Drop for Returned<F> {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back(std::mem::take(&mut self.body));
        }
    }
}
