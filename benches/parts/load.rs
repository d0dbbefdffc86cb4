//! The real program under load, for benches: started, posted to, asked, watched and ended.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]
#![allow(dead_code, reason = "no bench needs all of it")]

#[path = "process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use process::cpu;
use process::peak_kib;

/// Connections that send events.
const SENDERS: u64 = 64;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(15);

pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

pub(crate) fn payload(n: u64, id: u64) -> String {
    format!(r#"{{"event_type":"RequestGranted","data":{{"id":"r-{id}","n":{n},"text":"{}"}}}}"#, "x".repeat(930))
}

/// A sidecar.
pub(crate) struct Sidecar {
    process: Child,
    pub(crate) ingest: String,
    metrics: String,
    pub(crate) ready_after: Duration,
    most_kib: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Sidecar {
    pub(crate) fn start(root: &Path) -> Self {
        let began = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .args(["run", "--config"])
            .arg(root.join("config"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (mut ingest, mut metrics) = (String::new(), String::new());
        while ingest.is_empty() || metrics.is_empty() {
            let line = lines.next().expect("it listens").expect("it is text");
            match line.split_once(" listens on http://") {
                Some(("ingest", address)) => address.clone_into(&mut ingest),
                Some(("metrics", address)) => address.clone_into(&mut metrics),
                _ => {}
            }
        }
        assert!(get(&metrics, "/readyz").starts_with("HTTP/1.1 200"), "it is ready");
        let ready_after = began.elapsed();
        let (most_kib, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let id = process.id();
        thread::spawn({
            let (most_kib, ended) = (Arc::clone(&most_kib), Arc::clone(&ended));
            move || {
                while !ended.load(Relaxed) {
                    most_kib.fetch_max(peak_kib(id), Relaxed);
                    thread::park_timeout(Duration::from_millis(50));
                }
            }
        });
        thread::park_timeout(Duration::from_millis(200));
        Self { process, ingest, metrics, ready_after, most_kib, ended }
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.process.id())
    }

    /// How many deliveries it made.
    pub(crate) fn delivered(&self) -> u64 {
        let page = get(&self.metrics, "/metrics");
        let is_it = |line: &&str| {
            line.starts_with("outrigger_deliveries_total{")
                && ["webhook=\"target\"", "outcome=\"delivered\""].iter().all(|label| line.contains(label))
        };
        page.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    fn sample(&self, name: &str) -> Option<u64> {
        get(&self.metrics, "/metrics").lines().find_map(|line| line.strip_prefix(name))?.parse().ok()
    }

    /// The most that was resident so far.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.most_kib.load(Relaxed) / 1024
    }

    pub(crate) fn pending(&self) -> u64 {
        self.sample("outrigger_pending_deliveries{webhook=\"target\"} ").unwrap_or(u64::MAX)
    }

    pub(crate) fn end(&mut self) {
        self.ended.store(true, Relaxed);
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ended");
    }
}

pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Posts events over connections that are kept, in turn to these addresses.
pub(crate) fn send(addresses: &[String], count: u64) {
    let senders = (0..SENDERS).map(|sender| {
        let address = addresses[usize::try_from(sender).expect("small") % addresses.len()].clone();
        thread::spawn(move || {
            let mut stream = TcpStream::connect(&address).expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let mut buffer = [0; 4096];
            for n in (sender..count).step_by(usize::try_from(SENDERS).expect("small")) {
                let body = payload(n, 1_000_000_000 + n);
                let head =
                    format!("POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).expect("it is read");
                let read = stream.read(&mut buffer).expect("an answer");
                assert!(buffer[..read].starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&buffer[..read]));
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.join().expect("no panic");
    }
}

pub(crate) fn wait_until(mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "it takes too long");
        thread::park_timeout(Duration::from_millis(20));
    }
}
