//! A connection that many exchanges share, over HTTP/2. One task drives it; an exchange does all else in its own, so that nothing is
//! spawned for it and nothing goes through a channel.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::client::Builder;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::Full;
use hyper::body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Answered, Body, BoxError, Sent, Unanswered};
use super::cork::Cork;
use super::driver::{Driver, InUse, Pings, State};
use super::socket::Record;

/// The largest decoded header list of a response, in bytes.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// What a receiver may send on one stream before we read it, in bytes.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Streams that are opened before the receiver has said how many it takes: as many as RFC 9113 wants it to take at least.
const EARLY_STREAMS_MAX: usize = 100;
/// What is taken for sending on one stream at once, in bytes.
const SEND_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// The largest frame that a receiver may send, in bytes.
const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// A body that is no larger is handed over with its head, whether there is room for it or not.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;

/// What HTTP/2 does not know (RFC 9113, section 8.2.2), beside `connection` and what that names.
const CONNECTION_HEADERS: [HeaderName; 4] =
    [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection"), TRANSFER_ENCODING, UPGRADE];

/// A connection for many exchanges at once.
pub(super) struct Http2 {
    state: Arc<State>,
    record: Record,
    opened: Instant,
    poisoned: AtomicBool,
}

/// The body of an answer, and what is left to send of the request.
pub(super) struct Http2Body {
    received: RecvStream,
    upload: Upload,
    _in_use: InUse,
}

/// The body of a request on its way.
struct Upload {
    stream: SendStream<Bytes>,
    /// What is left of one that is fed as the receiver takes it.
    rest: Option<Bytes>,
}

impl Http2 {
    /// Begins to speak HTTP/2.
    pub(super) async fn open<S>(socket: S, record: Record, pings: Pings) -> Result<Arc<Self>, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(EARLY_STREAMS_MAX)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
        let cork = Cork::new(socket);
        let (sender, connection) = builder.handshake(cork.handle()).await?;
        let state = Arc::new(State::new(sender));
        // Whoever has an exchange on it hears of its end.
        tokio::spawn(Driver::new(connection, cork, pings, record.clone(), &state));
        Ok(Arc::new(Self { state, record, opened: Instant::now(), poisoned: AtomicBool::new(false) }))
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn answer(&self, request: Sent) -> Answered {
        let Some((in_use, mut sender)) = self.state.place().await else {
            self.poison();
            return Err(Unanswered::unsent(request, io::ErrorKind::ConnectionAborted.into()));
        };
        let (mut head, body) = request.into_parts();
        let body = whole(body).await;
        adapt(&mut head.headers, &head.method, body.len());
        let request = http::Request::from_parts(head, ());
        let (mut response, stream) = sender.send_request(request, body.is_empty()).map_err(Unanswered::new)?;
        drop(sender);
        let mut upload = Upload::begin(stream, body);
        let answered = poll_fn(|cx| {
            upload.poll(cx);
            Pin::new(&mut response).poll(cx)
        });
        match answered.await {
            Ok(answer) => {
                Ok(answer.map(|received| Body::Http2(Box::new(Http2Body { received, upload, _in_use: in_use }))))
            }
            Err(_) if self.state.is_lost() => {
                // What the driver found, and not what that made of the stream.
                Err(Unanswered::new(io::Error::from(io::ErrorKind::TimedOut)))
            }
            Err(error) => Err(Unanswered::new(error)),
        }
    }

    /// Whether it takes requests, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        !self.poisoned.load(Ordering::Relaxed) && !self.state.has_ended()
    }

    /// Whether exchanges are on it.
    pub(super) fn has_exchanges(&self) -> bool {
        self.state.has_exchanges()
    }

    /// How many exchanges have begun one after the other, each of them alone.
    pub(super) fn lone(&self) -> usize {
        self.state.lone()
    }

    /// The next exchange comes long after the last one.
    pub(super) fn end_row(&self) {
        self.state.end_row();
    }

    /// Whether it was opened after this.
    pub(super) fn is_since(&self, time: Instant) -> bool {
        self.opened > time
    }

    /// Keeps it from being used by more exchanges.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
        self.state.close();
    }
}

impl Http2Body {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.upload.poll(cx);
        let polled = match self.received.poll_data(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(data))) => {
                // It fails where the stream has ended, and then there is nothing to release.
                let _ = self.received.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Poll::Ready(Some(Err(error))) => Err(error),
            Poll::Ready(None) => match self.received.poll_trailers(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(trailers) => trailers,
            },
        };
        Poll::Ready(match polled {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            // The receiver wants no more of the request (RFC 9113, section 8.1), and whether its answer was complete is known elsewhere.
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }
}

impl Upload {
    /// Begins to send: what is small goes out together with the head.
    fn begin(mut stream: SendStream<Bytes>, body: Bytes) -> Self {
        let mut rest = None;
        if body.len() > AT_ONCE_BYTES_MAX {
            stream.reserve_capacity(body.len());
            rest = Some(body);
        } else if !body.is_empty() {
            // A stream that ends before says why in its answer.
            let _ = stream.send_data(body, true);
        }
        Self { stream, rest }
    }

    /// Hands over as much as the receiver takes, so that what it never takes does not stay with the connection.
    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(rest) = &mut self.rest {
            let room = self.stream.capacity();
            if room == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(_) => self.rest = None,
                }
                continue;
            }
            let part = rest.split_to(room.min(rest.len()));
            let is_last = rest.is_empty();
            if self.stream.send_data(part, is_last).is_err() || is_last {
                self.rest = None;
            }
        }
    }
}

/// All of a body, which is there.
async fn whole(mut body: Full<Bytes>) -> Bytes {
    let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default()
}

/// Makes headers those of HTTP/2, and has them tell the length of the body where one is expected.
fn adapt(headers: &mut HeaderMap, method: &Method, length: usize) {
    for name in &CONNECTION_HEADERS {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|value| value != "trailers") {
        headers.remove(TE);
    }
    if let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    if length > 0 || !matches!(*method, Method::GET | Method::HEAD | Method::DELETE) {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests;
