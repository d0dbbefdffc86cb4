//! Where it all takes place: the receiver, a folder on the disk, and one measurement of whoever runs.

use std::cell::Cell;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use outrigger::cli::demo::authority::Authority;
use serde::Serialize;
use tempfile::TempDir;

use super::event::Shape;
use super::ledger::{Ledger, now};
use super::load::{Load, send};
use super::options::Options;
use super::peer::{Peer, Running};
use super::receiver::Receiver;
use super::sidecar::{self, TYPE};

/// How long one measurement sends, at most.
const SEND_MAX: Duration = Duration::from_mins(1);
/// What was acknowledged is waited for as long as something comes in within this time.
const STALL: Duration = Duration::from_secs(8);
/// Behind the last delivery: what it leaves to be done belongs to it.
const AFTERWARDS: Duration = Duration::from_millis(200);
/// Events that are sent before anything is measured.
const WARMING: u32 = 1000;

pub(crate) struct Stage {
    pub(crate) options: Options,
    pub(crate) receiver: Receiver,
    /// In the build's own folder: it is on a disk, where a system's temporary one may be in memory.
    directory: TempDir,
    runs: Cell<u32>,
    lost: Cell<u64>,
}

/// What one measurement came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// User and system, microseconds for a delivery.
    pub(crate) cpu: f64,
    /// From the first event's sending to the last delivery.
    pub(crate) per_second: f64,
    /// Milliseconds to the answer of ingest.
    pub(crate) ack_p50: f64,
    pub(crate) ack_p99: f64,
    /// Milliseconds from sending until the receiver has it.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The most that was resident since the start.
    pub(crate) peak_mib: f64,
    pub(crate) delivered: u64,
    /// Acknowledged and not received.
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    /// Events that were not answered with a 2xx.
    pub(crate) unanswered: u64,
}

impl Stage {
    pub(crate) fn new(options: Options) -> Self {
        let directory = TempDir::with_prefix_in("compare-", env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let authority = Authority::new().expect("an authority");
        fs::write(directory.path().join("ca.pem"), authority.ca_pem()).expect("a file");
        let receiver = Receiver::start(&authority, options.http2);
        Self { options, receiver, directory, runs: Cell::new(0), lost: Cell::new(0) }
    }

    /// Starts a forwarder, or the sidecar with one webhook.
    pub(crate) fn start(&self, peer: Peer, cores: Option<usize>) -> Running {
        let port = self.receiver.port;
        if peer == Peer::Outrigger {
            return self.start_sidecar(&sidecar::webhooks(port, 1), cores);
        }
        let root = self.fresh();
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--child", &peer.name(), &format!("https://127.0.0.1:{port}/hook/0")]);
        command.arg(self.directory.path().join("ca.pem")).arg(root.path().join("log"));
        Running::start(command, root, cores)
    }

    /// Starts the sidecar with these webhooks and an empty spool.
    pub(crate) fn start_sidecar(&self, webhooks: &[sidecar::File], cores: Option<usize>) -> Running {
        let root = self.fresh();
        sidecar::write(root.path(), &self.directory.path().join("ca.pem"), self.receiver.port, webhooks);
        let mut command = Command::new(&self.options.outrigger);
        command.args(["run", "--config"]).arg(root.path());
        Running::start(command, root, cores)
    }

    fn fresh(&self) -> TempDir {
        TempDir::new_in(self.directory.path()).expect("a directory")
    }

    /// Deliveries of all measurements so far that were acknowledged and did not come in.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// A closed loop as the command line says.
    pub(crate) fn saturation(&self) -> Load {
        Load {
            shape: Shape::new(TYPE, self.options.event_bytes),
            connections: self.options.connections as usize,
            rate: None,
            time_max: SEND_MAX,
        }
    }

    /// Sends what is not measured.
    pub(crate) fn warm(&self, running: &Running, webhooks: usize) {
        self.measure(running, &self.saturation(), WARMING, webhooks);
    }

    /// Sends so many events, each for so many webhooks, and waits until all that were acknowledged have come in.
    pub(crate) fn measure(&self, running: &Running, load: &Load, events: u32, webhooks: usize) -> Figures {
        self.runs.set(self.runs.get() + 1);
        let ledger = Arc::new(Ledger::new(self.runs.get(), events as usize, webhooks));
        self.receiver.note_in(&ledger);
        let (before, began) = (running.cpu(), now());
        let unanswered = send(load, &running.address, "/v1/events", &ledger);
        let owed = ledger.owed();
        let (mut seen, mut moved) = (ledger.distinct(), Instant::now());
        while ledger.distinct() < owed && moved.elapsed() < STALL {
            thread::park_timeout(Duration::from_millis(5));
            if ledger.distinct() > seen {
                (seen, moved) = (ledger.distinct(), Instant::now());
            }
        }
        thread::park_timeout(AFTERWARDS);
        let cpu = running.cpu().saturating_sub(before);
        let (acknowledging, end_to_end) = (ledger.acknowledging(), ledger.end_to_end());
        let (delivered, lost) = (ledger.distinct(), ledger.lost());
        self.lost.set(self.lost.get() + lost);
        let span = ledger.last().saturating_sub(began).max(1);
        Figures {
            cpu: cpu.as_secs_f64() * 1e6 / delivered.max(1) as f64,
            per_second: delivered as f64 * 1e6 / span as f64,
            ack_p50: percentile_ms(&acknowledging, 50),
            ack_p99: percentile_ms(&acknowledging, 99),
            p50: percentile_ms(&end_to_end, 50),
            p99: percentile_ms(&end_to_end, 99),
            peak_mib: running.peak_mib(),
            delivered,
            lost,
            duplicates: ledger.duplicates(),
            unanswered,
        }
    }
}

fn percentile_ms(micros: &[u64], percent: usize) -> f64 {
    let at = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
    micros.get(at).map_or(f64::NAN, |micros| *micros as f64 / 1000.0)
}
