//! The index by kind and event type, so that planning asks only the webhooks that an event can start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::webhook::{Status, Triggers, Webhook};

/// Webhooks that take events, by kind and by event type.
#[derive(Debug, Default)]
pub struct Index(HashMap<Arc<str>, Types>);

/// The webhooks of one kind.
#[derive(Debug, Default)]
struct Types {
    /// Those that take every type, in the order of their names.
    all: Vec<Arc<Webhook>>,
    /// Those that take this type and those that take every type, in the order of their names.
    by_type: HashMap<Arc<str>, Vec<Arc<Webhook>>>,
}

impl Index {
    /// Indexes all webhooks that are not inactive.
    #[must_use]
    pub fn new(webhooks: &BTreeMap<Arc<str>, Arc<Webhook>>) -> Self {
        let mut kinds: HashMap<Arc<str>, Types> = HashMap::new();
        let live = || webhooks.values().filter(|webhook| webhook.status != Status::Inactive);
        for webhook in live() {
            let types = kinds.entry(Arc::clone(&webhook.kind.name)).or_default();
            match &webhook.triggers {
                Triggers::All => types.all.push(Arc::clone(webhook)),
                Triggers::Only(triggers) => {
                    for trigger in triggers {
                        types.by_type.entry(Arc::clone(trigger)).or_default().push(Arc::clone(webhook));
                    }
                }
            }
        }
        for types in kinds.values_mut() {
            for webhooks in types.by_type.values_mut() {
                webhooks.extend(types.all.iter().cloned());
                webhooks.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        Self(kinds)
    }

    /// The webhooks that an event of this kind and type starts, in the order of their names.
    #[must_use]
    pub fn triggered(&self, kind: &str, event_type: &str) -> &[Arc<Webhook>] {
        self.0.get(kind).map_or(&[], |types| types.by_type.get(event_type).unwrap_or(&types.all))
    }
}
