//! The judge: pure rules over a recorded history. Each finds what broke one promise.

mod ends;
mod ingest;
mod order;
mod origin;
mod pace;
mod process;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Attempt, Burial, End, History, Moment, Post, Posted, Request, State};
use super::webhooks::{COUNT, SPECS};

/// How long after an edit the former definition may still be seen: the edit's way into force on a busy machine, and an attempt
/// that began before.
pub(super) const EDIT_LAG: Duration = Duration::from_secs(6);
/// How long before a kill an acceptance may have come and still not be committed.
pub(super) const UNSETTLED_MAX: Duration = Duration::from_secs(2);
/// Dead letters are dated to the millisecond, by another clock.
pub(super) const DATE_MARGIN: Duration = Duration::from_millis(20);

/// How long a request may be on its way to a receiver of a busy machine after its sender gave it up.
const TRANSIT_MAX: Duration = Duration::from_secs(1);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: &'static str,
    /// The delivery that shows it, where one does.
    pub(super) delivery: Option<String>,
    pub(super) detail: String,
}

/// A delivery and all that was seen of it.
pub(super) struct Delivery<'h> {
    pub(super) id: String,
    pub(super) webhook: usize,
    /// The number of its event, where anything told it.
    pub(super) number: Option<u64>,
    /// The first post that was answered with a receipt for it.
    pub(super) taken: Option<&'h Post>,
    pub(super) requests: Vec<&'h Request>,
    pub(super) burials: Vec<&'h Burial>,
}

/// A history, put in order for the rules.
pub(super) struct Case<'h> {
    pub(super) history: &'h History,
    /// By id.
    pub(super) deliveries: BTreeMap<&'h str, Delivery<'h>>,
    /// The posts of each event, by its number.
    pub(super) posts: BTreeMap<u64, Vec<&'h Post>>,
    /// By delivery.
    pub(super) attempts: BTreeMap<&'h str, Vec<&'h Attempt>>,
    /// The event ids under which each number was seen.
    pub(super) ids: BTreeMap<u64, BTreeSet<&'h str>>,
    found: Vec<Violation>,
}

/// Judges a whole run.
pub(super) fn judge(history: &History) -> Vec<Violation> {
    let owed = owed(history);
    let mut case = Case::of(history, &owed);
    ends::judge(&mut case);
    origin::judge(&mut case);
    order::judge(&mut case);
    pace::judge(&mut case);
    ingest::judge(&mut case);
    process::judge(&mut case);
    case.found
}

/// The ids of the deliveries of all receipts, each with its webhook's name, its event's number and the post.
fn owed(history: &History) -> Vec<(String, &str, u64, &Post)> {
    let mut owed = Vec::new();
    for post in &history.posts {
        let Posted::Taken(receipts) = &post.result else { continue };
        for (number, receipt) in post.events.iter().zip(receipts) {
            let ids = receipt.owed.iter().map(|(name, _)| (format!("{}_{name}", receipt.event), name.as_str()));
            owed.extend(ids.map(|(id, name)| (id, name, *number, post)));
        }
    }
    owed
}

