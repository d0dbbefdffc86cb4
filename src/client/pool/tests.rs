#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::super::socket::{Opening, TlsSocket};
use super::super::tls;
use super::*;
use crate::webhook::tls::Tls;

/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Never, for these tests.
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(20);
const IDLE_MAX: usize = 8;

type Far = server::TlsStream<TcpStream>;

/// What makes connections, with both of their ends.
struct Dialler {
    listener: TcpListener,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl Dialler {
    async fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            connector: TlsConnector::from(tls::tls_config(Some(&made.cert.pem()), &Tls::default()).unwrap()),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        }
    }

    async fn dial(&self) -> (Box<Http1>, Far) {
        let near = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = self.listener.accept().await.unwrap();
        let name = "a.example".try_into().unwrap();
        let (near, far) = tokio::try_join!(self.connector.connect(name, near), self.acceptor.accept(far)).unwrap();
        match Connection::open(TlsSocket::new(near, Opening::default())).await.unwrap() {
            Connection::Http1(connection) => (connection, far),
            Connection::Http2(_) => panic!("it was not offered"),
        }
    }
}

fn pool(idle_timeout: Duration, sweep_interval: Duration) -> Arc<Pool> {
    Pool::with_limits(Limits { idle_timeout, idle_per_host_max: IDLE_MAX, sweep_interval })
}

fn authority() -> Authority {
    Authority::from_static("a.example")
}

/// Until it holds.
async fn eventually(mut holds: impl FnMut() -> bool) {
    let waits = async {
        while !holds() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap();
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_the_limit_and_the_others_are_closed() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
    let mut far_ends = Vec::new();
    for _ in 0..IDLE_MAX + 2 {
        let (connection, far) = dialler.dial().await;
        pool.put(&authority(), connection);
        far_ends.push(far);
    }
    for far in far_ends.iter_mut().skip(IDLE_MAX) {
        let read = timeout(PATIENCE, far.read(&mut [0])).await.unwrap();
        assert_eq!(read.unwrap(), 0, "it is closed, and the receiver is told so");
    }
    let kept = std::iter::from_fn(|| pool.take(&authority(), None)).count();
    assert_eq!(kept, IDLE_MAX);
}

#[tokio::test]
async fn an_idle_connection_goes_after_its_time_though_nobody_asks_for_one() {
    let (dialler, pool) = (Dialler::new().await, pool(SHORT, SHORT));
    let (connection, mut far) = dialler.dial().await;
    pool.put(&authority(), connection);
    assert_eq!(timeout(PATIENCE, far.read(&mut [0])).await.unwrap().unwrap(), 0);
    // Nor is anybody left who looks after it.
    eventually(|| pool.state().hosts.is_empty() && pool.state().sweeper.is_none()).await;
}

#[tokio::test]
async fn an_idle_connection_that_is_too_old_is_not_used() {
    let (dialler, pool) = (Dialler::new().await, pool(Duration::ZERO, LONG));
    let (connection, _far) = dialler.dial().await;
    pool.put(&authority(), connection);
    assert!(pool.take(&authority(), None).is_none());
}

#[tokio::test]
async fn what_a_receiver_closed_or_wrote_to_is_not_given_out_and_the_next_one_is() {
    for word in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
        let (good, _good_far) = dialler.dial().await;
        pool.put(&authority(), good);
        let (ended, mut far) = dialler.dial().await;
        pool.put(&authority(), ended);
        far.write_all(word).await.unwrap();
        far.flush().await.unwrap();
        if word.is_empty() {
            far.shutdown().await.unwrap();
        }
        // The last one in would be the first one out, as long as it is not known to have ended.
        eventually(|| {
            let taken: Vec<_> = std::iter::from_fn(|| pool.take(&authority(), None)).collect();
            let left = taken.len();
            for connection in taken.into_iter().rev() {
                if let Connection::Http1(connection) = connection {
                    pool.put(&authority(), connection);
                }
            }
            assert!(left > 0, "the good one is gone as well");
            left == 1
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_receiver_closed_is_let_go_of_though_nobody_asks() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, SHORT));
    let (connection, mut far) = dialler.dial().await;
    pool.put(&authority(), connection);
    assert_eq!(pool.state().hosts.len(), 1);
    far.shutdown().await.unwrap();
    eventually(|| pool.state().hosts.values().all(|host| host.idle.is_empty())).await;
}

#[tokio::test]
async fn one_dials_while_it_is_unknown_whether_one_will_do_and_each_does_once_it_is_known_that_none_does() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
    let Found::Dial(Some(dials)) = pool.find(&authority(), None, false) else { panic!("the first one dials for all") };
    let Found::Wait(mut ended, _) = pool.find(&authority(), None, false) else { panic!("the second one waits") };
    drop(dials);
    assert!(ended.changed().await.is_err(), "nobody dials any more");
    let Found::Dial(Some(_dials)) = pool.find(&authority(), None, true) else { panic!("another one dials for all") };
    let Found::Dial(Some(_too)) = pool.find(&authority(), None, true) else { panic!("nor do others wait again") };
    let Found::Wait(mut opened, _) = pool.find(&authority(), None, false) else { panic!("who comes now does") };
    let (connection, _far) = dialler.dial().await;
    pool.opened(&authority(), &Connection::Http1(connection));
    assert!(opened.changed().await.is_ok(), "one has opened a connection");
    assert!(matches!(pool.find(&authority(), None, false), Found::Dial(None)));
}

