//! Reads the rest of a request's body after an early answer.
//!
//! A refused client may still be sending. If the connection is closed then, it is reset, and the client never sees the
//! answer. So the rest of the body is read and discarded for a while before the answer is sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use http_body::Body as _;
use tokio::time::timeout;

use super::returned_body::returned;

/// How much of the rest is read, and for how long.
const MAX_REST_BYTES: usize = 64 * 1024 * 1024;
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// Answers a request, but first reads what its client still sends.
pub(super) async fn discard(request: Request, next: Next) -> Response {
    let rest = Arc::new(Mutex::new(None));
    let unread = Arc::clone(&rest);
    // A client with `Expect: 100-continue` has not begun to send, and won't if it is refused.
    let asks_first = request.headers().contains_key(EXPECT);
    let request = request.map(|body| {
        returned(body, move |body| {
            if !body.is_end_stream() {
                *unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
            }
        })
    });
    let response = next.run(request).await;
    let rest = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(rest) = rest.filter(|_| !asks_first) {
        // If there is more than that, the connection is closed.
        let _ = timeout(REST_PATIENCE, read_and_drop(rest)).await;
    }
    response
}

async fn read_and_drop(mut body: Body) {
    let mut n_bytes = 0;
    while n_bytes < MAX_REST_BYTES
        && let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        n_bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}
