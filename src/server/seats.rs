//! The seats of a listener: how many connections it serves at the same time, and who makes room when all are taken.
//!
//! A connection either works, while a request of it is being answered, or it waits for its client: to send a head or a body,
//! to read an answer, or to ask again. Clients that wait for nothing but time (slowloris) cost a seat each. So when all are
//! taken, the connection that has waited for its client the longest makes room for a new one, if it has for
//! [`QUIET_MIN`](super::QUIET_MIN); one that works never does. While somebody stands before full seats, every answer also ends its
//! connection, so that those who ask again and again take turns with the others. No request is cut off while it is answered, and
//! those who stall keep nobody else out for longer than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How often those who wait are looked at while somebody stands before full seats.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two lines of the log about full seats.
const FULL_LOGGED_INTERVAL: Duration = Duration::from_mins(1);

/// The seats of one listener.
pub(super) struct Seats {
    count: usize,
    quiet_min: Duration,
    free: Arc<Semaphore>,
    /// Whether somebody stands before full seats: who is answered then has to leave, however often he asks.
    crowded: Arc<AtomicBool>,
    taken: Vec<(Arc<Seat>, AbortHandle)>,
    begun: Instant,
    told: Option<Instant>,
}

/// What a connection does on its seat.
pub(super) struct Seat {
    /// Milliseconds from the listener's begin to when it began to wait for its client, or [`WORKS`] or [`LEFT`].
    state: AtomicU64,
    begun: Instant,
    crowded: Arc<AtomicBool>,
}

/// The state of a seat whose connection answers a request.
const WORKS: u64 = u64::MAX;
/// The state of a seat whose connection is being ended.
const LEFT: u64 = u64::MAX - 1;

impl Seats {
    pub(super) fn new(count: usize, quiet_min: Duration) -> Self {
        let (free, begun) = (Arc::new(Semaphore::new(count)), Instant::now());
        Self { count, quiet_min, free, crowded: Arc::default(), taken: Vec::new(), begun, told: None }
    }

    /// A free seat, for as long as the permit is kept. It may take as long as all connections work.
    pub(super) async fn free(&mut self, listener: &str) -> OwnedSemaphorePermit {
        let free = Arc::clone(&self.free).try_acquire_owned();
        self.crowded.store(free.is_err(), Ordering::Relaxed);
        if let Ok(free) = free {
            return free;
        }
        let free = self.make_room(listener).await;
        self.crowded.store(false, Ordering::Relaxed);
        free
    }

    /// A seat for a new connection, which waits for its client.
    pub(super) fn seat(&self) -> Arc<Seat> {
        let seat = Seat { state: AtomicU64::new(0), begun: self.begun, crowded: Arc::clone(&self.crowded) };
        seat.waits();
        Arc::new(seat)
    }

    /// Remembers the task of a seat's connection: to end it makes room.
    pub(super) fn taken(&mut self, seat: Arc<Seat>, connection: AbortHandle) {
        if self.taken.len() >= self.count {
            self.taken.retain(|(_, connection)| !connection.is_finished());
        }
        self.taken.push((seat, connection));
    }

    /// Ends one that waits after the other until a seat is free.
    async fn make_room(&mut self, listener: &str) -> OwnedSemaphorePermit {
        if self.told.is_none_or(|told| told.elapsed() >= FULL_LOGGED_INTERVAL) {
            self.told = Some(Instant::now());
            let connections = self.count;
            tracing::warn!(
                listener,
                connections,
                note = "all connections are taken: those that wait for their clients make room",
                "server.crowded"
            );
        }
        loop {
            self.end_quietest();
            // The semaphore is never closed.
            if let Ok(Ok(free)) = tokio::time::timeout(LOOK_INTERVAL, Arc::clone(&self.free).acquire_owned()).await {
                return free;
            }
        }
    }

