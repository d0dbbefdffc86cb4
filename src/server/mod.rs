//! Listeners: bind a socket, serve HTTP/1.1 on it within limits, and end without cutting an answer off.
//!
//! | what a client may do | until | in |
//! |---|---|---|
//! | take one of [`CONNECTIONS_MAX`] seats | another needs it and it waits for its client longest | `seats` |
//! | take its time with a head, or between two requests | [`HEAD_TIMEOUT`] | here |
//! | take its time with a body | [`BODY_TIMEOUT`] | `body` |
//! | read nothing of an answer | [`WRITE_STALL_TIMEOUT`] | `socket` |
//! | connect to a Unix socket | its user is none of `allow_uids` | [`peer`] |
//!
//! Which requests are let in is for [`guard`] and [`bearer`] to say.

pub mod bearer;
mod body;
pub mod guard;
pub mod peer;
pub mod problem;
mod seats;
mod socket;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listen;

use guard::Reach;
use peer::Peers;
use seats::{Seat, Seats};
use socket::{Connection, Socket};

pub use body::{Body, BodyError, read_body};

/// Connections that one listener serves at the same time; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 512;
/// How long a connection has waited for its client before it makes room for another one, where all are taken.
pub const QUIET_MIN: Duration = Duration::from_secs(1);
/// How long a client may take to send a request's head; an idle connection is closed after it too.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take not a byte of an answer.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of all bodies that one listener reads at the same time, as far as they come in more than one piece. It is as much as the
/// largest `ingest.max_body`.
pub const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room for bodies is taken in steps of this.
const BODY_PIECE_BYTES: usize = 64 * 1024;
/// Header fields of one request.
pub const HEADERS_MAX: usize = 64;
/// Bytes of one request's head; of one without an end no more are kept either.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long to wait after the system had no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every handler answers.
pub type Answer = Response<Full<Bytes>>;

/// An answer whose body is JSON.
pub fn json_answer(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The limits that a listener's connections have. Tests have others, so that they need not wait.
#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    quiet_min: Duration,
    head_timeout: Duration,
    body_timeout: Duration,
    bodies_bytes: usize,
    write_stall_timeout: Duration,
}

const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    quiet_min: QUIET_MIN,
    head_timeout: HEAD_TIMEOUT,
    body_timeout: BODY_TIMEOUT,
    bodies_bytes: BODIES_BYTES_MAX,
    write_stall_timeout: WRITE_STALL_TIMEOUT,
};

/// A bound listener.
pub struct Listener {
    socket: Socket,
    address: String,
    reach: Reach,
    peers: Peers,
    limits: Limits,
}

impl Listener {
    /// Binds. The file of a Unix socket gets this mode, and whoever may open it may connect; one that nobody listens on any
    /// more is replaced.
    pub async fn bind(listen: &Listen, socket_mode: u32) -> io::Result<Self> {
        let socket = Socket::bind(listen, socket_mode).await?;
        let (address, reach) = (socket.address()?, Reach::of(listen));
        Ok(Self { socket, address, reach, peers: Peers::any(), limits: LIMITS })
    }

    /// Says who may connect to its Unix socket.
    #[must_use]
    pub fn admitting(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }

    /// `http://ADDRESS:PORT` with the port that was really bound, or `unix:PATH`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From where it can be reached.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        self.reach
    }

    /// Serves until `stop`, then lets every request that has begun have its answer.
    pub async fn serve<H, F>(self, handler: H, stop: CancellationToken)
    where
        H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let Self { socket, address, mut peers, limits, .. } = self;
        let connections = TaskTracker::new();
        let mut seats = Seats::new(limits.connections, limits.quiet_min);
        let bodies = bodies(limits);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = socket.accept(&address, &mut peers) => accepted,
            };
            let stream = match accepted {
                Ok(Some(stream)) => stream,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(listener = %address, %error, note = "a connection could not be accepted", "server.accept_failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let free = tokio::select! {
                () = stop.cancelled() => break,
                free = seats.free(&address) => free,
            };
            let seat = seats.seat();
            let connection = Connection::new(stream, limits.write_stall_timeout);
            let (handler, stop) = (handler.clone(), stop.clone());
            let (own_seat, bodies) = (Arc::clone(&seat), Arc::clone(&bodies));
            let connection = connections.spawn(async move {
                serve_seated(connection, handler, (&own_seat, &bodies), limits, stop).await;
                drop(free);
            });
            seats.taken(seat, connection.abort_handle());
        }
        socket.close();
        connections.close();
        connections.wait().await;
    }
}

/// Serves one connection within the limits of a listener, until it ends or, after `stop`, the request that has begun has its answer.
pub async fn serve_connection<S, H, F>(stream: S, handler: H, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Body>) -> F + Send + Sync,
    F: Future<Output = Answer> + Send,
{
    let seat = Seats::new(1, LIMITS.quiet_min).seat();
    serve_seated(stream, handler, (&seat, &bodies(LIMITS)), LIMITS, stop).await;
}

/// The room that the bodies of a listener's requests share.
fn bodies(limits: Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits.bodies_bytes / BODY_PIECE_BYTES))
}

async fn serve_seated<S, H, F>(
    stream: S,
    handler: H,
    (seat, bodies): (&Arc<Seat>, &Arc<Semaphore>),
    limits: Limits,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Body>) -> F + Send + Sync,
    F: Future<Output = Answer> + Send,
{
    let handler = &handler;
    let service = service_fn(|request: Request<_>| async move {
        seat.works().await;
        let body = |body| Body::new(body, Arc::clone(seat), Arc::clone(bodies), limits.body_timeout);
        let mut answer = handler(request.map(body)).await;
        if seat.is_wanted() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        seat.waits();
        Ok::<_, Infallible>(answer)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "server.connection_ended");
    }
}
