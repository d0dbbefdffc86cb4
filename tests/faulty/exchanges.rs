//! Every fault of a receiver has its Reason, is over in time, and is told in a sentence that holds nothing of the URL but its host.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use outrigger::client::{Limits, Response};
use outrigger::delivery::{Failure, Reason};
use tokio::runtime::{Builder, Runtime};

use super::{AMPLE, RESPONSE_BYTES_MAX, SHORT, client, client_trusting, post};
use crate::support::certificates::{self, careless_pem};
use crate::support::frames::{self, CODE_MAX, NO_ERROR};
use crate::support::raw::{Greeting, Raw, Seen, Step};
use crate::support::{PATIENCE, eventually};

/// What an exchange may take beyond its limit.
const GRACE: Duration = Duration::from_secs(1);
/// What a receiver may get rid of before nothing is read any more: the buffers of two sockets, and what we read.
const WRITTEN_MAX: u64 = 24 * 1024 * 1024;
/// No part of it may be told.
const TARGET: &str = "/hidden-path?hidden=query";

/// What becomes of an exchange.
enum End {
    /// An answer with this status and as much of a body, cut or not.
    Answered(u16, usize, bool),
    /// A failure of this reason, whose sentence holds this.
    Failed(Reason, &'static str),
}
use End::{Answered, Failed};

struct Case {
    name: String,
    raw: Raw,
    limits: Limits,
    end: End,
}

fn case(name: &str, greeting: Greeting, reply: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static, end: End) -> Case {
    let limits = if matches!(end, Failed(Reason::Timeout, _)) { SHORT } else { AMPLE };
    Case { name: name.to_owned(), raw: Raw::start(greeting, reply), limits, end }
}

/// What is wrong before there is a request.
fn greeted(name: &str, greeting: Greeting, reason: Reason, sentence: &'static str) -> Case {
    case(name, greeting, |_| Vec::new(), Failed(reason, sentence))
}

/// An HTTP/1.1 receiver that does this with the request.
fn http1(name: &str, steps: Vec<Step>, end: End) -> Case {
    case(name, Greeting::http1(), move |_| steps.clone(), end)
}

/// An HTTP/2 receiver that does this with the request.
fn http2(name: &str, reply: impl Fn(u32) -> Vec<Step> + Send + Sync + 'static, end: End) -> Case {
    case(name, Greeting::http2(), move |seen| reply(seen.stream), end)
}

fn write(bytes: impl AsRef<[u8]>) -> Step {
    Step::Write(bytes.as_ref().to_vec())
}

const EARLY: &str = "closed the connection before its answer was complete";
const ENDED: &str = "ended the exchange before its answer was complete (HTTP/2 ";
const SHAKING: &str = "closed the connection during the TLS handshake";
const LATE: &str = "no complete answer from 127.0.0.1 within 0.7 s";
const NO_HTTP: &str = "something that is not HTTP";
const TOO_LARGE: &str = "a head that is too large";
const NO_VERSION: &str = "TLS 1.2 or later is spoken";

/// A handshake's answer in an older version of TLS: its record, and the parameters that it chooses.
fn server_hello(version: [u8; 2]) -> Vec<u8> {
    let random_and_session = [[7; 32].as_slice(), &[0]].concat();
    let body = [&version, random_and_session.as_slice(), &[0xc0, 0x13, 0]].concat();
    let length = u8::try_from(body.len()).expect("it is short");
    [&[22], version.as_slice(), &[0, length + 4, 2, 0, 0, length], &body].concat()
}

fn before_a_request() -> Vec<Case> {
    use Reason::{ConnectionReset, Timeout, TlsError};
    let plain = |bytes: &[u8]| Greeting::Plain(bytes.to_vec());
    vec![
        greeted("reset on accept", Greeting::Reset, ConnectionReset, "the connection"),
        greeted("closed on accept", Greeting::Close, ConnectionReset, SHAKING),
        greeted("silence before TLS", Greeting::Silence, Timeout, LATE),
        greeted("silence after TLS", Greeting::http1(), Timeout, LATE),
        greeted("silence after TLS over HTTP/2", Greeting::http2(), Timeout, LATE),
        greeted("garbage for TLS", plain(&[b'#'; 64]), TlsError, "does not speak TLS on this port"),
        greeted(
            "HTTP for TLS",
            plain(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            TlsError,
            "does not speak TLS on this port",
        ),
        greeted("TLS 1.0 alone", plain(&server_hello([3, 1])), TlsError, NO_VERSION),
        greeted("TLS 1.1 alone", plain(&server_hello([3, 2])), TlsError, NO_VERSION),
        greeted("an alert", plain(&[21, 3, 1, 0, 2, 2, 70]), TlsError, "the alert ProtocolVersion"),
        greeted("expired", certificates::good_between(2020, 2021), TlsError, "a certificate that has expired"),
        greeted("not yet", certificates::good_between(3000, 3001), TlsError, "a certificate that is not valid yet"),
        greeted("another name", certificates::other_name(), TlsError, "a certificate for another name"),
        greeted("unknown authority", certificates::unknown_issuer(), TlsError, "an unknown issuer"),
        greeted("self-signed", certificates::self_signed(), TlsError, "an unknown issuer"),
    ]
}

/// Zeros as gzip: one literal, then as many repetitions of 258 as fit into the bytes.
fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // One block of fixed codes: its header, the literal 0, then length 258 at distance 1, over and over.
    let mut bits = vec![true, true, false, false, false, true, true, false, false, false, false];
    while bomb.len() + bits.len() / 8 < bytes {
        bits.extend([true, true, false, false, false, true, false, true, false, false, false, false, false]);
    }
    bits.extend([false; 7]);
    bomb.extend(bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))));
    bomb
}

