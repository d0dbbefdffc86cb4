//! The connection of HTTP/1.1 beside one of HTTP/2, for exchanges that come one at a time.
//!
//! Over HTTP/2 an exchange and the task that drives its connection wake each other, and what they write is framed and compressed for many.
//! That pays where there are many: what goes out together is one system call. One that is alone pays for it and gets nothing, an eighth of
//! what an event takes. So when exchanges have come one at a time for a while, a second connection is opened that offers HTTP/1.1 alone, and
//! what is alone goes over that. Nobody waits for it, and there is one at most for each host. A host that refuses it, or that does not keep it
//! open for as many exchanges again, is not asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;

use super::Client;
use super::connection::{Connection, Http1};
use super::http2::Http2;

/// So many exchanges that came one at a time are a while.
const LONE_MIN: usize = 16;
/// One that has waited longer for its first exchange is not used: it might be lost with a connection that the receiver has closed, and of one
/// that never served it is not known whether the receiver had seen the request.
const UNUSED_MAX: Duration = Duration::from_secs(2);

/// What the connection carries, so that its host knows whether there is one and how often it was put back.
#[derive(Clone, Default)]
pub(super) struct Beside(Arc<AtomicUsize>);

impl Beside {
    /// It was put back, or put into the pool first.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// For the host, which keeps one as well: whether the connection is there, be it idle, in use or being dialled.
    pub(super) fn is_there(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Whether there may be another one: it is gone and was worth its opening.
    pub(super) fn may_follow(&self) -> bool {
        !self.is_there() && self.0.load(Ordering::Relaxed) > LONE_MIN
    }
}

impl Http1 {
    /// Whether an exchange should use it, idle since that time: where HTTP/2 can be had, one that is beside it.
    pub(super) fn is_of_use(&self, has_http2: bool, since: Instant) -> bool {
        match self.beside() {
            Some(_) => self.has_served() || since.elapsed() < UNUSED_MAX,
            None => !has_http2,
        }
    }
}

/// Whether it is time to ask for one: exchanges have come one at a time on this connection.
pub(super) fn is_sparse(connection: &Http2) -> bool {
    let lone = connection.lone();
    lone > 0 && lone.is_multiple_of(LONE_MIN)
}

impl Client {
    /// Opens one, unless there is one or none is wanted.
    pub(super) fn open_beside(&self, uri: &Uri, authority: &Authority) {
        let Some(beside) = self.pool.beside(authority) else { return };
        let (connector, pool) = (self.connector.clone(), Arc::downgrade(&self.pool));
        let (uri, authority) = (uri.clone(), authority.clone());
        tokio::spawn(async move {
            let Ok(socket) = connector.connect_http1(&uri).await else { return };
            // A receiver that agrees on nothing may speak HTTP/2 all the same.
            if !socket.is_http1() {
                return;
            }
            if let (Ok(Connection::Http1(mut connection)), Some(pool)) =
                (Connection::open(socket).await, pool.upgrade())
            {
                connection.put_beside(beside);
                pool.put(&authority, connection);
            }
        });
    }
}
