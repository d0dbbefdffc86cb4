//! Receivers that answer wrongly: each answer has its reason, and what may succeed later does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::receiver::AUTHORITY;
use crate::support::{PATIENCE, sidecar};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// What a path's first request is answered with, byte by byte.
enum Reply {
    /// These bytes, then the connection is closed without a word.
    Close(Vec<u8>),
    /// These bytes, then nothing until the client asks again or goes.
    Stall(Vec<u8>),
    /// The first bytes once, then the second ones for ever.
    Endless(Vec<u8>, Vec<u8>),
}

/// A TLS server that writes what it is told, whether that is HTTP or not.
struct Wire {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Wire {
    fn start(replies: BTreeMap<String, Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let tls = Arc::new(AUTHORITY.server_config(&["127.0.0.1"], &["http/1.1"]).expect("a name"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (replies, seen) = (Arc::new(Mutex::new(replies)), Arc::clone(&requests));
        // It ends with the test's process; its connections end with their clients.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, replies, seen) = (Arc::clone(&tls), Arc::clone(&replies), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, tls, &replies, &seen));
            }
        });
        Self { addr, requests }
    }

    /// The delivery ids that a path was sent, in order.
    fn ids(&self, path: &str) -> Vec<String> {
        let requests = self.requests.lock().expect("nobody panics with it");
        requests.iter().filter(|(asked, _)| asked == path).map(|(_, id)| id.clone()).collect()
    }
}

fn serve(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    replies: &Mutex<BTreeMap<String, Reply>>,
    seen: &Mutex<Vec<(String, String)>>,
) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(tls).ok()?, stream);
    loop {
        let (path, id) = read_request(&mut stream)?;
        seen.lock().ok()?.push((path.clone(), id));
        let reply = replies.lock().ok()?.remove(&path);
        match reply {
            None => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}").ok()?,
            Some(Reply::Close(bytes)) => {
                stream.write_all(&bytes).ok()?;
                return stream.flush().ok();
            }
            Some(Reply::Stall(bytes)) => {
                stream.write_all(&bytes).ok()?;
                stream.flush().ok()?;
            }
            Some(Reply::Endless(first, again)) => {
                stream.write_all(&first).ok()?;
                while stream.write_all(&again).is_ok() {}
                return None;
            }
        }
    }
}

/// The path and `webhook-id` of the next request, read to its end.
fn read_request(stream: &mut Stream) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some((head.split(' ').nth(1)?.to_owned(), header("webhook-id").unwrap_or_default().to_owned()))
}

