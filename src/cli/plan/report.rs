//! What a plan has found, whoever reads it: people or programs.

use std::collections::BTreeSet;

use super::definition::{self, Changed, How};
use super::effect::{Effect, Effects, Outcome, Tally};
use super::events::{Events, Occurrence};
use super::shown::{self, Shown};
use super::side::Side;
use crate::event::Event;
use crate::kind::value::cut;

/// How many effects are shown in full at most.
const EFFECTS_SHOWN_MAX: usize = 10_000;
/// How much of an id is shown, in characters.
const ID_CHARS_MAX: usize = 60;

/// All that a plan has found.
pub(super) struct Report<'r> {
    pub(super) old: &'r Side,
    pub(super) new: &'r Side,
    pub(super) events: &'r Events,
    pub(super) tally: Tally,
    outcome: &'r Outcome,
    /// The keys that `outrigger.toml` differs in.
    pub(super) sidecar: Vec<Changed>,
    /// The webhooks that there is something to say about, by name.
    pub(super) webhooks: Vec<Webhook<'r>>,
    /// Whether anything differs.
    pub(super) differs: bool,
}

/// What is to be said about a webhook.
pub(super) struct Webhook<'r> {
    pub(super) name: &'r str,
    /// Whether it is there before.
    pub(super) old: bool,
    /// Whether it is there now.
    pub(super) new: bool,
    pub(super) effects: &'r Effects,
    /// What the effects do not show.
    pub(super) changed: Vec<Changed>,
}

/// No effects.
static NONE: Effects = Vec::new();

impl<'r> Report<'r> {
    pub(super) fn new(old: &'r Side, new: &'r Side, events: &'r Events, outcome: &'r Outcome) -> Self {
        let names: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
        let mut webhooks = Vec::new();
        for name in names {
            let effects = outcome.webhooks.get(&**name).unwrap_or(&NONE);
            let (before, now) = (old.files.get(name), new.files.get(name));
            let changed = match (before, now) {
                (Some(before), Some(now)) if before != now => definition::webhook(before, now, &seen(effects)),
                _ => Vec::new(),
            };
            let (old, new) = (before.is_some(), now.is_some());
            if old != new || !effects.is_empty() || !changed.is_empty() {
                webhooks.push(Webhook { name, old, new, effects, changed });
            }
        }
        let sidecar = sidecar(old, new);
        let is_stuck = |webhook: &Webhook<'_>| webhook.effects.iter().all(|(look, _)| look.effect == Effect::Stuck);
        let same =
            |webhook: &Webhook<'_>| webhook.old == webhook.new && webhook.changed.is_empty() && is_stuck(webhook);
        let differs = !sidecar.is_empty() || !webhooks.iter().all(same);
        Self { old, new, events, tally: outcome.tally, outcome, sidecar, webhooks, differs }
    }

    /// How many deliveries an effect is on.
    pub(super) fn count(&self, effect: Effect) -> usize {
        self.outcome.count(effect)
    }

    /// Renders one effect once more, for people.
    pub(super) fn shown(&self, name: &str, occurrence: &Occurrence, effect: Effect, urls: bool) -> Shown {
        shown::show(self.old, self.new, name, occurrence, effect, urls)
    }

    /// The id of what an event is about.
    pub(super) fn id(&self, event: &Event) -> Option<String> {
        let kinds = [&self.new.snapshot.kinds, &self.old.snapshot.kinds];
        let path = kinds.iter().find_map(|kinds| kinds.get(&event.kind))?.id_path.as_ref()?;
        let payload = event.payload().ok()?;
        let id = path.first(&payload)?;
        let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        Some(cut(&text, ID_CHARS_MAX)).filter(|text| !id.is_null() && !text.is_empty())
    }
}

/// Which of the effects that look alike are shown in full, after so many others were.
pub(super) fn in_full(events: &[usize], all: bool, shown: usize) -> &[usize] {
    let left = EFFECTS_SHOWN_MAX.saturating_sub(shown);
    events.get(..if all { left } else { left.min(1) }).unwrap_or(events)
}

/// The parts of requests that a webhook's effects show to have changed.
fn seen(effects: &Effects) -> BTreeSet<&str> {
    let changes = effects.iter().filter(|(look, _)| look.effect == Effect::Change);
    let parts = changes.flat_map(|(look, _)| &look.alike);
    parts.map(|part| if part.starts_with("body") { "body" } else { part }).collect()
}

/// The keys that `outrigger.toml` differs in, and the file of certificates that it names.
fn sidecar(old: &Side, new: &Side) -> Vec<Changed> {
    let mut changed = definition::sidecar(&old.sidecar, &new.sidecar);
    let named = changed.iter().any(|changed| changed.key == "egress.ca_file");
    if !named && old.snapshot.settings.egress.ca_pem != new.snapshot.settings.egress.ca_pem {
        changed.push(Changed { key: "egress.ca_file".to_owned(), how: How::Content });
    }
    changed
}
