//! What the admin page costs: `cargo bench --bench page`.
//!
//! Starts the real program with 100 webhooks that have a full history each, and asks for the table of all of them: how long one
//! answer takes. Then 500 events a second come in and go out, while nobody, one page or fifty pages look, turn and turn about in one
//! run: the processor time of the program, and what a page adds to it. A page asks as the real one does, once a second: what changed
//! in the table, and which invocations of one webhook are new.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use outrigger::cli::demo::authority::Authority;
use outrigger::cli::demo::receiver::Receiver;
use serde_json::Value;
use tokio::runtime::Runtime;

/// Webhooks with a history, and events that fill it: each wants each.
const WEBHOOKS: usize = 100;
const EVENTS: usize = 100;
/// How often the table is asked for.
const TABLES: usize = 200;
/// Connections that post while pages look, and how often each does: 500 events a second.
const CONNECTIONS: usize = 5;
const POST_INTERVAL: Duration = Duration::from_millis(10);
/// How often a page asks.
const PAGE_INTERVAL: Duration = Duration::from_secs(1);
/// How many pages look in a window, and how long it takes.
const PAGES: [usize; 3] = [0, 1, 50];
const WINDOW: Duration = Duration::from_secs(8);
/// How often each window comes.
const ROUNDS: usize = 3;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Ticks of a second in `/proc/PID/stat` (proc(5)), the same on every Linux.
const TICKS: f64 = 100.0;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::TempDir::new().expect("a directory");
    let authority = Authority::new().expect("an authority");
    let receiver = runtime.block_on(Receiver::start(&authority, &["127.0.0.1"])).expect("a receiver");
    configure(directory.path(), &authority, receiver.addr().port());
    let sidecar = Sidecar::start(directory.path());

    let mut ingest = Asked::new(&sidecar.ingest);
    for number in 0..EVENTS {
        ingest.post(&event("RequestCreated", number));
    }
    let began = Instant::now();
    while receiver.count() < WEBHOOKS * EVENTS {
        assert!(began.elapsed() < PATIENCE, "it takes too long");
        thread::park_timeout(Duration::from_millis(20));
    }
    let mut admin = Asked::new(&sidecar.admin);
    let mut times: Vec<Duration> = (0..TABLES)
        .map(|_| {
            let asked = Instant::now();
            let table = admin.get("/api/v1/webhooks");
            let took = asked.elapsed();
            assert!(table.matches("\"stats\"").count() > WEBHOOKS, "the table is whole");
            took
        })
        .collect();
    times.sort_unstable();
    println!(
        "the table of {WEBHOOKS} webhooks: {:.1?} in the middle, {:.1?} at most",
        times[TABLES / 2],
        times[TABLES - 1]
    );

    let mut shares = PAGES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (pages, shares) in PAGES.iter().zip(&mut shares) {
            shares.push(window(&sidecar, *pages));
        }
    }
    let middle = shares.map(|mut shares| {
        shares.sort_unstable_by(f64::total_cmp);
        shares[ROUNDS / 2]
    });
    for (pages, share) in PAGES.iter().zip(middle) {
        let added = (share - middle[0]) * 100.0;
        println!("{pages:>2} pages at 500 events/s: {:.1} % of a core, {added:+.1} % by them", share * 100.0);
    }
}

/// Processor time of the program for a time, as a part of it, while events come in and so many pages look.
fn window(sidecar: &Sidecar, pages: usize) -> f64 {
    let end = Instant::now() + WINDOW;
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut ingest = Asked::new(&sidecar.ingest);
                let mut next = Instant::now();
                while next < end {
                    ingest.post(&event("RequestGranted", 7));
                    next += POST_INTERVAL;
                    thread::park_timeout(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        for page in 0..pages {
            scope.spawn(move || look(sidecar, page, pages, end));
        }
        // What comes first is what is new to a page that is opened.
        thread::park_timeout(PAGE_INTERVAL * 2);
        let (began, before) = (Instant::now(), sidecar.processor_seconds());
        thread::park_timeout(end.saturating_duration_since(Instant::now()));
        (sidecar.processor_seconds() - before) / began.elapsed().as_secs_f64()
    })
}