/// How a delivery ends after the first answer.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The first answer was good enough.
    Accepted,
    /// The first attempt failed for this reason, the second was accepted.
    Retried(&'static str),
    /// It failed for this reason and is a dead letter.
    Buried(&'static str),
}

const VALIDATOR: &str = "[[response_validators]]\npath = '$.data.ok'\nexpected = ['true']\n";
const TIMEOUT: &str = "timeout = '400ms'\n";

#[test]
fn every_answer_that_is_wrong_has_its_reason_and_what_may_succeed_later_is_delivered() {
    use End::{Accepted, Buried, Retried};
    use Reply::{Close, Endless, Stall};
    let text = |text: &str| text.as_bytes().to_vec();
    let sized =
        |length: &str, body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes();
    let huge = || sized("10485760", &"x".repeat(10 * 1024 * 1024));
    let endless = || Endless(text("HTTP/1.1 200 OK\r\n\r\n"), vec![b'x'; 64 * 1024]);
    let redirect = |status: u16, place: &str| {
        format!("HTTP/1.1 {status} Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    };
    let long_head = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(200_000));
    let early_hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let after_hints = format!("HTTP/1.1 100 Continue\r\n\r\n{early_hints}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let chunked = |rest: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}").into_bytes();

    let cases: Vec<(&str, Reply, &str, End)> = vec![
        ("huge", Close(huge()), "", Accepted),
        ("huge-validated", Close(huge()), VALIDATOR, Buried("response_too_large")),
        ("endless", endless(), "", Accepted),
        ("endless-validated", endless(), VALIDATOR, Buried("response_too_large")),
        ("no-json", Stall(sized("5", "<ok/>")), "", Accepted),
        ("no-json-validated", Stall(sized("5", "<ok/>")), VALIDATOR, Buried("validation_failed")),
        ("deep-json-validated", Stall(sized("60000", &"[".repeat(60_000))), VALIDATOR, Buried("validation_failed")),
        (
            "no-utf8-validated",
            Stall([sized("2", ""), vec![0xff, 0xfe]].concat()),
            VALIDATOR,
            Buried("validation_failed"),
        ),
        ("closes-at-once", Close(Vec::new()), "", Retried("connection_reset")),
        ("closes-in-the-head", Close(text("HTTP/1.1 200 OK\r\ncontent-le")), "", Retried("connection_reset")),
        ("closes-in-the-body", Close(sized("100", "{\"ok\":")), "", Retried("connection_reset")),
        ("closes-in-a-chunk", Close(chunked("10\r\nabc")), "", Retried("connection_reset")),
        ("more-than-said", Stall(sized("11", "{\"ok\":true}and more")), VALIDATOR, Accepted),
        ("less-than-said", Stall(sized("100", "{\"ok\":true}")), TIMEOUT, Retried("timeout")),
        ("negative-length", Stall(sized("-1", "")), "", Retried("network_error")),
        ("garbled-chunk", Stall(chunked("zz\r\nabc\r\n")), "", Retried("network_error")),
        ("garbage", Stall(text("SSH-2.0-OpenSSH_9.2\r\n\r\n")), "", Retried("network_error")),
        ("noise", Stall(vec![0; 4096]), "", Retried("network_error")),
        ("bad-status", Stall(text("HTTP/1.1 abc\r\n\r\n")), "", Retried("network_error")),
        ("long-head", Stall(long_head.into_bytes()), "", Retried("network_error")),
        ("redirect", Stall(redirect(302, "/redirect")), "", Retried("redirect")),
        ("redirect-elsewhere", Stall(redirect(308, "/followed")), "", Retried("redirect")),
        ("stalls-at-once", Stall(Vec::new()), TIMEOUT, Retried("timeout")),
        ("stalls-in-the-head", Stall(text("HTTP/1.1 200 OK\r\ncontent-le")), TIMEOUT, Retried("timeout")),
        ("stalls-in-the-body", Stall(sized("100", "{\"ok\"")), TIMEOUT, Retried("timeout")),
        ("hints-first", Stall(after_hints.into_bytes()), "", Accepted),
        ("hints-for-ever", Endless(Vec::new(), text(early_hints)), TIMEOUT, Retried("timeout")),
        (
            "switches",
            Stall(text("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")),
            "",
            Retried("network_error"),
        ),
        ("unknown-status", Stall(text("HTTP/1.1 799 What\r\ncontent-length: 0\r\n\r\n")), "", Retried("server_error")),
        ("unavailable", Stall(text("HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n")), "", Retried("server_error")),
        ("refused", Stall(text("HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n")), "", Buried("client_error")),
    ];

    // Each has a server of its own: on a connection that has served another one, what is lost is sent again at once.
    let mut hooks = Vec::new();
    for (name, reply, extra, end) in cases {
        hooks.push((name, Wire::start(BTreeMap::from([(format!("/{name}"), reply)])), extra, end));
    }
    let ports: Vec<String> = hooks.iter().map(|(_, wire, ..)| wire.addr.port().to_string()).collect();
    let mut sidecar = sidecar().setting(&format!("egress.allow_ports = [{}]", ports.join(", ")));
    for (name, wire, extra, _) in &hooks {
        // A table comes last in TOML, a plain key first.
        let (keys, tables) = if extra.starts_with("[[") { ("", *extra) } else { (*extra, "") };
        let text = format!(
            "url = 'https://{}/{name}'\nbody = '{{}}'\n{keys}{tables}[retry]\ninitial = '50ms'\n[breaker]\nprobe = '50ms'\n",
            wire.addr
        );
        sidecar = sidecar.webhook(name, &text);
    }
    let sidecar = sidecar.start();
    let answer = sidecar.post("/v1/events", r#"{"event_type":"RequestCreated"}"#);
    assert_eq!(answer.status, 202);
    let event = answer.json()["events"][0]["id"].as_str().expect("an id").to_owned();

    for (name, wire, _, end) in &hooks {
        let (outcome, reason, attempts) = match end {
            Accepted => ("delivered", None, 1),
            Retried(reason) => ("delivered", Some(*reason), 2),
            Buried(reason) => ("dead", Some(*reason), 1),
        };
        sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", name), ("outcome", outcome)], 1.0);
        let failed = sidecar.metric("outrigger_attempts_total", &[("webhook", name), ("outcome", "failed")]);
        assert_eq!(failed, Some(f64::from(u8::from(reason.is_some()))), "{name}:\n{}", sidecar.log());
        if let Some(reason) = reason {
            let counted = sidecar.metric("outrigger_attempt_failures_total", &[("webhook", name), ("reason", reason)]);
            assert_eq!(counted, Some(1.0), "{name} is no {reason}:\n{}", sidecar.log());
        }
        let sent = wire.ids(&format!("/{name}"));
        assert_eq!(sent, vec![format!("{event}_{name}"); attempts], "{name}");
        assert!(wire.ids("/followed").is_empty(), "a redirect is never followed");
    }
}
