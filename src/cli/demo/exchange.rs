//! The client against the receiver, over real sockets and real TLS.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, Limits, Response, Routes};
use crate::config::Egress;
use crate::delivery::{Failure, Reason};
use crate::webhook::filter::Glob;
use crate::webhook::tls::Tls;

use super::answer::Answer;
use super::authority::Authority;
use super::receiver::Receiver;

const HOST: &str = "hooks.example";
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), response_bytes_max: 64 * 1024 };
const BOTH: &[&[&str]] = &[&["http/1.1"], &["h2"]];

fn client(authority: &Authority, hosts: &[(&str, &Receiver)]) -> Client {
    let hosts: BTreeMap<_, _> = hosts.iter().map(|(host, receiver)| ((*host).to_owned(), receiver.addr())).collect();
    let egress = Egress { ca_pem: Some(authority.ca_pem().to_owned()), ..Egress::default() };
    Client::new(&egress, &Tls::default(), Routes { hosts, ..Routes::default() }).unwrap()
}

/// Leads the one host to a socket.
fn route(to: SocketAddr) -> Routes {
    Routes { hosts: BTreeMap::from([(HOST.to_owned(), to)]), ..Routes::default() }
}

async fn start(alpn: &[&str]) -> (Receiver, Client) {
    let authority = Authority::new().unwrap();
    let receiver = Receiver::with_tls(authority.server_config(&[HOST], alpn).unwrap()).await.unwrap();
    let client = client(&authority, &[(HOST, &receiver)]);
    (receiver, client)
}

fn post(url: &str) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::new(Bytes::from_static(b"{\"a\":1}"))).unwrap()
}

async fn send(client: &Client) -> Result<Response, Failure> {
    client.send(post("https://hooks.example/secret/path?token=t0ken"), LIMITS).await
}

/// The failure of one request; its sentence must name the host and nothing of the path or query.
async fn failure(client: &Client) -> Failure {
    let failure = send(client).await.unwrap_err();
    assert!(failure.detail.contains(HOST), "{failure:?}");
    assert!(!failure.detail.contains("secret") && !failure.detail.contains("t0ken"), "{failure:?}");
    failure
}

#[tokio::test]
async fn a_request_arrives_whole_over_both_versions() {
    for (alpn, http2) in [(["http/1.1"], false), (["h2"], true)] {
        let (receiver, client) = start(&alpn).await;
        receiver.respond(Answer::status(201).header("x-answer", "yes").body("done"));
        let response = send(&client).await.unwrap();
        assert_eq!((response.status.as_u16(), &response.body[..], response.truncated), (201, &b"done"[..], false));
        assert_eq!(response.headers["x-answer"], "yes");
        let [seen] = &receiver.recorded()[..] else { panic!("one request expected") };
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/secret/path?token=t0ken"));
        assert_eq!((&seen.body[..], seen.http2, seen.host.as_str()), (&b"{\"a\":1}"[..], http2, HOST));
    }
}

#[tokio::test]
async fn requests_in_a_row_share_one_connection() {
    for alpn in BOTH {
        let (receiver, client) = start(alpn).await;
        for _ in 0..5 {
            send(&client).await.unwrap();
            // The pool gets its connection back from a task of its own.
            tokio::task::yield_now().await;
        }
        let connections: Vec<_> = receiver.recorded().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [1; 5], "{alpn:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    for alpn in BOTH {
        let authority = Authority::new().unwrap();
        let receiver = Receiver::with_tls(authority.server_config(&[HOST], alpn).unwrap()).await.unwrap();
        let other = Receiver::start(&authority, &["other.example"]).await.unwrap();
        let client = client(&authority, &[(HOST, &receiver), ("other.example", &other)]);
        for round in 1..=10 {
            send(&client).await.unwrap_or_else(|failure| panic!("round {round} over {alpn:?}: {failure:?}"));
            receiver.close_connections();
            // Another exchange is the time in which the closing arrives.
            client.send(post("https://other.example/"), LIMITS).await.unwrap();
            other.close_connections();
        }
        assert_eq!(receiver.count(), 10);
    }
}

#[tokio::test]
async fn an_answer_without_a_body_is_complete() {
    let (receiver, client) = start(&["http/1.1"]).await;
    receiver.respond(Answer::status(204));
    let response = send(&client).await.unwrap();
    assert_eq!((response.status.as_u16(), response.body.len()), (204, 0));
}

#[tokio::test]
async fn a_receiver_that_hangs_is_a_timeout_over_both_versions() {
    for alpn in BOTH {
        let (receiver, client) = start(alpn).await;
        receiver.respond(Answer::hang());
        let limits = Limits { timeout: Duration::from_millis(300), ..LIMITS };
        let failure = client.send(post("https://hooks.example/secret"), limits).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Timeout);
        assert_eq!(failure.detail, "no complete answer from hooks.example within 0.3 s");
        assert!(receiver.wait_for(1, Duration::from_secs(5)).await);
        assert!(send(&client).await.is_ok());
        assert_eq!(receiver.recorded()[1].connection, 2, "a connection that gave no answer is not trusted again");
    }
}

