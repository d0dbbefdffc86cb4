//! The target: HTTPS on a free port, which answers `/hook/NUMBER` with 200 and notes what came in, and all else with 503.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger::cli::demo::authority::Authority;
use serde::de::IgnoredAny;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::event;
use super::ledger::Ledger;

const ACCEPTED: Bytes =
    Bytes::from_static(br#"{"status":"accepted","message":{"id":"m-4711","state":"queued"},"errors":[]}"#);
/// Threads that answer.
const THREADS: usize = 2;

pub(crate) struct Receiver {
    pub(crate) port: u16,
    noted: Arc<Noted>,
    _runtime: Runtime,
}

/// What is noted of deliveries.
#[derive(Default)]
struct Noted {
    ledger: RwLock<Option<Arc<Ledger>>>,
    refused: std::sync::atomic::AtomicU64,
}

impl Receiver {
    /// Starts one that speaks HTTP/1.1, and HTTP/2 as well where that is asked for.
    pub(crate) fn start(authority: &Authority, http2: bool) -> Self {
        let protocols: &[&str] = if http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let tls = authority.server_config(&["127.0.0.1"], protocols).expect("a certificate");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(THREADS).enable_all().thread_name("receiver").build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let noted = Arc::new(Noted::default());
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&noted)));
        Self { port, noted, _runtime: runtime }
    }

    /// Notes deliveries in this ledger from now on.
    pub(crate) fn note_in(&self, ledger: &Arc<Ledger>) {
        *self.noted.ledger.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(ledger));
    }

    /// How many requests were answered with 503.
    pub(crate) fn refused(&self) -> u64 {
        self.noted.refused.load(std::sync::atomic::Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, noted: Arc<Noted>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        tokio::spawn(converse(stream, tls.clone(), Arc::clone(&noted)));
    }
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, noted: Arc<Noted>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| answer(request, Arc::clone(&noted)));
    let stream = TokioIo::new(stream);
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).await;
    }
}

async fn answer(request: Request<Incoming>, noted: Arc<Noted>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let webhook: Option<usize> = request.uri().path().strip_prefix("/hook/").and_then(|number| number.parse().ok());
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(Full::new(ACCEPTED));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    let Some(webhook) = webhook else {
        noted.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    };
    // A body that is no JSON is no delivery.
    if let (Some(found), Ok(_)) = (event::find(&body), serde_json::from_slice::<IgnoredAny>(&body)) {
        let ledger = noted.ledger.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(ledger) = ledger {
            ledger.received(found, webhook);
        }
    }
    Ok(response)
}
