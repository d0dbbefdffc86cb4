//! From attributes and data to a request.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{DATA, DATA_BASE64, HEADER_PREFIX, STRUCTURED, is_json, member};
use crate::secret::ATTRIBUTE_ENCODES;

/// All attributes in headers, in bytes as they are encoded: more than most receivers take of all headers together.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// The data of an event that goes out.
#[derive(Debug)]
pub enum Data {
    /// None.
    Absent,
    /// JSON, as its text.
    Json(Bytes),
    /// Any other text.
    Text(String),
    /// Anything else.
    Binary(Vec<u8>),
}

/// The data of an event in the JSON format; what cannot be read of it is left out.
#[must_use]
pub fn data_of(event: &Value) -> Data {
    if let Some(encoded) = event.get(DATA_BASE64).and_then(Value::as_str) {
        return BASE64_STANDARD.decode(encoded).map_or(Data::Absent, Data::Binary);
    }
    let content_type = event.get("datacontenttype").and_then(Value::as_str);
    match (event.get(DATA), content_type) {
        (None, _) => Data::Absent,
        (Some(Value::String(text)), Some(content_type)) if !is_json(content_type) => Data::Text(text.clone()),
        (Some(data), _) => Data::Json(data.to_string().into()),
    }
}

/// The attributes of an event in the JSON format that are set, in their order.
pub fn attributes_of(event: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = event.as_object().into_iter().flatten();
    members
        .filter(|(name, value)| !value.is_null() && *name != DATA && *name != DATA_BASE64)
        .map(|(name, value)| (name.as_str(), value))
}

/// Writes an event in structured mode: its body, and its content type into `headers`.
pub fn structured(attributes: &[(String, Value)], data: Data, headers: &mut HeaderMap) -> Bytes {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
    let mut text = String::from("{");
    for (name, value) in attributes {
        member(&mut text, name, &value.to_string());
    }
    match data {
        Data::Absent => {}
        Data::Json(data) => member(&mut text, DATA, &String::from_utf8_lossy(&data)),
        Data::Text(data) => member(&mut text, DATA, &Value::from(data).to_string()),
        Data::Binary(data) => member(&mut text, DATA_BASE64, &Value::from(BASE64_STANDARD.encode(data)).to_string()),
    }
    text.push('}');
    text.into()
}

/// Writes an event in binary mode: its attributes into `headers`, and its data as the body. The error is the name of an attribute that
/// no header can carry.
pub fn binary(attributes: &[(String, Value)], data: Data, headers: &mut HeaderMap) -> Result<Bytes, String> {
    headers.remove(CONTENT_TYPE);
    let mut total = 0;
    for (name, value) in attributes {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if name == "datacontenttype" {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(&text).map_err(|_| name.clone())?);
            continue;
        }
        let encoded = utf8_percent_encode(&text, ATTRIBUTE_ENCODES).to_string();
        total += encoded.len();
        if total > HEADERS_BYTES_MAX {
            return Err(name.clone());
        }
        let header = HeaderName::from_bytes(format!("{HEADER_PREFIX}{name}").as_bytes()).map_err(|_| name.clone())?;
        headers.insert(header, HeaderValue::from_str(&encoded).map_err(|_| name.clone())?);
    }
    let json = HeaderValue::from_static("application/json");
    Ok(match data {
        Data::Absent => Bytes::new(),
        Data::Json(data) => {
            // The JSON format may leave out what its data is; the headers must not.
            headers.entry(CONTENT_TYPE).or_insert(json);
            data
        }
        Data::Text(data) => data.into(),
        Data::Binary(data) => data.into(),
    })
}
