//! A receiver that misbehaves below HTTP: on the socket, in the handshake, and in the bytes of an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::frames;
use super::receiver::{AUTHORITY, RUNTIME};

/// Between two bytes of [`Step::Drip`].
const DRIP_INTERVAL: Duration = Duration::from_secs(1);
/// The longest head and body of a request that are read.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// How a connection is received.
#[derive(Clone)]
pub(crate) enum Greeting {
    /// With TLS, and requests are read.
    Tls(Arc<ServerConfig>),
    /// With TLS, and not a byte is read after the handshake.
    Deaf(Arc<ServerConfig>),
    /// It is reset as soon as it is accepted.
    Reset,
    /// It is closed as soon as it is accepted.
    Close,
    /// Nothing is said.
    Silence,
    /// The first bytes are answered with these.
    Plain(Vec<u8>),
}

impl Greeting {
    /// A good certificate for 127.0.0.1 and HTTP/1.1.
    pub(crate) fn http1() -> Self {
        Self::tls(&["http/1.1"])
    }

    /// The same and HTTP/2.
    pub(crate) fn http2() -> Self {
        Self::tls(&["h2"])
    }

    fn tls(alpn: &[&str]) -> Self {
        Self::Tls(Arc::new(AUTHORITY.server_config(&["127.0.0.1"], alpn).expect("it is a name")))
    }
}

/// 200 with the text `ok`, in the version of HTTP in which it was asked for.
pub(crate) fn well(seen: &Seen) -> Step {
    Step::Write(match seen.stream {
        0 => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        stream => [frames::headers(stream, 200, &[], false), frames::data(stream, b"ok", true)].concat(),
    })
}

/// A piece of an answer. When an answer's steps are over, the next request is waited for.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Vec<u8>),
    /// A byte a second.
    Drip(Vec<u8>),
    /// These bytes again and again.
    Endless(Vec<u8>),
    /// The connection is closed as it should be: no more is written, and what still comes is read.
    Leave,
    /// It is closed without a word of TLS.
    Close,
    /// It is reset.
    Reset,
}

/// A request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The connection it came on, counted from 1.
    pub(crate) connection: usize,
    /// Which request on that connection it is, counted from 1.
    pub(crate) number: usize,
    /// Its stream over HTTP/2.
    pub(crate) stream: u32,
    /// Its head as text over HTTP/1.1.
    pub(crate) head: String,
}

impl Seen {
    /// The path and query over HTTP/1.1.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// A header over HTTP/1.1; empty when it is not there.
    pub(crate) fn header(&self, wanted: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value)
    }
}

type Reply = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

/// A running one. Dropping it closes its port and its connections.
pub(crate) struct Raw {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    greeting: Greeting,
    well: Greeting,
    reply: Box<Reply>,
    seen: Mutex<Vec<Seen>>,
    healed: AtomicBool,
    connections: AtomicUsize,
    written: AtomicU64,
}

impl Raw {
    /// Starts one on a free port of 127.0.0.1.
    pub(crate) fn start(greeting: Greeting, reply: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("127.0.0.1 has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            greeting,
            well: Greeting::http1(),
            reply: Box::new(reply),
            seen: Mutex::default(),
            healed: AtomicBool::default(),
            connections: AtomicUsize::default(),
            written: AtomicU64::default(),
        });
        let accepting = RUNTIME.spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The URL of a path, which begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// From now on new connections and requests are received and answered as they should be.
    pub(crate) fn heal(&self) {
        self.shared.healed.store(true, Ordering::SeqCst);
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("nobody panics with it").clone()
    }

    /// The connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The bytes of answers so far.
    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        connections.spawn(greet(stream, Arc::clone(&shared), number));
    }
}

/// One connection; `None` when it ended early, which is the client's to judge.
async fn greet(mut stream: TcpStream, shared: Arc<Shared>, connection: usize) -> Option<()> {
    let healed = shared.healed.load(Ordering::SeqCst);
    match if healed { shared.well.clone() } else { shared.greeting.clone() } {
        Greeting::Tls(tls) => converse(TlsAcceptor::from(tls).accept(stream).await.ok()?, &shared, connection).await,
        Greeting::Deaf(tls) => {
            let _deaf = TlsAcceptor::from(tls).accept(stream).await.ok()?;
            std::future::pending().await
        }
        Greeting::Reset => stream.set_zero_linger().ok(),
        Greeting::Close => Some(()),
        Greeting::Silence => std::future::pending().await,
        Greeting::Plain(bytes) => {
            let _ = stream.read(&mut [0; 16]).await.ok()?;
            stream.write_all(&bytes).await.ok()?;
            // Closing with something unread would reset the connection and take the bytes back.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok().map(drop)
        }
    }
}

async fn converse(mut stream: TlsStream<TcpStream>, shared: &Shared, connection: usize) -> Option<()> {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if http2 {
        frames::open(&mut stream).await?;
    }
    for number in 1.. {
        let (stream_id, head) = if http2 {
            (frames::read_request(&mut stream).await?, String::new())
        } else {
            (0, read_request(&mut stream).await?)
        };
        let seen = Seen { connection, number, stream: stream_id, head };
        let steps = if shared.healed.load(Ordering::SeqCst) { vec![well(&seen)] } else { (shared.reply)(&seen) };
        shared.seen.lock().expect("nobody panics with it").push(seen);
        for step in steps {
            perform(&mut stream, step, &shared.written).await?;
        }
    }
    None
}

/// Reads a request to its end and gives its head.
async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        assert!(head.len() <= REQUEST_BYTES_MAX, "a request has an end");
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().filter_map(|line| line.split_once(": "));
    let length =
        length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).find_map(|(_, n)| n.parse().ok());
    let length = length.unwrap_or(0);
    assert!(length <= REQUEST_BYTES_MAX, "a request is small");
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(head)
}

/// `None` when the conversation is over.
async fn perform(stream: &mut TlsStream<TcpStream>, step: Step, written: &AtomicU64) -> Option<()> {
    let wrote = |bytes: &[u8]| written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    match step {
        Step::Write(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            wrote(&bytes);
            stream.flush().await.ok()
        }
        Step::Drip(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await.ok()?;
                stream.flush().await.ok()?;
                wrote(&[byte]);
                tokio::time::sleep(DRIP_INTERVAL).await;
            }
            Some(())
        }
        Step::Endless(bytes) => loop {
            stream.write_all(&bytes).await.ok()?;
            wrote(&bytes);
        },
        Step::Leave => {
            stream.shutdown().await.ok()?;
            let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
            None
        }
        Step::Close => None,
        Step::Reset => {
            stream.get_ref().0.set_zero_linger().ok()?;
            None
        }
    }
}
