//! The gate of a webhook: how many attempts may begin now, and why not more. Pure: time and jitter are arguments.
//!
//! One mechanism holds attempts back for every cause. A *pause* begins when failures in a row reach `breaker.failures`, when the
//! target is at fault ([`Cause`]), or when it asks for time. While it lasts one probe at a time goes out, each after a longer
//! wait; when the target is gone none does. A probe that the target answers as one that works ends it; so do a changed
//! definition and [`Gate::resume`]. Beside it `limits.rate` spaces attempts out (GCRA: a cell has the rate and a burst).
//!
//! Every attempt that begins takes a [`Ticket`]. The ticket knows which epoch it is from: an attempt that began before a pause
//! says nothing about the time since, so what it comes to neither ends the pause nor begins another.

mod rate;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::delivery::Cause;

pub use rate::Rate;

use rate::Spent;

/// A pause for a 429 that names no time.
const RATE_LIMITED_WAIT: Duration = Duration::from_mins(1);
/// A wait grows by this part of itself at most, so that many webhooks do not probe one target together.
const JITTER_PART: f64 = 0.1;
/// What a receiver asked for grows by this at most.
const JITTER_MAX: Duration = Duration::from_secs(1);

/// `[breaker]` of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that begin a pause, at least 1.
    pub failures: u32,
    /// Before the first probe; the wait doubles with each that fails.
    pub probe: Duration,
}

/// What a gate goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When failures begin a pause, and when the first probe goes.
    pub breaker: Breaker,
    /// The longest wait for a probe (`retry.max_interval`); the first wait may be longer.
    pub probe_max: Duration,
    /// How fast attempts may follow each other.
    pub rate: Option<Rate>,
}

/// What may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// So many attempts, at least one; [`usize::MAX`] is any number.
    Open(usize),
    /// One, to find out whether the target works again.
    Probe,
    /// Nothing before this time, which lies ahead.
    Until(Duration),
    /// Nothing until a probe ends, or a person or an edit ends the pause.
    Held,
}

/// The right to one attempt. It is given back by [`Gate::ended`] or [`Gate::lost`].
#[derive(Debug)]
pub struct Ticket {
    epoch: u64,
    probe: bool,
}

impl Ticket {
    /// Whether the attempt is a probe: it is made to learn about the target, and costs its delivery nothing.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe
    }
}

/// What an attempt says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The target answered as one that works, whatever it thinks of the payload.
    Works,
    /// Nothing: it never came to an exchange.
    Nothing,
    /// It failed in a way that may pass by itself.
    Fails,
    /// It is at fault, or asks for time.
    Faulty(Cause),
}

/// The same with what the target asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// About the target.
    pub says: Says,
    /// What it asked to wait for all of the webhook's deliveries (`Retry-After`, within its bound).
    pub asked: Option<Duration>,
}

/// What came of a verdict, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A pause began, or goes on for another cause.
    Paused {
        /// Why.
        cause: Cause,
        /// When the first probe goes out; `None` is never.
        next_probe: Option<Duration>,
    },
    /// A pause ended.
    Resumed {
        /// Why it was there.
        cause: Cause,
        /// How long.
        lasted: Duration,
    },
}

/// A pause that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Duration,
    /// When the next probe goes out, or went out if it is under way; `None` is never.
    pub next_probe: Option<Duration>,
    probing: bool,
    failed_probes: u32,
}

