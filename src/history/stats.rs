//! What a webhook's attempts came to lately, in a few numbers that people look at.

use std::time::Duration;

use jiff::Timestamp;

use crate::delivery::Reason;
use crate::history::InvocationId;

/// The minutes that are counted one by one.
pub const MINUTES: usize = 60;
/// Durations are counted apart for so many minutes each, which are forgotten as one.
const SPAN_MINUTES: i64 = 10;
/// How many such spans make an hour, the running one not counted.
const SPANS: usize = 7;
/// Classes of durations: four for each doubling, from 1 ms to about 65 s.
const CLASSES: usize = 64;

/// Counts of one webhook's attempts.
pub struct Stats {
    accepted: u64,
    failed: u64,
    /// The minute since the epoch that the last of `minutes` stands for.
    minute: i64,
    minutes: [Minute; MINUTES],
    /// The second since the epoch that the last of `seconds` stands for.
    second: i64,
    seconds: [Minute; 60],
    span: i64,
    durations: [[u32; CLASSES]; SPANS],
    last_success: Option<Timestamp>,
    last_failure: Option<(Timestamp, InvocationId, Reason)>,
    failing: bool,
}

/// What ended in one minute, or in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Attempts that were accepted.
    pub accepted: u32,
    /// Attempts that failed.
    pub failed: u32,
}

/// The numbers as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Attempts that were accepted since the process began.
    pub accepted: u64,
    /// Attempts that failed since then.
    pub failed: u64,
    /// The end of the last minute, which runs.
    pub until: Timestamp,
    /// The last hour, the oldest first.
    pub minutes: [Minute; MINUTES],
    /// What ended in the last 60 seconds.
    pub lately: Minute,
    /// Half of the last hour's attempts took no longer.
    pub p50: Option<Duration>,
    /// 99 % of them took no longer.
    pub p99: Option<Duration>,
    /// When an attempt was last accepted.
    pub last_success: Option<Timestamp>,
    /// When one last failed, which one, and why.
    pub last_failure: Option<(Timestamp, InvocationId, Reason)>,
    /// Whether the last attempt failed.
    pub failing: bool,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            accepted: 0,
            failed: 0,
            minute: 0,
            minutes: [Minute::default(); MINUTES],
            second: 0,
            seconds: [Minute::default(); 60],
            span: 0,
            durations: [[0; CLASSES]; SPANS],
            last_success: None,
            last_failure: None,
            failing: false,
        }
    }
}

impl Stats {
    /// Counts an attempt that ended at a time; `failure` says why it failed.
    pub fn count(&mut self, at: Timestamp, duration: Duration, failure: Option<(InvocationId, Reason)>) {
        self.advance(at);
        let (minute, second) = (&mut self.minutes[MINUTES - 1], &mut self.seconds[59]);
        self.failing = failure.is_some();
        if let Some((id, reason)) = failure {
            self.failed += 1;
            minute.failed = minute.failed.saturating_add(1);
            second.failed = second.failed.saturating_add(1);
            self.last_failure = Some((at, id, reason));
        } else {
            self.accepted += 1;
            minute.accepted = minute.accepted.saturating_add(1);
            second.accepted = second.accepted.saturating_add(1);
            self.last_success = Some(at);
        }
        let class = &mut self.durations[SPANS - 1][class(duration)];
        *class = class.saturating_add(1);
    }

    /// The numbers at a time.
    pub fn figures(&mut self, now: Timestamp) -> Figures {
        self.advance(now);
        let lately = self.seconds.iter().fold(Minute::default(), |sum, second| Minute {
            accepted: sum.accepted.saturating_add(second.accepted),
            failed: sum.failed.saturating_add(second.failed),
        });
        Figures {
            accepted: self.accepted,
            failed: self.failed,
            until: Timestamp::from_second((self.minute + 1).saturating_mul(60)).unwrap_or(now),
            minutes: self.minutes,
            lately,
            p50: self.quantile(50),
            p99: self.quantile(99),
            last_success: self.last_success,
            last_failure: self.last_failure,
            failing: self.failing,
        }
    }

    /// Moves on to a time. A clock that is set back counts on in the latest minute.
    fn advance(&mut self, now: Timestamp) {
        let second = now.as_second();
        shift(&mut self.seconds, Minute::default(), &mut self.second, second);
        shift(&mut self.minutes, Minute::default(), &mut self.minute, second.div_euclid(60));
        shift(&mut self.durations, [0; CLASSES], &mut self.span, second.div_euclid(60 * SPAN_MINUTES));
    }

