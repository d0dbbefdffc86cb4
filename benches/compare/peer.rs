//! Who is measured: a process of its own each, so that its processor time and memory are its alone.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use tempfile::TempDir;

use super::process;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    Floor,
    FloorRender,
    FloorSpool,
    #[value(skip)]
    Outrigger,
}

impl Peer {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(|| "outrigger".to_owned(), |value| value.get_name().to_owned())
    }
}

/// A process that listens.
pub(crate) struct Running {
    process: Child,
    /// Where it takes events in.
    pub(crate) address: String,
    /// From its start until it took a connection.
    pub(crate) ready: Duration,
    _output: BufReader<ChildStdout>,
    /// What it wrote goes with it.
    _root: TempDir,
}

impl Running {
    /// Starts a program and waits until it says where it listens. It gets the first so many cores, or all, and keeps its files
    /// in `root`.
    pub(crate) fn start(mut command: Command, root: TempDir, cores: Option<usize>) -> Self {
        let log = root.path().join("stderr");
        command.stdout(Stdio::piped()).stderr(File::create(&log).expect("a file"));
        let began = Instant::now();
        // A child has the cores of the thread that starts it.
        let starting = thread::spawn(move || {
            if let Some(cores) = cores {
                keep_to(cores);
            }
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{} cannot be started: {error}", command.get_program().display()))
        });
        let mut process = starting.join().expect("it starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = output.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended before it listened: {}", std::fs::read_to_string(&log).unwrap_or_default());
            if let Some(address) = line.trim_end().strip_prefix("ingest listens on http://") {
                break address.to_owned();
            }
        };
        TcpStream::connect(&address).expect("it listens");
        Self { process, address, ready: began.elapsed(), _output: output, _root: root }
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Duration {
        process::cpu(self.process.id())
    }

    /// What is resident now.
    pub(crate) fn resident_mib(&self) -> f64 {
        process::resident_kib(self.process.id()) as f64 / 1024.0
    }

    /// The most that was resident so far.
    pub(crate) fn peak_mib(&self) -> f64 {
        process::peak_kib(self.process.id()) as f64 / 1024.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("the kernel says");
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

fn keep_to(count: usize) {
    let mut few = CpuSet::new();
    cores().iter().take(count).for_each(|core| few.set(*core));
    sched_setaffinity(None, &few).expect("they are ours");
}
