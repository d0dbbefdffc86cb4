//! The connections that wait for their next exchange.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::uri::Authority;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::beside::Beside;
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
    /// The last one of HTTP/1.1 beside the shared one.
    beside: Option<Beside>,
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
            if host.idle.len() >= self.limits.idle_per_host_max {
                return Some(connection);
            }
            let now = Instant::now();
            match connection.beside() {
                Some(beside) => beside.note(),
                // What is left of a time before HTTP/2 says nothing new.
                None if host.has_shared() => {}
                None => host.http1_heard = Some(now),
            }
            host.idle.push((connection, now));
            None
        });
    }

    /// What a connection beside the shared one is to carry, where one may be opened.
    pub(super) fn beside(self: &Arc<Self>, authority: &Authority) -> Option<Beside> {
        self.with(authority, |host| {
            if host.http1_heard.is_some() || host.beside.as_ref().is_some_and(|beside| !beside.may_follow()) {
                return None;
            }
            Some(host.beside.insert(Beside::default()).clone())
        })
    }

    /// An exchange over HTTP/1.1 ran out of time: what is shared and not in use may be as dead as its connection.
    pub(super) fn doubt(&self, authority: &Authority) {
        let mut state = self.state();
        let shared = state.hosts.get_mut(authority).and_then(|host| host.shared.as_ref());
        if let Some((shared, _)) = shared.filter(|(shared, _)| !shared.has_exchanges()) {
            shared.poison();
        }
    }

    /// Takes out what is too old or was closed. Whether there is nothing left to look after, so that its caller's time is over.
    fn sweep(&self) -> (Vec<(Box<Http1>, Instant)>, bool) {
        let mut gone = Vec::new();
        let mut state = self.state();
        state.hosts.retain(|_, host| {
            let is_over = |since: &Instant| since.elapsed() >= self.limits.idle_timeout;
            gone.extend(host.idle.extract_if(.., |(connection, since)| is_over(since) || !connection.is_idle()));
            host.shared.take_if(|(connection, asked)| is_over(asked) || !connection.is_open());
            // What is known of a host outlives its connections: there are receivers that keep none open.
            let is_known = host.http1_heard.is_some_and(|heard| !is_over(&heard));
            let has_beside = host.beside.as_ref().is_some_and(Beside::is_there);
            is_known || has_beside || !host.idle.is_empty() || host.shared.is_some() || host.dials().is_some()
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
        let has_http2 = shared.is_some();
        if shared.as_ref().is_none_or(|(shared, _)| !shared.has_exchanges()) {
            let fits = |(connection, since): &mut (Box<Http1>, Instant)| {
                after.is_none() && since.elapsed() < idle_timeout && connection.is_of_use(has_http2, *since)
            };
            if let Some((connection, _)) = self.idle.pop_if(fits) {
                return Some(Connection::Http1(connection));
            }
        }
        let (shared, asked) = shared?;
        *asked = Instant::now();
        Some(Connection::Http2(Arc::clone(shared)))
    }

    fn has_shared(&self) -> bool {
        self.shared.as_ref().is_some_and(|(shared, _)| shared.is_open())
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
