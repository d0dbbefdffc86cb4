//! A connection to a target, in the version of HTTP that was agreed on.
//!
//! Over HTTP/1.1 a connection is driven by whoever has an exchange on it, in the task of that exchange: no message goes from one task
//! to another, and nobody is woken for it. Over HTTP/2, where many share one, it has tasks of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::coop::unconstrained;

use super::socket::{Record, TlsSocket};

/// The largest head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The same for HTTP/2, where it is the size of the decoded header list.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// What a receiver may send on one HTTP/2 stream before we read it, in bytes.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// An HTTP/2 connection in use is asked for a sign of life this often: requests would otherwise queue on a dead one.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A connection that gives none within this time is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes out.
pub(super) type Sent = Request<Full<Bytes>>;
/// The head of what comes back; or the error, with the request where nothing of it was written.
pub(super) type Answered = Result<http::Response<Incoming>, TrySendError<Sent>>;

/// A connection that an exchange can use.
pub(super) enum Connection {
    /// It is the exchange's alone.
    Http1(Box<Http1>),
    /// Others may use it too.
    Http2(Arc<Http2>),
}

/// A connection for one exchange after the other.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Nothing once the connection has ended.
    driver: Option<http1::Connection<TokioIo<TlsSocket>, Full<Bytes>>>,
    record: Record,
}

/// A connection for many exchanges at once.
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    record: Record,
    opened: Instant,
    poisoned: AtomicBool,
}

impl Connection {
    /// Makes an encrypted connection one of HTTP.
    pub(super) async fn open(socket: TlsSocket) -> hyper::Result<Self> {
        let (record, http2) = (socket.record(), socket.is_http2());
        let socket = TokioIo::new(socket);
        if !http2 {
            let (sender, driver) = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(socket).await?;
            return Ok(Self::Http1(Box::new(Http1 { sender, driver: Some(driver), record })));
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let (sender, driver) = builder.handshake(socket).await?;
        tokio::spawn(async {
            // Whoever has an exchange on it hears of its end.
            let _ = driver.await;
        });
        Ok(Self::Http2(Arc::new(Http2 { sender, record, opened: Instant::now(), poisoned: AtomicBool::new(false) })))
    }

    pub(super) fn record(&self) -> &Record {
        match self {
            Self::Http1(connection) => &connection.record,
            Self::Http2(connection) => &connection.record,
        }
    }

    /// The next part of a response's body.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self {
            Self::Http1(connection) => connection.poll_frame(body, cx),
            Self::Http2(_) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Http1 {
    /// Hands a request over. Its answer comes by `poll_answer`.
    pub(super) fn begin(&mut self, request: Sent) -> impl Future<Output = Answered> + Send + use<> {
        unconstrained(self.sender.try_send_request(request))
    }

    /// Drives the connection until the answer to a request is there.
    pub(super) fn poll_answer<T>(
        &mut self,
        answer: Pin<&mut impl Future<Output = T>>,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        self.drive(cx);
        // It comes from nowhere but the driver, which has just been polled: what wakes that is what there is to wait for, and whoever
        // were woken for the answer would only be polled twice.
        answer.poll(&mut unheard())
    }

    fn poll_frame(&mut self, body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut *body).poll_frame(&mut unheard());
        if polled.is_ready() {
            return polled;
        }
        self.drive(cx);
        Pin::new(body).poll_frame(&mut unheard())
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        // Its error is the answer's or the body's as well.
        if self.driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
            self.driver = None;
        }
    }

    /// Whether it could take a request now: nothing of an exchange is left, and the receiver has not closed it, as far as is known
    /// here. Nobody is woken by it from now on.
    pub(super) fn is_idle(&mut self) -> bool {
        let Some(driver) = &mut self.driver else { return false };
        let ended = Pin::new(&mut unconstrained(driver)).poll(&mut unheard()).is_ready();
        if ended {
            self.driver = None;
        }
        !ended && self.sender.is_ready()
    }
}

impl Http2 {
    /// Sends a request and waits for the head of its answer.
    pub(super) fn answer(&self, request: Sent) -> impl Future<Output = Answered> + Send + use<> {
        self.sender.clone().try_send_request(request)
    }

    /// Whether it takes requests, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        !self.poisoned.load(Ordering::Relaxed) && !self.sender.is_closed()
    }

    /// Whether it was opened after this.
    pub(super) fn is_since(&self, time: Instant) -> bool {
        self.opened > time
    }

    /// Keeps it from being used by more exchanges.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
    }
}

/// For what nobody is to be woken by.
fn unheard() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