/// One page until a time. Pages are opened one after the other.
fn look(sidecar: &Sidecar, page: usize, pages: usize, end: Instant) {
    thread::park_timeout(PAGE_INTERVAL.mul_f64(page as f64 / pages as f64));
    let mut admin = Asked::new(&sidecar.admin);
    let (mut cursor, mut newest) = (String::new(), String::new());
    while Instant::now() < end {
        let changes = admin.get(&format!("/api/v1/changes{cursor}"));
        cursor = format!("?cursor={}", text(&changes, "cursor"));
        let list = admin.get(&format!("/api/v1/invocations?webhook=busy{newest}"));
        newest = format!("&after={}", text(&list, "newest"));
        thread::park_timeout(PAGE_INTERVAL);
    }
}

fn text(answer: &str, member: &str) -> String {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    answer[member].as_str().expect("a text").to_owned()
}

fn event(event_type: &str, number: usize) -> String {
    format!(r#"{{"event_type":"{event_type}","data":{{"id":"r-{number}","text":"{}"}}}}"#, "x".repeat(930))
}

fn configure(root: &Path, authority: &Authority, port: u16) {
    fs::create_dir_all(root.join("config/webhooks")).expect("folders");
    fs::write(root.join("config/ca.pem"), authority.ca_pem()).expect("a file");
    let settings = format!(
        "ingest.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nmetrics.listen = \"127.0.0.1:0\"\nlog.level = \"error\"\n\
         [spool]\npath = \"{}\"\n[history]\nmax_bytes = \"64MiB\"\n\
         [egress]\nallow_networks = [\"127.0.0.0/8\"]\nallow_ports = [{port}]\nca_file = \"ca.pem\"\n",
        root.join("spool").display()
    );
    fs::write(root.join("config/outrigger.toml"), settings).expect("a file");
    let hook = |name: &str, event_type: &str| {
        let file =
            format!("url = \"https://127.0.0.1:{port}/hook\"\ntriggers = [\"{event_type}\"]\nordering = \"none\"\n");
        fs::write(root.join(format!("config/webhooks/{name}.toml")), file).expect("a file");
    };
    for number in 0..WEBHOOKS {
        hook(&format!("hook-{number:03}"), "RequestCreated");
    }
    hook("busy", "RequestGranted");
}

/// A connection that is kept.
struct Asked {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Asked {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { address: address.to_owned(), stream: BufReader::new(stream) }
    }

    fn get(&mut self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address), 200)
    }

    fn post(&mut self, body: &str) {
        let (address, bytes) = (&self.address, body.len());
        self.ask(&format!("POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-length: {bytes}\r\n\r\n{body}"), 202);
    }

    fn ask(&mut self, request: &str, status: u16) -> String {
        self.stream.get_mut().write_all(request.as_bytes()).expect("it is read");
        let (mut line, mut bytes) = (String::new(), 0);
        self.stream.read_line(&mut line).expect("an answer");
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{line}");
        while line.trim() != "" {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                bytes = length.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).expect("a body");
        String::from_utf8(body).expect("text")
    }
}

struct Sidecar {
    process: Child,
    ingest: String,
    admin: String,
}

impl Sidecar {
    fn start(root: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["run", "--config"]).arg(root.join("config"));
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the program");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut address = |listener: &str| {
            let line = lines.find_map(|line| {
                line.expect("text").strip_prefix(&format!("{listener} listens on http://")).map(str::to_owned)
            });
            line.expect("it listens")
        };
        let (ingest, admin) = (address("ingest"), address("admin"));
        Self { process, ingest, admin }
    }

    fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        ticks as f64 / TICKS
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ended");
    }
}
