//! A connection whose writes wait for the end of its driver's turn: what many exchanges send in one turn goes out in one record of TLS
//! and one system call.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is held back at most, in bytes: what fits into one record of TLS (RFC 8446, section 5.1).
const HELD_BYTES_MAX: usize = 16 * 1024;

/// A handle to the connection. HTTP/2 reads and writes by one, and its driver lets out what was written by another.
pub(super) struct Cork<S>(Arc<Mutex<Corked<S>>>);

struct Corked<S> {
    socket: S,
    held: Vec<u8>,
    /// How much of `held` is out.
    written: usize,
    /// Why nothing goes out any more, until HTTP/2 was told.
    broken: Option<io::Error>,
}

impl<S> Cork<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(Corked { socket, held: Vec::new(), written: 0, broken: None })))
    }

    /// The same connection.
    pub(super) fn handle(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn lock(&self) -> MutexGuard<'_, Corked<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Cork<S> {
    /// Lets out what was written. False when that cannot be done: whoever reads next hears why, behind what came before.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let corked = &mut *self.lock();
        Poll::Ready(match ready!(corked.poll_out(cx)) {
            Ok(()) => true,
            Err(error) => {
                corked.broken = Some(error);
                false
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Corked<S> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.held.clear();
        self.written = 0;
        Pin::new(&mut self.socket).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Cork<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let corked = &mut *self.lock();
        let polled = Pin::new(&mut corked.socket).poll_read(cx, buf);
        if polled.is_pending()
            && let Some(error) = corked.broken.take()
        {
            return Poll::Ready(Err(error));
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let corked = &mut *self.lock();
        if corked.held.len() >= HELD_BYTES_MAX {
            ready!(corked.poll_out(cx))?;
        }
        let part = buf.get(..HELD_BYTES_MAX - corked.held.len()).unwrap_or(buf);
        corked.held.extend_from_slice(part);
        Poll::Ready(Ok(part.len()))
    }

    /// Leaves all where it is: its driver lets it out.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let corked = &mut *self.lock();
        ready!(corked.poll_out(cx))?;
        Pin::new(&mut corked.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A socket that keeps what each write had, and breaks behind so many of them.
    struct Socket {
        stream: DuplexStream,
        writes: Vec<usize>,
        writes_max: usize,
    }

    impl AsyncRead for Socket {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.writes.len() >= self.writes_max {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
            if let Poll::Ready(Ok(count)) = polled {
                self.writes.push(count);
            }
            polled
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// A connection whose other side has room for so many bytes, and the other side.
    fn corked(room: usize, writes_max: usize) -> (Cork<Socket>, DuplexStream) {
        let (stream, other) = duplex(room);
        (Cork::new(Socket { stream, writes: Vec::new(), writes_max }), other)
    }

    async fn out(cork: &Cork<Socket>) -> bool {
        poll_fn(|cx| cork.poll_out(cx)).await
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_is_one_write() {
        let (cork, mut other) = corked(1 << 20, usize::MAX);
        let mut handle = cork.handle();
        for part in ["head", "body", "another head"] {
            handle.write_all(part.as_bytes()).await.unwrap();
            handle.flush().await.unwrap();
        }
        assert!(cork.lock().writes().is_empty(), "it went out before its turn was over");
        assert!(out(&cork).await && out(&cork).await);
        assert_eq!(cork.lock().writes(), [20]);
        handle.write_all(b"and more").await.unwrap();
        handle.shutdown().await.unwrap();
        let mut came = String::new();
        other.read_to_string(&mut came).await.unwrap();
        assert_eq!(came, "headbodyanother headand more", "shutting down lets out what is held");
    }

    #[tokio::test]
    async fn no_more_is_held_than_a_record_has_and_a_slow_reader_gets_all_in_order() {
        let (cork, mut other) = corked(1000, usize::MAX);
        let mut handle = cork.handle();
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut came = vec![0; sent.len()];
        let writing = async {
            for part in sent.chunks(7_000) {
                handle.write_all(part).await.unwrap();
                assert!(cork.lock().held.len() <= HELD_BYTES_MAX);
            }
            assert!(out(&cork).await);
        };
        tokio::join!(writing, async { other.read_exact(&mut came).await.unwrap() });
        assert!(came == sent);
    }

    #[tokio::test]
    async fn who_reads_hears_of_a_broken_connection_behind_what_came_before() {
        let (cork, mut other) = corked(1000, 0);
        let mut handle = cork.handle();
        other.write_all(b"goodbye").await.unwrap();
        handle.write_all(b"lost").await.unwrap();
        assert!(!out(&cork).await);
        let mut came = [0; 7];
        handle.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"goodbye");
        assert_eq!(handle.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    impl Corked<Socket> {
        fn writes(&self) -> &[usize] {
            &self.socket.writes
        }
    }
}
