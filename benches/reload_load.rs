//! What reloads cost those who post events: `cargo bench --bench reload_load`, or with the number of webhooks: `-- 1000`.
//!
//! Starts the real program with so many webhooks, one of which takes what is posted: 200 events a second over four connections.
//! Windows without and with edits take turns in one run, so that a machine that is busy with something else is so for both. Every
//! edit replaces one webhook's file, as Kubernetes and editors do; each second one is of the webhook that delivers, whose first
//! delivery with the new text tells how soon an edit is live. Printed are the percentiles of the time to a 202 for both kinds of
//! window, and of the time from an edit to the first delivery with it.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use outrigger::cli::demo::authority::Authority;
use outrigger::cli::demo::receiver::Receiver;
use tokio::runtime::Runtime;

/// How many webhooks, unless the command line says otherwise.
const WEBHOOKS: usize = 1_000;
/// Connections that post, and how often each does.
const CONNECTIONS: usize = 4;
const POST_INTERVAL: Duration = Duration::from_millis(20);
/// Windows of each kind, and how long one takes.
const WINDOWS: usize = 5;
const WINDOW: Duration = Duration::from_secs(5);
/// Between two edits.
const EDIT_INTERVAL: Duration = Duration::from_millis(500);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
const EVENT: &str = r#"{"event_type":"RequestCreated","data":{"id":"r","requester":{"email":"ana@example.com"}}}"#;

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(WEBHOOKS).max(2);
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::TempDir::new().expect("a directory");
    let authority = Authority::new().expect("an authority");
    let receiver = runtime.block_on(Receiver::start(&authority, &["127.0.0.1"])).expect("a receiver");
    let folder = Folder { root: directory.path().to_owned(), port: receiver.addr().port() };
    folder.write(&authority, count);
    let sidecar = Sidecar::start(&folder.root);
    // Warm, and past the look that follows the first watch.
    window(&sidecar.ingest, |_| {});

    let (mut quiet, mut edited, mut edits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        quiet.extend(window(&sidecar.ingest, |_| {}));
        edited.extend(window(&sidecar.ingest, |end| edit(&folder, count, end, &mut edits)));
    }
    let recorded = receiver.recorded();
    let mut live: Vec<Duration> = edits
        .iter()
        .map(|(marker, at)| {
            let first = recorded.iter().find(|one| String::from_utf8_lossy(&one.body).contains(marker.as_str()));
            first.map_or(PATIENCE, |one| one.at.saturating_duration_since(*at))
        })
        .collect();
    let (posts, quiet_p99) = (quiet.len() + edited.len(), percentile(&mut quiet, 0.99));
    let edited_p99 = percentile(&mut edited, 0.99);
    println!("{count} webhooks, {posts} events, {} edits of the webhook that delivers", edits.len());
    println!("time to a 202, without edits: median {}, p99 {}", shown(percentile(&mut quiet, 0.5)), shown(quiet_p99));
    println!("time to a 202, with edits:    median {}, p99 {}", shown(percentile(&mut edited, 0.5)), shown(edited_p99));
    println!("p99 with edits is {:.2} of that without", edited_p99.as_secs_f64() / quiet_p99.as_secs_f64());
    println!(
        "from an edit to the first delivery with it: median {}, at most {}",
        shown(percentile(&mut live, 0.5)),
        shown(percentile(&mut live, 1.0))
    );
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a short list")]
fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len().saturating_sub(1)) as f64 * part).round() as usize;
    times.get(at).copied().unwrap_or_default()
}

/// One window of load: the time that each post took to its answer. `beside` is run meanwhile, until the time that it is told.
fn window(ingest: &str, beside: impl FnOnce(Instant) + Send) -> Vec<Duration> {
    let end = Instant::now() + WINDOW;
    thread::scope(|scope| {
        let posting: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(move || post_until(ingest, end))).collect();
        scope.spawn(move || beside(end));
        posting.into_iter().flat_map(|posted| posted.join().expect("posts are answered")).collect()
    })
}

