//! One text out of JSON that nobody has made a tree of.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::reads::Reads;
use super::scan;

/// The text at a way of members, without making a tree. `None` when something else than a text is there, or nothing. Of
/// several members of one name the last counts, as it does in a tree.
#[must_use]
pub fn text_at(raw: &[u8], members: &[&str]) -> Option<String> {
    let mut reads = Reads::default();
    reads.add(members.iter().map(|member| (*member, None)));
    if let Some(tree) = scan::tree(raw, &reads, usize::MAX) {
        let at = members.iter().try_fold(&tree, |value, member| value.get(member));
        return at.and_then(Value::as_str).map(str::to_owned);
    }
    let mut found = None;
    let read = Pluck { members, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_slice(raw));
    read.ok().and(found)
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
                *self.found = None;
                map.next_value_seed(Pluck { members: rest, found: &mut *self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
