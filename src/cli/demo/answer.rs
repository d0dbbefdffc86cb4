//! The answers of a [`Receiver`](super::receiver::Receiver)'s script, good and bad.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

/// One piece of a body that does not end.
const PIECE: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    ending: Ending,
    delay: Duration,
    manner: Manner,
}

/// How an answer's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Complete,
    /// The connection closes (HTTP/1.1) or the stream is reset (HTTP/2).
    Break,
    Never,
}

/// What else a receiver may do instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Answer,
    Close,
    Hang,
    Garbage,
}

impl Answer {
    /// A status with an empty body. A number that is no status is answered as 500.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: Vec::new(),
            body: Bytes::new(),
            ending: Ending::Complete,
            delay: Duration::ZERO,
            manner: Manner::Answer,
        }
    }

    /// 200 with a text.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::status(200).header("content-type", "text/plain").body(body)
    }

    /// 200 with a JSON text.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::status(200).header("content-type", "application/json").body(body)
    }

    /// The request is read, and the connection closed without an answer.
    #[must_use]
    pub fn close() -> Self {
        Self { manner: Manner::Close, ..Self::status(200) }
    }

    /// The request is read, and nothing happens any more.
    #[must_use]
    pub fn hang() -> Self {
        Self { manner: Manner::Hang, ..Self::status(200) }
    }

    /// What is answered is no HTTP.
    #[must_use]
    pub fn garbage() -> Self {
        Self { manner: Manner::Garbage, ..Self::status(200) }
    }

    /// 200 with a body that never ends.
    #[must_use]
    pub fn endless() -> Self {
        Self { ending: Ending::Never, ..Self::status(200) }
    }

    /// 200 with a body of this many bytes.
    #[must_use]
    pub fn huge(bytes: usize) -> Self {
        Self::status(200).body(vec![b'x'; bytes])
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// After this time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The connection is closed in the middle: what was given is sent, and it is not all.
    #[must_use]
    pub fn broken_off(mut self) -> Self {
        self.ending = Ending::Break;
        self
    }

    /// A `content-length` that promises this many bytes, whatever the body has.
    #[must_use]
    pub fn claiming(self, bytes: usize) -> Self {
        self.header("content-length", bytes.to_string()).broken_off()
    }

    /// Waits as the script says and makes the response; setting `garbled` turns all that is written from now on into noise.
    pub(super) async fn play(self, garbled: &AtomicBool) -> Result<Response<Scripted>, Interrupted> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match self.manner {
            Manner::Answer => {}
            Manner::Close => return Err(Interrupted),
            Manner::Hang => std::future::pending::<()>().await,
            Manner::Garbage => garbled.store(true, Ordering::Relaxed),
        }
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Scripted { next: Some(self.body), ending: self.ending }).map_err(|_| Interrupted)
    }
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self::status(status)
    }
}

/// The receiver ends the exchange on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the script breaks off")]
pub(super) struct Interrupted;

/// A body by the script.
pub(super) struct Scripted {
    next: Option<Bytes>,
    ending: Ending,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        if let Some(data) = self.next.take().filter(|data| !data.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(match self.ending {
            Ending::Complete => None,
            Ending::Break => Some(Err(Interrupted)),
            Ending::Never => Some(Ok(Frame::data(PIECE))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ending == Ending::Complete && self.next.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self.ending {
            Ending::Complete => SizeHint::with_exact(self.next.as_ref().map_or(0, |data| data.len() as u64)),
            Ending::Break | Ending::Never => SizeHint::default(),
        }
    }
}