/// Edits webhooks in turn until the end: every second time the one that delivers, whose marker and time are noted.
fn edit(folder: &Folder, count: usize, end: Instant, edits: &mut Vec<(String, Instant)>) {
    let mut next = Instant::now() + EDIT_INTERVAL;
    for number in 0.. {
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
        next += EDIT_INTERVAL;
        // The last one has time to go live under load.
        if next + EDIT_INTERVAL > end {
            return;
        }
        let marker = format!("edit-{}-{number}.", edits.len());
        let delivers = number % 2 == 0;
        let webhook = if delivers { 0 } else { 1 + number % (count - 1) };
        let at = folder.replace(webhook, &marker);
        if delivers {
            edits.push((marker, at));
        }
    }
}

/// Posts on one connection at a steady pace. A post that falls behind does not put off the next ones.
fn post_until(ingest: &str, end: Instant) -> Vec<Duration> {
    let stream = TcpStream::connect(ingest).expect("ingest listens");
    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).expect("a socket");
    let mut answers = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    let length = EVENT.len();
    let request = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{EVENT}");
    let mut times = Vec::new();
    let mut next = Instant::now();
    while next < end {
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
        let at = Instant::now();
        stream.write_all(request.as_bytes()).expect("a request");
        read_answer(&mut answers);
        times.push(at.elapsed());
        next += POST_INTERVAL;
    }
    times
}

fn read_answer(answers: &mut impl BufRead) {
    let (mut line, mut length) = (String::new(), 0);
    answers.read_line(&mut line).expect("an answer");
    assert!(line.contains(" 202 "), "{line}");
    while !line.trim().is_empty() {
        line.clear();
        answers.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).expect("a body");
}

/// The configuration.
struct Folder {
    root: PathBuf,
    port: u16,
}

impl Folder {
    fn write(&self, authority: &Authority, count: usize) {
        fs::create_dir_all(self.root.join("webhooks")).expect("a folder");
        fs::write(self.root.join("ca.pem"), authority.ca_pem()).expect("a file");
        let mut settings = String::new();
        for listener in ["ingest", "admin", "metrics"] {
            let _ = writeln!(settings, "[{listener}]\nlisten = \"127.0.0.1:0\"");
        }
        let port = self.port;
        let _ = writeln!(settings, "[spool]\npath = \"{}\"", self.root.join("spool").display());
        let _ = writeln!(
            settings,
            "[egress]\nallow_ports = [{port}]\nallow_networks = [\"127.0.0.0/8\"]\nca_file = \"ca.pem\""
        );
        fs::write(self.root.join("outrigger.toml"), settings).expect("a file");
        for webhook in 0..count {
            self.replace(webhook, "start");
        }
    }

    /// Puts a webhook's file in the place of the one before, and says when.
    fn replace(&self, webhook: usize, marker: &str) -> Instant {
        let trigger = if webhook == 0 { "RequestCreated" } else { "RequestExpired" };
        let text = format!(
            "triggers = [\"{trigger}\"]\nurl = \"https://127.0.0.1:{}/{webhook}\"\nbody = '''\n{{\"marker\": \"{marker}\", \
             \"id\": \"{{{{data.id}}}}\", \"who\": \"{{{{data.requester.email}}}}\", \"what\": \"{{{{data.access_groups.[0].[integration].name}}}}\", \
             \"why\": \"{{{{data.justification}}}}\", \"number\": {webhook}}}\n'''\n\n[[filters]]\nfield = \"requester\"\nany_of = [\"*@example.com\"]\n\n\
             [[response_validators]]\npath = \"$.status\"\nexpected = [\"200\"]\n",
            self.port
        );
        let fresh = self.root.join("fresh");
        fs::write(&fresh, text).expect("a file");
        let at = Instant::now();
        fs::rename(fresh, self.root.join(format!("webhooks/hook-{webhook:05}.toml"))).expect("a rename");
        at
    }
}

/// The real program; dropping it ends it.
struct Sidecar {
    process: Child,
    ingest: String,
}

impl Sidecar {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .args(["run", "--log-level", "error", "--config"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let ingest = lines.find_map(|line| Some(line.strip_prefix("ingest listens on http://")?.to_owned()));
        Self { process, ingest: ingest.expect("it listens") }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
