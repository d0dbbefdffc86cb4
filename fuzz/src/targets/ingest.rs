//! Ingest: the bytes of a connection as HTTP/1.1 requests, through the listener's limits and the handler to the answers.
//!
//! A case is sent as it is, except that a request whose head says nothing of its body's length gets a `content-length` that fits:
//! a fuzzer that changes the body would hardly keep it true.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use jiff::Timestamp;
use outrigger::client::{Clients, Routes};
use outrigger::config::Snapshot;
use outrigger::delivery::Reason;
use outrigger::event::EventId;
use outrigger::history::History;
use outrigger::ingest::Ingest;
use outrigger::live::{Live, Reader};
use outrigger::metrics::Metrics;
use outrigger::server::guard::{Guard, Reach};
use outrigger::server::serve_connection;
use outrigger::settled::{Report, Settled};
use outrigger::spans::Spans;
use outrigger::spool::{
    Appended, Backlog, Batch, DeadLetter, DeadLetterPage, DeadLetterQuery, InvocationPage, InvocationQuery, KeptEvents,
    Key, Lease, Recorded, Settlement, Sought, Spool, SpoolError, Wait,
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{Target, files, snapshot};

pub const TARGET: Target = Target { name: "ingest", run, seeds };

/// Statuses that ingest answers, and those of the HTTP library for what is no request.
const STATUSES: [u16; 16] = [200, 202, 400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 421, 422, 431, 503];

const WEBHOOKS: [(&str, &[u8]); 4] = [
    ("outrigger.toml", b"[ingest]\nmax_body = '4KiB'\n[kinds.deploy]\ntype = '$.type'"),
    ("webhooks/all.toml", b"url = 'https://example.com/'\nbody = '{}'"),
    (
        "webhooks/some.toml",
        b"url = 'https://example.com/'\nkind = 'oort'\nstatus = 'shadow'\nstrict = true\nbody = '{{x}}'",
    ),
    ("webhooks/hand.toml", b"url = 'https://example.com/'\nkind = 'audit'\ntriggers = ['Manual']\nordering = 'strict'"),
];

/// Without a token, and with one.
static DOORS: LazyLock<[Door; 2]> = LazyLock::new(|| {
    let [(sidecar, settings), webhooks @ ..] = WEBHOOKS;
    let token: &[u8] = b"\n[ingest]\ntoken = 't'\n";
    let guarded = [&[(sidecar, token)], &webhooks[..]].concat();
    [Door::new(snapshot(&[&[(sidecar, settings)], &webhooks[..]].concat())), Door::new(snapshot(&guarded))]
});

pub fn run(data: &[u8]) {
    let request = with_length(data);
    for door in &*DOORS {
        let answers = door.ask(request.clone());
        assert!(answers.len() <= data.len(), "{} answers", answers.len());
        for answer in &answers {
            assert!(STATUSES.contains(&answer.status), "{}", answer.status);
        }
        // Without its token nobody is told anything but that, that a page asks, or that this was no request.
        let guarded = std::ptr::eq(door, &raw const DOORS[1]) && !contains(data, b"bearer");
        assert!(
            !guarded || answers.iter().all(|answer| [400, 401, 403, 414, 431].contains(&answer.status)),
            "{answers:?}"
        );
    }
}

fn with_length(data: &[u8]) -> Vec<u8> {
    let Some(end) = data.windows(4).position(|part| part == b"\r\n\r\n") else { return data.to_vec() };
    let (head, body) = data.split_at(end);
    if contains(head, b"content-length") || contains(head, b"transfer-encoding") {
        return data.to_vec();
    }
    let body = &body[4..];
    [head, b"\r\n", &*length(body.len()), body].concat()
}

/// Whether these letters stand somewhere, in whatever case.
fn contains(data: &[u8], letters: &[u8]) -> bool {
    data.windows(letters.len()).any(|part| part.eq_ignore_ascii_case(letters))
}

/// The last field of a head whose body has so many bytes.
pub fn length(bytes: usize) -> Vec<u8> {
    format!("content-length: {bytes}\r\n\r\n").into_bytes()
}

/// An ingest listener without a socket and with a spool that is nowhere.
pub struct Door {
    live: Reader,
    metrics: Arc<Metrics>,
}

/// What one request was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    /// The body's JSON; null where there is no body.
    pub body: Value,
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

impl Door {
    pub fn new(snapshot: Snapshot) -> Self {
        let metrics = Arc::new(Metrics::new(snapshot.kinds.keys().map(AsRef::as_ref)).expect("metrics"));
        let webhooks = snapshot.webhooks.values();
        let clients = Clients::new(&snapshot.settings.egress, Routes::default(), webhooks).expect("clients");
        let live = Live::new(snapshot, 1, clients, &metrics);
        Self { live: tokio::sync::watch::channel(Arc::new(live)).1, metrics }
    }

    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.borrow())
    }

    /// Sends all of it on one connection, and reads what is answered.
    pub fn ask(&self, sent: Vec<u8>) -> Vec<Answered> {
        let settled = Arc::new(Settled::default());
        let nowhere = Nowhere { keys: Mutex::default(), settled: Arc::clone(&settled) };
        let ingest = Arc::new(Ingest {
            live: self.live.clone(),
            spool: Arc::new(nowhere),
            metrics: Arc::clone(&self.metrics),
            settled,
            history: Arc::new(History::new(Timestamp::UNIX_EPOCH, 0)),
            guard: Guard::new("ingest", Reach::Loopback),
            spans: Spans::default(),
            closing: CancellationToken::new(),
        });
        let answered = Arc::new(Mutex::new(Vec::new()));
        let wire = Wire { sent, at: 0, pauses: 0, answered: Arc::clone(&answered) };
        let handler = move |request| Arc::clone(&ingest).answer(request);
        RUNTIME.with(|runtime| runtime.block_on(serve_connection(wire, handler, CancellationToken::new())));
        let answered = answered.lock().expect("nobody else has it");
        read(&answered)
    }
}

