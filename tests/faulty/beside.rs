//! What comes one at a time goes over HTTP/1.1, beside the connection of HTTP/2 that many share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use outrigger::cli::demo::answer::Answer;
use outrigger::client::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{AMPLE, client, post};
use crate::support::receiver;
use crate::support::receiver::{AUTHORITY, RUNTIME, Target};

/// Far more exchanges, one after the other, than it takes until a connection of HTTP/1.1 is opened.
const MANY: usize = 500;

/// One exchange, and whether it went over HTTP/2.
fn goes_over_http2(client: &Client, target: &Target) -> bool {
    let answered = RUNTIME.block_on(post(client, &target.url("/"), AMPLE)).expect("an answer");
    assert!(answered.wire.opening.is_none() || target.count() == 1, "only the first one waits for a connection");
    target.recorded().last().expect("a request").http2
}

/// How many exchanges go over HTTP/2 until one does not.
fn until_http1(client: &Client, target: &Target) -> usize {
    (0..MANY).take_while(|_| goes_over_http2(client, target)).count()
}

#[test]
fn what_comes_one_at_a_time_goes_over_http1_and_what_comes_together_over_http2() {
    let target = receiver().start();
    target.respond_with(|request| match request.target.as_str() {
        "/hangs" => Answer::hang(),
        "/slow" => Answer::text("slow").after(Duration::from_secs(2)),
        _ => Answer::text("ok"),
    });
    let client = client();
    let over_http2 = until_http1(&client, &target);
    assert!((16..MANY).contains(&over_http2), "{over_http2} went over HTTP/2");
    assert!((0..20).all(|_| !goes_over_http2(&client, &target)), "there is one of HTTP/1.1 now");
    let begin = |path: &str| {
        let (client, url, before) = (client.clone(), target.url(path), target.count());
        let exchange = RUNTIME.spawn(async move { post(&client, &url, AMPLE).await });
        (exchange, target.wait(before + 1).last().expect("it came").http2)
    };
    let (slow, slow_http2) = begin("/slow");
    let (hangs, hangs_http2) = begin("/hangs");
    assert_eq!((slow_http2, hangs_http2), (false, true), "whoever comes meanwhile goes over HTTP/2");
    RUNTIME.block_on(slow).expect("no panic").expect("an answer");
    assert!((0..20).all(|_| goes_over_http2(&client, &target)), "others are on it, though the other one is idle");
    hangs.abort();
    assert!(RUNTIME.block_on(hangs).is_err());
    assert!(!goes_over_http2(&client, &target), "it is alone again");
    let mut connections: Vec<usize> = target.recorded().iter().map(|seen| seen.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 2, "one of each");
}

#[test]
fn a_connection_of_http1_that_was_not_worth_it_is_not_opened_again_at_once() {
    let target = receiver().start();
    target.respond_with(|request| {
        let answer = Answer::text("ok");
        if request.http2 { answer } else { answer.header("connection", "close") }
    });
    let client = client();
    assert!((16..MANY).contains(&until_http1(&client, &target)));
    assert_eq!(until_http1(&client, &target), MANY);
}

/// Answers the first connection over HTTP/2 and all others by `others`, which speak HTTP/2 too. Counts them.
async fn serve(listener: TcpListener, first: TlsAcceptor, others: TlsAcceptor, tried: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = tried.fetch_add(1, Ordering::SeqCst);
        let tls = if number == 0 { first.clone() } else { others.clone() };
        tokio::spawn(async move {
            let Ok(stream) = tls.accept::<TcpStream>(stream).await else { return };
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let _ = respond.send_response(Response::new(()), true);
            }
        });
    }
}

#[test]
fn a_receiver_that_speaks_http2_alone_is_not_asked_for_http1_again_at_once() {
    // The one refuses what offers nothing else, the other agrees on nothing and speaks HTTP/2 all the same.
    for others in [&["h2"][..], &[]] {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("https://{}/", listener.local_addr().expect("it is bound"));
        let acceptor =
            |alpn: &[&str]| TlsAcceptor::from(Arc::new(AUTHORITY.server_config(&["127.0.0.1"], alpn).expect("a name")));
        let tried = Arc::new(AtomicUsize::new(0));
        let receiver = RUNTIME.spawn(serve(listener, acceptor(&["h2"]), acceptor(others), Arc::clone(&tried)));
        let client = client();
        let mut exchanges = 0;
        while tried.load(Ordering::SeqCst) < 2 && exchanges < MANY {
            RUNTIME.block_on(post(&client, &url, AMPLE)).expect("an answer");
            exchanges += 1;
        }
        assert!((16..MANY).contains(&exchanges), "{exchanges} until HTTP/1.1 was asked for");
        for _ in 0..MANY {
            RUNTIME.block_on(post(&client, &url, AMPLE)).expect("an answer");
        }
        assert_eq!(tried.load(Ordering::SeqCst), 2, "it is not asked again");
        receiver.abort();
    }
}
