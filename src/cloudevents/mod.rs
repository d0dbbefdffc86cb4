//! CloudEvents 1.0 (core specification 1.0.2, JSON event format, HTTP protocol binding): events that come in and events that go out.
//!
//! Inside there is one form: the JSON event format. What comes in binary mode is written in it, and what goes out is read from it,
//! so that a template sees `{{type}}` and `{{data.id}}` however an event came.

pub mod read;
pub mod write;

use jiff::Timestamp;

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
fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether an attribute may have this name: lower-case letters and digits.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// What is wrong with the text of an attribute.
fn wrong_with(name: &str, text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some(format!("`{name}` holds a control character"));
    }
    match name {
        "specversion" if text != SPEC_VERSION => {
            Some(format!("`specversion` is \"{}\", and \"{SPEC_VERSION}\" is spoken here", shown(text)))
        }
        "id" | "source" | "type" | "subject" | "dataschema" if text.is_empty() => {
            Some(format!("`{name}` is empty; leave it out, or give it a text"))
        }
        "time" if text.parse::<Timestamp>().is_err() => {
            Some(format!("`time` is \"{}\", and it is a time of RFC 3339: \"2026-11-28T10:00:00Z\"", shown(text)))
        }
        "datacontenttype" if !essence(text).contains('/') => {
            Some(format!("`datacontenttype` is \"{}\", and it is a media type: \"application/json\"", shown(text)))
        }
        _ => None,
    }
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
    use serde_json::{Value, json};

    use super::read::{batch, binary, structured};
    use super::write::{Data, attributes_of, data_of};
    use super::*;

    fn text() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[^\\p{Cc}]{1,20}").unwrap()
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
        (text(), text(), text(), text(), data).prop_map(|(id, source, kind, subject, data)| {
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
        let long = [("subject".to_owned(), Value::from("x".repeat(9000)))];
        assert_eq!(write::binary(&long, Data::Json(Bytes::new()), &mut HeaderMap::new()).unwrap_err(), "subject");
    }
}
