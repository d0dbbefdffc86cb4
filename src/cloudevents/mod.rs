//! CloudEvents 1.0 (core specification 1.0.2, JSON event format, HTTP protocol binding): events that come in and events that go out.
//!
//! Inside there is one form: the JSON event format. What comes in binary mode is written in it, and what goes out is read from it,
//! so that a template sees `{{type}}` and `{{data.id}}` however an event came.

mod content;
pub mod read;
pub mod write;

use jiff::Timestamp;
use serde_json::Value;

/// The name of the kind.
pub const KIND: &str = "cloudevents";
/// What structured mode is sent as.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// What stands before an attribute's name in a header of binary mode.
pub const HEADER_PREFIX: &str = "ce-";
/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// The attributes that the specification names, all of which are texts.
const TEXTS: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];
/// The version that is spoken.
const SPEC_VERSION: &str = "1.0";
/// The member of the JSON format that holds bytes.
const DATA_BASE64: &str = "data_base64";
/// The member of the JSON format that holds everything else.
const DATA: &str = "data";

/// Whether data of a content type stands as JSON in the JSON format: its subtype is `json` or ends with `+json`.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether an attribute may have this name: lower-case letters and digits.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The longest attribute that is taken in, in bytes.
pub(crate) const ATTRIBUTE_BYTES_MAX: usize = 4096;

/// What is wrong with the text of an attribute.
pub(crate) fn wrong_with(name: &str, text: &str) -> Option<String> {
    if text.len() > ATTRIBUTE_BYTES_MAX {
        return Some(format!("`{name}` has {} bytes, and {ATTRIBUTE_BYTES_MAX} are the limit", text.len()));
    }
    if text.chars().any(|character| character.is_control() || is_noncharacter(character)) {
        return Some(format!("`{name}` holds a control character"));
    }
    let found = shown(text);
    match name {
        "specversion" if text != SPEC_VERSION => {
            Some(format!("`specversion` is \"{found}\", and \"{SPEC_VERSION}\" is spoken here"))
        }
        "id" | "source" | "type" | "subject" | "dataschema" if text.is_empty() => {
            Some(format!("`{name}` is empty; leave it out, or give it a text"))
        }
        "source" | "dataschema" if !is_reference(text) => {
            Some(format!("`{name}` is \"{found}\", and it is a URI: \"/requests\" or \"https://access.example.com\""))
        }
        "time" if !is_time(text) => {
            Some(format!("`time` is \"{found}\", and it is a time of RFC 3339: \"2026-11-28T10:00:00Z\""))
        }
        "datacontenttype"
            if !essence(text).contains('/') || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) =>
        {
            Some(format!("`datacontenttype` is \"{found}\", and it is a media type: \"application/json\""))
        }
        _ => None,
    }
}

/// What Unicode keeps for no character (core specification, "Type System").
const fn is_noncharacter(character: char) -> bool {
    let code = character as u32;
    matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

/// Whether a text can be a URI reference (RFC 3986): no blanks or delimiters, and whole escapes. What is beyond ASCII is let pass.
fn is_reference(text: &str) -> bool {
    let no_part = |character: char| character.is_whitespace() || "<>\"\\^`{|}".contains(character);
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    !text.contains(no_part) && text.split('%').skip(1).all(is_escape)
}

/// Whether a text is a time as RFC 3339 writes it, and one that there is.
fn is_time(text: &str) -> bool {
    let (Some(date), Some(rest)) = (text.get(..10), text.get(10..)) else { return false };
    let shaped = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, wanted)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted })
    };
    let upper = rest.to_ascii_uppercase();
    let Some(time) = upper.strip_prefix('T') else { return false };
    let (time, zone) = match time.strip_suffix('Z') {
        Some(time) => (time, "+00:00"),
        None => time.split_at_checked(time.len().saturating_sub(6)).unwrap_or_default(),
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    shaped(date, "0000-00-00")
        && shaped(clock, "00:00:00")
        && digits
        && (shaped(zone, "+00:00") || shaped(zone, "-00:00"))
        && text.parse::<Timestamp>().is_ok()
}

/// Puts a member at the end of an object that is being written; `value` is JSON.
fn member(text: &mut String, name: &str, value: &str) {
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(&Value::from(name).to_string());
    text.push(':');
    text.push_str(value);
}

