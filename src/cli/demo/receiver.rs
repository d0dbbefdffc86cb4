//! A TLS receiver that answers by a script and remembers what it was sent: the other side of the demo and of the tests.
//!
//! It speaks HTTP/1.1 and HTTP/2, as the client chooses, and can misbehave in the ways that real receivers do.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answer::{Answer, Interrupted, Scripted};
use super::authority::{Authority, AuthorityError};

/// Requests that are remembered; beyond it the oldest are forgotten, yet still counted.
const RECORDED_MAX: usize = 50_000;
/// The largest request body that is taken, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a receiver did not start.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// It could not get its certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// It could not get its port.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[from] io::Error),
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The host that was asked for: the `host` header or the authority.
    pub host: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it was complete.
    pub at: Instant,
    /// HTTP/2 rather than HTTP/1.1.
    pub http2: bool,
    /// The connection it came on, counted from 1.
    pub connection: usize,
}

impl Recorded {
    /// A header as text; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Responder = dyn Fn(&Recorded) -> Answer + Send + Sync;

/// A running receiver. Dropping it closes its port and its connections.
pub struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    count: watch::Sender<usize>,
    close: Notify,
}

struct Script {
    queue: VecDeque<Answer>,
    otherwise: Arc<Responder>,
    recorded: VecDeque<Recorded>,
    connections: usize,
}

impl Receiver {
    /// Starts one for these host names on a free port of 127.0.0.1. It answers 200 with `{"ok":true}` until it is told otherwise.
    pub async fn start(authority: &Authority, names: &[&str]) -> Result<Self, ReceiverError> {
        Self::with_tls(authority.server_config(names, &["h2", "http/1.1"])?).await
    }

    /// The same with TLS settings of the caller's.
    pub async fn with_tls(tls: rustls::ServerConfig) -> Result<Self, ReceiverError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let script = Script {
            queue: VecDeque::new(),
            otherwise: Arc::new(|_: &Recorded| Answer::json(r#"{"ok":true}"#)),
            recorded: VecDeque::new(),
            connections: 0,
        };
        let shared =
            Arc::new(Shared { script: Mutex::new(script), count: watch::Sender::new(0), close: Notify::new() });
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&shared)));
        Ok(Self { addr, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds an answer to the queue; each is given once, in order, before the default is asked.
    pub fn respond(&self, answer: Answer) -> &Self {
        self.shared.script().queue.push_back(answer);
        self
    }

    /// The answer when the queue is empty.
    pub fn otherwise(&self, answer: Answer) -> &Self {
        self.respond_with(move |_| answer.clone())
    }

    /// What makes the answer when the queue is empty.
    pub fn respond_with(&self, responder: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> &Self {
        self.shared.script().otherwise = Arc::new(responder);
        self
    }

    /// What came in so far, oldest first.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.script().recorded.iter().cloned().collect()
    }

    /// How many requests came in so far.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Waits until so many requests have come in, all told; false when they have not within the time.
    pub async fn wait_for(&self, count: usize, within: Duration) -> bool {
        let mut counted = self.shared.count.subscribe();
        let reached = counted.wait_for(|seen| *seen >= count);
        tokio::time::timeout(within, reached).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Closes every connection that is open, without a word.
    pub fn close_connections(&self) {
        self.shared.close.notify_one();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// The script is whole whenever the lock is free, so a panic elsewhere does not spoil it.
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a request and takes its answer from the script.
    fn take(&self, recorded: &Recorded) -> Answer {
        let (queued, otherwise) = {
            let mut script = self.script();
            if script.recorded.len() == RECORDED_MAX {
                script.recorded.pop_front();
            }
            script.recorded.push_back(recorded.clone());
            (script.queue.pop_front(), Arc::clone(&script.otherwise))
        };
        self.count.send_modify(|count| *count += 1);
        queued.unwrap_or_else(|| otherwise(recorded))
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let number = {
                    let mut script = shared.script();
                    script.connections += 1;
                    script.connections
                };
                connections.spawn(converse(stream, tls.clone(), Arc::clone(&shared), number));
            }
            () = shared.close.notified() => connections.abort_all(),
            // Without it the set would keep what has ended.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection. What it ends with is the client's to judge.
async fn converse(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>, connection: usize) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let garbled = Arc::new(AtomicBool::new(false));
    let socket = TokioIo::new(Garbler { stream, garbled: Arc::clone(&garbled) });
    let service = service_fn(move |request| answer(request, Arc::clone(&shared), Arc::clone(&garbled), connection));
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(socket, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(socket, service).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    garbled: Arc<AtomicBool>,
    connection: usize,
) -> Result<Response<Scripted>, Interrupted> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Interrupted)?.to_bytes();
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let answer = shared.take(&Recorded {
        method: head.method,
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        host: host.or_else(|| head.uri.authority().map(ToString::to_string)).unwrap_or_default(),
        headers: head.headers,
        body,
        at: Instant::now(),
        http2: head.version == http::Version::HTTP_2,
        connection,
    });
    answer.play(&garbled).await
}

/// A stream that writes noise in place of what it is given, once it is told to.
struct Garbler {
    stream: TlsStream<TcpStream>,
    garbled: Arc<AtomicBool>,
}

impl AsyncRead for Garbler {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Garbler {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.garbled.load(Ordering::Relaxed) {
            let noise = vec![b'#'; buf.len()];
            return Pin::new(&mut self.stream).poll_write(cx, &noise);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
