//! `limits.rate`: attempts spaced out evenly, by the generic cell rate algorithm (ITU-T I.371).

use std::time::Duration;

/// The burst of a rate that names none: what so much time is worth. Timers cannot tell much finer ones apart.
const BURST_TIME: Duration = Duration::from_millis(20);

/// `limits.rate` and `limits.burst` of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// One attempt an interval, and up to `burst` at once after a quiet time; `None` is one, or what 20 ms of the rate are. An
    /// interval or burst of nothing is the least there is.
    #[must_use]
    pub fn new(interval: Duration, burst: Option<u32>) -> Self {
        let interval = interval.max(Duration::from_nanos(1));
        let smooth = u32::try_from(BURST_TIME.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
        Self { interval, burst: burst.unwrap_or(smooth).max(1) }
    }

    /// Between two attempts.
    #[must_use]
    pub const fn interval(self) -> Duration {
        self.interval
    }

    /// Attempts at once after a quiet time.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }
}

/// What is spent of a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// When all of the burst is there again.
    whole_at: Duration,
}

impl Spent {
    /// How many attempts may begin now, at least one; the error is when the next one may, which lies ahead.
    pub(super) fn room(self, rate: Rate, now: Duration) -> Result<usize, Duration> {
        let from = self.whole_at.max(now);
        let up_to = now.saturating_add(rate.interval.saturating_mul(rate.burst - 1));
        match up_to.checked_sub(from) {
            Some(room) => {
                let more = usize::try_from(room.as_nanos() / rate.interval.as_nanos()).unwrap_or(usize::MAX);
                Ok(more.saturating_add(1))
            }
            None => Err(now.saturating_add(from.saturating_sub(up_to))),
        }
    }

    /// One attempt begins.
    pub(super) fn spend(&mut self, rate: Rate, now: Duration) {
        self.whole_at = self.whole_at.max(now).saturating_add(rate.interval);
    }

    /// Another rate counts from now on: the next attempt is never farther away than by that one.
    pub(super) fn carry_over(&mut self, rate: Rate, now: Duration) {
        self.whole_at = self.whole_at.min(now.saturating_add(rate.interval.saturating_mul(rate.burst)));
    }
}
