//! What an edit does to the deliveries: every event is asked of both sides, and effects that look alike are put together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::difference;
use super::events::Occurrence;
use super::side::Side;
use crate::event::Event;
use crate::plan::{Refusal, passes, refusals, refused_by};
use crate::webhook::{Status, Webhook};

/// How many threads ask at most.
const THREADS_MAX: usize = 8;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Effect {
    /// There was none, and there is one.
    Appear,
    /// There was one, and there is none.
    Vanish,
    /// It makes another request.
    Change,
    /// It cannot be rendered, and becomes a dead letter.
    Break,
    /// It could not be rendered before, and can be now.
    Mend,
    /// It cannot be rendered on either side: no difference, and yet not what an edit is made for.
    Stuck,
}

/// Effects that look alike: of one webhook, of one sort, for the same causes or in the same parts of the request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Look {
    pub(super) effect: Effect,
    /// Whether it is a request that is rendered and never sent.
    pub(super) shadow: bool,
    /// Parts of the request, or causes.
    pub(super) alike: Vec<String>,
}

/// Numbers of deliveries; requests that are never sent are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) same: usize,
}

/// The effects of one webhook: what they look like, and the indexes of the events they are on.
pub(super) type Effects = Vec<(Look, Vec<usize>)>;

/// All effects.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// By the webhook's name; those without effect are not there.
    pub(super) webhooks: BTreeMap<Arc<str>, Effects>,
}

impl Outcome {
    /// How many deliveries an effect is on.
    pub(super) fn count(&self, effect: Effect) -> usize {
        let all = self.webhooks.values().flatten().filter(|(look, _)| look.effect == effect && !look.shadow);
        all.map(|(_, events)| events.len()).sum()
    }
}

/// Asks both sides about every event.
pub(super) fn effects(old: &Side, new: &Side, events: &[Occurrence]) -> Outcome {
    let sides = &Asker { old, new, same: same(old, new) };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
    let each = events.len().div_ceil(threads).max(1);
    let parts = std::thread::scope(|scope| {
        let asked: Vec<_> = events
            .chunks(each)
            .enumerate()
            .map(|(part, chunk)| scope.spawn(move || sides.ask(chunk, part * each)))
            .collect();
        let part = |thread: std::thread::ScopedJoinHandle<'_, Found>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        asked.into_iter().map(part).collect::<Vec<_>>()
    });
    let mut all = Found::default();
    for part in parts {
        all.tally.before += part.tally.before;
        all.tally.after += part.tally.after;
        all.tally.same += part.tally.same;
        for (key, events) in part.effects {
            all.effects.entry(key).or_default().extend(events);
        }
    }
    let mut webhooks: BTreeMap<Arc<str>, Effects> = BTreeMap::new();
    for ((name, look), events) in all.effects {
        webhooks.entry(name).or_default().push((look, events));
    }
    for effects in webhooks.values_mut() {
        // The most frequent first; the look decides where that says nothing.
        effects.sort_by(|(a, ours), (b, theirs)| {
            let sort = |look: &Look| (look.shadow, look.effect);
            (sort(a), theirs.len(), a).cmp(&(sort(b), ours.len(), b))
        });
    }
    Outcome { tally: all.tally, webhooks }
}

/// The webhooks that are the same on both sides.
fn same<'s>(old: &'s Side, new: &Side) -> HashSet<&'s str> {
    let same = old.snapshot.webhooks.iter().filter(|(name, webhook)| {
        new.snapshot.webhooks.get(*name).is_some_and(|other| other.fingerprint == webhook.fingerprint)
    });
    same.map(|(name, _)| &**name).collect()
}

/// What was found in some of the events.
#[derive(Default)]
struct Found {
    tally: Tally,
    effects: HashMap<(Arc<str>, Look), Vec<usize>>,
}

struct Asker<'a> {
    old: &'a Side,
    new: &'a Side,
    same: HashSet<&'a str>,
}

