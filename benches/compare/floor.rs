//! Bare forwarders: what the work costs with nothing around it, and the yardstick that the sidecar is held against.
//!
//! | | |
//! |---|---|
//! | `floor` | takes a request in, posts its body on over TLS, answers as the target did |
//! | `floor-render` | and parses the event and renders a body between the two |
//! | `floor-spool` | and appends the body to a log, with one sync for all that wait, before it answers 202 and delivers |
//!
//! The last one is a plain durable forwarder: it does not retry, judge what comes back or read its log again.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use handlebars::Handlebars;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_rustls::TlsConnector;

use super::peer::Peer;
use super::sidecar::{BODY, SLOTS};

/// Bodies that one sync is for, and that wait for it, at most.
const GROUP_MAX: usize = 1024;

/// A body for the log, and who waits for it.
type Appended = (Bytes, oneshot::Sender<()>);

struct Forwarder {
    client: Client<Connector, Full<Bytes>>,
    target: Uri,
    template: Option<Handlebars<'static>>,
    log: Option<mpsc::Sender<Appended>>,
    slots: Arc<Semaphore>,
}

/// Forwards to `target` until it is killed, trusting the authority in the file `ca`. Says where it listens as the sidecar does.
#[tokio::main]
pub(crate) async fn run(peer: Peer, target: &str, ca: &str, log: &str) {
    let template = (peer != Peer::Floor).then(|| {
        let mut template = Handlebars::new();
        template.register_escape_fn(escape);
        template.register_template_string("body", BODY).expect("a template");
        template
    });
    let forwarder = Arc::new(Forwarder {
        client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(2 * SLOTS).build(Connector::new(ca)),
        target: target.parse().expect("a URL"),
        template,
        log: (peer == Peer::FloorSpool).then(|| open(log)),
        slots: Arc::new(Semaphore::new(SLOTS)),
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    println!("ingest listens on http://{}", listener.local_addr().expect("an address"));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let forwarder = Arc::clone(&forwarder);
        let service = service_fn(move |request| answer(request, Arc::clone(&forwarder)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, forwarder: Arc<Forwarder>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut body = request.into_body().collect().await?.to_bytes();
    if let Some(template) = &forwarder.template {
        let event: serde_json::Value = serde_json::from_slice(&body).expect("an event");
        body = Bytes::from(template.render("body", &event).expect("a body"));
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = if let Some(log) = &forwarder.log {
        let (appended, durable) = oneshot::channel();
        log.send((body.clone(), appended)).await.expect("the log takes it");
        durable.await.expect("the log keeps it");
        let slot = Arc::clone(&forwarder.slots).acquire_owned().await.expect("slots are never closed");
        tokio::spawn(async move {
            forwarder.deliver(body).await;
            drop(slot);
        });
        StatusCode::ACCEPTED
    } else {
        forwarder.deliver(body).await
    };
    Ok(response)
}

impl Forwarder {
    async fn deliver(&self, body: Bytes) -> StatusCode {
        let request = Request::post(self.target.clone()).header("content-type", "application/json");
        let request = request.body(Full::new(body)).expect("a request");
        let Ok(response) = self.client.request(request).await else { return StatusCode::BAD_GATEWAY };
        let status = response.status();
        let _ = response.into_body().collect().await;
        status
    }
}

/// A text as it stands in a JSON string.
fn escape(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a text");
    quoted[1..quoted.len() - 1].to_owned()
}

/// Starts the thread that writes the log.
fn open(path: &str) -> mpsc::Sender<Appended> {
    let (sender, mut receiver) = mpsc::channel::<Appended>(GROUP_MAX);
    let mut file = std::fs::File::options().create(true).append(true).open(path).expect("a log");
    std::thread::spawn(move || {
        let (mut group, mut written) = (Vec::new(), Vec::new());
        while receiver.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            for (body, _) in &group {
                written.extend_from_slice(&body.len().to_le_bytes());
                written.extend_from_slice(body);
            }
            file.write_all(&written).and_then(|()| file.sync_data()).expect("room on the disk");
            written.clear();
            group.drain(..).for_each(|(_, appended)| _ = appended.send(()));
        }
    });
    sender
}

#[derive(Clone)]
struct Connector(TlsConnector);

impl Connector {
    fn new(ca: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Self(Arc::new(config.expect("versions").with_root_certificates(roots).with_no_client_auth()).into())
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Socket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(uri.authority().expect("host and port").as_str()).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(uri.host().unwrap_or_default().to_owned()).map_err(io::Error::other)?;
            Ok(Socket(TokioIo::new(tls.connect(name, stream).await?)))
        })
    }
}

struct Socket(TokioIo<tokio_rustls::client::TlsStream<TcpStream>>);

impl connect::Connection for Socket {
    fn connected(&self) -> connect::Connected {
        connect::Connected::new()
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

type Written = Poll<io::Result<usize>>;

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Written {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Written {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
