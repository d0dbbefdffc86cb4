//! Over HTTP/2 many exchanges share a connection: what is wrong with some of them must not touch the others.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use outrigger::cli::demo::answer::Answer;
use outrigger::client::{Client, Response as Answered};
use outrigger::delivery::{Failure, Reason};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{AMPLE, RESPONSE_BYTES_MAX, SHORT, client, post};
use crate::support::receiver::{AUTHORITY, RUNTIME};
use crate::support::{PATIENCE, receiver};

/// Exchanges on one connection: their unread bodies would fill its window twice.
const SHARING: usize = 32;
/// A body that nearly fills the window of its stream.
const BODY: Bytes = Bytes::from_static(&[b'x'; 60 * 1024]);

type Exchange = JoinHandle<Result<Answered, Failure>>;

fn begin(client: &Client, url: String) -> Exchange {
    let client = client.clone();
    RUNTIME.spawn(async move { post(&client, &url, AMPLE).await })
}

fn end(exchange: Exchange) -> Result<Answered, Failure> {
    RUNTIME.block_on(exchange).expect("no panic")
}

#[test]
fn bodies_that_are_cut_take_nothing_from_the_connection() {
    let target = receiver().start();
    let client = client();
    RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    target.otherwise(Answer::endless());
    for _ in 0..3 {
        let endless: Vec<Exchange> = (0..SHARING).map(|_| begin(&client, target.url("/"))).collect();
        for exchange in endless {
            let response = end(exchange).expect("an answer");
            assert_eq!((response.body.len(), response.truncated), (RESPONSE_BYTES_MAX, true));
        }
    }
    target.otherwise(Answer::huge(RESPONSE_BYTES_MAX));
    let response = RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    assert_eq!((response.body.len(), response.truncated), (RESPONSE_BYTES_MAX, false));
    let seen = target.recorded();
    assert_eq!(seen.len(), 3 * SHARING + 2);
    assert!(seen.iter().all(|seen| seen.http2 && seen.connection == 1), "all went over one connection");
}

/// An HTTP/2 receiver that keeps to the windows: it completes its first answer and the one after those that share, and leaves all
/// others without their end. Tells how many requests came.
async fn stall(listener: TcpListener, tls: TlsAcceptor, came: watch::Sender<usize>) -> Result<(), Box<dyn Error>> {
    let (stream, _) = listener.accept().await?;
    let mut connection = h2::server::handshake(tls.accept(stream).await?).await?;
    let mut unended = Vec::new();
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        came.send_modify(|count| *count += 1);
        let number = *came.borrow();
        let mut body = respond.send_response(Response::new(()), false)?;
        body.send_data(BODY, number == 1 || number == SHARING + 2)?;
        unended.push(body);
    }
    Ok(())
}

#[test]
fn bodies_that_stall_take_nothing_from_the_connection() {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let url = format!("https://{}/", listener.local_addr().expect("it is bound"));
    let tls = AUTHORITY.server_config(&["127.0.0.1"], &["h2"]).expect("a name");
    let (came, mut seen) = watch::channel(0);
    // There is a single connection: nothing accepts a second one.
    let receiver = RUNTIME
        .spawn(async { stall(listener, TlsAcceptor::from(Arc::new(tls)), came).await.map_err(|e| e.to_string()) });
    let client = client();
    RUNTIME.block_on(post(&client, &url, AMPLE)).expect("an answer");
    let stalled: Vec<Exchange> = (0..SHARING).map(|_| begin(&client, url.clone())).collect();
    let under_way =
        async { timeout(PATIENCE, seen.wait_for(|count| *count > SHARING)).await.is_ok_and(|seen| seen.is_ok()) };
    assert!(RUNTIME.block_on(under_way));
    let response = RUNTIME.block_on(post(&client, &url, AMPLE)).expect("an answer");
    assert_eq!(response.body, BODY);
    assert!(stalled.iter().all(|exchange| !exchange.is_finished()), "the others wait on");
    stalled.iter().for_each(JoinHandle::abort);
    receiver.abort();
}

#[test]
fn an_exchange_that_ran_out_of_time_ends_no_other_and_the_next_gets_a_connection_of_its_own() {
    let slow = SHORT.timeout + Duration::from_millis(500);
    let target = receiver().start();
    target.respond_with(move |request| match request.target.as_str() {
        "/silent" => Answer::hang(),
        "/slow" => Answer::text("late").after(slow),
        _ => Answer::text("ok"),
    });
    let client = client();
    RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    let begun = Instant::now();
    let patient = begin(&client, target.url("/slow"));
    let failure = RUNTIME.block_on(post(&client, &target.url("/silent"), SHORT)).expect_err("nothing is answered");
    assert_eq!(failure.reason, Reason::Timeout);
    RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    assert_eq!(end(patient).map(|response| response.body), Ok("late".into()));
    assert!(begun.elapsed() >= slow);
    let connections: Vec<usize> = target.recorded().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1, 1, 2]);
}

/// An HTTP/2 receiver that takes one stream at a time on its first connection: it answers once, and goes away while it owes the second
/// answer; all that comes on others it answers. Tells how many requests came on the first.
async fn leave(listener: TcpListener, tls: TlsAcceptor, came: watch::Sender<usize>) -> Result<(), Box<dyn Error>> {
    for number in 1.. {
        let (stream, _) = listener.accept().await?;
        let (tls, came) = (tls.clone(), Some(came.clone()).filter(|_| number == 1));
        tokio::spawn(async move { take(tls.accept(stream).await?, came).await.map_err(std::io::Error::other) });
    }
    Ok(())
}

async fn take(stream: TlsStream<TcpStream>, came: Option<watch::Sender<usize>>) -> Result<(), h2::Error> {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(if came.is_some() { 1 } else { 100 });
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        if let Some(came) = &came {
            came.send_modify(|count| *count += 1);
            if *came.borrow() == 2 {
                let _ = timeout(SHORT.timeout, connection.accept()).await;
                connection.graceful_shutdown();
                let _ = timeout(SHORT.timeout, connection.accept()).await;
            }
        }
        respond.send_response(Response::new(()), true)?;
    }
    Ok(())
}

#[test]
fn what_waits_for_a_stream_goes_to_another_connection_when_the_receiver_goes_away() {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let url = format!("https://{}/", listener.local_addr().expect("it is bound"));
    let tls = AUTHORITY.server_config(&["127.0.0.1"], &["h2"]).expect("a name");
    let (came, mut seen) = watch::channel(0);
    let receiver = RUNTIME
        .spawn(async { leave(listener, TlsAcceptor::from(Arc::new(tls)), came).await.map_err(|e| e.to_string()) });
    let client = client();
    RUNTIME.block_on(post(&client, &url, AMPLE)).expect("an answer");
    let owed = begin(&client, url.clone());
    assert!(RUNTIME.block_on(async { timeout(PATIENCE, seen.wait_for(|count| *count == 2)).await.is_ok() }));
    let waiting: Vec<Exchange> = (0..SHARING).map(|_| begin(&client, url.clone())).collect();
    for exchange in waiting {
        end(exchange).expect("an answer");
    }
    end(owed).expect("an answer");
    assert_eq!(*seen.borrow(), 2, "the others were sent once, on the other connection");
    receiver.abort();
}
