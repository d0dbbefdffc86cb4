//! Which connections the client opens, uses again and gives up, told by the receiver and by the names that it asks for.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::client::{Client, Limits, Response, Routes};
use crate::config::Egress;
use crate::delivery::{Failure, Reason};
use crate::webhook::tls::Tls;

use super::authority::Authority;
use super::receiver::Receiver;

const HOST: &str = "hooks.example";
/// What the host resolves to; a connection to it goes to the receiver.
const ADDRESS: [u8; 4] = [1, 1, 1, 1];
/// What it resolves to at first, where it is told so; a connection to it is made, and nothing is ever said on it.
const SILENT: [u8; 4] = [2, 2, 2, 2];
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), response_bytes_max: 64 * 1024 };
/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Much longer than another one's dialling is waited for, and shorter than anything that hangs.
const MOMENT: Duration = Duration::from_secs(2);
const MANY: usize = 64;

/// A receiver, a client that may reach it, and how many connections were dialled.
struct Scene {
    receiver: Receiver,
    client: Client,
    dialled: Arc<AtomicUsize>,
    _silent: TcpListener,
}

impl Scene {
    async fn new(alpn: &[&str]) -> Self {
        Self::after_silence(alpn, 0).await
    }

    /// The first of the connections, so many of them, come to nothing.
    async fn after_silence(alpn: &[&str], silent: usize) -> Self {
        let authority = Authority::new().unwrap();
        let receiver = Receiver::with_tls(authority.server_config(&[HOST], alpn).unwrap()).await.unwrap();
        let dialled = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&dialled);
        let names = move |_: &str| {
            let is_silent = counted.fetch_add(1, Ordering::Relaxed) < silent;
            vec![IpAddr::from(if is_silent { SILENT } else { ADDRESS })]
        };
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let leads = [(ADDRESS, receiver.addr()), (SILENT, silent.local_addr().unwrap())];
        let addresses = leads.map(|(address, to)| (IpAddr::from(address), to)).into();
        let routes = Routes { names: Some(Arc::new(names)), addresses, ..Routes::default() };
        let egress = Egress { ca_pem: Some(authority.ca_pem().to_owned()), ..Egress::default() };
        let client = Client::new(&egress, &Tls::default(), routes).unwrap();
        Self { receiver, client, dialled, _silent: silent }
    }

    fn dialled(&self) -> usize {
        self.dialled.load(Ordering::Relaxed)
    }

    /// So many at once, each of which must be answered.
    async fn send(&self, number: usize) {
        let all: Vec<_> = (0..number)
            .map(|_| {
                let client = self.client.clone();
                tokio::spawn(async move { send(&client, LIMITS).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap().map(|response| response.status.as_u16()), Ok(200));
        }
    }
}

async fn send(client: &Client, limits: Limits) -> Result<Response, Failure> {
    let body = Full::new(Bytes::from_static(b"{}"));
    client.send(Request::post("https://hooks.example/x").body(body).unwrap(), limits).await
}

#[tokio::test]
async fn many_at_once_share_one_connection_over_http2_and_one_takes_its_place_when_it_ends() {
    let scene = Scene::new(&["h2", "http/1.1"]).await;
    for round in 1..=3 {
        scene.send(MANY).await;
        assert_eq!(scene.dialled(), round);
        scene.receiver.close_connections();
    }
    assert!(scene.receiver.recorded().iter().all(|seen| seen.http2));
}

#[tokio::test]
async fn many_at_once_have_a_connection_each_over_http1_which_the_next_use_again() {
    let scene = Scene::new(&["http/1.1"]).await;
    scene.send(MANY).await;
    let dialled = scene.dialled();
    assert!(dialled <= MANY, "{dialled}");
    for _ in 0..3 {
        scene.send(dialled).await;
        assert_eq!(scene.dialled(), dialled);
    }
}

#[tokio::test]
async fn an_exchange_on_an_idle_connection_is_woken_once_for_its_answer_and_by_nothing_of_its_own() {
    let scene = Scene::new(&["http/1.1"]).await;
    scene.send(1).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut fewest = usize::MAX;
    for _ in 0..20 {
        let (mut exchange, mut polls) = (pin!(send(&scene.client, LIMITS)), 0);
        let answered = poll_fn(|cx| {
            polls += 1;
            exchange.as_mut().poll(cx)
        });
        answered.await.unwrap();
        // An answer may come in several parts, but not always.
        fewest = fewest.min(polls);
    }
    assert_eq!(fewest, 2, "once to send, and once to hear");
    assert_eq!((scene.dialled(), tokio::runtime::Handle::current().metrics().num_alive_tasks()), (1, tasks));
}

#[tokio::test]
async fn idle_connections_that_the_receiver_closed_cost_no_attempt_and_no_error() {
    let scene = Scene::new(&["http/1.1"]).await;
    for round in 1..=3 {
        scene.send(8).await;
        assert_eq!(scene.receiver.count(), round * 8, "each is seen once");
        scene.receiver.close_connections();
    }
    assert!(scene.dialled() > 8, "they were closed");
}

#[tokio::test]
async fn a_connection_whose_receiver_wants_no_more_is_not_used_again() {
    let scene = Scene::new(&["http/1.1"]).await;
    scene.receiver.otherwise(super::answer::Answer::text("ok").header("connection", "close"));
    for round in 1..=3 {
        scene.send(1).await;
        assert_eq!(scene.dialled(), round);
    }
    // Nor by others, and nothing is sent twice.
    for round in 1..=3 {
        scene.send(MANY).await;
        assert_eq!((scene.dialled(), scene.receiver.count()), (3 + round * MANY, 3 + round * MANY));
    }
}

/// A listener for the host, and a client that is led to it.
async fn listen() -> (TcpListener, TlsAcceptor, Client) {
    let authority = Authority::new().unwrap();
    let tls = TlsAcceptor::from(Arc::new(authority.server_config(&[HOST], &["http/1.1"]).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = BTreeMap::from([(HOST.to_owned(), listener.local_addr().unwrap())]);
    let egress = Egress { ca_pem: Some(authority.ca_pem().to_owned()), ..Egress::default() };
    (listener, tls, Client::new(&egress, &Tls::default(), Routes { hosts, ..Routes::default() }).unwrap())
}

#[tokio::test]
async fn one_whose_dialling_comes_to_nothing_holds_the_others_up_for_a_moment_only() {
    let (listener, tls, client) = listen().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { send(&client, LIMITS).await }
    });
    let (_silent, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let receive = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0, "a request");
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let begun = Instant::now();
    let (sent, _stream) = timeout(PATIENCE, async { tokio::join!(send(&client, LIMITS), receive) }).await.unwrap();
    assert!(begun.elapsed() < MOMENT, "{:?}", begun.elapsed());
    assert_eq!(sent.map(|response| response.status.as_u16()), Ok(204));
    assert!(!first.is_finished(), "it did not wait for the other's end");
    first.abort();
}

#[tokio::test]
async fn dialling_that_comes_to_nothing_is_joined_by_one_more_at_a_time_and_all_share_what_is_opened_first() {
    for silent in [1, 3] {
        let scene = Scene::after_silence(&["h2", "http/1.1"], silent).await;
        // Those whose own dialling never ends are answered as well.
        scene.send(MANY).await;
        let dialled = scene.dialled();
        assert!(dialled > silent && dialled < MANY / 4, "{dialled}");
        assert!(scene.receiver.recorded().iter().all(|seen| seen.http2));
    }
}

#[tokio::test]
async fn an_exchange_that_runs_out_of_time_in_mid_answer_closes_its_connection() {
    let (listener, tls, client) = listen().await;
    for half in ["HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha"] {
        let receive = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tls.accept(stream).await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0, "a request");
            stream.write_all(half.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            // The request may come in parts, and then comes the end, as TLS says it.
            let mut rest = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        };
        let limits = Limits { timeout: Duration::from_millis(500), ..LIMITS };
        let (sent, ()) = tokio::join!(send(&client, limits), receive);
        assert_eq!(sent.unwrap_err().reason, Reason::Timeout, "{half}");
    }
}