#[tokio::test]
async fn a_body_is_cut_at_the_limit_and_not_before() {
    let limit = LIMITS.response_bytes_max;
    for alpn in BOTH {
        let (receiver, client) = start(alpn).await;
        let cases = [
            (Answer::huge(limit - 1), limit - 1, false),
            (Answer::huge(limit), limit, false),
            (Answer::huge(limit + 1), limit, true),
            (Answer::huge(8 * 1024 * 1024), limit, true),
            (Answer::endless(), limit, true),
        ];
        for (answer, length, truncated) in cases {
            receiver.respond(answer);
            let response = send(&client).await.unwrap();
            assert_eq!((response.body.len(), response.truncated), (length, truncated), "{alpn:?}");
        }
        assert_eq!(send(&client).await.unwrap().body, r#"{"ok":true}"#, "the client works on after a cut");
    }
}

#[tokio::test]
async fn answers_that_end_early_are_connection_resets() {
    let cases = [
        Answer::close(),
        Answer::status(200).body("the first half").broken_off(),
        Answer::status(200).body("short").claiming(5000),
    ];
    for alpn in BOTH {
        let (receiver, client) = start(alpn).await;
        for answer in &cases {
            receiver.respond(answer.clone());
            assert_eq!(failure(&client).await.reason, Reason::ConnectionReset, "{answer:?} over {alpn:?}");
        }
        assert!(send(&client).await.is_ok(), "the client works on over {alpn:?}");
    }
}

#[tokio::test]
async fn a_body_longer_than_it_was_said_to_be_does_not_spoil_the_next_answer() {
    let (receiver, client) = start(&["http/1.1"]).await;
    receiver.respond(Answer::status(200).header("content-length", "3").body("far too long"));
    // Either the short body or a failure is fair; the next request must get its own answer.
    let _ = send(&client).await;
    receiver.otherwise(Answer::text("mine"));
    assert_eq!(send(&client).await.unwrap().body, "mine");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_network_error() {
    let (receiver, client) = start(&["http/1.1"]).await;
    receiver.respond(Answer::garbage());
    let failure = failure(&client).await;
    assert_eq!(failure.reason, Reason::NetworkError);
    assert_eq!(failure.detail, "hooks.example answered with something that is not HTTP");
}

/// What comes of a request that is answered, over TLS and HTTP/1.1, with exactly these bytes and then the connection's end.
async fn answered_with(bytes: &'static [u8]) -> Result<Response, Failure> {
    let authority = Authority::new().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_config(&[HOST], &["http/1.1"]).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = route(listener.local_addr().unwrap());
    let egress = Egress { ca_pem: Some(authority.ca_pem().to_owned()), ..Egress::default() };
    let client = Client::new(&egress, &Tls::default(), routes).unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    });
    let result = send(&client).await;
    server.await.unwrap();
    result
}

#[tokio::test]
async fn informational_answers_before_the_real_one_are_passed_over() {
    let response = answered_with(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let response = response.await.unwrap();
    assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"ok"[..]));
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_complete() {
    assert_eq!(answered_with(b"HTTP/1.0 200 OK\r\n\r\nall of it").await.unwrap().body, "all of it");
}

