//! Attempts stay within the policy: their number, their age, and how fast they come.

use std::time::Duration;

use crate::oracle::history::{Attempt, Moment, Outage, Reply, Request};
use crate::oracle::webhooks::{CONCURRENCY, FAILURES, PROBE, RETRY_MAX, SPECS, TIMEOUT};

use super::{Case, DATE_MARGIN, Delivery, EVENT_CHARS, History, UNSETTLED_MAX, Violation};

/// How long after its greatest age an attempt may still begin: the clocks of the process and of this one are read at different
/// moments, on a busy machine.
const AGE_MARGIN: Duration = Duration::from_secs(1);
/// How long after an attempt that was answered with `Retry-After` others may begin that know nothing of it: those that the gate
/// had let go, and that had to wait for a processor.
const HOLD_GRACE: Duration = Duration::from_millis(150);
/// How much closer together requests may arrive than they began.
const JITTER: Duration = Duration::from_millis(300);

pub(super) fn judge(case: &mut Case<'_>) {
    let mut found = Vec::new();
    for delivery in case.deliveries.values() {
        let mut finds = |rule, detail| found.push(Violation { rule, delivery: Some(delivery.id.clone()), detail });
        // What is replayed begins anew.
        if case.history.replays.iter().any(|(id, _)| *id == delivery.id) {
            continue;
        }
        if let Some(max) = SPECS[delivery.webhook].attempts_max {
            let made = attempts(case.history, delivery);
            if made > max as usize {
                finds("attempts", format!("{made} attempts were made of {max}"));
            }
        }
        if let (Some(max), Some(post)) = (SPECS[delivery.webhook].age_max, delivery.taken) {
            // A request may be on its way for as long as an attempt may take; when that began is told by its process.
            let begun = |request: &Request| match case.attempt_of(request) {
                Some(attempt) => attempt.begun,
                None => request.at.saturating_sub(TIMEOUT),
            };
            let late = delivery.requests.iter().find(|request| begun(request) > post.ended + max + AGE_MARGIN);
            if let Some(late) = late {
                finds("age", format!("it was taken at {:?} and still sent at {:?}", post.ended, late.at));
            }
        }
    }
    for (webhook, spec) in SPECS.iter().enumerate() {
        let requests: Vec<&Request> =
            case.history.requests.iter().filter(|request| request.webhook == webhook).collect();
        found.extend(holds(case, &requests));
        if let Some(rate) = spec.rate {
            found.extend(paced(&requests, Duration::from_secs(1) / rate));
        }
        let outages = case.history.outages.iter().filter(|outage| outage.webhook == webhook);
        found.extend(outages.filter_map(|outage| probed(case.history, outage, &requests)));
    }
    case.extend(found);
}

/// Attempts that certainly counted: they failed, and their process lived on to write that down. A request that was closed
/// may have been sent again at once, which is no attempt of its own.
fn attempts(history: &History, delivery: &Delivery<'_>) -> usize {
    let counted = |request: &&&Request| {
        let written = request.at + if request.reply == Reply::Hang { TIMEOUT } else { Duration::ZERO };
        let killed = history.kill_after(request.at).is_some_and(|kill| kill <= written + UNSETTLED_MAX);
        matches!(request.reply, Reply::Status(_) | Reply::Hang | Reply::Invalid) && !killed
    };
    delivery.requests.iter().filter(counted).count()
}

/// Whether a webhook's definition was changed, which ends a pause, or its secret was.
fn edited(history: &History, webhook: usize, from: Moment, to: Moment) -> bool {
    let mut defined = history.in_force(from, to).map(|state| state.webhooks[webhook]);
    let first = defined.next();
    defined.any(|next| Some(next) != first)
}

