//! Which deliveries of a webhook wait for each other.

use std::time::Duration;

use crate::delivery::Lane;
use crate::event::Tree;
use crate::kind::Path;
use crate::kind::pluck::text_at;

/// How long the next delivery of a lane waits for one that fails, unless `max_wait` says otherwise.
pub const MAX_WAIT: Duration = Duration::from_mins(5);

/// `ordering` of a webhook.
#[derive(Clone, Debug, PartialEq)]
pub enum Ordering {
    /// Nobody waits for anybody.
    None,
    /// Deliveries whose events have the same value at a path go out in the order in which they were taken in.
    By {
        /// Where the key stands. An event that has none, or null, waits for nobody.
        path: Path,
        /// How long a delivery may fail before the next one goes out.
        max_wait: Duration,
    },
    /// All deliveries go out in the order in which they were taken in; each waits until the one before is delivered or dead.
    Strict,
}

impl Ordering {
    /// The lane of an event; `None` waits for nobody.
    #[must_use]
    pub fn lane(&self, tree: &Tree<'_>) -> Option<Lane> {
        match self {
            Self::None => None,
            Self::Strict => Some(Lane::WHOLE),
            Self::By { path, .. } => {
                if let (None, Some(names)) = (tree.made(), path.members())
                    && let Some(text) = text_at(&tree.event().raw, &names)
                {
                    return Some(Lane::of(text.as_bytes()));
                }
                let value = path.first(tree.get()?).filter(|value| !value.is_null())?;
                Some(
                    value
                        .as_str()
                        .map_or_else(|| Lane::of(value.to_string().as_bytes()), |text| Lane::of(text.as_bytes())),
                )
            }
        }
    }

    /// How long a failing delivery holds up its lane; `None` is without end.
    #[must_use]
    pub const fn max_wait(&self) -> Option<Duration> {
        match self {
            Self::By { max_wait, .. } => Some(*max_wait),
            Self::None | Self::Strict => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::event::{Event, EventId};

    fn lane(path: &str, raw: &str, parsed: bool) -> Option<Lane> {
        let raw = Bytes::copy_from_slice(raw.as_bytes());
        let event = Event::new(EventId::from_bytes([1; 16]), "k".into(), "T".into(), Timestamp::UNIX_EPOCH, raw);
        if parsed {
            let _ = event.keep_parsed();
        }
        Ordering::By { path: Path::parse(path).unwrap(), max_wait: MAX_WAIT }.lane(&event.tree())
    }

    #[test]
    fn a_key_gives_the_same_lane_however_it_is_found() {
        let cases = [
            ("$.data.id", r#"{"data":{"x":[1,{"id":"no"}],"id":"a"}}"#, Some("a")),
            ("$.data.id", r#"{"id":"no","data":{"i\u0064":"\u0061"}}"#, Some("a")),
            ("$.data.id", r#"{"data":{"id":17.50}}"#, Some("17.50")),
            ("$.data.id", r#"{"data":{"id":{"a":[1]}}}"#, Some(r#"{"a":[1]}"#)),
            ("$.data.id", r#"{"data":{"id":null}}"#, None),
            ("$.data.id", r#"{"data":{"id":"null"}}"#, Some("null")),
            ("$.data.id", r#"{"data":["id"]}"#, None),
            ("$.data.id", r#"{"data":{}}"#, None),
            ("$.data.id", r#"{"data":{"id":"a","id":"b"}}"#, Some("b")),
            ("$.data.id", r#"{"data":{"id":"a"},"data":{"id":"b"}}"#, Some("b")),
            ("$.data.id", r#"{"data":{"id":"a"},"data":{}}"#, None),
            ("$.data.id", r#"{"data":{"id":"a","id":5}}"#, Some("5")),
            ("$.data[*].id", r#"{"data":[{"x":1},{"id":"a"},{"id":"b"}]}"#, Some("a")),
        ];
        for (path, raw, key) in cases {
            for parsed in [false, true] {
                assert_eq!(lane(path, raw, parsed), key.map(|key| Lane::of(key.as_bytes())), "{path} {raw} {parsed}");
            }
        }
    }
}