/// As much of a text as a message has room for.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;
    use serde_json::json;

    use super::read::{batch, binary, structured};
    use super::write::{Data, attributes_of, data_of};
    use super::*;

    fn text() -> impl Strategy<Value = String> {
        let any = proptest::string::string_regex("[^\\p{Cc}]{1,20}").unwrap();
        any.prop_filter("no character", |text| !text.chars().any(is_noncharacter))
    }

    fn reference() -> impl Strategy<Value = String> {
        proptest::string::string_regex("/[a-z0-9é€\u{1f600}:;?#=&]{1,10}(%[0-9a-fA-F]{2})?").unwrap()
    }

    fn event() -> impl Strategy<Value = Value> {
        let data = prop_oneof![
            Just(json!({})),
            Just(json!({ "data": null })),
            text().prop_map(|text| json!({ "data": { "a": [text, 1, 2.50] } })),
            text().prop_map(|text| json!({ "data": text, "datacontenttype": "text/plain" })),
            text().prop_map(|text| json!({ "data": text, "datacontenttype": "application/json" })),
            proptest::collection::vec(any::<u8>(), 1..20).prop_map(
                |bytes| json!({ "data_base64": base64_of(&bytes), "datacontenttype": "application/octet-stream" })
            ),
        ];
        (text(), reference(), text(), text(), data).prop_map(|(id, source, kind, subject, data)| {
            let mut event = json!({ "specversion": "1.0", "id": id, "source": source, "type": kind, "subject": subject, "x1": "-7" });
            event.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
            event
        })
    }

    fn base64_of(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.encode(bytes)
    }

    proptest! {
        #[test]
        fn what_is_written_in_either_mode_is_read_as_the_same_event(event in event()) {
            let attributes: Vec<(String, Value)> =
                attributes_of(&event).map(|(name, value)| (name.to_owned(), value.clone())).collect();
            let mut headers = HeaderMap::new();
            let body = write::structured(&attributes, data_of(&event), &mut headers);
            prop_assert_eq!(headers.get(CONTENT_TYPE).unwrap(), STRUCTURED);
            let read = structured(&body).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&read.text).unwrap(), event.clone());
            prop_assert_eq!((read.source.as_str(), read.id.as_str()), (event["source"].as_str().unwrap(), event["id"].as_str().unwrap()));

            let mut headers = HeaderMap::new();
            let body = write::binary(&attributes, data_of(&event), &mut headers).unwrap();
            let read: Value = serde_json::from_slice(&binary(&headers, &body).unwrap().text).unwrap();
            let mut wanted = event;
            if wanted.get("data").is_some() && wanted.get("datacontenttype").is_none() {
                // The JSON format may leave it out; binary mode says it.
                wanted["datacontenttype"] = json!("application/json");
            }
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,100}") {
            for body in [&bytes[..], text.as_bytes()] {
                let _ = (structured(body).is_ok(), batch(body, 10).is_ok(), binary(&HeaderMap::new(), body).is_ok());
            }
        }
    }

    #[test]
    fn a_batch_has_a_limit_and_an_event_has_one_of_its_attributes() {
        let one = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
        let many = format!("[{one},{one},{one}]");
        assert_eq!(batch(many.as_bytes(), 3).unwrap().len(), 3);
        assert_eq!(batch(many.as_bytes(), 2).unwrap_err().problem, "the batch has 3 events, and 2 is the limit");
        let with = |count: usize| {
            let more = (0..count).map(|number| format!(",\"x{number}\":\"\"")).collect::<Vec<_>>().concat();
            format!("{}{more}}}", one.trim_end_matches('}'))
        };
        assert!(structured(with(96).as_bytes()).is_ok());
        assert!(structured(with(97).as_bytes()).unwrap_err().problem.contains("more than 100 attributes"));
    }

    #[test]
    fn data_that_cannot_be_read_is_left_out_and_a_long_attribute_goes_in_no_header() {
        assert!(matches!(data_of(&json!({ "data_base64": "%" })), Data::Absent));
        assert!(matches!(data_of(&json!({ "data": "x", "datacontenttype": "text/plain" })), Data::Text(_)));
        let long = [("subject".to_owned(), Value::from("x".repeat(17_000)))];
        assert_eq!(write::binary(&long, Data::Json(Bytes::new()), &mut HeaderMap::new()).unwrap_err(), "subject");
    }
}
