//! Kinds: the shapes of events, built in or defined in `[kinds.NAME]`.

pub mod about;
mod builtin;
pub mod decode;
mod path;
pub mod pattern;
pub mod pluck;
mod query;
pub mod reads;
mod scan;
pub mod survey;
pub mod value;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

pub use path::Path;
pub(crate) use scan::is_json;

/// The trigger that lets a webhook be invoked by name; every kind has it.
pub const MANUAL: &str = "Manual";

/// One kind of event.
#[derive(Debug, PartialEq)]
pub struct Kind {
    /// Its name: `request`, `integration`, … or a custom kind's.
    pub name: Arc<str>,
    /// The closed list of its event types in canonical spelling, without `Manual`; empty when any type is possible.
    pub types: Vec<Arc<str>>,
    /// What may stand before a type's bare name without changing what it means, longest first. The canonical spelling
    /// begins with one of them.
    pub prefixes: &'static [&'static str],
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
    /// JSON Schema of the payload; without `properties` it says nothing about it.
    pub schema: Value,
    /// A hash over everything above. That of a built-in kind is over its name: it is the same all the process's life.
    pub fingerprint: u64,
}

/// A full sample event.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `RequestGranted`, or with its variant: `RequestGranted.older`.
    pub name: Arc<str>,
    /// The canonical event type.
    pub event_type: Arc<str>,
    /// The payload.
    pub payload: Value,
}

impl Kind {
    /// The kinds that need no definition: request, integration, anomaly, audit, oort, cloudevents.
    #[must_use]
    pub fn builtin() -> Vec<Arc<Self>> {
        static KINDS: LazyLock<Vec<Arc<Kind>>> = LazyLock::new(|| builtin::kinds().into_iter().map(Arc::new).collect());
        KINDS.clone()
    }

    /// A kind defined in `[kinds.NAME]`. Its samples are named after their event types; of several with the same type the
    /// second is `TYPE.2`. The error is a problem and its fix.
    pub fn custom(
        name: &str,
        types: Vec<Arc<str>>,
        type_path: Path,
        id_path: Option<Path>,
        time_path: Option<Path>,
        fields: BTreeMap<Box<str>, Path>,
        samples: Vec<Value>,
    ) -> Result<Self, (String, String)> {
        if types.iter().any(|known| &**known == MANUAL) {
            let fix = format!("leave it out: every kind has the trigger `{MANUAL}`");
            return Err((format!("`{MANUAL}` is no event type"), fix));
        }
        let mut kind = Self {
            name: name.into(),
            types,
            prefixes: &[],
            type_path,
            id_path,
            time_path,
            fields,
            samples: Vec::new(),
            schema: Value::Object(serde_json::Map::new()),
            fingerprint: 0,
        };
        for payload in samples {
            let Some(event_type) = kind.event_type(&payload) else {
                let problem = format!("the sample has no text at `{}`", kind.type_path.text());
                return Err((problem, "give it there the event type that it is a sample of".to_owned()));
            };
            if kind.canonical(&event_type).is_none() {
                let problem = format!("the sample's event type `{event_type}` is not among the kind's types");
                return Err((problem, format!("use one of {}", kind.triggers().join(", "))));
            }
            let earlier = kind.samples.iter().filter(|sample| sample.event_type == event_type).count();
            let name =
                if earlier == 0 { Arc::clone(&event_type) } else { format!("{event_type}.{}", earlier + 1).into() };
            kind.samples.push(Sample { name, event_type, payload });
        }
        kind.fingerprint = fingerprint(&format!("{kind:?}"));
        Ok(kind)
    }

    /// The canonical spelling of an event type or trigger as somebody wrote it (`Created`, `RequestCreated` and
    /// `AccessRequestCreated` are `RequestCreated`; `Manual` is itself). `None` when the kind has a closed list without it.
    #[must_use]
    pub fn canonical(&self, written: &str) -> Option<Arc<str>> {
        if written == MANUAL || (self.types.is_empty() && !written.is_empty()) {
            return Some(written.into());
        }
        let bare = self.bare(written);
        self.types.iter().find(|known| self.bare(known) == bare).map(Arc::clone)
    }

    /// Every way in which a payload may spell an event type that is given in canonical spelling.
    #[must_use]
    pub fn spellings(&self, canonical: &str) -> Vec<String> {
        let bare = self.bare(canonical);
        let longer = self.prefixes.iter().map(|prefix| format!("{prefix}{bare}"));
        std::iter::once(bare.to_owned()).chain(longer).collect()
    }

    /// What the schema has at a path: a schema, or `None` where nothing is known about it. The error is that no event can have
    /// anything there, as a fix in a sentence.
    pub fn look_up(&self, path: &Path) -> Result<Option<&Value>, String> {
        survey::look_up(&self.schema, path)
    }

    /// The event type of a payload in canonical spelling where it is a known one, else as it came. `None` when the payload
    /// has no text at the type's path.
    #[must_use]
    pub fn event_type(&self, payload: &Value) -> Option<Arc<str>> {
        self.spelt(self.type_path.first(payload)?.as_str()?)
    }

    /// An event type as a payload has it, in canonical spelling where it is a known one. `None` when it is empty.
    fn spelt(&self, written: &str) -> Option<Arc<str>> {
        (!written.is_empty()).then(|| self.canonical(written).unwrap_or_else(|| written.into()))
    }

