//! A limit on how long the other end of a connection may take nothing of what is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Measures how long the other end has taken nothing. A write that goes on costs no timer.
#[derive(Debug)]
pub struct Stall {
    limit: Duration,
    /// Runs while something waits to be written.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Nothing waits yet.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Passes a write's result on, and ends the write as timed out when it has waited too long.
    pub fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.timer = None;
            return polled;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_write_that_waits_too_long_ends_and_one_that_goes_on_starts_the_time_again() {
        let limit = Duration::from_millis(20);
        let mut stall = Stall::new(limit);
        let waits = || Poll::<io::Result<usize>>::Pending;
        let begun = std::time::Instant::now();
        let ended = poll_fn(|cx| stall.watch(cx, waits())).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= limit);
        poll_fn(|cx| stall.watch(cx, Poll::Ready(Ok(1)))).await.unwrap();
        assert!(stall.timer.is_none());
    }
}
