//! A stand-in for a collector: takes `POST /v1/traces`, decodes it and keeps it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::{PATIENCE, eventually};

/// A collector that listens until the test ends.
pub(super) struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    status: Arc<AtomicU16>,
}

/// What came in.
#[derive(Default)]
struct Kept {
    requests: Vec<Vec<String>>,
    bodies: Vec<u8>,
    resource: BTreeMap<String, String>,
    spans: Vec<Seen>,
}

/// A span, as people read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) kind: i32,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) failed: bool,
    pub(super) nanoseconds: (u64, u64),
    pub(super) attributes: BTreeMap<String, String>,
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn seen(span: &Span) -> Seen {
    Seen {
        name: span.name.clone(),
        kind: span.kind,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        failed: span.status.as_ref().is_some_and(|status| status.code == 2),
        nanoseconds: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: attributes(&span.attributes),
    }
}

impl Collector {
    /// One that answers with this status; 0 never answers.
    pub(super) fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let collector = Self { address, kept: Arc::default(), status: Arc::new(AtomicU16::new(status)) };
        let (kept, status) = (Arc::clone(&collector.kept), Arc::clone(&collector.status));
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                match status.load(Ordering::SeqCst) {
                    0 => held.push(stream),
                    status => take(&stream, status, &kept),
                }
            }
        });
        collector
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers with another status from now on.
    pub(super) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Waits for so many spans.
    #[track_caller]
    pub(super) fn wait(&self, count: usize) -> Vec<Seen> {
        let spans = || self.kept.lock().expect("no panic").spans.clone();
        let came = eventually(PATIENCE, || Some(spans()).filter(|spans| spans.len() >= count));
        came.unwrap_or_else(|| panic!("{count} were expected: {:?}", spans()))
    }

    pub(super) fn count(&self) -> usize {
        self.kept.lock().expect("no panic").spans.len()
    }

    /// How often it was asked, whatever it answered.
    pub(super) fn requests(&self) -> Vec<Vec<String>> {
        self.kept.lock().expect("no panic").requests.clone()
    }

    pub(super) fn resource(&self) -> BTreeMap<String, String> {
        self.kept.lock().expect("no panic").resource.clone()
    }

    /// Whether these bytes stand in what came.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.kept.lock().expect("no panic").bodies.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

fn take(stream: &TcpStream, status: u16, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    let whole = reader.read_exact(&mut body).is_ok();
    let mut kept = kept.lock().expect("no panic");
    if whole && status == 200 {
        let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("a message of OTLP");
        for of in &request.resource_spans {
            kept.resource = attributes(&of.resource.as_ref().expect("a resource").attributes);
            kept.spans.extend(of.scope_spans.iter().flat_map(|scope| &scope.spans).map(seen));
        }
        kept.bodies.extend(body);
    }
    kept.requests.push(head);
    drop(kept);
    let mut writer = stream;
    let _ = write!(writer, "HTTP/1.1 {status} X\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
}
