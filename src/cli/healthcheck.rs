//! `outrigger healthcheck`: asks a running sidecar's `/readyz`, for containers without a shell or curl.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::{Folder, NO};
use crate::config::{Listen, Source, load_settings};

/// Where metrics are served unless the configuration says otherwise.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9460);
/// How long the sidecar may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much of the answer is read, in bytes: its first line is enough.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Ask a running sidecar whether it is ready
#[derive(Debug, Args)]
#[command(after_help = "Exits 0 when `GET /readyz` on the metrics listener answers 200, else 1.")]
pub(super) struct Healthcheck {
    #[command(flatten)]
    folder: Folder,
    /// The metrics listener's address, where the configuration does not say it
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
}

impl Healthcheck {
    pub(super) fn run(&self) -> ExitCode {
        let Some(address) = self.address.or_else(|| configured(&self.folder)) else {
            eprintln!("outrigger: the configuration does not say where metrics are served; say --address ADDRESS:PORT");
            return ExitCode::from(NO);
        };
        healthcheck(address)
    }
}

/// `metrics.listen`. A fault in the files on disk is no fault of the sidecar that runs: webhooks are not looked at, and for a
/// faulty outrigger.toml the default stands in.
fn configured(folder: &Folder) -> Option<SocketAddr> {
    let source = Source { placeholders: true, ..Source::new(&folder.dir) };
    match load_settings(&source).map(|settings| settings.metrics.listen) {
        Some(Listen::Tcp(address)) => Some(address),
        Some(Listen::Unix(_)) => None,
        None => Some(DEFAULT_ADDRESS),
    }
}

/// Exits 0 when the sidecar says that it is ready.
fn healthcheck(address: SocketAddr) -> ExitCode {
    match ask(reachable(address)) {
        Ok(status) if status.starts_with("HTTP/1.1 200") => {
            println!("ready");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            eprintln!("outrigger: not ready: {address} answered {status}");
            ExitCode::from(NO)
        }
        Err(error) => {
            eprintln!("outrigger: nothing answers on {address}: {error}; is metrics.listen elsewhere? say --address");
            ExitCode::from(NO)
        }
    }
}

/// A listener on every address is asked on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The answer's first line.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