impl<'h> Case<'h> {
    fn of(history: &'h History, owed: &'h [(String, &'h str, u64, &'h Post)]) -> Self {
        let mut case = Self {
            history,
            deliveries: BTreeMap::new(),
            posts: BTreeMap::new(),
            attempts: BTreeMap::new(),
            ids: BTreeMap::new(),
            found: Vec::new(),
        };
        for post in &history.posts {
            for number in &post.events {
                case.posts.entry(*number).or_default().push(post);
            }
        }
        for attempt in &history.attempts {
            case.attempts.entry(&attempt.id).or_default().push(attempt);
        }
        for (id, name, number, post) in owed {
            match SPECS.iter().position(|spec| spec.name == *name) {
                Some(webhook) => {
                    let delivery = case.delivery(id, webhook, Some(*number));
                    delivery.taken.get_or_insert(post);
                }
                None => case.finds("receipt", None, format!("a receipt names {name}, which is no webhook")),
            }
        }
        for request in &history.requests {
            let number = request.payload.as_ref().ok().map(|(number, _)| *number);
            case.delivery(&request.id, request.webhook, number).requests.push(request);
        }
        for burial in &history.burials {
            let webhook = burial.id.get(EVENT_CHARS + 1..).unwrap_or_default();
            if let Some(webhook) = SPECS.iter().position(|spec| spec.name == webhook) {
                case.delivery(&burial.id, webhook, burial.number).burials.push(burial);
            } else {
                case.finds("invented", Some(&burial.id), "a dead letter of no webhook".to_owned());
            }
        }
        let known = case.deliveries.values().filter_map(|delivery| Some((delivery.number?, delivery.id.as_str())));
        let known: Vec<(u64, String)> = known.map(|(number, id)| (number, id.to_owned())).collect();
        for (number, id) in known {
            if let Some((id, _)) = case.deliveries.get_key_value(id.as_str())
                && let Some(event) = id.get(..EVENT_CHARS)
            {
                case.ids.entry(number).or_default().insert(event);
            }
        }
        case
    }

    fn delivery(&mut self, id: &'h str, webhook: usize, number: Option<u64>) -> &mut Delivery<'h> {
        let delivery = self.deliveries.entry(id).or_insert_with(|| Delivery {
            id: id.to_owned(),
            webhook,
            number: None,
            taken: None,
            requests: Vec::new(),
            burials: Vec::new(),
        });
        delivery.number = delivery.number.or(number);
        delivery
    }

    /// The attempt that a request was made in, where its process lived to tell of it.
    pub(super) fn attempt_of(&self, request: &Request) -> Option<&'h Attempt> {
        let attempts = self.attempts.get(request.id.as_str())?;
        let around = |attempt: &&&Attempt| {
            attempt.begun <= request.at + DATE_MARGIN && request.at <= attempt.ended + TRANSIT_MAX
        };
        // Of two that overlap by the margins the later one began later.
        attempts.iter().rfind(around).copied()
    }

    pub(super) fn finds(&mut self, rule: &'static str, delivery: Option<&str>, detail: String) {
        self.found.push(Violation { rule, delivery: delivery.map(str::to_owned), detail });
    }

    /// Takes what a rule found while it read.
    fn extend(&mut self, found: Vec<Violation>) {
        self.found.extend(found);
    }
}

/// `evt_` and 32 digits.
pub(super) const EVENT_CHARS: usize = 36;

impl History {
    /// The states of the configuration that may have been in force at some time between two moments.
    pub(super) fn in_force(&self, from: Moment, to: Moment) -> impl Iterator<Item = &State> {
        let good: Vec<&State> = self.states.iter().filter(|state| state.good).collect();
        let ends: Vec<Moment> = good.iter().skip(1).map(|next| next.at + EDIT_LAG).chain([Duration::MAX]).collect();
        good.into_iter().zip(ends).filter(move |(state, end)| state.at <= to && *end >= from).map(|(state, _)| state)
    }

    /// Whether something holds for a webhook in every state that may have been in force.
    pub(super) fn always(&self, webhook: usize, from: Moment, to: Moment, holds: impl Fn(&State) -> bool) -> bool {
        debug_assert!(webhook < COUNT);
        self.in_force(from, to).all(holds)
    }

    /// The first kill at a moment or later.
    pub(super) fn kill_after(&self, at: Moment) -> Option<Moment> {
        self.lives.iter().filter(|life| life.end == End::Killed && life.ended >= at).map(|life| life.ended).min()
    }

    /// Whether an answer that was sent at a moment may have been lost on its way.
    pub(super) fn may_be_lost(&self, webhook: usize, at: Moment) -> bool {
        let receiver = SPECS[webhook].receiver;
        self.cuts.iter().any(|cut| cut.receiver == receiver && cut.from <= at + CUT_REACH && cut.to + CUT_REACH >= at)
    }
}

/// How long before a cut an answer may have been sent and still be on its way.
const CUT_REACH: Duration = Duration::from_millis(500);
