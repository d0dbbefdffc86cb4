//! What two events of one source and id have to share to be the same: what happened, and the data, however they were written.
//!
//! Hops add attributes of their own, decode JSON and write it anew, and change the mode.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::read::Incoming;
use crate::kind::value::Decimal;

impl Incoming<'_> {
    /// The bytes that stand for its type and data: JSON with the members of objects in the order of their names and numbers by their
    /// value, and all else as its bytes. It recurses as deep as the data nest.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        part(&mut content, self.kind.as_bytes());
        let data = self.data.as_deref().map(serde_json::from_str::<Value>);
        match data {
            None => content.push(b'-'),
            Some(Ok(data)) if self.is_json => {
                content.push(b'j');
                value(&mut content, &data);
            }
            Some(Ok(Value::String(text))) => {
                let decoded = self.encoded.then(|| BASE64_STANDARD.decode(&text).ok()).flatten();
                let bytes = decoded.as_deref().unwrap_or(text.as_bytes());
                if bytes.is_empty() {
                    // In binary mode nothing tells it from no data.
                    content.push(b'-');
                } else {
                    content.push(b'b');
                    part(&mut content, bytes);
                }
            }
            // Ingest lets in no such data; it is itself then.
            Some(_) => part(&mut content, self.data.as_deref().unwrap_or_default().as_bytes()),
        }
        content
    }
}

/// A text that cannot run into the next one.
fn part(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn value(to: &mut Vec<u8>, of: &Value) {
    match of {
        Value::Null => to.push(b'n'),
        Value::Bool(truth) => to.push(if *truth { b't' } else { b'f' }),
        Value::Number(number) => {
            to.push(b'#');
            let text = number.as_str();
            // One that is too long to be compared by its value is its digits.
            let written = Decimal::parse(text).map_or_else(|| text.to_owned(), |number| number.canonical());
            part(to, written.as_bytes());
        }
        Value::String(text) => {
            to.push(b's');
            part(to, text.as_bytes());
        }
        Value::Array(list) => {
            to.push(b'[');
            for element in list {
                value(to, element);
            }
            to.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            to.push(b'{');
            for (name, member) in members {
                part(to, name.as_bytes());
                value(to, member);
            }
            to.push(b'}');
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::super::read::structured;

    fn content(kind: &str, more: &str) -> Vec<u8> {
        let event = format!("{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"{kind}\"{more}}}");
        structured(event.as_bytes()).unwrap_or_else(|error| panic!("{error}: {event}")).content()
    }

    #[test]
    fn data_is_the_same_however_it_is_written_and_no_other() {
        let same = [
            (r#","data":{"a":1.0,"b":[100,"é"]}"#, r#","x":"hop","data": {"b": [1e2, "\u00e9"], "a": 1}"#),
            (r#","data":{"a":1}"#, r#","data_base64":"eyJhIjoxfQ==""#),
            (r#","datacontenttype":"text/plain","data":"AP8=""#, r#","data":"AP8=","datacontenttype":"text/plain""#),
            (r#","datacontenttype":"a/b","data":"x""#, r#","datacontenttype":"a/b","data_base64":"eA==""#),
            ("", r#","data_base64":null"#),
            ("", r#","datacontenttype":"text/plain","data":"""#),
            ("", r#","datacontenttype":"a/b","data_base64":"""#),
        ];
        for (one, other) in same {
            assert_eq!(content("t", one), content("t", other), "{one} {other}");
        }
        let others = [
            "",
            r#","data":null"#,
            r#","data":1"#,
            r#","data":-1"#,
            r#","data":"1""#,
            r#","data":[1]"#,
            r#","data":[[1]]"#,
            r#","data":{"1":1}"#,
            r#","data":{}"#,
            r#","data":[]"#,
            r#","data":["1","2"]"#,
            r#","data":["12"]"#,
            r#","data":true"#,
            r#","data":false"#,
            r#","datacontenttype":"text/plain","data":"1""#,
            r#","data":"""#,
        ];
        let mut contents: Vec<_> = others.iter().map(|more| content("t", more)).collect();
        contents.push(content("u", ""));
        let count = contents.len();
        contents.sort_unstable();
        contents.dedup();
        assert_eq!(contents.len(), count);
    }
}
