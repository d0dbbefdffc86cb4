//! What is kept of events, by their id or by what stands in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shared;
use super::names::Place;
use super::state::State;
use super::stored::Stored;
use crate::event::EventId;
use crate::spool::{
    FIND_BYTES_MAX, FOUND_MAX, Kept, KeptEvents, KeptFor, KeptPending, SOUGHT_BYTES_MAX, Sought, SpoolError, at,
};

/// Messages of the stream that one step backwards goes over.
const STEP: u64 = 1_000;
/// The latest messages that are looked through: they come over the network.
const LOOKED_THROUGH_MAX: u64 = 10_000;

impl Shared {
    /// What is kept of them.
    pub(super) async fn find(&self, sought: &Sought) -> Result<KeptEvents, SpoolError> {
        match sought {
            Sought::Event(id) => {
                let stored = self.stored_at(&[self.names.of_event(*id)]).await?;
                Ok(KeptEvents { events: self.kept(&stored).into_iter().collect(), complete: true })
            }
            Sought::Text(text) if text.is_empty() || text.len() > SOUGHT_BYTES_MAX => {
                Ok(KeptEvents { events: Vec::new(), complete: true })
            }
            Sought::Text(text) => {
                let (ids, complete) = self.ids(&serde_json::Value::from(text.as_str()).to_string()).await?;
                let mut events = Vec::new();
                for id in ids {
                    events.extend(self.kept(&self.stored_at(&[self.names.of_event(id)]).await?));
                }
                Ok(KeptEvents { events, complete })
            }
        }
    }

    /// The events in whose payload a text stands, the latest first, and whether there can be no more of them.
    async fn ids(&self, written: &str) -> Result<(Vec<EventId>, bool), SpoolError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let last = self.last_seq().await?;
        let mut to = last;
        while to > 0 {
            if last - to >= LOOKED_THROUGH_MAX || bytes > FIND_BYTES_MAX {
                return Ok((found, false));
            }
            let from = to.saturating_sub(STEP - 1).max(1);
            let mut step: Vec<(EventId, bool)> = Vec::new();
            let mut at = from;
            while at <= to {
                let part = self.stored_some(&self.names.all(), at, usize::try_from(to - at + 1).unwrap_or(1)).await?;
                let Some(end) = part.last().map(|one| one.seq) else { break };
                for stored in part.iter().filter(|stored| stored.seq <= to) {
                    bytes += stored.payload.len() as u64;
                    let Some((_, _, event)) = self.names.parse(&stored.subject) else { continue };
                    let has = std::str::from_utf8(&stored.payload).is_ok_and(|raw| raw.contains(written));
                    step.push((event, has));
                }
                at = end + 1;
            }
            for (event, _) in step.into_iter().rev().filter(|(_, has)| *has) {
                if !found.contains(&event) {
                    found.push(event);
                }
                if found.len() == FOUND_MAX {
                    return Ok((found, false));
                }
            }
            to = from - 1;
        }
        Ok((found, true))
    }

    /// What is kept of one event, out of its messages.
    fn kept(&self, stored: &[Stored]) -> Option<Kept> {
        let mut webhooks: BTreeMap<Arc<str>, KeptFor> = BTreeMap::new();
        let mut of = None;
        // All of them have the same.
        let raw = stored.iter().map(|stored| &stored.payload).find(|payload| !payload.is_empty())?;
        for stored in stored {
            let Some((place, webhook, event)) = self.names.parse(&stored.subject) else { continue };
            let Some(state) = State::read(Some(&stored.headers)) else { continue };
            of.get_or_insert_with(|| Arc::new(state.event(event, raw.clone())));
            let webhook: Arc<str> = webhook.into();
            let name = Arc::clone(&webhook);
            let kept = webhooks.entry(name).or_insert(KeptFor { webhook, pending: None, dead: None });
            if place == Place::Dead {
                kept.dead = state.letter(stored.seq, event, &kept.webhook);
            } else {
                let due = (state.due > 0).then(|| at(state.due));
                kept.pending = Some(KeptPending { attempts: state.attempts, due, last: state.last() });
            }
        }
        of.map(|event| Kept { event, webhooks: webhooks.into_values().collect() })
    }
}