/// After a `Retry-After` nothing begins until its time is over. What was begun before may still be on its way.
fn holds(case: &Case<'_>, requests: &[&Request]) -> Vec<Violation> {
    let history = case.history;
    let mut found = Vec::new();
    for (place, asked) in requests.iter().enumerate() {
        let Reply::RetryAfter(status, seconds) = asked.reply else { continue };
        let until = asked.at + Duration::from_secs(seconds.into());
        if edited(history, asked.webhook, asked.at, until) || history.may_be_lost(asked.webhook, asked.at) {
            continue;
        }
        // An attempt that had ended before is an earlier one: that of this request died with its process.
        let own = case.attempt_of(asked).filter(|own| own.ended + DATE_MARGIN >= asked.at);
        let Some(own) = own.filter(|own| !paused_meanwhile(case, own, asked.webhook)) else { continue };
        let early = requests[place..].iter().find(|request| {
            // The answer is known when its attempt has ended, which is when the wait begins.
            let began = || case.attempt_of(request).is_some_and(|attempt| attempt.begun > own.ended + HOLD_GRACE);
            request.life == asked.life && request.at > asked.at && request.at < until && began()
        });
        if let Some(early) = early {
            found.push(Violation {
                rule: "retry-after",
                delivery: Some(early.id.clone()),
                detail: format!(
                    "{} was answered {status} with Retry-After {seconds} at {:?}, and {} came at {:?}",
                    asked.id, asked.at, early.id, early.at
                ),
            });
        }
    }
    found
}

/// Whether the webhook may have paused for another cause while this attempt was under way: then its answer says nothing.
fn paused_meanwhile(case: &Case<'_>, own: &Attempt, webhook: usize) -> bool {
    let name = SPECS[webhook].name;
    case.history.attempts.iter().any(|attempt| {
        let same = attempt.id.get(EVENT_CHARS + 1..) == Some(name);
        same && attempt.failed && attempt.id != own.id && attempt.ended >= own.begun && attempt.ended <= own.ended
    })
}

/// No more than one request in each interval, but for what arrives closer together than it began.
fn paced(requests: &[&Request], interval: Duration) -> Vec<Violation> {
    let (mut due, mut life) = (Duration::ZERO, usize::MAX);
    let mut found = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        // What was closed may have been sent again at once.
        let again = requests[..place].iter().rev().take(CONCURRENCY as usize * 2).any(|earlier| {
            earlier.id == request.id && matches!(earlier.reply, Reply::Close | Reply::Garbage | Reply::BreakOff)
        });
        if again {
            continue;
        }
        if request.life != life {
            (life, due) = (request.life, request.at);
        }
        if request.at + JITTER < due {
            let detail = format!("it came at {:?}, {:?} before its turn", request.at, due.saturating_sub(request.at));
            found.push(Violation { rule: "rate", delivery: Some(request.id.clone()), detail });
        }
        due = due.max(request.at) + interval;
    }
    found
}

/// To a target that does not work go a first wave and then probes, one after a longer wait than the other.
fn probed(history: &History, outage: &Outage, requests: &[&Request]) -> Option<Violation> {
    let Outage { webhook, from, to } = *outage;
    if !SPECS[webhook].pauses || edited(history, webhook, from, to) {
        return None;
    }
    let inside: Vec<&&Request> = requests.iter().filter(|request| request.at > from && request.at <= to).collect();
    let lives = history.lives.iter().filter(|life| life.begun <= to && life.ended >= from).count().max(1);
    // A closed request is sent once more at once on another connection.
    let copies =
        if inside.iter().any(|request| matches!(request.reply, Reply::Close | Reply::Garbage)) { 2 } else { 1 };
    // What was accepted right before is answered while the first ones fail, and each begins their row anew.
    let name = SPECS[webhook].name;
    let late = history.attempts.iter().filter(|attempt| {
        let same = attempt.id.get(EVENT_CHARS + 1..) == Some(name);
        same && !attempt.failed && attempt.begun <= from && attempt.ended >= from
    });
    let rows = lives * 2 + late.count().saturating_sub(1);
    let first_waves = rows * FAILURES as usize + lives * CONCURRENCY as usize;
    let most = copies * (first_waves + probes(to.saturating_sub(from)));
    (inside.len() > most).then(|| Violation {
        rule: "probes",
        delivery: None,
        detail: format!(
            "{} got {} requests from {from:?} to {to:?}, when nothing was accepted; at most {most} were to come",
            name,
            inside.len()
        ),
    })
}

/// How many probes have room in a time.
fn probes(time: Duration) -> usize {
    let (mut count, mut wait, mut left) = (1, PROBE, time);
    while let Some(rest) = left.checked_sub(wait) {
        (count, left, wait) = (count + 1, rest, (wait * 2).min(RETRY_MAX));
    }
    count
}