#[tokio::test]
async fn beside_one_that_takes_its_time_another_one_dials_and_the_others_wait_on() {
    let pool = pool(LONG, LONG);
    let mut dialling = Vec::new();
    for number in 1..=3 {
        let mut until = Instant::now();
        eventually(|| match pool.find(&authority(), None, false) {
            Found::Dial(dials) => {
                dialling.push(dials.unwrap());
                true
            }
            Found::Wait(_, next) => {
                assert!(next <= Instant::now() + ATTEMPT_DELAY, "it is told for how long");
                until = next;
                false
            }
            Found::Ready(_) => panic!("there is none"),
        })
        .await;
        assert!(Instant::now() >= until, "number {number} began too early");
    }
    assert_eq!(dialling.len(), 3);
}

#[tokio::test]
async fn that_a_host_speaks_http1_is_known_though_no_connection_to_it_is_left() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
    let (connection, far) = dialler.dial().await;
    pool.opened(&authority(), &Connection::Http1(connection));
    drop(far);
    let _ = pool.sweep();
    assert!(matches!(pool.find(&authority(), None, false), Found::Dial(None)), "nobody waits for another's dialling");
}

#[tokio::test]
async fn with_the_pool_goes_who_looks_after_it() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
    let (connection, _far) = dialler.dial().await;
    pool.put(&authority(), connection);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(pool);
    eventually(|| tasks() == 0).await;
}

#[tokio::test]
async fn while_there_is_a_connection_beside_the_shared_one_no_other_is_opened_however_long_its_exchange_takes() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
    let token = pool.ask_beside(&authority()).unwrap();
    assert!(pool.ask_beside(&authority()).is_none(), "one is being dialled");
    let (mut connection, far) = dialler.dial().await;
    connection.put_beside(token);
    let _ = pool.sweep();
    assert_eq!(pool.state().hosts.len(), 1, "it is in use");
    pool.put(&authority(), connection);
    assert!(pool.ask_beside(&authority()).is_none(), "it is idle");
    drop(far);
    eventually(|| {
        let _ = pool.sweep();
        pool.state().hosts.is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_ran_out_of_time_has_the_connection_beside_go_if_it_has_waited_since_before() {
    let (dialler, pool) = (Dialler::new().await, pool(LONG, LONG));
    let (mut connection, mut far) = dialler.dial().await;
    let before = Instant::now();
    connection.put_beside(pool.ask_beside(&authority()).unwrap());
    pool.put(&authority(), connection);
    pool.doubt(&authority(), before);
    let Some(Connection::Http1(connection)) = pool.take(&authority(), None) else { panic!("it is there") };
    pool.put(&authority(), connection);
    pool.doubt(&authority(), Instant::now());
    assert!(pool.take(&authority(), None).is_none());
    assert_eq!(timeout(PATIENCE, far.read(&mut [0])).await.unwrap().unwrap(), 0, "it is closed");
}
