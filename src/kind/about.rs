//! What people know an event by: the id of what it is about.

use crate::event::Event;
use crate::kind::pluck::text_at;

/// The longest such id, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// The id by which people know what an event is about: an access request's `AR-123`, or else its technical id.
#[must_use]
pub fn request_id(event: &Event) -> Option<String> {
    ids(event).next()
}

/// Whether an event is about what people know by this id.
#[must_use]
pub fn is_about(event: &Event, id: &str) -> bool {
    ids(event).any(|known| known == id)
}

/// The ids by which people know what an event is about, that of [`request_id`] first.
pub fn ids(event: &Event) -> impl Iterator<Item = String> + '_ {
    let at = |name| text_at(&event.raw, &["data", name]);
    ["friendly_id", "id"].into_iter().filter_map(at).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::event::EventId;

    #[test]
    fn an_event_is_known_by_the_id_for_people_and_by_the_technical_one() {
        let event = |raw: &'static str| {
            let raw = Bytes::from_static(raw.as_bytes());
            Event::new(EventId::from_bytes([1; 16]), "k".into(), "T".into(), Timestamp::UNIX_EPOCH, raw)
        };
        let both = event(r#"{"data":{"id":"17","friendly_id":"AR-1"}}"#);
        assert_eq!(request_id(&both).as_deref(), Some("AR-1"));
        assert!(is_about(&both, "AR-1") && is_about(&both, "17") && !is_about(&both, "AR") && !is_about(&both, ""));
        assert_eq!(request_id(&event(r#"{"data":{"id":"17"}}"#)).as_deref(), Some("17"));
        for none in ["", "{}", r#"{"data":[]}"#, r#"{"data":{"id":17}}"#, r#"{"data":{"id":""}}"#] {
            assert_eq!(request_id(&event(none)), None, "{none}");
        }
    }
}
