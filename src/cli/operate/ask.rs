//! One request to an admin listener, bounded in time and size.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::admin::guard::REQUEST_HEADER;
use crate::secret::Secret;
use crate::server::peer::own_uid;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take, in all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes: the largest event, and what its JSON may take beyond it.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    /// A socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads `http://HOST:PORT`, `HOST:PORT` or `unix:PATH`.
pub(super) fn parse_address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let authority = text.strip_prefix("http://").unwrap_or(text);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let is_host = |host: &str| {
        let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        !host.is_empty() && (plain || bracketed.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok()))
    };
    let fits = authority
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port != 0));
    if !fits {
        return Err(
            "write http://ADDRESS:PORT or unix:PATH, as `admin listens on …` says at the sidecar's start".to_owned()
        );
    }
    Ok(Address::Tcp(authority.to_owned()))
}

/// An admin listener, and the token that it may ask for.
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) token: Option<Secret>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nothing listens there.
    #[error("nothing listens there: {0}")]
    Nobody(io::Error),
    /// It refused.
    #[error("{detail}")]
    Refused {
        /// By which status.
        status: StatusCode,
        /// Why, as it says.
        detail: String,
    },
    /// It does not speak as it should.
    #[error("{address} {problem}")]
    Broken {
        /// Where.
        address: Address,
        /// What happened, and what to look at.
        problem: String,
    },
}

impl AskError {
    /// Whether it may pass by itself: a sidecar that is restarted, or that cannot read its spool just now.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Nobody(_) | Self::Broken { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Server {
    /// Connects, and no more.
    pub(super) async fn knock(&self) -> Result<(), AskError> {
        match &self.address {
            Address::Tcp(authority) => self.connected(TcpStream::connect(authority.as_str())).await.map(drop),
            Address::Unix(path) => self.connected(UnixStream::connect(path)).await.map(drop),
        }
    }

    /// The JSON of a successful answer.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, AskError> {
        let request =
            self.request(method, path, body).map_err(|error| self.broken(format!("cannot be asked: {error}")))?;
        let exchange = async {
            match &self.address {
                Address::Tcp(authority) => {
                    exchange(self.connected(TcpStream::connect(authority.as_str())).await?, request).await
                }
                Address::Unix(path) => exchange(self.connected(UnixStream::connect(path)).await?, request).await,
            }
            .map_err(|error| self.unanswered(&error))
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
        let late = |_| self.broken(format!("did not answer within {} s: look at its log", ANSWER_TIMEOUT.as_secs()));
        let (status, body) = answer.map_err(late)??;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, answer) {
            (StatusCode::OK, Some(answer)) => Ok(answer),
            (status @ StatusCode::UNAUTHORIZED, _) => {
                let detail = if self.token.is_some() {
                    "the sidecar has another token than this command: give it the `admin.token` that is in force there by the same \
                     configuration and variables, or by OUTRIGGER_ADMIN_TOKEN"
                } else {
                    "the sidecar asks for the token of `admin.token`, and outrigger.toml gives none here (`outrigger check` says \
                     whether it has faults, or lacks a value): set OUTRIGGER_ADMIN_TOKEN"
                };
                Err(AskError::Refused { status, detail: detail.to_owned() })
            }
            (status, Some(problem)) if problem["detail"].is_string() => {
                Err(AskError::Refused { status, detail: problem["detail"].as_str().unwrap_or_default().to_owned() })
            }
            (status, _) => {
                let problem = format!("answered {status}, and not as an admin listener does: look at the address");
                Err(self.broken(problem))
            }
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> http::Result<Request<Full<bytes::Bytes>>> {
        let host = match &self.address {
            Address::Tcp(authority) => authority.as_str(),
            Address::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, host).header(REQUEST_HEADER, "1");
        if let Some(token) = &self.token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))
    }

    async fn connected<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> Result<S, AskError> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let late = |_| self.broken(format!("cannot be reached within {} s", CONNECT_TIMEOUT.as_secs()));
        connected.map_err(late)?.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::AddrNotAvailable => {
                AskError::Nobody(error)
            }
            io::ErrorKind::PermissionDenied => {
                let user = user();
                self.broken(format!(
                    "may not be opened by {user}: `admin.socket_mode` and the folders above the socket say who may; run this as the \
                     sidecar's user or as root"
                ))
            }
            _ => self.broken(format!("cannot be reached: {error}")),
        })
    }

    /// A connection without an answer: a socket closes at once on a user that it does not speak to.
    fn unanswered(&self, error: &anyhow::Error) -> AskError {
        if matches!(self.address, Address::Tcp(_)) || !is_cut_off(error) {
            return self.broken(format!("did not answer: {error}"));
        }
        let user = user();
        self.broken(format!(
            "closed the connection without an answer: it speaks to the users of `admin.allow_uids` alone, or to its own and root \
             where none is named, and this is {user}; its log says whom it refused"
        ))
    }

    fn broken(&self, problem: String) -> AskError {
        AskError::Broken { address: self.address.clone(), problem }
    }
}

/// The user that runs this command, as the other end of a socket sees it.
fn user() -> String {
    own_uid().map_or_else(|_| "another user".to_owned(), |uid| format!("user {uid}"))
}

/// Whether a connection was closed before an answer was complete.
fn is_cut_off(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let hyper = cause.downcast_ref::<hyper::Error>();
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        hyper.is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed())
            || matches!(kind, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset))
    })
}

async fn exchange<S>(stream: S, request: Request<Full<bytes::Bytes>>) -> anyhow::Result<(StatusCode, bytes::Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asked = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let mut asked = std::pin::pin!(asked);
    // The connection moves the bytes of the exchange, and nothing of it is left when that is over.
    tokio::select! {
        answer = &mut asked => answer,
        _ = connection => asked.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_announced() {
        for (text, address) in [
            ("http://127.0.0.1:8461", Address::Tcp("127.0.0.1:8461".to_owned())),
            ("http://localhost:8461/", Address::Tcp("localhost:8461".to_owned())),
            ("[::1]:8461", Address::Tcp("[::1]:8461".to_owned())),
            ("unix:/run/admin.sock", Address::Unix(PathBuf::from("/run/admin.sock"))),
        ] {
            assert_eq!(parse_address(text), Ok(address), "{text}");
        }
        for text in [
            "",
            "unix:",
            "localhost",
            "http://localhost",
            "https://localhost:8461",
            "http://localhost:0",
            "a@b:1",
            "::1:8461",
            "http://localhost:8461/api",
            "127.0.0.1:99999",
            "a b:1",
            ":8461",
        ] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