/// Takes the answers of a connection apart. No body has the words in it with which an answer begins.
fn read(answered: &[u8]) -> Vec<Answered> {
    let text = std::str::from_utf8(answered).expect("answers are text");
    let read_one = |answer: &str| {
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').next().and_then(|status| status.parse().ok()).expect("a status");
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).expect("a body of JSON") };
        let problem = head.contains("application/problem+json");
        assert!(!problem || body.is_null() || body["status"] == status, "{answer}");
        Answered { status, body }
    };
    // That a body is waited for is no answer.
    text.split("HTTP/1.").skip(1).map(|answer| read_one(&answer[2..])).filter(|answer| answer.status != 100).collect()
}

/// How often a reader is told to come again before the sender has gone: what it was sent is answered by then.
const PAUSES: u32 = 16;

/// A connection on which everything was sent at once, and whose sender goes when it has its answers.
struct Wire {
    sent: Vec<u8>,
    at: usize,
    pauses: u32,
    answered: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = &self.sent[self.at..];
        let part = &rest[..rest.len().min(into.remaining())];
        into.put_slice(part);
        let taken = part.len();
        self.at += taken;
        if taken == 0 && self.pauses < PAUSES {
            self.pauses += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answered.lock().expect("nobody else has it").extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A spool that knows its keys and delivers at once, so that `?wait=` has its answer.
struct Nowhere {
    keys: Mutex<HashMap<[u8; 16], Key>>,
    settled: Arc<Settled>,
}

impl Nowhere {
    fn take(&self, batch: Batch) -> Appended {
        let mut keys = self.keys.lock().expect("nobody else has it");
        if let Some(key) = batch.key {
            match keys.get(&key.id) {
                Some(known) if known.content == key.content => return Appended::Repeat(known.receipt.clone()),
                Some(_) => return Appended::Conflict,
                None => drop(keys.insert(key.id, key)),
            }
        }
        for (event, owed) in batch.events {
            assert!(!owed.is_empty(), "what nobody wants is not kept");
            for owed in owed {
                let (event, webhook) = (event.id, owed.webhook);
                let (dead, status, validators) = (None, Some(200), Vec::new());
                self.settled.report(Report { event, webhook, dead, attempts: 1, status, milliseconds: 1, validators });
            }
        }
        Appended::New
    }
}

impl Spool for Nowhere {
    fn append(&self, batch: Batch) -> Wait<'_, Result<Appended, SpoolError>> {
        Box::pin(async { Ok(self.take(batch)) })
    }

    fn lease<'a>(&'a self, _: &'a Arc<str>, _: usize) -> Wait<'a, Vec<Lease>> {
        Box::pin(async { Vec::new() })
    }

    fn settle(&self, _: Lease, _: Settlement) -> Wait<'_, ()> {
        Box::pin(async {})
    }

    fn backlog(&self) -> Vec<Backlog> {
        Vec::new()
    }

    fn bury(&self, _: &Arc<str>, _: Reason, _: Option<Timestamp>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(async { Ok(0) })
    }

    fn dead_letters(&self, _: DeadLetterQuery) -> Wait<'_, Result<DeadLetterPage, SpoolError>> {
        Box::pin(async { Ok(DeadLetterPage::default()) })
    }

    fn dead_letter(&self, _: EventId, _: &str) -> Wait<'_, Result<Option<(DeadLetter, Bytes)>, SpoolError>> {
        Box::pin(async { Ok(None) })
    }

    fn replay(&self, _: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(async { Ok(0) })
    }

    fn drop_dead_letters(&self, _: Vec<i64>) -> Wait<'_, Result<u64, SpoolError>> {
        Box::pin(async { Ok(0) })
    }

    fn invocations(&self, _: InvocationQuery) -> Wait<'_, Result<InvocationPage, SpoolError>> {
        Box::pin(async { Ok(InvocationPage::default()) })
    }

    fn invocation(&self, _: u64) -> Wait<'_, Result<Option<Recorded>, SpoolError>> {
        Box::pin(async { Ok(None) })
    }

    fn last_invocation(&self) -> u64 {
        0
    }

    fn find(&self, _: Sought) -> Wait<'_, Result<KeptEvents, SpoolError>> {
        Box::pin(async { Ok(KeptEvents::default()) })
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn close(&self) -> Wait<'_, ()> {
        Box::pin(async {})
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let head = b"POST /v1/events?wait=1s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\r\n";
    files("config/events").into_iter().map(|(name, event)| (name, [&head[..], &event].concat())).collect()
}
