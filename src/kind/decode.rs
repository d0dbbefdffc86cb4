//! From bytes to an [`Event`] of a kind. The clock and the id are the caller's.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::event::{Event, EventId};
use crate::kind::{Kind, MANUAL, scan};

/// How deep objects and lists may nest in an event, its own braces included. It leaves room for what is put around an event:
/// most parsers, this one too, refuse more than 127.
pub const EVENT_LEVELS_MAX: usize = 100;

/// The longest event type, in bytes: it is kept and listed apart from the event.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;

/// Why bytes are no event of a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", place.map(|(line, column)| format!(" at line {line} column {column}")).unwrap_or_default())]
pub struct DecodeError {
    /// What is wrong and how to mend it, without its place.
    pub problem: String,
    /// Line and column from 1, where the text is no JSON.
    pub place: Option<(usize, usize)>,
}

/// Decodes one event: a JSON object that has an event type where its kind says.
pub fn decode(kind: &Kind, raw: Bytes, id: EventId, received_at: Timestamp) -> Result<Event, DecodeError> {
    let member = kind.type_path.only_member();
    let found = check_object(&raw, member)?;
    let event_type = match member {
        Some(_) => found.and_then(|written| kind.spelt(&written)),
        None => kind.event_type(&parse(&raw)?),
    };
    let event_type = event_type.ok_or_else(|| DecodeError {
        problem: format!(
            "an event of kind \"{}\" has its type as text at `{}`, and there is none",
            kind.name,
            kind.type_path.text()
        ),
        place: None,
    })?;
    if event_type.len() > EVENT_TYPE_BYTES_MAX {
        let bytes = event_type.len();
        let problem = format!("the event type is {bytes} bytes long, and {EVENT_TYPE_BYTES_MAX} is the limit");
        return Err(DecodeError { problem, place: None });
    }
    Ok(Event::new(id, kind.name.clone(), event_type, received_at, raw))
}

/// Decodes the event of an invocation by name: any JSON object; its type is `Manual`.
pub fn decode_manual(kind: &Kind, raw: Bytes, id: EventId, received_at: Timestamp) -> Result<Event, DecodeError> {
    check_object(&raw, None)?;
    Ok(Event::new(id, kind.name.clone(), MANUAL.into(), received_at, raw))
}

/// Sees to it that the bytes are a JSON object that a tree can be made of later, and finds the text of one of its members.
fn check_object<'r>(raw: &'r [u8], member: Option<&str>) -> Result<Option<Cow<'r, str>>, DecodeError> {
    if raw.trim_ascii_start().first() != Some(&b'{') {
        return Err(no_object(&parse(raw)?));
    }
    // Most of what comes.
    if let Some(found) = scan::member(raw, member, EVENT_LEVELS_MAX) {
        return Ok(found.text());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let found = Skim { member }.deserialize(&mut deserializer).map_err(|error| no_json(&error))?;
    deserializer.end().map_err(|error| no_json(&error))?;
    Ok(found)
}

fn parse(raw: &[u8]) -> Result<Value, DecodeError> {
    serde_json::from_slice(raw).map_err(|error| no_json(&error))
}

/// What is told of bytes that are no JSON, or not of the shape that is asked for.
pub(crate) fn no_json(error: &serde_json::Error) -> DecodeError {
    let (line, column, said) = (error.line(), error.column(), error.to_string());
    // The place stands once, where it can be corrected for what comes before the text.
    let said = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    let prefix = if error.is_data() { "" } else { "not JSON: " };
    DecodeError { problem: format!("{prefix}{said}"), place: Some((line, column)) }
}

fn no_object(payload: &Value) -> DecodeError {
    let found = match payload {
        Value::Array(_) => "an array; send several events as application/x-ndjson, one object a line",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        _ => "null",
    };
    DecodeError { problem: format!("an event is a JSON object, this is {found}"), place: None }
}

/// The name by which the parser hands numbers over with all their digits. What an event writes so becomes a number of its tree.
const NUMBER_MEMBER: &str = "$serde_json::private::Number";

/// Why such a member is refused where it makes no number.
const RESERVED_MEMBER: &str = "the member `$serde_json::private::Number` is reserved";

/// The name by which the parser hands text over that is not parsed yet: a tree would have in its place what the text says, or could
/// not be made.
const RAW_MEMBER: &str = "$serde_json::private::RawValue";

/// Why such a member is refused.
const RESERVED_RAW_MEMBER: &str = "the member `$serde_json::private::RawValue` is reserved";

