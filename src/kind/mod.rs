//! Kinds: the shapes of events, built in or defined in `[kinds.NAME]`.

mod builtin;
mod path;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use path::Path;

/// The trigger that lets a webhook be invoked by name; every kind has it.
pub const MANUAL: &str = "Manual";

/// One kind of event.
#[derive(Debug)]
pub struct Kind {
    /// Its name: `request`, `integration`, … or a custom kind's.
    pub name: Arc<str>,
    /// The closed list of its event types in canonical spelling, without `Manual`; empty when any type is possible.
    pub types: Vec<Arc<str>>,
    /// Where the event type stands in the payload.
    pub type_path: Path,
    /// Where the id of what the event is about stands (`$.data.id`).
    pub id_path: Option<Path>,
    /// Where the time of the event stands.
    pub time_path: Option<Path>,
    /// Named filter fields.
    pub fields: BTreeMap<Box<str>, Path>,
    /// Sample events, at least one for each of `types`.
    pub samples: Vec<Sample>,
    /// JSON Schema of the payload.
    pub schema: Value,
}

/// A full sample event.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `RequestGranted`, or with its variant: `RequestGranted.older`.
    pub name: Arc<str>,
    /// The canonical event type.
    pub event_type: Arc<str>,
    /// The payload.
    pub payload: Value,
}

impl Kind {
    /// The kinds that need no definition: request, integration, anomaly, audit, oort.
    #[must_use]
    pub fn builtin() -> Vec<Arc<Self>> {
        todo!()
    }

    /// The canonical spelling of an event type or trigger as somebody wrote it (`Created`, `RequestCreated` and
    /// `AccessRequestCreated` are `RequestCreated`; `Manual` is itself). `None` when the kind has a closed list without it.
    #[must_use]
    pub fn canonical(&self, written: &str) -> Option<Arc<str>> {
        let _ = written;
        todo!()
    }

    /// The event type of a payload in canonical spelling where it is a known one, else as it came. `None` when the payload has no
    /// text at the type's path.
    #[must_use]
    pub fn event_type(&self, payload: &Value) -> Option<Arc<str>> {
        let _ = payload;
        todo!()
    }

    /// The sample of a name or an event type in any spelling.
    #[must_use]
    pub fn sample(&self, name: &str) -> Option<&Sample> {
        let _ = name;
        todo!()
    }
}
