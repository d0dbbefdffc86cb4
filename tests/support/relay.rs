//! A TCP relay in front of a receiver: the network between, which can be broken while the receiver goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use std::sync::Arc;

use super::PATIENCE;
use super::receiver::RUNTIME;

/// How long it waits before it asks for its port again, which another socket may hold for a moment.
const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// How much later each part of what is sent comes through a slow network.
const SLOW_DELAY: Duration = Duration::from_millis(30);

/// What the network does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// They reach the receiver.
    Sound,
    /// The port is closed.
    Refusing,
    /// They are reset as soon as they are made.
    Resetting,
    /// They are made, and nothing ever comes back.
    Silent,
    /// Everything comes, some time later.
    Slow,
}

/// A running relay. Dropping it closes its port and its connections.
pub(crate) struct Relay {
    addr: SocketAddr,
    network: watch::Sender<Network>,
    cut: Arc<Notify>,
    running: JoinHandle<()>,
}

impl Relay {
    /// Starts one on a free port of 127.0.0.1.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener =
            RUNTIME.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("127.0.0.1 has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let (network, seen) = watch::channel(Network::Sound);
        let cut = Arc::new(Notify::new());
        let running = RUNTIME.spawn(run(listener, addr, target, seen, Arc::clone(&cut)));
        Self { addr, network, cut, running }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes what becomes of new connections. Those that are open are cut.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Closes every open connection.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn run(
    listener: TcpListener,
    addr: SocketAddr,
    target: SocketAddr,
    mut network: watch::Receiver<Network>,
    cut: Arc<Notify>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *network.borrow_and_update();
        if now == Network::Refusing {
            listener = None;
        }
        if now != Network::Refusing && listener.is_none() {
            listener = TcpListener::bind(addr).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
                // Nobody can be let in: the port is closed on purpose, or has to be asked for again.
                None if now == Network::Refusing => std::future::pending().await,
                None => {
                    tokio::time::sleep(REBIND_PAUSE).await;
                    None
                }
            }
        };
        tokio::select! {
            changed = network.changed() => {
                if changed.is_err() {
                    return;
                }
                connections.abort_all();
            }
            () = cut.notified() => connections.abort_all(),
            Some(_) = connections.join_next() => {}
            stream = accepted => if let Some(stream) = stream {
                connections.spawn(carry(stream, target, now));
            },
        }
    }
}

async fn carry(mut stream: TcpStream, target: SocketAddr, network: Network) {
    match network {
        Network::Resetting | Network::Refusing => {
            // Closed with nothing to linger for, the kernel sends a reset.
            let _ = stream.set_zero_linger();
        }
        Network::Silent => tokio::time::sleep(PATIENCE).await,
        Network::Sound => {
            let Ok(mut inner) = TcpStream::connect(target).await else { return };
            let _ = (stream.set_nodelay(true), inner.set_nodelay(true));
            // How it ends is told to both sides by the closing.
            let _ = copy_bidirectional(&mut stream, &mut inner).await;
        }
        Network::Slow => {
            let Ok(inner) = TcpStream::connect(target).await else { return };
            let ((read, write), (inner_read, inner_write)) = (stream.into_split(), inner.into_split());
            tokio::join!(carry_slowly(read, inner_write), carry_slowly(inner_read, write));
        }
    }
}

async fn carry_slowly(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        tokio::time::sleep(SLOW_DELAY).await;
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_relay_carries_refuses_resets_and_carries_again_on_the_same_port() {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::TcpStream as Blocking;

    let echo = RUNTIME.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let target = echo.local_addr().expect("it is bound");
    RUNTIME.spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let relay = Relay::start(target);
    let connect = || {
        let stream = Blocking::connect_timeout(&relay.addr(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok::<_, std::io::Error>(stream)
    };
    let echoes = |stream: &mut Blocking| {
        let mut back = [0];
        stream.write_all(b"x").and_then(|()| stream.read_exact(&mut back)).map(|()| back[0])
    };
    let mut open = connect().expect("it listens");
    assert_eq!(echoes(&mut open).expect("an echo"), b'x');
    relay.cut();
    // It is told to cut, and does so soon.
    assert!(super::eventually(PATIENCE, || echoes(&mut open).err()).is_some(), "it was cut");
    relay.set(Network::Refusing);
    // One that comes while the listener is being closed is reset.
    let is_refused = || connect().err().filter(|error| error.kind() == ErrorKind::ConnectionRefused);
    assert!(super::eventually(PATIENCE, is_refused).is_some(), "it refuses");
    relay.set(Network::Resetting);
    let reset = super::eventually(PATIENCE, || connect().ok().map(|mut stream| stream.read(&mut [0])));
    assert!(reset.expect("it listens again").is_err(), "a reset is no end of data");
    relay.set(Network::Sound);
    let sound = super::eventually(PATIENCE, || connect().ok().and_then(|mut stream| echoes(&mut stream).ok()));
    assert_eq!(sound, Some(b'x'));
}
