//! The connections that wait for their next exchange.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::uri::Authority;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::beside::{Beside, CLOSE_BEHIND, Token};
use super::connect::ATTEMPT_DELAY;
use super::connection::{Connection, Http1};
use super::http2::Http2;

/// An idle connection is closed after this time; receivers' own limits are often 60 s or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Idle connections that are kept for one host: as many as one webhook may have attempts at once. What many attempts leave behind is
/// what as many will want next, and there are never more than there were attempts at once within the idle timeout.
const IDLE_PER_HOST_MAX: usize = 1_000;
/// So often idle connections are looked at: those whose time is over go, and those that their receivers closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The idle connections of one client, by authority.
pub(super) struct Pool {
    limits: Limits,
    state: Mutex<State>,
}

struct Limits {
    idle_timeout: Duration,
    idle_per_host_max: usize,
    sweep_interval: Duration,
}

#[derive(Default)]
struct State {
    hosts: HashMap<Authority, Host>,
    /// Runs while there are hosts.
    sweeper: Option<AbortOnDropHandle<()>>,
}

/// What is known of an authority.
#[derive(Default)]
struct Host {
    /// Each for one exchange at a time. The last one in is the first one out: those that are not needed grow old.
    idle: Vec<(Box<Http1>, Instant)>,
    /// For all, with the time at which it was last asked for.
    shared: Option<(Arc<Http2>, Instant)>,
    /// What there is beside the shared one.
    beside: Beside,
    /// When it was last heard to speak HTTP/1.1, if that is what it spoke last.
    http1_heard: Option<Instant>,
    /// Those who dial for all, and when the last of them began.
    dialling: Option<(Weak<watch::Sender<()>>, Instant)>,
}

/// What each of those who dial for all keeps while it does. Whoever is subscribed hears of a connection that one of them opened, and when
/// none of them dials any more.
pub(super) type Dials = Arc<watch::Sender<()>>;

/// Where an exchange gets its connection from.
pub(super) enum Found {
    /// Here it is.
    Ready(Connection),
    /// Somebody dials, and all may share what comes of it. At that time somebody else is to dial as well.
    Wait(watch::Receiver<()>, Instant),
    /// One has to be dialled; for all, where there is something to keep.
    Dial(Option<Dials>),
}

impl Pool {
    /// An empty one.
    pub(super) fn new() -> Arc<Self> {
        let (idle_timeout, sweep_interval) = (IDLE_TIMEOUT, SWEEP_INTERVAL);
        Self::with_limits(Limits { idle_timeout, idle_per_host_max: IDLE_PER_HOST_MAX, sweep_interval })
    }

