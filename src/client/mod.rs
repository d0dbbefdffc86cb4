//! The HTTPS client: pooled connections to guarded addresses, one bounded exchange at a time.

mod clients;
mod connect;
mod consent;
mod failure;
pub mod guard;
mod socket;
mod tls;
mod tokens;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;

use crate::config::Egress;
use crate::delivery::{Failure, Reason};
use crate::webhook::tls::Tls;

pub use clients::{Clients, Way};
pub use connect::{Names, Routes};
pub use socket::Opening;
pub use tls::tls_config;
pub use tokens::{Fetched, Issued};

use connect::Connector;
use failure::{Phase, classify, closed_early, is_connection_end};
use guard::Guard;
use socket::Record;

/// An idle connection is closed after this time; receivers' own limits are often 60 s or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Idle connections that are kept for one host.
const IDLE_PER_HOST_MAX: usize = 128;
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

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates of `egress.ca_file` are no good.
    #[error("egress.ca_file {0}")]
    Ca(String),
    /// The TLS library refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// What bounds one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the connection's start to the response's end.
    pub timeout: Duration,
    /// How much of the response's body is read.
    pub response_bytes_max: usize,
}

/// A complete response, its body cut at the limit.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it was read.
    pub body: Bytes,
    /// Whether there was more of the body.
    pub truncated: bool,
    /// How long the way took.
    pub wire: Wire,
    /// When the certificate expires that the receiver showed.
    pub certificate_expires: Option<Timestamp>,
}

/// How long the parts of an exchange took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Opening the connection; nothing where it was used again.
    pub opening: Option<Opening>,
    /// From the request to the head of its response, with the opening.
    pub first_byte: Duration,
}

/// The client: one pool of connections with one TLS identity.
#[derive(Clone)]
pub struct Client {
    pool: legacy::Client<Connector, Full<Bytes>>,
    /// Dials for every request: what a reused connection lost goes out on one that cannot be lost in the same way.
    unpooled: legacy::Client<Connector, Full<Bytes>>,
}

impl Client {
    /// Makes a client that reaches what `egress` allows, and its `routes` without asking, and speaks TLS as it is told. Needs no
    /// runtime yet.
    pub fn new(egress: &Egress, tls: &Tls, routes: Routes) -> Result<Self, ClientError> {
        let config = tls::tls_config(egress.ca_pem.as_deref(), tls)?;
        let guard = Guard::new(egress.allow_networks.clone(), egress.allow_ports.clone());
        let (hosts, name) = (egress.allowed_hosts.clone(), tls.server_name.clone());
        let connector = Connector::new(guard, hosts, routes, config, name);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // A receiver may close an idle connection at any time: a request that was not yet begun goes to the next one.
            .retry_canceled_requests(true)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        let pool = builder.build(connector.clone());
        let unpooled = builder.pool_max_idle_per_host(0).build(connector);
        Ok(Self { pool, unpooled })
    }

    /// Sends one request to an absolute https URL and reads its response. When the receiver has closed the reused connection on
    /// which it went, it is sent once more on a fresh one, within the same limits. The failure's sentence names the host and
    /// nothing more of the URL.
    pub async fn send(&self, mut request: Request<Full<Bytes>>, limits: Limits) -> Result<Response, Failure> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let mut used = capture_connection(&mut request);
        let exchange = self.exchange(&host, request, limits.response_bytes_max, &mut used);
        tokio::time::timeout(limits.timeout, exchange).await.unwrap_or_else(|_| {
            // It may be dead: over HTTP/2, where giving up on one exchange leaves it open, others would run into the same.
            if let Some(connection) = used.connection_metadata().as_ref() {
                connection.poison();
            }
            let seconds = limits.timeout.as_secs_f64();
            Err(Failure::new(Reason::Timeout, format!("no complete answer from {host} within {seconds} s")))
        })
    }

    /// `used` is left at the connection that was used last.
    async fn exchange(
        &self,
        host: &str,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
        used: &mut CaptureConnection,
    ) -> Result<Response, Failure> {
        let begun = Instant::now();
        let mut again = request.clone();
        let answered = match self.pool.request(request).await {
            Err(error) if was_stale(&error) => {
                *used = capture_connection(&mut again);
                self.unpooled.request(again).await
            }
            answered => answered,
        };
        let (head, body) = answered.map_err(|error| classify(host, Phase::Head, &error))?.into_parts();
        let record = head.extensions.get::<Record>();
        let opening = record.filter(|record| !record.has_served()).map(Record::opening);
        let wire = Wire { opening, first_byte: begun.elapsed() };
        let (body, truncated) = read(host, head.version, body, bytes_max).await?;
        if let Some(record) = record {
            record.complete();
        }
        let certificate_expires = record.and_then(Record::certificate_expires);
        Ok(Response { status: head.status, headers: head.headers, body, truncated, wire, certificate_expires })
    }
}

/// Whether a reused connection ended before any of the answer came: the receiver had most likely closed it before the request was
/// there. It is then kept from being used again.
fn was_stale(error: &legacy::Error) -> bool {
    let Some(connection) = error.connect_info().filter(|_| is_connection_end(error)) else { return false };
    // Over HTTP/2, where answers mingle, an error of this exchange says by itself that no head came.
    let stale = Record::of(connection)
        .is_some_and(|record| record.has_served() && (connection.is_negotiated_h2() || record.is_silent_since()));
    if stale {
        connection.poison();
    }
    stale
}

/// Reads a body up to the limit. What lies beyond is never read: dropping the body closes its stream or connection.
async fn read(host: &str, version: Version, mut body: Incoming, bytes_max: usize) -> Result<(Bytes, bool), Failure> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| classify(host, Phase::Body, &error))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max - read.len();
        if data.len() > room {
            read.extend_from_slice(data.get(..room).unwrap_or_default());
            return Ok((read.freeze(), true));
        }
        if read.is_empty() && body.is_end_stream() {
            return Ok((data, false));
        }
        read.extend_from_slice(&data);
    }
    // A stream that is reset without an error ends the reading, although the receiver did not say that this was all.
    if version == Version::HTTP_2 && !body.is_end_stream() {
        return Err(closed_early(host));
    }
    Ok((read.freeze(), false))
}