/// Whether a text is a number as JSON writes it.
fn is_number(text: &str) -> bool {
    let ends = |ends: Option<u8>| ends.is_some_and(|byte| byte.is_ascii_digit());
    let begins = text.strip_prefix('-').unwrap_or(text).bytes().next();
    ends(begins) && ends(text.bytes().next_back()) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Goes through an object as making a tree would, with the same refusals, and keeps nothing but one member's text. Of
/// several members of one name the last counts, as it does in a tree.
struct Skim<'m> {
    member: Option<&'m str>,
}

impl<'de> DeserializeSeed<'de> for Skim<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Skim<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut first = true;
        while let Some(Text(key)) = map.next_key()? {
            if std::mem::take(&mut first) && key == NUMBER_MEMBER {
                return Err(A::Error::custom(RESERVED_MEMBER));
            }
            refuse_raw(&key)?;
            let Checked(text) = map.next_value_seed(Below { levels: EVENT_LEVELS_MAX - 1 })?;
            if self.member == Some(&*key) {
                found = text;
            }
        }
        Ok(found)
    }
}

/// A key, borrowed from the bytes where it holds no escape.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Checked(text) = Below { levels: 0 }.deserialize(deserializer)?;
        Ok(Self(text.unwrap_or_default()))
    }
}

/// A value that was gone through to its end: its text where it is one.
struct Checked<'de>(Option<Cow<'de, str>>);

/// Goes through any value that nests no deeper than so many levels.
#[derive(Clone, Copy)]
struct Below {
    levels: usize,
}

