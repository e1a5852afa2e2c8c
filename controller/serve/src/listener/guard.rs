//! Cuts connections that make no progress, without a timer per request: a request head must be complete soon after its
//! first byte, an idle connection is closed after a while, and so is one whose peer stops reading.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// What the service tells the connection about its requests.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Request heads that were complete, ever.
    heads: AtomicU32,
    /// Requests that are being answered.
    busy: AtomicU32,
    /// Several requests share the connection, so that bytes do not mean that a head began.
    multiplexed: AtomicBool,
}

/// A request that is being answered.
pub(super) struct Busy<'a>(&'a Activity);

impl Activity {
    /// Notes that a head is complete; the request is in work until the value is dropped.
    pub(super) fn begin(&self, multiplexed: bool) -> Busy<'_> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        Busy(self)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream with the limits of this module. It lies below TLS, so that a handshake is limited too.
pub(super) struct Guard<S> {
    stream: S,
    activity: Arc<Activity>,
    /// One timer, set to a moment that is never later than the true one.
    timer: Pin<Box<Sleep>>,
    head_timeout: Duration,
    idle_timeout: Duration,
    /// When the head that has begun must be complete; it counts while `heads` is what it was then.
    head: (Instant, u32),
    /// The latest progress.
    progress: Instant,
    /// Since when the peer takes no bytes.
    blocked: Option<Instant>,
}

impl<S> Guard<S> {
    pub(super) fn new(
        stream: S,
        activity: Arc<Activity>,
        head_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        let now = Instant::now();
        let head = (now + head_timeout, 0);
        let timer = Box::pin(sleep_until(head.0));
        Self { stream, activity, timer, head_timeout, idle_timeout, head, progress: now, blocked: None }
    }

    fn has_read(&mut self) {
        self.progress = Instant::now();
        let heads = self.activity.heads.load(Ordering::Relaxed);
        let head_begins = heads != self.head.1
            && self.activity.busy.load(Ordering::Relaxed) == 0
            && !self.activity.multiplexed.load(Ordering::Relaxed);
        if head_begins {
            self.head = (self.progress + self.head_timeout, heads);
        }
    }

    fn has_written(&mut self) {
        self.progress = Instant::now();
        self.blocked = None;
    }

    /// When the connection is to be cut, as things stand.
    fn deadline(&self) -> Option<Instant> {
        let written = self.blocked.map(|since| since + self.idle_timeout);
        let read = if self.activity.busy.load(Ordering::Relaxed) > 0 {
            None
        } else if self.activity.heads.load(Ordering::Relaxed) == self.head.1 {
            Some(self.head.0)
        } else {
            Some(self.progress + self.idle_timeout)
        };
        match (written, read) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Ready when the time is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    fn after_write(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.has_written();
            return result;
        }
        self.blocked.get_or_insert_with(Instant::now);
        self.poll_deadline(cx).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    self.has_read();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after_write(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.after_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