#[tokio::test]
async fn malformed_answers_are_told_from_those_that_end_early() {
    let cases: [(&[u8], Reason); 8] = [
        (b"", Reason::ConnectionReset),
        (b"HTTP/1.1 200 O", Reason::ConnectionReset),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Reason::ConnectionReset),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", Reason::ConnectionReset),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc", Reason::NetworkError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", Reason::NetworkError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nab", Reason::NetworkError),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Reason::NetworkError),
    ];
    for (bytes, reason) in cases {
        let failure = answered_with(bytes).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{:?}: {failure:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn a_head_without_measure_is_a_network_error_over_both_versions() {
    for alpn in BOTH {
        let (receiver, client) = start(alpn).await;
        let mut answer = Answer::status(200);
        for _ in 0..40 {
            answer = answer.header("x-large", "y".repeat(8 * 1024));
        }
        receiver.respond(answer);
        let failure = failure(&client).await;
        assert_eq!(failure.reason, Reason::NetworkError, "{alpn:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_connection_refused() {
    let (receiver, client) = start(&["h2"]).await;
    let addr = receiver.addr();
    drop(receiver);
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(failure(&client).await.reason, Reason::ConnectionRefused);
}

#[tokio::test]
async fn every_fault_of_a_certificate_is_a_tls_error_that_says_which() {
    let trusted = Authority::new().unwrap();
    let stranger = Authority::new().unwrap();
    let cases = [
        (trusted.server_config(&["else.example"], &["h2"]).unwrap(), "for another name"),
        (stranger.server_config(&[HOST], &["h2"]).unwrap(), "of an unknown issuer"),
        (Authority::self_signed_server_config(&[HOST]), "of an unknown issuer"),
        (trusted.expired_server_config(&[HOST]), "that has expired"),
    ];
    for (config, why) in cases {
        let receiver = Receiver::with_tls(config).await.unwrap();
        let failure = failure(&client(&trusted, &[(HOST, &receiver)])).await;
        assert_eq!(failure.reason, Reason::TlsError, "{why}: {failure:?}");
        assert!(failure.detail.contains(&format!("presented a certificate {why}")), "{failure:?}");
    }
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_a_tls_error_and_one_that_hangs_up_a_reset() {
    for (greeting, reason) in [(&b"220 mail.example ESMTP\r\n"[..], Reason::TlsError), (b"", Reason::ConnectionReset)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let routes = route(listener.local_addr().unwrap());
        let client = Client::new(&Egress::default(), &Tls::default(), routes).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 16];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(greeting).await;
            let _ = stream.shutdown().await;
        });
        assert_eq!(failure(&client).await.reason, reason);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn addresses_beyond_the_public_internet_are_blocked_as_literals_and_by_name() {
    let client = Client::new(&Egress::default(), &Tls::default(), Routes::default()).unwrap();
    for (host, word) in [
        ("127.0.0.1", "loopback"),
        ("10.0.0.1", "private"),
        ("169.254.169.254", "cloud metadata"),
        ("[::1]", "loopback"),
        ("[::ffff:10.0.0.1]", "private"),
        ("localhost", "loopback"),
    ] {
        let failure = client.send(post(&format!("https://{host}/secret")), LIMITS).await.unwrap_err();
        assert_eq!(failure.reason, Reason::BlockedAddress, "{host}: {failure:?}");
        assert!(failure.detail.contains(word) && failure.detail.contains("egress.allow_networks"), "{failure:?}");
    }
}

#[tokio::test]
async fn an_allowed_network_is_reached_by_its_literal_address() {
    let authority = Authority::new().unwrap();
    let receiver = Receiver::start(&authority, &["127.0.0.1"]).await.unwrap();
    let egress = Egress {
        allow_ports: vec![receiver.addr().port()],
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ca_pem: Some(authority.ca_pem().to_owned()),
        ..Egress::default()
    };
    let client = Client::new(&egress, &Tls::default(), Routes::default()).unwrap();
    let url = format!("https://{}/x", receiver.addr());
    assert_eq!(client.send(post(&url), LIMITS).await.unwrap().status, 200);
    let closed =
        Client::new(&Egress { allow_ports: Vec::new(), ..egress }, &Tls::default(), Routes::default()).unwrap();
    let failure = closed.send(post(&url), LIMITS).await.unwrap_err();
    assert_eq!(failure.reason, Reason::BlockedAddress);
    let port = receiver.addr().port();
    assert_eq!(
        failure.detail,
        format!("127.0.0.1 is asked for on port {port}; to reach it, add {port} to egress.allow_ports")
    );
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_blocked_before_anything_is_dialled() {
    let authority = Authority::new().unwrap();
    let receiver = Receiver::start(&authority, &[HOST]).await.unwrap();
    let routes = route(receiver.addr());
    for (glob, allowed) in [("*.example", true), ("hooks.example", true), ("*.other", false)] {
        let egress = Egress {
            allowed_hosts: vec![Glob::new(glob)],
            ca_pem: Some(authority.ca_pem().to_owned()),
            ..Egress::default()
        };
        let client = Client::new(&egress, &Tls::default(), routes.clone()).unwrap();
        if allowed {
            assert!(send(&client).await.is_ok(), "{glob}");
        } else {
            let failure = failure(&client).await;
            assert_eq!(failure.reason, Reason::BlockedAddress, "{glob}");
            assert_eq!(failure.detail, "hooks.example is not among egress.allowed_hosts");
        }
    }
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_error() {
    let client = Client::new(&Egress::default(), &Tls::default(), Routes::default()).unwrap();
    let limits = Limits { timeout: Duration::from_secs(30), ..LIMITS };
    let failure = client.send(post("https://no-such-host.invalid/secret"), limits).await.unwrap_err();
    assert!(matches!(failure.reason, Reason::DnsError | Reason::Timeout), "{failure:?}");
}

#[tokio::test]
async fn plain_http_is_never_spoken() {
    let (receiver, client) = start(&["h2"]).await;
    let failure = client.send(post("http://hooks.example/secret"), LIMITS).await.unwrap_err();
    assert_eq!(failure.reason, Reason::NetworkError);
    assert_eq!(receiver.count(), 0);
}
