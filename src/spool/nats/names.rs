//! What things are called on the server: the stream, its subjects and the consumers of webhooks.

use std::fmt;

use crate::event::EventId;

/// The names of one spool.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    api: String,
}

/// What a message of the stream stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A delivery that is due.
    Due,
    /// One that the server makes due at its time.
    Deferred,
    /// A dead letter.
    Dead,
}

impl Place {
    const fn token(self) -> char {
        match self {
            Self::Due => 'd',
            Self::Deferred => 's',
            Self::Dead => 'x',
        }
    }
}

impl Names {
    pub(super) fn new(prefix: &str, domain: Option<&str>) -> Self {
        let api = domain.map_or_else(|| "$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
        Self { prefix: prefix.to_owned(), api }
    }

    /// Where messages of a stream are asked for.
    pub(super) fn direct_get(&self, stream: &str) -> String {
        format!("{}.DIRECT.GET.{stream}", self.api)
    }

    /// The stream.
    pub(super) fn stream(&self) -> &str {
        &self.prefix
    }

    /// All subjects of the stream.
    pub(super) fn all(&self) -> String {
        format!("{}.>", self.prefix)
    }

    /// Where a delivery is.
    pub(super) fn of(&self, place: Place, webhook: &str, event: EventId) -> String {
        format!("{}.{}.{webhook}.{event}", self.prefix, place.token())
    }

    /// All places of a delivery.
    pub(super) fn anywhere(&self, webhook: &str, event: EventId) -> String {
        format!("{}.*.{webhook}.{event}", self.prefix)
    }

    /// All of one place, of a webhook or of all.
    pub(super) fn filter(&self, place: Place, webhook: Option<&str>) -> String {
        format!("{}.{}.{}", self.prefix, place.token(), Tail(webhook))
    }

    /// All places of one event.
    pub(super) fn of_event(&self, event: EventId) -> String {
        format!("{}.*.*.{event}", self.prefix)
    }

    /// Where a webhook is named that has something in the stream, or had; of all of them without one.
    pub(super) fn webhook(&self, webhook: Option<&str>) -> String {
        format!("{}.w.{}", self.prefix, webhook.unwrap_or(">"))
    }

    /// That a process has a webhook; of all of them without one.
    pub(super) fn claim(&self, webhook: &str, process: Option<&str>) -> String {
        format!("{}.c.{webhook}.{}", self.prefix, process.unwrap_or("*"))
    }

    /// The stream of records.
    pub(super) fn records(&self) -> String {
        format!("{}-records", self.prefix)
    }

    /// Where the records of a webhook are, or all.
    pub(super) fn records_of(&self, webhook: Option<&str>) -> String {
        format!("{}.{}", self.records(), webhook.unwrap_or(">"))
    }

    /// Where a key is.
    pub(super) fn key(&self, key: &[u8; 16]) -> String {
        format!("{}.k.{:032x}", self.prefix, u128::from_be_bytes(*key))
    }

    /// Reads the subject of a delivery; `None` for a key, and for what others wrote.
    pub(super) fn parse<'s>(&self, subject: &'s str) -> Option<(Place, &'s str, EventId)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        let (place, rest) = rest.split_once('.')?;
        let (webhook, event) = rest.split_once('.')?;
        let place =
            [Place::Due, Place::Deferred, Place::Dead].into_iter().find(|known| place == known.token().to_string())?;
        Some((place, webhook, EventId::parse(event)?))
    }
}

/// What follows a place in a filter.
struct Tail<'w>(Option<&'w str>);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(webhook) => write!(f, "{webhook}.>"),
            None => f.write_str(">"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_subject_is_read_as_it_is_written_and_nothing_else_is() {
        let (names, event) = (Names::new("outrigger", None), EventId::new(Uuid::from_u128(7)));
        for place in [Place::Due, Place::Deferred, Place::Dead] {
            let subject = names.of(place, "okta-workflows", event);
            assert_eq!(names.parse(&subject), Some((place, "okta-workflows", event)));
        }
        assert_eq!(names.of(Place::Due, "a", event), "outrigger.d.a.evt_00000000000000000000000000000007");
        assert_eq!(Names::new("outrigger", Some("leaf")).direct_get("s"), "$JS.leaf.API.DIRECT.GET.s");
        assert_eq!(names.filter(Place::Dead, None), "outrigger.x.>");
        assert_eq!(names.filter(Place::Due, Some("a")), "outrigger.d.a.>");
        for other in [
            &*names.key(&[1; 16]),
            "outrigger.d.a",
            "outrigger.q.a.evt_00000000000000000000000000000007",
            "other.d.a.b",
        ] {
            assert_eq!(names.parse(other), None, "{other}");
        }
    }
}
