//! The sockets of a listener: bound without a moment in which they are more open than they should be, and connections whose
//! writes do not wait for ever.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::peer::{Peers, own_uid};
use crate::config::Listen;
use crate::stall::Stall;

/// Connections that wait in the kernel's queue of a Unix socket; a TCP socket has as many.
const BACKLOG: u32 = 1024;

/// A bound socket.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { socket: UnixListener, path: PathBuf, own_uid: u32 },
}

impl Socket {
    /// Binds. A socket file that nobody listens on any more is replaced by one of this mode.
    pub(super) async fn bind(listen: &Listen, mode: u32) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                remove_stale_socket(path).await?;
                let own_uid = own_uid()?;
                Ok(Self::Unix { socket: bind_closed(path, mode)?.listen(BACKLOG)?, path: path.clone(), own_uid })
            }
        }
    }

    /// `http://ADDRESS:PORT` with the port that was really bound, or `unix:PATH`.
    pub(super) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(socket) => format!("http://{}", socket.local_addr()?),
            Self::Unix { path, .. } => format!("unix:{}", path.display()),
        })
    }

    /// The next connection; `None` when its user may not connect, which closes it.
    pub(super) async fn accept(&self, address: &str, peers: &mut Peers) -> io::Result<Option<Stream>> {
        match self {
            Self::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Some(Stream::Tcp(stream)))
            }
            Self::Unix { socket, own_uid, .. } => {
                let (stream, _) = socket.accept().await?;
                Ok(peers.admit(address, *own_uid, &stream).then_some(Stream::Unix(stream)))
            }
        }
    }

    /// Closes it; its file goes with it.
    pub(super) fn close(self) {
        if let Self::Unix { path, .. } = &self {
            let _ = fs::remove_file(path);
        }
    }
}

/// How long who listens on a socket's path may take to show that he is there.
const STALE_TIMEOUT: Duration = Duration::from_secs(1);

/// A Unix socket that is bound and refuses everybody. Its file has the mode when it begins to listen and somebody could connect.
fn bind_closed(path: &Path, mode: u32) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(socket)
}

async fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is in the way"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // Who is stopped and has a full queue never answers, and is there all the same.
    let connected = tokio::time::timeout(STALE_TIMEOUT, UnixStream::connect(path)).await;
    match connected.unwrap_or(Err(io::ErrorKind::AddrInUse.into())) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Somebody else's, perhaps, and in use.
        Err(error) => Err(error),
    }
}

/// A connection. A client that takes nothing of what is written to it ends it.
pub(super) struct Connection {
    stream: Stream,
    stall: Stall,
}

/// What a connection comes over.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    pub(super) fn new(stream: Stream, write_stall_timeout: Duration) -> Self {
        Self { stream, stall: Stall::new(write_stall_timeout) }
    }
}

/// The same call on whichever stream it is.
macro_rules! on_stream {
    ($connection:expr, $stream:ident => $call:expr) => {
        match &mut $connection.stream {
            Stream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = on_stream!(self, stream => stream.poll_write(cx, buf));
        self.stall.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = on_stream!(self, stream => stream.poll_write_vectored(cx, bufs));
        self.stall.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_before_anybody_can_connect() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o660, 0o666, 0o777, 0o000] {
            let path = dir.path().join(format!("{mode:o}.sock"));
            let socket = bind_closed(&path, mode).unwrap();
            assert_eq!(mode_of(&path), mode, "whatever the umask is");
            let refused = UnixStream::connect(&path).await.unwrap_err();
            let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::PermissionDenied];
            assert!(kinds.contains(&refused.kind()), "{mode:o}: {refused}");
            let listener = socket.listen(BACKLOG).unwrap();
            if mode != 0 {
                let (connected, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
                assert!(connected.is_ok() && accepted.is_ok());
            }
            assert_eq!(mode_of(&path), mode);
        }
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listen = Listen::Unix(path.clone());
        let first = Socket::bind(&listen, 0o660).await.unwrap();
        let kind = |bound: io::Result<Socket>| bound.err().map(|error| error.kind());
        assert_eq!(kind(Socket::bind(&listen, 0o660).await), Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(path.exists(), "as a process leaves it that is killed");
        let second = Socket::bind(&listen, 0o600).await.unwrap();
        assert_eq!(mode_of(&path), 0o600);
        second.close();
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert_eq!(kind(Socket::bind(&listen, 0o660).await), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }
}
