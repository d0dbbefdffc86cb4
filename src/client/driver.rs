//! What drives a connection of HTTP/2 to its end, and asks for a sign of life while it is in use.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep};

use super::cork::Cork;
use super::socket::Record;

/// Streams of a connection at once, however many its receiver takes.
const STREAMS_MAX: usize = 4096;

/// When a sign of life is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    /// After so long without one, on a connection in use: requests would otherwise queue on a dead one.
    pub(super) interval: Duration,
    /// A connection that gives none within this time is closed.
    pub(super) timeout: Duration,
}

/// What a driver and the exchanges on its connection know of each other.
pub(super) struct State {
    sender: SendRequest<Bytes>,
    /// A place for each stream that the receiver takes at once. Closed where no more exchanges are to begin.
    places: Semaphore,
    /// How many places there are, taken ones included.
    places_made: Mutex<usize>,
    exchanges: AtomicUsize,
    /// So many exchanges began one after the other when there was no other one.
    lone: AtomicUsize,
    has_ended: AtomicBool,
    is_lost: AtomicBool,
}

/// Kept by each exchange that has a place.
pub(super) struct InUse(Arc<State>);

/// Drives a connection until it ends, which it does by itself when nobody has a handle to it any more.
pub(super) struct Driver<S> {
    connection: Connection<Cork<S>, Bytes>,
    /// The same that HTTP/2 writes to.
    cork: Cork<S>,
    alive: Option<Alive>,
    record: Record,
    state: Weak<State>,
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
    /// A connection whose receiver has not said yet how many streams it takes.
    pub(super) fn new(sender: SendRequest<Bytes>) -> Self {
        let streams = streams(&sender);
        Self {
            sender,
            places: Semaphore::new(streams),
            places_made: Mutex::new(streams),
            exchanges: AtomicUsize::new(0),
            lone: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
        }
    }

    /// A place for an exchange, when there is one, and what it sends its request by; `None` where no more exchanges are to begin.
    pub(super) async fn place(self: &Arc<Self>) -> Option<(InUse, SendRequest<Bytes>)> {
        self.places.acquire().await.ok()?.forget();
        // Before the driver hears of the stream: it asks for signs of life while there are exchanges.
        if self.exchanges.fetch_add(1, Ordering::AcqRel) == 0 {
            self.lone.fetch_add(1, Ordering::Relaxed);
        } else {
            self.lone.store(0, Ordering::Relaxed);
        }
        let in_use = InUse(Arc::clone(self));
        self.ready().map(|sender| (in_use, sender))
    }

    /// What sends a request, unless the receiver takes none any more.
    fn ready(&self) -> Option<SendRequest<Bytes>> {
        let mut sender = self.sender.clone();
        // It waits for nothing: a handle of its own has no other request.
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(()))).then_some(sender)
    }

    /// For the driver: takes in what the receiver has said. When it goes away, whoever waits for a place goes elsewhere.
    pub(super) fn heed(&self) {
        let streams = streams(&self.sender);
        let mut made = self.places_made();
        if *made <= streams {
            self.places.add_permits(streams - *made);
            *made = streams;
        } else {
            // What is taken of them goes when it is given back.
            *made -= self.places.forget_permits(*made - streams);
        }
        drop(made);
        if self.places.available_permits() == 0 && self.ready().is_none() {
            self.close();
        }
    }

    /// Takes a place back, which is no more where the receiver takes fewer streams now.
    fn give_back(&self) {
        let mut made = self.places_made();
        if *made > streams(&self.sender) {
            *made -= 1;
        } else {
            self.places.add_permits(1);
        }
    }

    pub(super) fn places_made(&self) -> MutexGuard<'_, usize> {
        self.places_made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an exchange is on it, or waits although the receiver takes none.
    fn is_used(&self) -> bool {
        self.has_exchanges() || *self.places_made() == 0
    }

    /// Whether an exchange is on it.
    pub(super) fn has_exchanges(&self) -> bool {
        self.exchanges.load(Ordering::Acquire) > 0
    }

    /// How many exchanges have begun one after the other, each of them alone.
    pub(super) fn lone(&self) -> usize {
        self.lone.load(Ordering::Relaxed)
    }

    /// The next exchange comes long after the last one.
    pub(super) fn end_row(&self) {
        self.lone.store(0, Ordering::Relaxed);
    }

    /// Lets no more exchanges begin; those that wait for a place hear of it.
    pub(super) fn close(&self) {
        self.places.close();
    }

    /// Whether the connection takes no more requests.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Whether it ended because no sign of life came.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }
}

/// How many streams the receiver takes at once.
fn streams(sender: &SendRequest<Bytes>) -> usize {
    sender.current_max_send_streams().min(STREAMS_MAX)
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.exchanges.fetch_sub(1, Ordering::AcqRel);
        self.0.give_back();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        mut connection: Connection<Cork<S>, Bytes>,
        cork: Cork<S>,
        pings: Pings,
        record: Record,
        state: &Arc<State>,
    ) -> Self {
        let alive = connection.ping_pong().map(|ping_pong| Alive::new(ping_pong, pings));
        Self { connection, cork, alive, record, state: Arc::downgrade(state) }
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
        let state = this.state.upgrade();
        if let Some(state) = &state {
            state.heed();
        }
        if this.cork.poll_out(cx) == Poll::Ready(false) {
            // So that each stream hears why.
            let _ = Pin::new(&mut this.connection).poll(cx);
            return Poll::Ready(());
        }
        let Some(alive) = &mut this.alive else { return Poll::Pending };
        let is_used = state.as_ref().is_some_and(|state| state.is_used());
        ready!(alive.poll_lost(cx, this.record.read(), is_used));
        if let Some(state) = state {
            state.is_lost.store(true, Ordering::Release);
        }
        Poll::Ready(())
    }
}

impl<S> Drop for Driver<S> {
    /// The connection goes after this, and its streams hear of it then.
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            state.has_ended.store(true, Ordering::Release);
            state.close();
        }
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
