//! Bodies that count, and that a fault can cut, damage or slow down.

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Wraps a body in either direction.
pub struct Shaped {
    pub inner: Body,
    /// Bytes that have passed.
    pub count: Arc<AtomicU64>,
    /// Fail after this many bytes, or at the end if that comes first.
    pub cut: Option<u64>,
    /// Flip the lowest bit of the byte at this offset.
    pub damage: Option<u64>,
    /// Bytes per second.
    pub pace: Option<u64>,
    waiting: Option<Pin<Box<Sleep>>>,
    held: Bytes,
}

impl Shaped {
    pub fn new(inner: Body) -> Self {
        Self {
            inner,
            count: Arc::default(),
            cut: None,
            damage: None,
            pace: None,
            waiting: None,
            held: Bytes::new(),
        }
    }
}

impl HttpBody for Shaped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(sleep) = &mut this.waiting {
            ready!(sleep.as_mut().poll(cx));
            this.waiting = None;
        }
        let passed = this.count.load(Ordering::Relaxed);
        let broken = || Poll::Ready(Some(Err("cut by the fault plan".into())));
        if this.cut.is_some_and(|cut| passed >= cut) {
            return broken();
        }
        if this.held.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                None if this.cut.is_some() => return broken(),
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.held = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let mut most = this.held.len() as u64;
        if let Some(cut) = this.cut {
            most = most.min(cut - passed);
        }
        if let Some(pace) = this.pace {
            most = most.min((pace / 10).max(1));
            this.waiting = Some(Box::pin(tokio::time::sleep(Duration::from_secs_f64(
                most as f64 / pace as f64,
            ))));
        }
        let mut data = this.held.split_to(most as usize);
        if let Some(at) = this
            .damage
            .and_then(|at| at.checked_sub(passed))
            .filter(|at| *at < most)
        {
            let mut copy = BytesMut::from(&data[..]);
            copy[at as usize] ^= 1;
            data = copy.freeze();
        }
        this.count.fetch_add(most, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none() && self.held.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Exact only before the first frame, which is when hyper asks.
        self.inner.size_hint()
    }
}
