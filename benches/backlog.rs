//! A backlog through the real program: `cargo bench --bench backlog -- 1000000`.
//!
//! Fills a spool with so many pending deliveries of about 1 KB each, starts the sidecar on it while the target answers 503, and
//! prints how long it takes until it is ready and what it holds of memory. Then the target answers 200: how fast the backlog
//! drains, and in the same run how fast as many fresh events (100,000 at most) come in and go out. `--in-order` puts all of the
//! backlog into lanes of four.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]

#[path = "parts/load.rs"]
mod load;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::authority::Authority;
use outrigger::cli::demo::receiver::Receiver;
use outrigger::delivery::Lane;
use outrigger::event::{Event, EventId};
use outrigger::spool::{Batch, DiskSpool, Options, Owed, Spool};
use tokio::runtime::Runtime;
use uuid::Uuid;

use load::{Sidecar, payload, rate, send, wait_until};

/// What is drained unless the command line says otherwise.
const PENDING: u64 = 100_000;
/// Fresh events that are sent for comparison, at most.
const FRESH_MAX: u64 = 100_000;
/// How long the target stays away.
const AWAY: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let pending = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(PENDING);
    let in_order = arguments.iter().any(|argument| argument == "--in-order");
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::TempDir::new().expect("a directory");
    let root = directory.path();

    let began = Instant::now();
    fill(&runtime, &root.join("spool"), pending, in_order);
    println!("{pending} pending deliveries were made in {:.1?}", began.elapsed());

    let authority = Authority::new().expect("an authority");
    let receiver = runtime.block_on(Receiver::start(&authority, &["127.0.0.1"])).expect("a receiver");
    receiver.otherwise(Answer::status(503));
    configure(root, &authority, receiver.addr().port());
    let mut sidecar = Sidecar::start(root);
    println!("ready after {:.0?}, {} MiB", sidecar.ready_after, sidecar.memory_mib());
    thread::park_timeout(AWAY);
    println!(
        "after {AWAY:?} with a target that answers 503: {} MiB, {} attempts",
        sidecar.memory_mib(),
        receiver.count()
    );

    let before = receiver.count() as u64;
    receiver.otherwise(Answer::json(r#"{"ok":true}"#));
    wait_until(|| receiver.count() as u64 > before + 10);
    let (began, first) = (Instant::now(), receiver.count() as u64);
    wait_until(|| sidecar.pending() == 0);
    let drained = rate(receiver.count() as u64 - first, began.elapsed());
    println!("drained {drained:.0} deliveries/s; {} MiB at most", sidecar.memory_mib());

    let fresh_count = pending.min(FRESH_MAX);
    let before = receiver.count() as u64;
    let began = Instant::now();
    send(std::slice::from_ref(&sidecar.ingest), fresh_count);
    wait_until(|| receiver.count() as u64 >= before + fresh_count);
    let fresh = rate(fresh_count, began.elapsed());
    println!(
        "fresh {fresh:.0} deliveries/s; drained / fresh = {:.2}; {} MiB at most",
        drained / fresh,
        sidecar.memory_mib()
    );
    sidecar.end();
}

fn fill(runtime: &Runtime, path: &Path, count: u64, in_order: bool) {
    let options = Options { bytes_max: 8 << 30, ..Options::new(path) };
    let spool = DiskSpool::open(options).expect("a spool");
    let webhook: Arc<str> = "target".into();
    runtime.block_on(async {
        for first in (0..count).step_by(1000) {
            let events = (first..count.min(first + 1000)).map(|n| {
                let id = if in_order { n / 4 } else { n };
                let event = Event::new(
                    EventId::new(Uuid::now_v7()),
                    "request".into(),
                    "RequestGranted".into(),
                    Timestamp::now(),
                    Bytes::from(payload(n, id)),
                );
                let lane = Some(Lane::of(format!("r-{id}").as_bytes()));
                (Arc::new(event), vec![Owed { webhook: Arc::clone(&webhook), lane }])
            });
            spool.append(Batch { events: events.collect(), key: None }).await.expect("there is room");
        }
        spool.close().await;
    });
}

fn configure(root: &Path, authority: &Authority, port: u16) {
    std::fs::create_dir_all(root.join("config/webhooks")).expect("folders");
    std::fs::write(root.join("config/ca.pem"), authority.ca_pem()).expect("a file");
    let settings = format!(
        "ingest.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nmetrics.listen = \"127.0.0.1:0\"\nlog.level = \"error\"\n\
         [spool]\npath = \"{}\"\nmax_bytes = \"8GiB\"\n\
         [egress]\nallow_networks = [\"127.0.0.0/8\"]\nallow_ports = [{port}]\nca_file = \"ca.pem\"\n",
        root.join("spool").display()
    );
    std::fs::write(root.join("config/outrigger.toml"), settings).expect("a file");
    let webhook = format!(
        "url = \"https://127.0.0.1:{port}/hook\"\nbody = '{{\"id\":\"{{{{data.id}}}}\",\"n\":{{{{data.n}}}},\"text\":\"{{{{data.text}}}}\"}}'\n\
         [retry]\nmax_interval = \"1s\"\n[breaker]\nprobe = \"1s\"\n[limits]\nconcurrency = 64\n"
    );
    std::fs::write(root.join("config/webhooks/target.toml"), webhook).expect("a file");
}