/// The gate of one webhook.
#[derive(Debug)]
pub struct Gate {
    terms: Terms,
    spent: Spent,
    failures: u32,
    pause: Option<Pause>,
    /// Counts beginnings and ends of pauses.
    epoch: u64,
    /// The first epoch of the definition in force: what began before it was another matter.
    renewed: u64,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms, spent: Spent::default(), failures: 0, pause: None, epoch: 0, renewed: 0 }
    }

    /// The pause in force.
    #[must_use]
    pub const fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    /// What may begin now. Asking costs nothing.
    #[must_use]
    pub fn poll(&self, now: Duration) -> Poll {
        let Some(pause) = &self.pause else { return self.rated(now) };
        match pause.next_probe {
            None => Poll::Held,
            Some(_) if pause.probing => Poll::Held,
            Some(at) if at > now => Poll::Until(at),
            Some(_) => match self.rated(now) {
                Poll::Open(_) => Poll::Probe,
                other => other,
            },
        }
    }

    fn rated(&self, now: Duration) -> Poll {
        let Some(rate) = self.terms.rate else { return Poll::Open(usize::MAX) };
        self.spent.room(rate, now).map_or_else(Poll::Until, Poll::Open)
    }

    /// Begins one attempt, when one may begin: this is what spends the rate.
    pub fn begin(&mut self, now: Duration) -> Option<Ticket> {
        let probe = match self.poll(now) {
            Poll::Open(_) => false,
            Poll::Probe => true,
            Poll::Until(_) | Poll::Held => return None,
        };
        if let Some(rate) = self.terms.rate {
            self.spent.spend(rate, now);
        }
        if let Some(pause) = &mut self.pause {
            pause.probing = true;
        }
        Some(Ticket { epoch: self.epoch, probe })
    }

    /// Takes in what an attempt came to. `jitter` is random in 0 to 1.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt ends once")]
    pub fn ended(&mut self, ticket: Ticket, verdict: Verdict, now: Duration, jitter: f64) -> Option<Change> {
        if ticket.epoch < self.renewed {
            return None;
        }
        if self.is_probe_of_this_pause(&ticket) {
            return self.probe_ended(verdict, now, jitter);
        }
        if let Some(pause) = &mut self.pause {
            // Whenever the attempt began: what the target asks for now is for now.
            if let Some(asked) = verdict.asked {
                pause.next_probe = pause.next_probe.map(|at| at.max(now.saturating_add(asked)));
            }
            return None;
        }
        if ticket.epoch == self.epoch {
            match verdict.says {
                Says::Works => self.failures = 0,
                Says::Nothing => {}
                Says::Fails => {
                    self.failures = self.failures.saturating_add(1);
                    if self.failures >= self.terms.breaker.failures {
                        return Some(self.begin_pause(Cause::Breaker, verdict, now, jitter));
                    }
                }
                Says::Faulty(cause) => return Some(self.begin_pause(cause, verdict, now, jitter)),
            }
        }
        // In a later epoch, too.
        let asks = verdict.asked.is_some_and(|asked| !asked.is_zero());
        asks.then(|| self.begin_pause(Cause::RateLimited, verdict, now, jitter))
    }

    /// Gives back a ticket whose attempt came to nothing that could be known: it was not begun, or given up.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is given back once")]
    pub fn lost(&mut self, ticket: Ticket) {
        if self.is_probe_of_this_pause(&ticket)
            && let Some(pause) = &mut self.pause
        {
            pause.probing = false;
        }
    }

    /// Ends a pause because somebody says so, and forgets the failures. Attempts that began before say nothing any more.
    pub fn resume(&mut self, now: Duration) -> Option<Change> {
        self.renewed = self.epoch + 1;
        self.epoch = self.renewed;
        self.failures = 0;
        self.pause.take().map(|pause| resumed(&pause, now))
    }

    /// Goes by other terms from now on. Unless the pause is to be kept, it ends as by [`Gate::resume`]: what was at fault may be
    /// mended. What was spent of the rate stays spent.
    pub fn redefine(&mut self, terms: Terms, keep_pause: bool, now: Duration) -> Option<Change> {
        self.terms = terms;
        if let Some(rate) = terms.rate {
            self.spent.carry_over(rate, now);
        }
        if keep_pause { None } else { self.resume(now) }
    }

    fn is_probe_of_this_pause(&self, ticket: &Ticket) -> bool {
        ticket.probe && ticket.epoch == self.epoch && self.pause.is_some()
    }

    fn begin_pause(&mut self, cause: Cause, verdict: Verdict, now: Duration, jitter: f64) -> Change {
        self.epoch += 1;
        self.failures = 0;
        let next_probe = self.wait(cause, verdict, 0, jitter).map(|wait| now.saturating_add(wait));
        self.pause = Some(Pause { cause, since: now, next_probe, probing: false, failed_probes: 0 });
        Change::Paused { cause, next_probe }
    }

    fn probe_ended(&mut self, verdict: Verdict, now: Duration, jitter: f64) -> Option<Change> {
        let mut pause = self.pause.take()?;
        pause.probing = false;
        // A probe is due when it begins: if it is not now, another attempt was told a later time meanwhile.
        let told_later = pause.next_probe.is_some_and(|at| at > now);
        let cause = match (verdict.says, verdict.asked) {
            (Says::Works, None | Some(Duration::ZERO)) if !told_later => {
                self.epoch += 1;
                return Some(resumed(&pause, now));
            }
            (Says::Nothing, _) => {
                self.pause = Some(pause);
                return None;
            }
            (Says::Works, _) => Cause::RateLimited,
            (Says::Fails, _) => pause.cause,
            (Says::Faulty(cause), _) => cause,
        };
        pause.failed_probes = if verdict.says == Says::Works { 0 } else { pause.failed_probes.saturating_add(1) };
        let wait = self.wait(cause, verdict, pause.failed_probes, jitter);
        pause.next_probe = wait.map(|wait| now.saturating_add(wait).max(pause.next_probe.unwrap_or_default()));
        let changed = pause.cause != cause;
        pause.cause = cause;
        self.pause = Some(pause);
        changed.then_some(Change::Paused { cause, next_probe: pause.next_probe })
    }

    /// Until the next probe, after so many that failed: what was asked for, and at least what probes wait by themselves. `None` is
    /// for ever.
    fn wait(&self, cause: Cause, verdict: Verdict, failed_probes: u32, jitter: f64) -> Option<Duration> {
        let limited = verdict.says == Says::Faulty(Cause::RateLimited);
        let asked = verdict.asked.or(limited.then_some(RATE_LIMITED_WAIT)).unwrap_or_default();
        let asked = asked.saturating_add(part(asked, jitter).min(JITTER_MAX));
        let own = match (cause, failed_probes) {
            (Cause::Gone, _) => return None,
            (Cause::RateLimited, 0) => Duration::ZERO,
            (Cause::RateLimited, failed) => self.grown(failed - 1, jitter),
            (_, failed) => self.grown(failed, jitter),
        };
        Some(asked.max(own))
    }

    /// The first wait, doubled as often as probes failed, up to the longest one, and a little jitter.
    fn grown(&self, failed: u32, jitter: f64) -> Duration {
        let first = self.terms.breaker.probe;
        let wait = first.saturating_mul(2_u32.saturating_pow(failed)).min(self.terms.probe_max.max(first));
        wait.saturating_add(part(wait, jitter))
    }
}

fn resumed(pause: &Pause, now: Duration) -> Change {
    Change::Resumed { cause: pause.cause, lasted: now.saturating_sub(pause.since) }
}

/// A little of a wait.
fn part(wait: Duration, jitter: f64) -> Duration {
    let jitter = if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) };
    Duration::try_from_secs_f64(wait.as_secs_f64() * JITTER_PART * jitter).unwrap_or_default()
}
