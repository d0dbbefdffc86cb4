//! `outrigger healthcheck`: asks a running sidecar's `/readyz`, for containers without a shell or curl.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::REFUSED;

/// How long the sidecar may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much of the answer is read, in bytes: its first line is enough.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Exits 0 when the sidecar says that it is ready.
pub(super) fn healthcheck(address: SocketAddr) -> ExitCode {
    match ask(reachable(address)) {
        Ok(status) if status.starts_with("HTTP/1.1 200") => {
            println!("ready");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            eprintln!("outrigger: not ready: {address} answered {status}");
            ExitCode::from(REFUSED)
        }
        Err(error) => {
            eprintln!("outrigger: nothing answers on {address}: {error}; is metrics.listen elsewhere? say --address");
            ExitCode::from(REFUSED)
        }
    }
}

/// A listener on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
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
