//! What drives a connection of HTTP/2 to its end, and asks for a sign of life while it is in use.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

use super::cork::Cork;
use super::socket::Record;

/// When a sign of life is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    /// After so long without one, on a connection in use: requests would otherwise queue on a dead one.
    pub(super) interval: Duration,
    /// A connection that gives none within this time is closed.
    pub(super) timeout: Duration,
}

/// What a driver and the exchanges on its connection know of each other.
#[derive(Debug, Default)]
pub(super) struct State {
    exchanges: AtomicUsize,
    has_ended: AtomicBool,
    is_lost: AtomicBool,
}

/// Kept by each exchange that has a stream.
pub(super) struct InUse(Arc<State>);

/// Drives a connection until it ends, which it does by itself when nobody has a handle to it any more.
pub(super) struct Driver<S> {
    connection: Connection<Cork<S>, Bytes>,
    /// The same that HTTP/2 writes to.
    cork: Cork<S>,
    alive: Option<Alive>,
    record: Record,
    state: Arc<State>,
}

/// Whether the other side is alive.
struct Alive {
    pings: Pings,
    ping_pong: PingPong,
    /// Bytes that had come when it was last heard of.
    read: u64,
    heard: Instant,
    stage: Stage,
    sleep: Pin<Box<Sleep>>,
}

/// What is done next.
enum Stage {
    /// Nothing, until there are exchanges.
    Unused,
    /// To ask, when `sleep` is over and nothing came meanwhile.
    Ask,
    /// To give up, when `sleep` is over and no answer came.
    Wait,
}

impl State {
    /// Whether the connection takes no more requests.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Whether it ended because no sign of life came.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }
}

impl InUse {
    pub(super) fn new(state: &Arc<State>) -> Self {
        state.exchanges.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(state))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.exchanges.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        mut connection: Connection<Cork<S>, Bytes>,
        cork: Cork<S>,
        pings: Pings,
        record: Record,
        state: Arc<State>,
    ) -> Self {
        let alive = connection.ping_pong().map(|ping_pong| Alive::new(ping_pong, pings));
        Self { connection, cork, alive, record, state }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Its error is that of each stream as well.
        if Pin::new(&mut this.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.cork.poll_out(cx) == Poll::Ready(false) {
            // So that each stream hears why.
            let _ = Pin::new(&mut this.connection).poll(cx);
            return Poll::Ready(());
        }
        let Some(alive) = &mut this.alive else { return Poll::Pending };
        let is_used = this.state.exchanges.load(Ordering::Acquire) > 0;
        ready!(alive.poll_lost(cx, this.record.read(), is_used));
        this.state.is_lost.store(true, Ordering::Release);
        Poll::Ready(())
    }
}

impl<S> Drop for Driver<S> {
    /// The connection goes after this, and its streams hear of it then.
    fn drop(&mut self) {
        self.state.has_ended.store(true, Ordering::Release);
    }
}

impl Alive {
    fn new(ping_pong: PingPong, pings: Pings) -> Self {
        let sleep = Box::pin(sleep(pings.interval));
        Self { pings, ping_pong, read: 0, heard: Instant::now(), stage: Stage::Unused, sleep }
    }

    /// Ready when the other side is given up. `read` bytes have come from it so far.
    fn poll_lost(&mut self, cx: &mut Context<'_>, read: u64, is_used: bool) -> Poll<()> {
        let now = Instant::now();
        if self.read != read {
            (self.read, self.heard) = (read, now);
        }
        loop {
            match self.stage {
                Stage::Unused if !is_used => return Poll::Pending,
                Stage::Unused => {
                    self.sleep.as_mut().reset(self.heard + self.pings.interval);
                    self.stage = Stage::Ask;
                }
                Stage::Ask => {
                    ready!(self.sleep.as_mut().poll(cx));
                    if self.heard + self.pings.interval > now {
                        self.stage = Stage::Unused;
                        continue;
                    }
                    // The next exchange wakes the driver, and has it ask at once. Where it cannot be asked, the connection is ending.
                    if !is_used || self.ping_pong.send_ping(Ping::opaque()).is_err() {
                        return Poll::Pending;
                    }
                    self.sleep.as_mut().reset(now + self.pings.timeout);
                    self.stage = Stage::Wait;
                }
                Stage::Wait => match self.ping_pong.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.heard = now;
                        self.stage = Stage::Unused;
                    }
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => return self.sleep.as_mut().poll(cx),
                },
            }
        }
    }
}
