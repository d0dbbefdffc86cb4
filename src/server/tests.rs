//! Slow and hungry clients over real sockets, against limits that are over soon.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that a test waits for.
const SOON: Duration = Duration::from_millis(300);
/// A limit that no test waits for.
const NEVER: Duration = Duration::from_hours(1);
/// Between two bytes of a client that takes its time.
const DRIP_INTERVAL: Duration = Duration::from_millis(20);
/// More than the buffers of two sockets take.
const LARGE_BYTES: usize = 32 * 1024 * 1024;

const PATIENT: Limits = Limits {
    connections: 8,
    quiet_min: NEVER,
    head_timeout: NEVER,
    body_timeout: NEVER,
    bodies_bytes: BODIES_BYTES_MAX,
    write_stall_timeout: NEVER,
};

/// Requests to `/work` that have begun, and that may end.
struct Work {
    begun: Semaphore,
    may_end: Semaphore,
}

/// A listener with these limits. `/large` is answered with much, `/work` as soon as it may be, and everything else with the
/// length of its body.
async fn start(limits: Limits, work: Arc<Work>) -> SocketAddr {
    let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
    let listener = Listener { limits, ..Listener::bind(&listen, 0).await.unwrap() };
    let address = listener.address().strip_prefix("http://").unwrap().parse().unwrap();
    let handler = move |request: Request<Body>| {
        let work = Arc::clone(&work);
        async move {
            let path = request.uri().path().to_owned();
            match (path.as_str(), read_body(request.into_body(), 1024).await) {
                ("/large", Ok(_)) => json_answer(StatusCode::OK, vec![b' '; LARGE_BYTES]),
                ("/work", Ok(_)) => {
                    work.begun.add_permits(1);
                    work.may_end.acquire().await.unwrap().forget();
                    json_answer(StatusCode::OK, "worked")
                }
                (_, Ok(body)) => json_answer(StatusCode::OK, body.len().to_string()),
                (_, Err(BodyError::TooSlow)) => json_answer(StatusCode::REQUEST_TIMEOUT, ""),
                (_, Err(error)) => json_answer(StatusCode::BAD_REQUEST, format!("{error:?}")),
            }
        }
    };
    tokio::spawn(listener.serve(handler, CancellationToken::new()));
    address
}

impl Work {
    fn none() -> Self {
        Self { begun: Semaphore::new(0), may_end: Semaphore::new(0) }
    }
}

async fn listener(limits: Limits) -> SocketAddr {
    start(limits, Arc::new(Work::none())).await
}

async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// What comes until the other side closes, or resets.
async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the connection stays open");
    String::from_utf8_lossy(&read).into_owned()
}

/// The status of an answer.
fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// One request whose connection closes after it.
async fn ask(address: SocketAddr, head: &str) -> String {
    rest(&mut sent(address, format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await).await
}

/// Sends a byte at a time until the other side answers or closes: what it said, and after how long.
async fn drip(address: SocketAddr, first: &[u8], rest: u8) -> (String, Duration) {
    let begun = Instant::now();
    let (mut read, mut write) = sent(address, first).await.into_split();
    let writing = tokio::spawn(async move {
        while write.write_all(&[rest]).await.is_ok() {
            tokio::time::sleep(DRIP_INTERVAL).await;
        }
    });
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut answer)).await.expect("the connection stays open");
    writing.abort();
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}