    fn with_limits(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// A connection that waits. With `after` it must have been opened after that.
    pub(super) fn take(&self, authority: &Authority, after: Option<Instant>) -> Option<Connection> {
        loop {
            // The lock is let go of before the connection is looked at.
            let taken = self.state().hosts.get_mut(authority)?.take(self.limits.idle_timeout, after)?;
            if let Some(connection) = still_open(taken) {
                return Some(connection);
            }
        }
    }

    /// The same, or what to do where none waits. Whoever `has_waited` until somebody's dialling ended does not wait again.
    pub(super) fn find(self: &Arc<Self>, authority: &Authority, after: Option<Instant>, has_waited: bool) -> Found {
        loop {
            let found = self.with(authority, |host| match host.take(self.limits.idle_timeout, after) {
                Some(taken) => Found::Ready(taken),
                None => host.dial(has_waited),
            });
            match found {
                Found::Ready(taken) => {
                    if let Some(connection) = still_open(taken) {
                        return Found::Ready(connection);
                    }
                }
                other => return other,
            }
        }
    }

    /// Remembers what a connection that was dialled speaks, and shares it if it can be shared.
    pub(super) fn opened(self: &Arc<Self>, authority: &Authority, connection: &Connection) {
        let dials = self.with(authority, |host| {
            let now = Instant::now();
            match connection {
                Connection::Http1(_) => host.http1_heard = Some(now),
                Connection::Http2(connection) => {
                    host.http1_heard = None;
                    host.shared = Some((Arc::clone(connection), now));
                }
            }
            host.dials()
        });
        if let Some(dials) = dials {
            dials.send_replace(());
        }
    }

    /// Takes a connection back after a complete exchange, if it can be used again.
    pub(super) fn put(self: &Arc<Self>, authority: &Authority, mut connection: Box<Http1>) {
        if !connection.is_idle() {
            return;
        }
        // What finds no room is closed, and not while others wait for the lock.
        let _surplus = self.with(authority, |host| {
            if connection.is_beside() {
                host.beside.put(connection);
                return None;
            }
            if host.idle.len() >= self.limits.idle_per_host_max {
                return Some(connection);
            }
            let now = Instant::now();
            // Where HTTP/2 is spoken by now, what is left of a time before says nothing new.
            if host.shared.as_ref().is_none_or(|(shared, _)| !shared.is_open()) {
                host.http1_heard = Some(now);
            }
            host.idle.push((connection, now));
            None
        });
    }

    /// What a connection beside the shared one is to carry, where one may be opened now.
    pub(super) fn ask_beside(self: &Arc<Self>, authority: &Authority) -> Option<Token> {
        self.with(authority, |host| if host.http1_heard.is_none() { host.beside.ask() } else { None })
    }

    /// An exchange that began at that time ran out of it: what has waited since before may be as dead as its connection was.
    pub(super) fn doubt(&self, authority: &Authority, begun: Instant) {
        let mut state = self.state();
        let Some(host) = state.hosts.get_mut(authority) else { return };
        if let Some((shared, asked)) = &host.shared
            && *asked < begun
            && !shared.has_exchanges()
        {
            shared.poison();
        }
        let doubted = host.beside.take_if(|(_, since)| *since < begun);
        drop(state);
        drop(doubted);
    }

    /// Takes out what is too old or was closed. Whether there is nothing left to look after, so that its caller's time is over.
    fn sweep(&self) -> (Vec<(Box<Http1>, Instant)>, bool) {
        let mut gone = Vec::new();
        let mut state = self.state();
        state.hosts.retain(|_, host| {
            let is_over = |since: &Instant| since.elapsed() >= self.limits.idle_timeout;
            gone.extend(host.idle.extract_if(.., |(connection, since)| is_over(since) || !connection.is_idle()));
            gone.extend(host.beside.take_if(|(connection, since)| is_over(since) || !connection.is_idle()));
            host.shared.take_if(|(connection, asked)| is_over(asked) || !connection.is_open());
            // What is known of a host outlives its connections: there are receivers that keep none open.
            let is_known = host.http1_heard.is_some_and(|heard| !is_over(&heard));
            is_known
                || host.beside.is_there()
                || !host.idle.is_empty()
                || host.shared.is_some()
                || host.dials().is_some()
        });
        let is_empty = state.hosts.is_empty();
        if is_empty && let Some(sweeper) = state.sweeper.take() {
            sweeper.detach();
        }
        (gone, is_empty)
    }

    /// Does something with what is known of an authority, which is looked after from then on.
    fn with<T>(self: &Arc<Self>, authority: &Authority, act: impl FnOnce(&mut Host) -> T) -> T {
        let mut state = self.state();
        if state.sweeper.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let sweeping = sweep(Arc::downgrade(self), self.limits.sweep_interval);
            state.sweeper = Some(AbortOnDropHandle::new(tokio::spawn(sweeping)));
        }
        if let Some(host) = state.hosts.get_mut(authority) {
            return act(host);
        }
        act(state.hosts.entry(authority.clone()).or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn take(&mut self, idle_timeout: Duration, after: Option<Instant>) -> Option<Connection> {
        let shared = self.shared.as_mut().filter(|(shared, asked)| {
            asked.elapsed() < idle_timeout && shared.is_open() && after.is_none_or(|after| shared.is_since(after))
        });
        // What is sent together with others costs less over HTTP/2, and what is alone over HTTP/1.1.
        if after.is_none()
            && shared.as_ref().is_none_or(|(shared, _)| !shared.has_exchanges())
            && let Some(connection) = self.beside.take(idle_timeout)
        {
            return Some(Connection::Http1(connection));
        }
        if let Some((shared, asked)) = shared {
            if asked.elapsed() > CLOSE_BEHIND {
                shared.end_row();
            }
            *asked = Instant::now();
            return Some(Connection::Http2(Arc::clone(shared)));
        }
        let fresh = |(_, since): &mut (_, Instant)| after.is_none() && since.elapsed() < idle_timeout;
        self.idle.pop_if(fresh).map(|(connection, _)| Connection::Http1(connection))
    }

    fn dial(&mut self, has_waited: bool) -> Found {
        if self.http1_heard.is_some() {
            return Found::Dial(None);
        }
        if let (Some(dials), Some((_, since)), false) = (self.dials(), &self.dialling, has_waited)
            && since.elapsed() < ATTEMPT_DELAY
        {
            return Found::Wait(dials.subscribe(), *since + ATTEMPT_DELAY);
        }
        let dials = self.dials().unwrap_or_default();
        self.dialling = Some((Arc::downgrade(&dials), Instant::now()));
        Found::Dial(Some(dials))
    }

    /// Where somebody dials for all.
    fn dials(&self) -> Option<Dials> {
        self.dialling.as_ref()?.0.upgrade()
    }
}

/// A connection that was taken, unless its receiver has closed it meanwhile: most that were closed are known to be by now.
fn still_open(taken: Connection) -> Option<Connection> {
    match taken {
        Connection::Http1(mut connection) => connection.is_idle().then_some(Connection::Http1(connection)),
        Connection::Http2(shared) => Some(Connection::Http2(shared)),
    }
}

async fn sweep(pool: Weak<Pool>, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(pool) = pool.upgrade() else { return };
        let (gone, is_empty) = pool.sweep();
        drop(pool);
        // Each one says goodbye, which takes time, and others have something to do.
        for connection in gone {
            drop(connection);
            consume_budget().await;
        }
        if is_empty {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
