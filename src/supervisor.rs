//! The program that started this one and wants to hear how it goes: systemd, or whoever else gave `NOTIFY_SOCKET` (`sd_notify(3)`).
//!
//! One datagram a message, and nobody waits for an answer. Where there is no such socket nothing is said.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The variable that names the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";
/// How long a message may wait for room in the socket. A supervisor that reads nothing for so long misses it.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);

/// Where the supervisor listens, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    from: UnixDatagram,
    to: SocketAddr,
    /// Whether the end was told of. Held while a message goes out, so that none goes out behind that of the end.
    stopping: Mutex<bool>,
}

impl Supervisor {
    /// The one behind this value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub fn at(socket: Option<OsString>) -> io::Result<Self> {
        let Some(socket) = socket else { return Ok(Self::default()) };
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        let from = UnixDatagram::unbound()?;
        from.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self(Some(Arc::new(Line { from, to: address, stopping: Mutex::new(false) }))))
    }

    /// Started, or done with a reload. Like all else it is not said once the end was told of: who heard of readiness after it would take
    /// the end for called off.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// A reload that was asked for begins. Its time lets systemd tell whether the reload came before its signal or after.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\n"));
    }

    /// What people read beside the state.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}\n"));
    }

    /// The end has begun: the last that is said.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}\n"), true);
    }

    fn tell(&self, message: &str) {
        self.send(message, false);
    }

    fn send(&self, message: &str, last: bool) {
        let Some(Line { from, to, stopping }) = self.0.as_deref() else { return };
        let mut stopping = stopping.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopping {
            return;
        }
        *stopping = last;
        if let Err(error) = from.send_to_addr(message.as_bytes(), to) {
            tracing::warn!(%error, note = "NOTIFY_SOCKET does not take a message: who started this process does not hear how it goes", "supervisor.unheard");
        }
    }
}
