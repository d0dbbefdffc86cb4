//! A connection to a target, in the version of HTTP that was agreed on.
//!
//! Over HTTP/1.1 a connection is driven by whoever has an exchange on it, in the task of that exchange: no message goes from one task
//! to another, and nobody is woken for it. Over HTTP/2, where many share one, it has a task of its own.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::task::coop::unconstrained;

use super::beside::Token;
use super::driver::Pings;
use super::http2::{Http2, Http2Body};
use super::socket::{Opening, Record, TlsSocket};

/// The largest head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How a connection over HTTP/2 is asked for signs of life.
const PINGS: Pings = Pings { interval: Duration::from_secs(10), timeout: Duration::from_secs(5) };

/// What goes out.
pub(super) type Sent = Request<Full<Bytes>>;
/// The head of what comes back.
pub(super) type Answered = Result<http::Response<Body>, Unanswered>;
/// What is wrong with a connection or with a body.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of what comes back.
pub(super) enum Body {
    /// It is read together with its connection.
    Http1(Incoming),
    /// It has a stream.
    Http2(Box<Http2Body>),
}

/// Why no answer came.
pub(super) struct Unanswered {
    pub(super) error: BoxError,
    /// The request, where nothing of it was written.
    pub(super) unsent: Option<Sent>,
}

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
    /// Where it is the one beside a connection of HTTP/2. The last field: it counts until the socket is closed.
    beside: Option<Token>,
}

impl Connection {
    /// Makes an encrypted connection one of HTTP.
    pub(super) async fn open(socket: TlsSocket) -> Result<Self, BoxError> {
        let (record, http2) = (socket.record(), socket.is_http2());
        if http2 {
            return Ok(Self::Http2(Http2::open(socket, record, PINGS).await?));
        }
        let builder = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(socket));
        let (sender, driver) = builder.await?;
        Ok(Self::Http1(Box::new(Http1 { sender, driver: Some(driver), record, beside: None })))
    }

    pub(super) fn record(&self) -> &Record {
        match self {
            Self::Http1(connection) => &connection.record,
            Self::Http2(connection) => connection.record(),
        }
    }

    /// How it was opened, where an exchange waited for that.
    pub(super) fn opening(&self) -> Option<Opening> {
        let waited = !matches!(self, Self::Http1(connection) if connection.is_beside());
        (waited && !self.record().has_served()).then(|| self.record().opening())
    }

    /// The next part of a response's body.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = match (body, self) {
            (Body::Http2(body), _) => return body.poll_frame(cx),
            (Body::Http1(body), Self::Http1(connection)) => connection.poll_frame(body, cx),
            (Body::Http1(body), Self::Http2(_)) => Pin::new(body).poll_frame(cx),
        };
        polled.map_err(Into::into)
    }
}

impl Body {
    /// Whether all of it was read, and it is known that this was all.
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }
}

impl Unanswered {
    /// Some of the request may have been written.
    pub(super) fn new(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), unsent: None }
    }

    /// Nothing of it was.
    pub(super) fn unsent(request: Sent, error: io::Error) -> Self {
        Self { unsent: Some(request), ..Self::new(error) }
    }
}

impl From<TrySendError<Sent>> for Unanswered {
    fn from(mut failed: TrySendError<Sent>) -> Self {
        Self { unsent: failed.take_message(), ..Self::new(failed.into_error()) }
    }
}

impl Http1 {
    /// Makes it the one beside a connection of HTTP/2.
    pub(super) fn put_beside(&mut self, token: Token) {
        self.beside = Some(token);
    }

    pub(super) fn has_served(&self) -> bool {
        self.record.has_served()
    }

    /// Whether it is: it says nothing then of what its receiver speaks otherwise.
    pub(super) fn is_beside(&self) -> bool {
        self.beside.is_some()
    }

    /// Hands a request over. Its answer comes by `poll_answer`.
    pub(super) fn begin(
        &mut self,
        request: Sent,
    ) -> impl Future<Output = Result<http::Response<Incoming>, TrySendError<Sent>>> + Send + use<> {
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

/// For what nobody is to be woken by.
fn unheard() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