    /// The sample of a name or an event type in any spelling.
    #[must_use]
    pub fn sample(&self, name: &str) -> Option<&Sample> {
        let exact = self.samples.iter().find(|sample| &*sample.name == name);
        exact.or_else(|| {
            let (written, variant) = name.split_once('.').map_or((name, None), |(name, variant)| (name, Some(variant)));
            let event_type = self.canonical(written)?;
            self.samples.iter().find(|sample| {
                let of_sample = sample.name.strip_prefix(&*event_type).and_then(|rest| rest.strip_prefix('.'));
                sample.event_type == event_type && (variant.is_none() || of_sample == variant)
            })
        })
    }

    /// What a webhook may list as its triggers, for messages: the known types (of an open kind those that have a sample)
    /// and `Manual`.
    #[must_use]
    pub fn triggers(&self) -> Vec<&str> {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        if self.types.is_empty() {
            known.extend(self.samples.iter().map(|sample| &*sample.event_type));
        }
        let closed = self.types.iter().map(|known| &**known);
        closed.chain(known.into_iter().filter(|name| *name != MANUAL)).chain([MANUAL]).collect()
    }

    /// A type's name without what may stand before it.
    fn bare<'t>(&self, written: &'t str) -> &'t str {
        self.prefixes.iter().find_map(|prefix| written.strip_prefix(prefix)).unwrap_or(written)
    }
}

/// A hash over a text that says everything.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(name: &str) -> Arc<Kind> {
        Kind::builtin().into_iter().find(|kind| &*kind.name == name).unwrap()
    }

    #[test]
    fn a_request_type_has_three_spellings() {
        let request = kind("request");
        for name in ["Created", "Approved", "Rejected", "Granted", "Expired", "Failed"] {
            let canonical = format!("Request{name}");
            for written in [name.to_owned(), canonical.clone(), format!("AccessRequest{name}")] {
                assert_eq!(request.canonical(&written).as_deref(), Some(&*canonical), "{written}");
                assert_eq!(request.sample(&written).map(|sample| &*sample.name), Some(&*canonical), "{written}");
                let older = format!("{written}.older");
                let found = request.sample(&older).map(|sample| sample.name.to_string());
                assert_eq!(found, Some(format!("{canonical}.older")), "{older}");
            }
            let spellings = request.spellings(&canonical);
            assert_eq!(spellings, [name.to_owned(), format!("AccessRequest{name}"), canonical.clone()]);
        }
        for written in ["", "Deleted", "created", "Request", "RequestAccessRequestCreated", "requestCreated"] {
            assert_eq!(request.canonical(written), None, "{written}");
            assert!(request.sample(written).is_none(), "{written}");
        }
        assert_eq!(request.canonical(MANUAL).as_deref(), Some(MANUAL));
        assert!(request.sample("RequestCreated.newest").is_none());
    }

    #[test]
    fn the_triggers_of_a_kind_can_be_listed() {
        assert_eq!(
            kind("request").triggers().join(" "),
            "RequestCreated RequestApproved RequestRejected RequestGranted RequestExpired RequestFailed Manual"
        );
        assert_eq!(kind("oort").triggers(), ["FAILED_CHECK", "WebhookTest", MANUAL]);
        assert!(kind("audit").triggers().len() > 1);
    }

    #[test]
    fn an_open_kind_takes_every_type_as_it_is() {
        let audit = kind("audit");
        assert_eq!(audit.canonical("RequestCreated").as_deref(), Some("RequestCreated"));
        assert_eq!(audit.canonical("anything at all").as_deref(), Some("anything at all"));
        assert_eq!(audit.spellings("anything at all"), ["anything at all"]);
        assert_eq!(audit.canonical(""), None);
    }

    #[test]
    fn the_event_type_of_a_payload_is_canonical_or_as_it_came() {
        let request = kind("request");
        let of = |payload: Value| request.event_type(&payload).map(|name| name.to_string());
        assert_eq!(of(json!({"event_type": "AccessRequestCreated"})).as_deref(), Some("RequestCreated"));
        assert_eq!(of(json!({"event_type": "AccessRequestDeleted"})).as_deref(), Some("AccessRequestDeleted"));
        assert_eq!(of(json!({"event_type": 1})), None);
        assert_eq!(of(json!({"event_type": ""})), None);
        assert_eq!(of(json!([])), None);
        let oort = json!({"detail-type": "FAILED_CHECK"});
        assert_eq!(kind("oort").event_type(&oort).as_deref(), Some("FAILED_CHECK"));
    }

    #[test]
    fn a_custom_kind_is_made_of_its_parts() {
        let path = |text: &str| Path::parse(text).unwrap();
        let make = |types: &[&str], samples: Vec<Value>| {
            let types = types.iter().map(|name| Arc::from(*name)).collect();
            let fields = BTreeMap::from([("team".into(), path("$.team"))]);
            Kind::custom("deploy", types, path("$.type"), Some(path("$.id")), None, fields, samples)
        };
        let kind =
            make(&["started", "ended"], vec![json!({"type": "ended"}), json!({"type": "ended", "x": 1})]).unwrap();
        assert_eq!(kind.canonical("ended").as_deref(), Some("ended"));
        assert_eq!(kind.canonical("Requestended"), None);
        assert_eq!(kind.sample("ended.2").unwrap().payload, json!({"type": "ended", "x": 1}));
        assert!(kind.sample("started").is_none());
        assert_eq!(kind.triggers(), ["started", "ended", MANUAL]);
        assert_eq!(make(&[], vec![]).unwrap().canonical("what").as_deref(), Some("what"));

        let problem = |made: Result<Kind, (String, String)>| made.unwrap_err().0;
        assert_eq!(problem(make(&[], vec![json!({})])), "the sample has no text at `$.type`");
        assert!(problem(make(&["a"], vec![json!({"type": "b"})])).contains("`b` is not among"));
        assert!(problem(make(&[MANUAL], vec![])).contains("no event type"));
    }
}