fn over_http1() -> Vec<Case> {
    use Reason::{ConnectionReset, NetworkError, Timeout};
    let sized = |length: usize, body: &str| write(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"));
    let chunked = |rest: &str| write(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}"));
    let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx-a: b\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let bomb = gzip_bomb(16 * 1024);
    let inflates = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let ok = b"HTTP/1.1 200 OK\r\n";
    vec![
        http1("closed at once", vec![Step::Close], Failed(ConnectionReset, EARLY)),
        http1("reset at once", vec![Step::Reset], Failed(ConnectionReset, EARLY)),
        http1("stalled in the head", vec![write("HTTP/1.1 200 O")], Failed(Timeout, LATE)),
        http1("closed in the head", vec![write("HTTP/1.1 200 O"), Step::Close], Failed(ConnectionReset, EARLY)),
        http1("stalled in the body", vec![sized(9, "ok")], Failed(Timeout, LATE)),
        http1("a byte a second", vec![Step::Drip(WELL.to_vec())], Failed(Timeout, LATE)),
        http1("a body's byte a second", vec![sized(9, ""), Step::Drip(b"ok".to_vec())], Failed(Timeout, LATE)),
        http1("a chunk cut", vec![chunked("10\r\nok"), Step::Close], Failed(ConnectionReset, EARLY)),
        http1("chunks without their end", vec![chunked("2\r\nok\r\n"), Step::Close], Failed(ConnectionReset, EARLY)),
        http1("a chunk of no size", vec![chunked("zz\r\nok\r\n")], Failed(NetworkError, NO_HTTP)),
        http1("a chunk of enormous size", vec![chunked("fffffffffffffffff\r\nok")], Failed(NetworkError, NO_HTTP)),
        http1("a length too large", vec![sized(9, "ok"), Step::Close], Failed(ConnectionReset, EARLY)),
        http1("a length too small", vec![sized(1, "ok")], Answered(200, 1, false)),
        http1("reset in the body", vec![sized(9, "ok"), Step::Reset], Failed(ConnectionReset, EARLY)),
        http1("a gzip bomb", vec![write(inflates), write(&bomb)], Answered(200, bomb.len(), false)),
        http1("hints first", vec![write(hints), sized(2, "ok")], Answered(200, 2, false)),
        http1("hints for ever", vec![Step::Endless(hints.into())], Failed(Timeout, LATE)),
        http1("a huge head", vec![write(ok), Step::Endless(b"x-a: b\r\n".to_vec())], Failed(NetworkError, TOO_LARGE)),
        http1("a huge header", vec![write(ok), Step::Endless(vec![b'x'; 8192])], Failed(NetworkError, TOO_LARGE)),
        http1(
            "a body for ever",
            vec![write("HTTP/1.1 200 OK\r\n\r\n"), Step::Endless(vec![b'x'; 65536])],
            Answered(200, RESPONSE_BYTES_MAX, true),
        ),
        http1("garbage", vec![Step::Endless(vec![0; 1024])], Failed(NetworkError, NO_HTTP)),
        http1(
            "a redirect to itself",
            vec![write(format!("HTTP/1.1 307 Again\r\nlocation: {TARGET}\r\ncontent-length: 0\r\n\r\n"))],
            Answered(307, 0, false),
        ),
    ]
}

const WELL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn over_http2() -> Vec<Case> {
    use Reason::{ConnectionReset, NetworkError, Timeout};
    let head = |stream| write(frames::headers(stream, 200, &[], false));
    let long = "x".repeat(126);
    let mut cases: Vec<Case> = (0..=CODE_MAX)
        .flat_map(|code| {
            let early = move |stream| vec![write(frames::reset(stream, code))];
            let late = move |stream| vec![head(stream), write(frames::reset(stream, code))];
            [
                http2(&format!("reset with {code}"), early, Failed(ConnectionReset, ENDED)),
                http2(
                    &format!("reset with {code} in the body"),
                    late,
                    Failed(ConnectionReset, "before its answer was complete"),
                ),
            ]
        })
        .collect();
    cases.extend([
        http2(
            "gone before it",
            |_| vec![write(frames::go_away(0, NO_ERROR))],
            Failed(ConnectionReset, "(HTTP/2 NO_ERROR)"),
        ),
        http2(
            "gone after it",
            move |stream| {
                let body = frames::data(stream, b"ok", true);
                // What it has not read yet of ours would take the answer back if it closed at once.
                vec![write(frames::go_away(stream, NO_ERROR)), head(stream), write(body), Step::Leave]
            },
            Answered(200, 2, false),
        ),
        http2(
            "gone with it unanswered",
            |stream| vec![write(frames::go_away(stream, NO_ERROR)), Step::Close],
            Failed(ConnectionReset, EARLY),
        ),
        http2("closed", |_| vec![Step::Close], Failed(ConnectionReset, EARLY)),
        http2("closed in the body", move |stream| vec![head(stream), Step::Close], Failed(ConnectionReset, EARLY)),
        http2("stalled in the body", move |stream| vec![head(stream)], Failed(Timeout, LATE)),
        http2(
            "a length too large",
            |stream| {
                let head = frames::headers(stream, 200, &[("content-length", "9")], false);
                vec![write(head), write(frames::data(stream, b"ok", true))]
            },
            Failed(ConnectionReset, ""),
        ),
        http2(
            "hints first",
            |stream| {
                let hints = [100, 102, 103].map(|status| frames::headers(stream, status, &[("link", "</x>")], false));
                vec![write(hints.concat()), write(frames::headers(stream, 204, &[], true))]
            },
            Answered(204, 0, false),
        ),
        http2(
            "hints for ever",
            |stream| vec![Step::Endless(frames::headers(stream, 103, &[("link", "</x>")], false))],
            Failed(Timeout, LATE),
        ),
        http2(
            "a huge head",
            move |stream| {
                let fields = vec![("x-a", long.as_str()); 1000];
                vec![write(frames::headers(stream, 200, &fields, true))]
            },
            Failed(NetworkError, ""),
        ),
        http2(
            "a frame that is too large",
            move |stream| vec![head(stream), write(frames::data(stream, &[b'x'; 16 * 1024 + 1], true))],
            Failed(ConnectionReset, EARLY),
        ),
        http2("garbage", |_| vec![Step::Endless(vec![b'#'; 1024])], Failed(NetworkError, "")),
        http2("HTTP/1.1 after all", |_| vec![write(WELL)], Failed(NetworkError, "")),
    ]);
    cases
}

#[test]
fn every_fault_has_its_reason_in_time_and_tells_only_the_host() {
    let cases: Vec<Case> = [before_a_request(), over_http1(), over_http2()].into_iter().flatten().collect();
    assert_eq!(cases.len(), 15 + 22 + 2 * 14 + 13);
    let runtime = runtime();
    let client = client_trusting(careless_pem());
    let exchanges: Vec<_> = cases
        .iter()
        .map(|case| {
            let (client, url, limits) = (client.clone(), case.raw.url(TARGET), case.limits);
            runtime.spawn(async move {
                let begun = Instant::now();
                (post(&client, &url, limits).await, begun.elapsed())
            })
        })
        .collect();
    let mut wrong = Vec::new();
    for (case, exchange) in cases.iter().zip(exchanges) {
        let (result, taken) = runtime.block_on(exchange).expect("no panic");
        if let Some(what) = misjudged(&case.end, &result) {
            wrong.push(format!("{}: {what}: {result:?}", case.name));
        }
        if taken > case.limits.timeout + GRACE {
            wrong.push(format!("{}: it took {taken:?}", case.name));
        }
        if case.raw.seen().len() > 1 {
            wrong.push(format!("{}: {} requests were sent", case.name, case.raw.seen().len()));
        }
        if case.raw.seen().iter().any(|seen| !seen.header("accept-encoding").is_empty()) {
            wrong.push(format!("{}: an encoding is asked for that is not understood", case.name));
        }
        if case.raw.written() > WRITTEN_MAX {
            wrong.push(format!("{}: {} bytes were taken", case.name, case.raw.written()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(client);
    let left = || runtime.metrics().num_alive_tasks();
    assert!(eventually(PATIENCE, || (left() == 0).then_some(())).is_some(), "{} tasks outlive all exchanges", left());
}

/// What is wrong about a result; `None` when it is as expected.
fn misjudged(end: &End, result: &Result<Response, Failure>) -> Option<String> {
    match (end, result) {
        (Answered(status, length, cut), Ok(response)) => {
            let found = (response.status.as_u16(), response.body.len(), response.truncated);
            (found != (*status, *length, *cut)).then(|| format!("not {status} with {length} bytes, cut: {cut}"))
        }
        (Failed(reason, sentence), Err(failure)) => {
            let told = failure.detail.contains("127.0.0.1") && !failure.detail.contains("hidden");
            let right = failure.reason == *reason && failure.detail.contains(sentence) && told;
            (!right).then(|| format!("not {reason} with `{sentence}` and the host"))
        }
        (Answered(status, ..), Err(_)) => Some(format!("not {status}")),
        (Failed(reason, _), Ok(_)) => Some(format!("not {reason}")),
    }
}

/// A runtime of one's own, whose tasks can be counted.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime needs nothing but threads")
}

#[test]
fn a_port_that_nobody_listens_on_refuses_the_connection() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let failure =
        runtime().block_on(post(&client(), &format!("https://{closed}{TARGET}"), AMPLE)).expect_err("nobody listens");
    assert_eq!(
        failure,
        Failure::new(Reason::ConnectionRefused, format!("127.0.0.1 ({closed}) refused the connection"))
    );
}
