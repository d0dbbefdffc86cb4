//! The HTTPS client: pooled connections to guarded addresses, one bounded exchange at a time.

mod beside;
mod clients;
mod connect;
mod connection;
mod consent;
mod cork;
mod driver;
mod exchange;
mod failure;
pub mod guard;
mod http2;
mod pool;
mod socket;
mod tls;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::config::Egress;
use crate::delivery::{Failure, Reason};
use crate::webhook::tls::Tls;

pub use clients::{Clients, Way};
pub use connect::{Names, Routes};
pub use socket::Opening;
pub use tls::tls_config;
pub use tokens::{Fetched, Issued};

use connect::Connector;
use exchange::{Course, host, https};
use guard::Guard;
use pool::Pool;

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
    connector: Connector,
    pool: Arc<Pool>,
}

impl Client {
    /// Makes a client that reaches what `egress` allows, and its `routes` without asking, and speaks TLS as it is told. Needs no
    /// runtime yet.
    pub fn new(egress: &Egress, tls: &Tls, routes: Routes) -> Result<Self, ClientError> {
        let config = tls::tls_config(egress.ca_pem.as_deref(), tls)?;
        let guard = Guard::new(egress.allow_networks.clone(), egress.allow_ports.clone());
        let (hosts, name) = (egress.allowed_hosts.clone(), tls.server_name.clone());
        Ok(Self { connector: Connector::new(guard, hosts, routes, config, name), pool: Pool::new() })
    }

    /// Sends one request to an absolute https URL and reads its response. When the receiver has closed the reused connection on
    /// which it went, it is sent once more on a fresh one, within the same limits. The failure's sentence names the host and
    /// nothing more of the URL.
    pub fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> impl Future<Output = Result<Response, Failure>> + Send + use<'_> {
        let uri = request.uri().clone();
        // What a block takes from around it is there once in its future; the arguments of an `async fn` are there twice.
        async move {
            let mut course = Course { begun: Instant::now(), shared: None };
            let exchange = self.exchange(&uri, &mut request, limits.response_bytes_max, &mut course);
            let result = timeout(limits.timeout, exchange).await.unwrap_or_else(|_| {
                // It may be dead: over HTTP/2, where giving up on one exchange leaves it open, others would run into the same.
                if let Some(connection) = &course.shared {
                    connection.poison();
                }
                let (host, seconds) = (host(&uri), limits.timeout.as_secs_f64());
                Err(Failure::new(Reason::Timeout, format!("no complete answer from {host} within {seconds} s")))
            });
            if let (Err(Failure { reason: Reason::Timeout, .. }), Some(authority)) = (&result, https(&uri)) {
                self.pool.doubt(authority, course.begun);
            }
            result
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    /// It is part of every delivery's future, which is moved several times.
    const SEND_BYTES_MAX: usize = 1024;

    #[test]
    fn what_waits_for_an_answer_is_small() {
        let client = Client::new(&Egress::default(), &Tls::default(), Routes::default()).unwrap();
        let limits = Limits { timeout: Duration::ZERO, response_bytes_max: 0 };
        let send = client.send(Request::default(), limits);
        assert!(size_of_val(&send) <= SEND_BYTES_MAX, "{} bytes", size_of_val(&send));
    }
}
