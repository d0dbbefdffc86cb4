//! An encrypted connection, with a record of what it has done.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio_rustls::client::TlsStream;

use crate::stall::Stall;
use crate::webhook::tls::expiry;

use super::tls::HTTP1;

/// A receiver that takes no byte for so long is given up. An exchange has its own limit; this one ends what is left of a
/// connection after its exchange was given up, which would otherwise wait for ever to say goodbye.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// What a connection is and has done so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Record(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// When the receiver's certificate expires, where that can be read.
    certificate_expires: Option<Timestamp>,
    /// Bytes that came, without those of TLS itself.
    read: AtomicU64,
    /// How many of them had come when an exchange was last complete; 0 when none was.
    served: AtomicU64,
    /// How long it took to open.
    opening: Opening,
}

/// How long the parts of opening a connection took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// To find the name's addresses.
    pub dns: Duration,
    /// To reach one of them.
    pub connect: Duration,
    /// To agree on TLS.
    pub tls: Duration,
}

impl Record {
    /// When the certificate expires that the receiver showed.
    pub(super) fn certificate_expires(&self) -> Option<Timestamp> {
        self.0.certificate_expires
    }

    /// How long it took to open the connection.
    pub(super) fn opening(&self) -> Opening {
        self.0.opening
    }

    /// An exchange is complete: all that came so far belonged to it or to earlier ones.
    pub(super) fn complete(&self) {
        self.0.served.store(self.0.read.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// How many bytes came so far.
    pub(super) fn read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Whether an exchange was ever complete.
    pub(super) fn has_served(&self) -> bool {
        self.0.served.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing came since an exchange was last complete. It says something only where exchanges come one by one.
    pub(super) fn is_silent_since(&self) -> bool {
        self.0.served.load(Ordering::Relaxed) == self.0.read.load(Ordering::Relaxed)
    }
}

/// An encrypted connection.
pub(super) struct TlsSocket {
    stream: TlsStream<TcpStream>,
    record: Record,
    stall: Stall,
}

impl TlsSocket {
    pub(super) fn new(stream: TlsStream<TcpStream>, opening: Opening) -> Self {
        Self::with_limit(stream, opening, WRITE_STALL_TIMEOUT)
    }

    fn with_limit(stream: TlsStream<TcpStream>, opening: Opening, limit: Duration) -> Self {
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate_expires = certificates.and_then(<[_]>::first).and_then(expiry);
        let record = Record(Arc::new(Counts { certificate_expires, opening, ..Counts::default() }));
        Self { stream, record, stall: Stall::new(limit) }
    }

    /// What the connection has done, now and later.
    pub(super) fn record(&self) -> Record {
        self.record.clone()
    }

    /// Whether HTTP/2 was agreed on.
    pub(super) fn is_http2(&self) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }

    /// Whether HTTP/1.1 was agreed on, and not left to be guessed.
    pub(super) fn is_http1(&self) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(HTTP1)
    }
}

impl Drop for TlsSocket {
    /// Tells the receiver that this was all, as far as that goes without waiting: an end without it might be an attack (RFC 8446,
    /// section 6.1).
    fn drop(&mut self) {
        // Whatever else its task has done before: many may go at once.
        let mut ending = unconstrained(poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)));
        let _ = Pin::new(&mut ending).poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len().saturating_sub(before);
        self.record.0.read.fetch_add(u64::try_from(came).unwrap_or(u64::MAX), Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.stall.watch(cx, polled)
    }

    /// What is written at once is one record and one system call.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.stall.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.stall.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.stall.watch(cx, polled)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper_util::rt::TokioIo;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector, server};

    use super::super::tls;
    use super::*;
    use crate::webhook::tls::Tls;

    /// Far more than it takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Both ends of a connection.
    async fn connection() -> (TlsStream<TcpStream>, server::TlsStream<TcpStream>) {
        let made = rcgen::generate_simple_self_signed(["deaf.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let server =
            server.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let client = TlsConnector::from(tls::tls_config(Some(&made.cert.pem()), &Tls::default()).unwrap());
        let server = TlsAcceptor::from(Arc::new(server));
        let name = "deaf.example".try_into().unwrap();
        tokio::try_join!(client.connect(name, dialled), server.accept(accepted)).unwrap()
    }

    #[tokio::test]
    async fn what_is_left_of_an_exchange_with_a_receiver_that_reads_nothing_does_not_stay() {
        let (stream, _deaf) = connection().await;
        let socket = TokioIo::new(TlsSocket::with_limit(stream, Opening::default(), Duration::from_millis(200)));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        // More than the buffers of two sockets take.
        let body = Full::new(Bytes::from(vec![7; 32 * 1024 * 1024]));
        let exchange = sender.send_request(http::Request::post("/").body(body).unwrap());
        assert!(timeout(Duration::from_millis(50), exchange).await.is_err(), "nobody answers");
        assert!(timeout(PATIENCE, connection).await.is_ok(), "the connection waits for ever to be closed");
    }

    #[test]
    fn a_record_tells_a_used_connection_from_a_fresh_one_and_silence_from_an_answer_begun() {
        let record = Record::default();
        record.0.read.store(90, Ordering::Relaxed);
        assert!(!record.has_served() && !record.is_silent_since(), "a first answer has begun");
        record.complete();
        assert!(record.has_served() && record.is_silent_since(), "it is complete and nothing more came");
        record.0.read.store(91, Ordering::Relaxed);
        assert!(record.has_served() && !record.is_silent_since(), "a second answer has begun");
    }
}
