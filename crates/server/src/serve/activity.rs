//! Owns how long a connection may ask nothing. It refuses to know what is asked.
//!
//! The protocol's own timers do not cover it: until its first bytes say which protocol
//! it speaks a connection has none, and one of HTTP/2 lives as long as it answers pings.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

/// How long nothing may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until a request's headers are complete: from the beginning, and from the end of
    /// the request before.
    pub(super) asking: Duration,
    /// Until an answer begins, and from each piece of it to the next. Answers are made
    /// within the request's own time limit, so this is for clients that do not read.
    pub(super) reading: Duration,
    /// Between telling a client that it is over and hanging up.
    pub(super) leaving: Duration,
}

/// What is going on in one connection.
#[derive(Debug)]
pub(super) struct Activity {
    opened_at: Instant,
    /// When a request last began, got a piece of its answer or ended, in milliseconds
    /// since the beginning.
    changed_at_ms: AtomicU64,
    in_flight: AtomicUsize,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let (changed_at_ms, in_flight) = (AtomicU64::new(0), AtomicUsize::new(0));
        Arc::new(Self { opened_at: Instant::now(), changed_at_ms, in_flight })
    }

    /// A request has arrived; it is over when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.changed();
        InFlight(Arc::clone(self))
    }

    /// Returns once nothing has happened for as long as is allowed.
    pub(super) async fn ended(&self, patience: Patience) {
        loop {
            let changed_at = Duration::from_millis(self.changed_at_ms.load(Ordering::Relaxed));
            let asked = self.in_flight.load(Ordering::Relaxed) > 0;
            let allowed = if asked { patience.reading } else { patience.asking };
            let deadline = self.opened_at + changed_at + allowed;
            if Instant::now() >= deadline {
                return;
            }
            // Requests move the deadline and not this timer, so that they cost nothing.
            tokio::time::sleep_until(deadline).await;
        }
    }

    fn changed(&self) {
        let since = self.opened_at.elapsed().as_millis();
        self.changed_at_ms.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.changed();
    }
}

/// An answer's body, in flight until the last piece of it is handed over. In pieces, for
/// whoever sends them takes a whole body at once if there is one, and cannot be asked how
/// much of it a slow client has taken.
#[derive(Debug)]
pub(super) struct Answered {
    body: Body,
    rest: Bytes,
    in_flight: InFlight,
}

/// The longest piece.
const PIECE: usize = 64 * 1_024;

impl Answered {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, rest: Bytes::new(), in_flight }
    }
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.in_flight.0.changed();
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
