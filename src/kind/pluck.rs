//! One text out of JSON that nobody has made a tree of.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The text at a way of members, without making a tree and without reading on behind it. `None` when something else than a
/// text is there, or nothing. Of several members of one name the first counts.
#[must_use]
pub fn text_at(raw: &[u8], members: &[&str]) -> Option<String> {
    let mut found = None;
    // Once the text is found an error ends the reading, so the result says nothing.
    let _ = Pluck { members, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_slice(raw));
    found
}

struct Pluck<'m, 'f> {
    members: &'m [&'m str],
    found: &'f mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Pluck<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.members.is_empty() { deserializer.deserialize_str(self) } else { deserializer.deserialize_map(self) }
    }
}

impl<'de> Visitor<'de> for Pluck<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text at a path")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        *self.found = Some(text.to_owned());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((name, rest)) = self.members.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<super::decode::Text<'de>>()? {
            if key.is(name) {
                map.next_value_seed(Pluck { members: rest, found: self.found })?;
                return Err(A::Error::custom("there is nothing more to look for"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
