//! The connection of HTTP/1.1 beside one of HTTP/2, for exchanges that come one at a time.
//!
//! Over HTTP/2 an exchange and the task that drives its connection wake each other, and what they write is framed and compressed for many.
//! That pays where there are many: what goes out together is one system call. One that is alone pays for it and gets nothing, about a tenth
//! of what an event takes. So when exchanges have come close behind each other and never two at once, a second connection is opened that offers
//! HTTP/1.1 alone, and what is alone goes over that. Nobody waits for it, and there is one at most for each host. Where it could not be had, or
//! was not kept open for as many exchanges again, the next one is tried after a pause.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;

use super::Client;
use super::connection::{Connection, Http1};
use super::http2::Http2;

/// So many exchanges in a row are worth a connection.
const LONE_MIN: usize = 16;
/// They are in a row where each begins so soon after the one before. A new connection that has waited longer for its first exchange is not
/// used: the receiver may have closed it, and of one that never served it is not known whether the receiver had seen the request.
pub(super) const CLOSE_BEHIND: Duration = Duration::from_secs(2);
/// What was not worth it is tried again after so long.
const PAUSE: Duration = Duration::from_mins(1);

/// What is known of the connection beside the shared one of a host.
#[derive(Default)]
pub(super) struct Beside {
    idle: Option<(Box<Http1>, Instant)>,
    /// Whether there is one, be it idle, in use or being dialled.
    there: Weak<()>,
    /// When the last one was asked for.
    asked: Option<Instant>,
    /// How often that one came back.
    served: usize,
}

/// What such a connection carries as long as there is one.
pub(super) struct Token(#[expect(dead_code, reason = "it is counted")] Arc<()>);

impl Beside {
    /// What the next one is to carry, where one may be opened now.
    pub(super) fn ask(&mut self) -> Option<Token> {
        let paused = self.served < LONE_MIN && self.asked.is_some_and(|asked| asked.elapsed() < PAUSE);
        if paused || self.is_there() {
            return None;
        }
        let token = Arc::new(());
        *self = Self { there: Arc::downgrade(&token), asked: Some(Instant::now()), ..Self::default() };
        Some(Token(token))
    }

    pub(super) fn is_there(&self) -> bool {
        self.there.strong_count() > 0
    }

    /// The connection, if it waits for its next exchange and may have one.
    pub(super) fn take(&mut self, idle_timeout: Duration) -> Option<Box<Http1>> {
        let is_of_use = |(connection, since): &mut (Box<Http1>, Instant)| {
            since.elapsed() < if connection.has_served() { idle_timeout } else { CLOSE_BEHIND }
        };
        self.idle.take_if(is_of_use).map(|(connection, _)| connection)
    }

    /// Takes it back, or takes it at first.
    pub(super) fn put(&mut self, connection: Box<Http1>) {
        self.served += usize::from(connection.has_served());
        self.idle = Some((connection, Instant::now()));
    }

    /// Lets go of it where it waits and is no good any more.
    pub(super) fn take_if(
        &mut self,
        is_over: impl FnOnce(&mut (Box<Http1>, Instant)) -> bool,
    ) -> Option<(Box<Http1>, Instant)> {
        self.idle.take_if(is_over)
    }
}

/// Whether it is time to ask for one: exchanges have come one at a time on this connection.
pub(super) fn is_sparse(connection: &Http2) -> bool {
    let lone = connection.lone();
    lone > 0 && lone.is_multiple_of(LONE_MIN)
}

impl Client {
    /// Opens one, if one may be opened now.
    pub(super) fn open_beside(&self, uri: &Uri, authority: &Authority) {
        let Some(token) = self.pool.ask_beside(authority) else { return };
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
                connection.put_beside(token);
                pool.put(&authority, connection);
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_of_use_is_followed_at_once_and_another_one_after_a_pause() {
        let mut beside = Beside::default();
        let token = beside.ask().unwrap();
        beside.served = LONE_MIN;
        assert!(beside.ask().is_none(), "there is one");
        drop(token);
        drop(beside.ask().unwrap());
        beside.served = LONE_MIN - 1;
        assert!(beside.ask().is_none(), "it was not worth it");
        beside.asked = Instant::now().checked_sub(PAUSE);
        assert!(beside.ask().is_some());
    }
}