    fn quantile(&self, percent: u64) -> Option<Duration> {
        let mut classes = [0_u64; CLASSES];
        for span in &self.durations {
            classes.iter_mut().zip(span).for_each(|(sum, count)| *sum += u64::from(*count));
        }
        let all: u64 = classes.iter().sum();
        let wanted = (all * percent).div_ceil(100);
        let mut seen = 0;
        let class = classes.iter().position(|count| {
            seen += count;
            seen >= wanted && wanted > 0
        })?;
        Some(upper(class))
    }
}

/// Moves a row on until its last place stands for `now`, with empty places for what passed.
fn shift<T: Copy, const N: usize>(row: &mut [T; N], empty: T, last: &mut i64, now: i64) {
    let passed = usize::try_from(now.saturating_sub(*last)).unwrap_or(0).min(N);
    if passed == 0 {
        return;
    }
    *last = now;
    row.copy_within(passed.., 0);
    row[N - passed..].fill(empty);
}

/// The class of a duration: the first whose upper end it does not pass.
fn class(duration: Duration) -> usize {
    let micros = duration.as_micros().min(u128::from(u64::MAX));
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    // Quarters between doublings are linear: 1, 1.25, 1.5, 1.75, 2 ms, …
    let quarters = micros.saturating_mul(4).div_ceil(1000).max(4);
    let doublings = quarters.ilog2() - 2;
    let step = 1_u64 << doublings;
    let within = (quarters - (step << 2)).div_ceil(step);
    usize::try_from(u64::from(doublings) * 4 + within).unwrap_or(CLASSES - 1).min(CLASSES - 1)
}

/// The upper end of a class.
fn upper(class: usize) -> Duration {
    let (doublings, within) = (class / 4, class % 4);
    let quarters = (4 + within as u64) << doublings;
    Duration::from_micros(quarters * 250)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_class_holds_what_is_up_to_its_upper_end() {
        for class_number in 0..CLASSES {
            let end = upper(class_number);
            assert_eq!(class(end), class_number, "{end:?}");
            assert_eq!(class(end + Duration::from_micros(1)), (class_number + 1).min(CLASSES - 1), "{end:?}");
        }
        assert_eq!((class(Duration::ZERO), class(Duration::MAX)), (0, CLASSES - 1));
        assert!(upper(CLASSES - 1) > Duration::from_secs(50), "{:?}", upper(CLASSES - 1));
    }

    #[test]
    fn quantiles_are_of_the_last_hour() {
        let mut stats = Stats::default();
        assert_eq!(stats.figures(at(0)).p50, None);
        for number in 0..100 {
            stats.count(at(number), Duration::from_millis(if number < 60 { 10 } else { 100 }), None);
        }
        let figures = stats.figures(at(100));
        assert_eq!((figures.p50, figures.p99), (Some(Duration::from_millis(10)), Some(Duration::from_millis(112))));
        assert_eq!(stats.figures(at(2 * 3600)).p99, None);
    }

    #[test]
    fn minutes_move_on_and_a_clock_that_is_set_back_counts_on() {
        let mut stats = Stats::default();
        let failure = Some((InvocationId(7), Reason::Timeout));
        stats.count(at(0), Duration::ZERO, None);
        stats.count(at(61), Duration::ZERO, failure);
        stats.count(at(-600), Duration::ZERO, None);
        let figures = stats.figures(at(61));
        assert_eq!(figures.minutes[MINUTES - 2], Minute { accepted: 1, failed: 0 });
        assert_eq!(figures.minutes[MINUTES - 1], Minute { accepted: 1, failed: 1 });
        assert_eq!((figures.accepted, figures.failed, figures.failing), (2, 1, false));
        assert_eq!(figures.last_failure, Some((at(61), InvocationId(7), Reason::Timeout)));
        assert_eq!(figures.lately, Minute { accepted: 1, failed: 1 });
        let later = stats.figures(at(61 + 3 * 60));
        assert_eq!(later.minutes[MINUTES - 5], Minute { accepted: 1, failed: 0 });
        assert_eq!(later.lately, Minute::default());
        assert!(stats.figures(at(5 * 3600)).minutes.iter().all(|minute| *minute == Minute::default()));
    }
}
