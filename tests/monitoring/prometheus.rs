//! A real Prometheus that scrapes one sidecar and evaluates the shipped rules.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::http;
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually};

/// The program; `tests/all` sets it.
const PROGRAM: &str = "OUTRIGGER_TEST_PROMETHEUS";
/// How often another port is tried, where somebody took the one that was free a moment before.
const PORTS_MAX: usize = 5;

/// A Prometheus that is killed when it is dropped.
pub(super) struct Prometheus {
    pub(super) address: SocketAddr,
    process: Process,
    _dir: TempDir,
}

impl Prometheus {
    /// Scrapes a metrics listener so often, as job `outrigger` of namespace `access`.
    #[track_caller]
    pub(super) fn scraping(target: SocketAddr, interval: Duration) -> Self {
        let program = PathBuf::from(std::env::var_os(PROGRAM).unwrap_or_else(|| panic!("{PROGRAM} is not set")));
        let mut told = String::new();
        for _ in 0..PORTS_MAX {
            match Self::start(&program, target, interval) {
                Ok(prometheus) => return prometheus,
                Err(log) => told = log,
            }
        }
        panic!("Prometheus does not start:\n{told}")
    }

    fn start(program: &Path, target: SocketAddr, interval: Duration) -> Result<Self, String> {
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("prometheus.yaml");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules.yaml");
        let every = format!("{}ms", interval.as_millis());
        let text = format!(
            "global: {{ scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every} }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: outrigger\n    static_configs:\n      - targets: [\"{target}\"]\n        \
             labels: {{ namespace: access }}\n",
            rules.display()
        );
        fs::write(&file, text).expect("a file in a temporary directory");
        let address = free();
        let mut process = Process::spawn(
            Command::new(program)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .current_dir(dir.path()),
        );
        let ready = eventually(PATIENCE, || {
            let ended = process.has_ended().is_some();
            let answer = http::exchange(address, "GET", "/-/ready", &[], b"");
            (ended || answer.is_ok_and(|answer| answer.status == 200)).then_some(!ended)
        });
        match ready {
            Some(true) => Ok(Self { address, process, _dir: dir }),
            _ => Err(process.lines().join("\n")),
        }
    }

    /// The `data` of an answer of its API.
    #[track_caller]
    pub(super) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let pairs: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let path = format!("{path}?{}", pairs.join("&"));
        let answer = http::exchange(self.address, "GET", &path, &[], b"")
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()));
        assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.body);
        answer.json()["data"].take()
    }

    /// What an expression comes to now: labels and value of each series.
    #[track_caller]
    pub(super) fn query(&self, expr: &str) -> Vec<Value> {
        self.ask("/api/v1/query", &[("query", expr)])["result"].as_array().cloned().unwrap_or_default()
    }

    /// The alerts that are pending or fire.
    #[track_caller]
    pub(super) fn alerts(&self) -> Vec<Value> {
        self.ask("/api/v1/alerts", &[])["alerts"].as_array().cloned().unwrap_or_default()
    }

    pub(super) fn log(&self) -> String {
        self.process.lines().join("\n")
    }
}

/// A port of loopback that nobody has now.
fn free() -> SocketAddr {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    bound.local_addr().expect("it is bound")
}

/// A text as the value of a query of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