impl Below {
    fn level<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1);
        levels
            .map(|levels| Self { levels })
            .ok_or_else(|| E::custom(format_args!("the event nests deeper than {EVENT_LEVELS_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Below {
    type Value = Checked<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below {
    type Value = Checked<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Checked(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Checked(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Checked(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Checked(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Checked(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Checked(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Checked(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let below = self.level()?;
        while seq.next_element_seed(below)?.is_some() {}
        Ok(Checked(None))
    }

    /// Numbers come here too, as a map of one member: they keep their digits. What is written like that is taken for one.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let first = map.next_key()?;
        if let Some(Text(first)) = &first
            && first == NUMBER_MEMBER
        {
            let Checked(value) = map.next_value_seed(Self { levels: 0 })?;
            let number = value.is_some_and(|text| is_number(&text));
            return if number { Ok(Checked(None)) } else { Err(A::Error::custom(RESERVED_MEMBER)) };
        }
        let below = self.level()?;
        let mut key = first;
        while let Some(Text(name)) = &key {
            refuse_raw(name)?;
            map.next_value_seed(below)?;
            key = map.next_key()?;
        }
        Ok(Checked(None))
    }
}

/// Refuses the member that no tree has, wherever in an object it stands.
fn refuse_raw<E: serde::de::Error>(name: &str) -> Result<(), E> {
    if name == RAW_MEMBER { Err(E::custom(RESERVED_RAW_MEMBER)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &[u8]) -> Result<Event, DecodeError> {
        let raw = Bytes::copy_from_slice(text);
        let kinds = Kind::builtin();
        let request = kinds.iter().find(|kind| &*kind.name == "request").unwrap();
        decode(request, raw, EventId::from_bytes([1; 16]), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_type_is_found_wherever_it_stands_and_however_it_is_spelt() {
        for text in [
            r#"{"event_type":"AccessRequestCreated"}"#,
            r#" {"data":{"event_type":"x"},"event_type":"Created","n":[1.50,-2e9,{"a":null}]} "#,
            r#"{"event_type":"Other","event\u005ftype":"RequestCreated"}"#,
        ] {
            assert_eq!(&*decoded(text.as_bytes()).unwrap().event_type, "RequestCreated", "{text}");
        }
        for text in ["{}", r#"{"event_type":7}"#, r#"{"event_type":null}"#, r#"{"event_type":["RequestCreated"]}"#] {
            assert!(decoded(text.as_bytes()).unwrap_err().problem.contains("there is none"), "{text}");
        }
        let long = |bytes: usize| format!(r#"{{"event_type":"{}"}}"#, "x".repeat(bytes));
        assert!(decoded(long(EVENT_TYPE_BYTES_MAX).as_bytes()).is_ok());
        let error = decoded(long(EVENT_TYPE_BYTES_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(error.problem, "the event type is 257 bytes long, and 256 is the limit");
    }

    #[test]
    fn a_tree_can_be_made_of_whatever_was_let_in_and_of_nothing_else() {
        let deep =
            |depth: usize| format!(r#"{{"event_type":"Created","a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        // The tree's parser takes this member for how it writes numbers itself.
        let number = |value: &str| {
            format!(r#"{{"event_type":"Created","a":{{"$serde_json::private::Number":{value}}}}}"#).into_bytes()
        };
        let cases: Vec<Vec<u8>> = vec![
            deep(EVENT_LEVELS_MAX - 1).into_bytes(),
            deep(128).into_bytes(),
            deep(100_000).into_bytes(),
            br#"{"event_type":"Created","a":"\ud800"}"#.to_vec(),
            br#"{"event_type":"Created","\ud800":1}"#.to_vec(),
            b"{\"event_type\":\"Created\",\"a\":\"\xff\"}".to_vec(),
            b"{\"event_type\":\"Created\",\"\xff\":1}".to_vec(),
            b"{\"event_type\":\"Created\"} x".to_vec(),
            b"{\"event_type\":\"Created\",\"a\":01}".to_vec(),
            b"{\"event_type\":\"Created\",\"a\":1e99999}".to_vec(),
            b"{\"event_type\":\"Created\",\"a\":\"\x00\"}".to_vec(),
            number(r#""5""#),
            number(r#""-5e9""#),
            number(r#""\u0035""#),
            number(r#""x""#),
            number(r#""""#),
            number(r#"" 5""#),
            number(r#""5 ""#),
            number(r#""[5]""#),
            number("5"),
            number("null"),
            number(r#"["5"]"#),
            number(r#""5","b":1"#),
            br#"{"event_type":"Created","a":{"b":1,"$serde_json::private::Number":"x"}}"#.to_vec(),
            br#"{"event_type":"Created","a":{"$serde_json::private::Numbe\u0072":"x"}}"#.to_vec(),
            br#"{"$serde_json::private::Number":"5","event_type":"Created"}"#.to_vec(),
            br#"{"event_type":"Created","$serde_json::private::Number":"x"}"#.to_vec(),
        ];
        for case in cases {
            let tree = serde_json::from_slice::<Value>(&case);
            let shown = String::from_utf8_lossy(&case[..case.len().min(60)]).into_owned();
            assert_eq!(decoded(&case).is_ok(), tree.is_ok(), "{shown}");
        }
    }

    #[test]
    fn no_event_has_a_member_that_its_tree_would_have_otherwise() {
        for raw in [
            r#"{"event_type":"Created","a":{"$serde_json::private::RawValue":"x"}}"#,
            r#"{"event_type":"Created","a":[{"$serde_json::private::RawValue":"{\"b\":1}"}]}"#,
            r#"{"event_type":"Created","a":{"b":1,"$serde_json::private::Raw\u0056alue":"1"}}"#,
            r#"{"$serde_json::private::RawValue":"1","event_type":"Created"}"#,
        ] {
            let error = decoded(raw.as_bytes()).unwrap_err();
            assert!(error.problem.contains(RESERVED_RAW_MEMBER) && error.place.is_some(), "{raw}: {error}");
        }
    }

    #[test]
    fn an_event_nests_so_deep_and_no_deeper() {
        let event = |value: String| format!(r#"{{"event_type":"Created","a":{value}}}"#);
        let nested = |open: &str, inner: &str, close: &str, levels: usize| {
            event(format!("{}{inner}{}", open.repeat(levels), close.repeat(levels)))
        };
        for (open, inner, close) in
            [("[", "1.5", "]"), ("[", "\"x\"", "]"), (r#"{"a":"#, "[]", "}"), (r#"[{"a":"#, "{}", "}]")]
        {
            let at_most =
                (EVENT_LEVELS_MAX - 1 - usize::from(inner.len() == 2)) / if open.starts_with("[{") { 2 } else { 1 };
            let most = nested(open, inner, close, at_most);
            assert!(decoded(most.as_bytes()).is_ok(), "{open}");
            assert!(serde_json::from_str::<Value>(&format!("[[[[{most}]]]]")).is_ok(), "there is room around it");
            let error = decoded(nested(open, inner, close, at_most + 1).as_bytes()).unwrap_err();
            assert!(error.problem.starts_with("the event nests deeper than 100 levels"), "{error}");
            assert!(error.place.is_some());
        }
    }

    proptest! {
        #[test]
        fn going_through_and_making_a_tree_refuse_the_same(text in r#"\{"event_type":"Created"(,"[a-c\\"u0d8]{0,4}":[\[\]{}0-9eE.+\-tnrufalsi":,]{0,12}){0,3}\}?"#) {
            let tree = serde_json::from_str::<Value>(&text);
            prop_assert_eq!(check_object(text.as_bytes(), Some("event_type")).is_ok(), tree.is_ok(), "{}", text);
        }
    }
}
