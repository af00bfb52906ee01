//! Limits on what all clients take together: requests at the same time, and memory for bodies and answers.
//!
//! Probes and metrics are not limited here. A request that finds no room waits for a moment and is then refused with
//! the advice to try again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Api;
use super::problem::Problem;

/// Most requests that read at the same time.
const MAX_READERS: usize = 16;

/// Most requests that write at the same time. Few, because the recorder has to wait for them.
const MAX_WRITERS: usize = 2;

/// Most requests at the same time that take much more memory than the bytes of their bodies and answers.
const MAX_HEAVY: usize = 2;

/// Most KiB of request bodies, and of answers that are being sent, at the same time.
const BODIES_KIB: usize = 24 * 1024;
const ANSWERS_KIB: usize = 32 * 1024;

/// Answers up to this size are not counted: the socket's buffer takes them.
const SMALL_ANSWER_BYTES: u64 = 16 * 1024;

/// Most answers that wait, made already, for memory to be sent from. Others are refused at once, so that those that
/// wait take little.
const MAX_WAITING: usize = 4;

/// Most memory that a body is given at a time.
const STEP: usize = 1024 * 1024;

/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for requests and memory; see the module.
#[derive(Debug)]
pub(super) struct Admission {
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Admission {
    fn default() -> Self {
        let permits = |n: usize| Arc::new(Semaphore::new(n));
        Self {
            readers: permits(MAX_READERS),
            writers: permits(MAX_WRITERS),
            heavy: permits(MAX_HEAVY),
            bodies: permits(BODIES_KIB),
            answers: permits(ANSWERS_KIB),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}

/// Waits for `n` permits, but no longer than [`PATIENCE`].
async fn acquire(semaphore: &Arc<Semaphore>, n: u64) -> Result<OwnedSemaphorePermit, Problem> {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    match timeout(PATIENCE, Arc::clone(semaphore).acquire_many_owned(n)).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::busy()),
    }
}

/// Limits how many requests read at the same time, and reserves memory for an answer until it has been sent.
pub(super) async fn admit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let turn = match reads.then(|| acquire(&api.admission.readers, 1)) {
        Some(turn) => match turn.await {
            Ok(turn) => Some(turn),
            Err(problem) => return problem.into_response(),
        },
        None => None,
    };
    let response = next.run(request).await;
    drop(turn);
    let n_bytes = response.body().size_hint().lower();
    if n_bytes <= SMALL_ANSWER_BYTES {
        return response;
    }
    match api.admission.answer((n_bytes / 1024).min(ANSWERS_KIB as u64)).await {
        Ok(permit) => response.map(|body| Body::new(Counted { body, permit: Arc::new(permit) })),
        Err(problem) => problem.into_response(),
    }
}

/// A body whose share of memory is returned once all of it has been written or dropped.
struct Counted {
    body: Body,
    permit: Arc<OwnedSemaphorePermit>,
}

/// A part of a body. The server takes it from the body long before the client reads it, so it has the permit too.
struct Part {
    bytes: Bytes,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let counted = |bytes| Bytes::from_owner(Part { bytes, _permit: Arc::clone(&self.permit) });
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body, with the memory reserved for it.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// A turn to write.
    pub(super) async fn writer(&self) -> Result<OwnedSemaphorePermit, Problem> {
        acquire(&self.writers, 1).await
    }

    /// A turn for a request that takes much more memory than its body or answer has bytes.
    pub(super) async fn heavy(&self) -> Result<OwnedSemaphorePermit, Problem> {
        acquire(&self.heavy, 1).await
    }

    /// Memory for an answer of so many KiB, until it has been sent.
    async fn answer(&self, n_kib: u64) -> Result<OwnedSemaphorePermit, Problem> {
        let n = u32::try_from(n_kib).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.answers).try_acquire_many_owned(n) {
            return Ok(permit);
        }
        match self.waiting.try_acquire() {
            Ok(_waits) => acquire(&self.answers, n_kib).await,
            Err(_) => Err(Problem::busy()),
        }
    }

    /// Reads a body of at most `max_bytes`. All bodies together take bounded memory.
    pub(super) async fn read_body(&self, mut body: Body, max_bytes: usize) -> Result<Received, Problem> {
        let too_large = || {
            Problem::too_large(format!("Nothing was changed. At most {} MiB are accepted.", max_bytes >> 20))
        };
        if body.size_hint().lower() > max_bytes as u64 {
            return Err(too_large());
        }
        let mut received = Received::default();
        let mut n_kib = 0;
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            let frame =
                frame.map_err(|_| Problem::bad_body("Nothing was changed. The body is incomplete."))?;
            let Ok(chunk) = frame.into_data() else { continue };
            if received.bytes.len() + chunk.len() > max_bytes {
                return Err(too_large());
            }
            // In steps, so that there is room for two long bodies at once.
            let free = received.bytes.capacity() - received.bytes.len();
            if chunk.len() > free {
                let step = (received.bytes.len() / 4).clamp(chunk.len(), chunk.len().max(STEP));
                received.bytes.reserve_exact(step);
            }
            received.bytes.extend_from_slice(&chunk);
            // It is charged for the memory allocated, not for the bytes that have arrived.
            let needed = received.bytes.capacity().div_ceil(1024);
            if needed > n_kib {
                let more = acquire(&self.bodies, (needed - n_kib) as u64).await?;
                n_kib = needed;
                match &mut received.room {
                    Some(room) => room.merge(more),
                    room => *room = Some(more),
                }
            }
        }
        Ok(received)
    }
}