    /// Ends the connection that has waited the longest, if that is long enough.
    fn end_quietest(&self) {
        let waiting = self.taken.iter().filter(|(_, connection)| !connection.is_finished());
        let waiting = waiting.filter_map(|(seat, connection)| Some((seat.waits_from()?, seat, connection)));
        if let Some((from, seat, connection)) = waiting.min_by_key(|(from, ..)| *from)
            && self.begun.elapsed() >= Duration::from_millis(from) + self.quiet_min
            && seat.leave(from)
        {
            connection.abort();
        }
    }
}

impl Seat {
    /// From now on it waits for its client.
    pub(super) fn waits(&self) {
        self.state.store(self.now(), Ordering::Relaxed);
    }

    /// Its client has sent something, and has to send more. One that is being ended stays so.
    pub(super) fn waits_anew(&self) {
        let now = self.now();
        let anew = |state| (state < LEFT).then_some(now);
        // Not an error: it works, or has lost its seat.
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, anew);
    }

    /// From now on it works. Never returns where it came too late: its connection is being ended.
    pub(super) async fn works(&self) {
        if self.state.swap(WORKS, Ordering::Relaxed) == LEFT {
            std::future::pending::<()>().await;
        }
    }

    /// Whether others stand before full seats, so that this one is left after its answer.
    pub(super) fn is_wanted(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Milliseconds since the listener's begin.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0)
    }

    /// When it began to wait for its client; `None` where it does not.
    fn waits_from(&self) -> Option<u64> {
        Some(self.state.load(Ordering::Relaxed)).filter(|state| *state < LEFT)
    }

    /// Takes it from a connection that still waits.
    fn leave(&self, from: u64) -> bool {
        self.state.compare_exchange(from, LEFT, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A connection that ends when it is ended, and not before.
    async fn sit(seats: &mut Seats) -> Arc<Seat> {
        let free = tokio::time::timeout(PATIENCE, seats.free("here")).await.unwrap();
        let seat = seats.seat();
        let connection = tokio::spawn(async move {
            let _free = free;
            std::future::pending::<()>().await;
        });
        seats.taken(Arc::clone(&seat), connection.abort_handle());
        seat
    }

    #[tokio::test]
    async fn the_one_that_waits_the_longest_makes_room_once_it_was_quiet_and_those_that_work_do_not() {
        let quiet_min = Duration::from_millis(200);
        let mut seats = Seats::new(3, quiet_min);
        let works = sit(&mut seats).await;
        works.works().await;
        let waits_longest = sit(&mut seats).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let waits = sit(&mut seats).await;
        let before = Instant::now();
        let new = sit(&mut seats).await;
        assert!(before.elapsed() + Duration::from_millis(50) >= quiet_min, "{:?}", before.elapsed());
        assert_eq!((waits_longest.waits_from(), works.waits_from()), (None, None));
        assert!(waits.waits_from().is_some() && waits.waits_from() <= new.waits_from());
        assert_eq!(seats.taken.len(), 3, "who has left is forgotten");
    }

    #[tokio::test]
    async fn while_all_work_a_new_one_waits_until_one_is_quiet() {
        let mut seats = Seats::new(2, Duration::ZERO);
        let (one, other) = (sit(&mut seats).await, sit(&mut seats).await);
        one.works().await;
        other.works().await;
        assert!(tokio::time::timeout(3 * LOOK_INTERVAL, seats.free("here")).await.is_err());
        other.waits();
        sit(&mut seats).await;
        assert!(one.waits_from().is_none() && other.state.load(Ordering::Relaxed) == LEFT);
    }

    #[tokio::test]
    async fn who_is_being_ended_begins_no_work_and_who_has_begun_is_not_ended() {
        let seats = Seats::new(1, Duration::ZERO);
        let seat = seats.seat();
        let from = seat.waits_from().unwrap();
        seat.waits_anew();
        let from = seat.waits_from().unwrap_or(from);
        assert!(seat.leave(from) && !seat.leave(from));
        seat.waits_anew();
        assert!(tokio::time::timeout(LOOK_INTERVAL, seat.works()).await.is_err());
        let seat = seats.seat();
        let from = seat.waits_from().unwrap();
        seat.works().await;
        seat.waits_anew();
        assert!(!seat.leave(from) && seat.waits_from().is_none());
    }
}