impl Asker<'_> {
    fn ask(&self, events: &[Occurrence], first: usize) -> Found {
        let mut found = Found::default();
        for (index, occurrence) in events.iter().enumerate() {
            // Parsed for as long as it is asked about: the trees of all events would take six times their text.
            let old = occurrence.old.clone();
            let new = if occurrence.alike { None } else { occurrence.new.clone() };
            let new = if occurrence.alike { old.as_ref() } else { new.as_ref() };
            self.event(old.as_ref(), new, &mut found, first + index);
        }
        found
    }

    /// Asks about one event, as each side takes it.
    fn event(&self, old: Option<&Event>, new: Option<&Event>, found: &mut Found, index: usize) {
        let (old_tree, new_tree) = (old.map(Event::tree), new.map(Event::tree));
        let passes_old = |webhook: &Webhook| old_tree.as_ref().is_some_and(|tree| passes(webhook, tree));
        let passes_new = |webhook: &Webhook| match &new_tree {
            // One event that both sides take alike has one tree.
            Some(_) if old.zip(new).is_some_and(|(old, new)| std::ptr::eq(old, new)) => passes_old(webhook),
            Some(tree) => passes(webhook, tree),
            None => false,
        };
        // Both lists are in the order of names.
        let mut olds = triggered(self.old, old).iter().peekable();
        let mut news = triggered(self.new, new).iter().peekable();
        loop {
            let next = match (olds.peek(), news.peek()) {
                (None, None) => return,
                (Some(one), Some(other)) => std::cmp::min(&one.name, &other.name),
                (Some(one), None) | (None, Some(one)) => &one.name,
            };
            let name = Arc::clone(next);
            let one = olds.next_if(|webhook| webhook.name == name).zip(old);
            let other = news.next_if(|webhook| webhook.name == name).zip(new);
            if let (Some((webhook, _)), Some(_)) = (one, other)
                && self.same.contains(&*name)
            {
                if webhook.status == Status::Active && passes_old(webhook) {
                    found.tally.before += 1;
                    found.tally.after += 1;
                    found.tally.same += 1;
                }
                continue;
            }
            let one = one.filter(|(webhook, _)| passes_old(webhook));
            let other = other.filter(|(webhook, _)| passes_new(webhook));
            let counts = |side: Option<(&Arc<Webhook>, &Event)>| {
                usize::from(side.is_some_and(|(webhook, _)| webhook.status == Status::Active))
            };
            found.tally.before += counts(one);
            found.tally.after += counts(other);
            let look = match (one, other) {
                (None, None) => None,
                (Some((webhook, _)), None) => Some(Look {
                    effect: Effect::Vanish,
                    shadow: is_shadow(webhook),
                    alike: kept_out(self.new, &name, new),
                }),
                (None, Some(side)) => Some(appears(side, kept_out(self.old, &name, old))),
                (Some(one), Some(other)) => both(one, other),
            };
            match look {
                Some(look) => found.effects.entry((name, look)).or_default().push(index),
                None => found.tally.same += counts(one.and(other)),
            }
        }
    }
}

/// The webhooks of a side that an event starts.
fn triggered<'s>(side: &'s Side, event: Option<&Event>) -> &'s [Arc<Webhook>] {
    event.map_or(&[], |event| side.snapshot.index.triggered(&event.kind, &event.event_type))
}

fn is_shadow(webhook: &Webhook) -> bool {
    webhook.status == Status::Shadow
}

fn appears((webhook, event): (&Arc<Webhook>, &Event), alike: Vec<String>) -> Look {
    match webhook.render(event) {
        Ok(_) => Look { effect: Effect::Appear, shadow: is_shadow(webhook), alike },
        Err(failure) => Look { effect: Effect::Break, shadow: is_shadow(webhook), alike: fault(&failure.detail) },
    }
}

/// The effect on an event that both sides want; `None` where both do the same.
fn both(one: (&Arc<Webhook>, &Event), other: (&Arc<Webhook>, &Event)) -> Option<Look> {
    let ((old, old_event), (new, new_event)) = (one, other);
    let shadow = is_shadow(new);
    match (is_shadow(old), shadow) {
        (true, false) => return Some(appears(other, vec!["shadow".to_owned()])),
        (false, true) => {
            return Some(Look { effect: Effect::Vanish, shadow: false, alike: vec!["shadow".to_owned()] });
        }
        _ => {}
    }
    let look = |effect, alike| Some(Look { effect, shadow, alike });
    match (old.render(old_event), new.render(new_event)) {
        (Ok(one), Ok(other)) => {
            let parts = difference::parts((old, &one), (new, &other));
            if parts.is_empty() { None } else { look(Effect::Change, parts) }
        }
        (Ok(_), Err(failure)) => look(Effect::Break, fault(&failure.detail)),
        (Err(failure), Ok(_)) => look(Effect::Mend, fault(&failure.detail)),
        (Err(_), Err(failure)) => look(Effect::Stuck, fault(&failure.detail)),
    }
}

/// A fault without its numbers: the same one in another event stands elsewhere.
fn fault(detail: &str) -> Vec<String> {
    vec![detail.chars().filter(|character| !character.is_ascii_digit()).collect()]
}

/// What keeps an event from a webhook of a side, without the event's values.
fn kept_out(side: &Side, name: &str, event: Option<&Event>) -> Vec<String> {
    let Some(webhook) = side.snapshot.webhooks.get(name) else { return vec!["absent".to_owned()] };
    let Some(event) = event else { return vec!["no event".to_owned()] };
    let inactive = (webhook.status == Status::Inactive).then(|| "inactive".to_owned());
    let refusals = refused_by(webhook, &event.tree()).into_iter().map(|refusal| match refusal {
        Refusal::Kind => "kind".to_owned(),
        Refusal::Trigger => format!("trigger {}", event.event_type),
        Refusal::Filter(index) => {
            let label = webhook.filters.get(index).map_or("", |filter| &*filter.label);
            format!("filter {index} {label}")
        }
        Refusal::Damaged => "damaged".to_owned(),
    });
    inactive.into_iter().chain(refusals).collect()
}

/// The sentences of [`kept_out`] for people, values included.
pub(super) fn causes(side: &Side, name: &str, event: Option<&Event>) -> Vec<String> {
    let Some(webhook) = side.snapshot.webhooks.get(name) else { return vec!["there is no such webhook".to_owned()] };
    let Some(event) = event else { return vec!["it is no event of the kind".to_owned()] };
    let status = match webhook.status {
        Status::Active => None,
        Status::Inactive => Some("it is inactive".to_owned()),
        Status::Shadow => Some("it is shadow: rendered, never sent".to_owned()),
    };
    status.into_iter().chain(refusals(webhook, &event.tree())).collect()
}