#[tokio::test]
async fn a_head_that_drips_and_one_that_never_begins_are_cut_off() {
    let address = listener(Limits { head_timeout: SOON, ..PATIENT }).await;
    let (answer, took) = drip(address, b"POST / HTTP/1.1\r\nx-slow: ", b'a').await;
    assert_eq!(answer, "", "nobody is left to read an answer");
    assert!(took >= SOON, "{took:?}");
    for begun in [&b""[..], b"PO", b"POST / HTTP/1.1\r\nhost: a\r\n"] {
        assert_eq!(rest(&mut sent(address, begun).await).await, "");
    }
    // Nor may one stay that has been served.
    let mut idle = sent(address, b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(status(&rest(&mut idle).await), Some(200));
}

#[tokio::test]
async fn a_body_that_drips_is_answered_408_and_its_connection_ends() {
    let address = listener(Limits { body_timeout: SOON, ..PATIENT }).await;
    // The second one never comes to the end of the extension of its first chunk.
    for body in ["content-length: 1000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n5;"] {
        let (answer, took) = drip(address, format!("POST / HTTP/1.1\r\n{body}").as_bytes(), b'a').await;
        assert_eq!(status(&answer), Some(408), "{body}: {answer}");
        assert!(took >= SOON, "{body}: {took:?}");
    }
}

#[tokio::test]
async fn those_who_ask_again_and_again_take_turns_with_others() {
    // Nobody is ever quiet for long enough to make room.
    let address = listener(Limits { connections: 2, ..PATIENT }).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = sent(address, b"GET / HTTP/1.1\r\n\r\n").await;
        let mut answer = [0; 1024];
        assert!(timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap() > 0, "it has a seat");
        busy.push(tokio::spawn(async move {
            while stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.is_ok() {
                match stream.read(&mut answer).await {
                    Ok(1..) => tokio::time::sleep(DRIP_INTERVAL).await,
                    _ => return,
                }
            }
        }));
    }
    assert_eq!(status(&ask(address, "GET / HTTP/1.1").await), Some(200));
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn large_bodies_share_room_and_what_is_too_much_is_told() {
    let limits = Limits { bodies_bytes: 2 * BODY_PIECE_BYTES, ..PATIENT };
    let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
    let listener = Listener { limits, ..Listener::bind(&listen, 0).await.unwrap() };
    let address: SocketAddr = listener.address().strip_prefix("http://").unwrap().parse().unwrap();
    let handler = |request: Request<Body>| async move {
        match read_body(request.into_body(), 16 * BODY_PIECE_BYTES).await {
            Ok(body) => json_answer(StatusCode::OK, body.len().to_string()),
            Err(BodyError::Crowded) => json_answer(StatusCode::SERVICE_UNAVAILABLE, ""),
            Err(error) => json_answer(StatusCode::BAD_REQUEST, format!("{error:?}")),
        }
    };
    tokio::spawn(listener.serve(handler, CancellationToken::new()));
    let body = |bytes: usize| {
        format!(
            "{}{}",
            format_args!("POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"),
            "x".repeat(bytes)
        )
    };
    let fits = BODY_PIECE_BYTES + 1000;
    assert_eq!(status(&rest(&mut sent(address, body(fits).as_bytes()).await).await), Some(200));
    let mut stream = TcpStream::connect(address).await.unwrap();
    // All of it is read, or its sender would see a broken connection instead of the answer.
    stream.write_all(body(8 * BODY_PIECE_BYTES).as_bytes()).await.unwrap();
    assert_eq!(status(&rest(&mut stream).await), Some(503));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(body(17 * BODY_PIECE_BYTES).as_bytes()).await.unwrap();
    assert_eq!(status(&rest(&mut stream).await), Some(400));
    assert_eq!(status(&rest(&mut sent(address, body(fits).as_bytes()).await).await), Some(200), "there is room again");
}

#[tokio::test]
async fn who_reads_nothing_of_an_answer_is_let_go() {
    let address = listener(Limits { connections: 1, write_stall_timeout: SOON, ..PATIENT }).await;
    let begun = Instant::now();
    let _deaf = sent(address, b"GET /large HTTP/1.1\r\n\r\n").await;
    // There is one seat, which it has.
    assert_eq!(status(&ask(address, "GET / HTTP/1.1").await), Some(200));
    assert!(begun.elapsed() >= SOON, "{:?}", begun.elapsed());
    let slow = sent(address, b"GET /large HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    let (mut slow, mut read) = (slow, 0);
    let mut buffer = vec![0; 1024 * 1024];
    while let Ok(count @ 1..) = slow.read(&mut buffer).await {
        read += count;
        tokio::time::sleep(DRIP_INTERVAL).await;
    }
    assert!(read > LARGE_BYTES, "one that reads slowly gets all of it: {read}");
}

#[tokio::test]
async fn a_head_has_a_limit_in_fields_and_in_bytes() {
    let address = listener(PATIENT).await;
    // One field is `connection`.
    let fields = |count: usize| format!("GET / HTTP/1.1{}", "\r\nx: y".repeat(count - 1));
    assert_eq!(status(&ask(address, &fields(HEADERS_MAX)).await), Some(200));
    assert_eq!(status(&ask(address, &fields(HEADERS_MAX + 1)).await), Some(431));
    assert_eq!(status(&ask(address, &fields(5_000)).await), Some(431));
    let around = "GET / HTTP/1.1\r\nx: \r\nconnection: close\r\n\r\n".len();
    let bytes = |count: usize| format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(count - around));
    assert_eq!(status(&ask(address, &bytes(HEAD_BYTES_MAX)).await), Some(200));
    assert_eq!(status(&ask(address, &bytes(HEAD_BYTES_MAX + 1)).await), Some(431));
    // One without an end is refused there, and not read on.
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
    assert_eq!(status(&rest(&mut sent(address, endless.as_bytes()).await).await), Some(431));
}

#[tokio::test]
async fn those_who_stall_in_any_way_make_room_for_who_does_not() {
    let limits = Limits { connections: 4, quiet_min: SOON, ..PATIENT };
    let stalls: [&[u8]; 4] = [
        b"",
        b"POST / HTTP/1.1\r\nx-slow: ",
        b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf",
        b"GET /large HTTP/1.1\r\n\r\n",
    ];
    for stall in stalls {
        let address = listener(limits).await;
        let mut stalled = Vec::new();
        for _ in 0..limits.connections {
            stalled.push(sent(address, stall).await);
        }
        let answer = timeout(PATIENCE, ask(address, "GET / HTTP/1.1")).await;
        assert_eq!(status(&answer.expect("it is kept out")), Some(200), "{:?}", String::from_utf8_lossy(stall));
        // The first of them, and no other.
        rest(&mut stalled[0]).await;
        let other = &mut stalled[1];
        let still = timeout(DRIP_INTERVAL, other.readable()).await;
        assert!(still.is_err() || stall.starts_with(b"GET"), "one makes room for one");
    }
}

#[tokio::test]
async fn what_is_being_answered_makes_room_for_nobody() {
    let work = Arc::new(Work::none());
    let address = start(Limits { connections: 2, quiet_min: Duration::ZERO, ..PATIENT }, Arc::clone(&work)).await;
    let ask_for_work = || tokio::spawn(ask(address, "POST /work HTTP/1.1\r\ncontent-length: 0"));
    let first = ask_for_work();
    work.begun.acquire().await.unwrap().forget();
    let second = ask_for_work();
    work.begun.acquire().await.unwrap().forget();
    let third = ask_for_work();
    // Long enough for the listener to look for one that makes room.
    tokio::time::sleep(SOON).await;
    assert!(![&first, &second, &third].iter().any(|one| one.is_finished()));
    work.may_end.add_permits(3);
    for one in [first, second, third] {
        let answer = one.await.unwrap();
        assert!(answer.ends_with("worked"), "{answer}");
    }
}
