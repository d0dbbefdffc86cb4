//! Writing values: each as it has to be in its place, straight into the output.

use serde_json::Value;

use super::RenderError;
use super::helpers::text_of;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As JSON, in this many strings.
    Json(usize),
    /// As text, in this many strings.
    Quoted(usize),
    /// As text.
    Plain,
    /// As form data.
    Form,
    /// As a part of a URL.
    Url,
    /// As a part of a header's value.
    Header,
    /// As text, and `null` where there is none: raw, outside any string.
    RawJson,
}

/// The deepest place: a value in a string of a document in a string of a document, and so on, this many strings deep.
pub(super) const STRINGS_DEEP_MAX: usize = 8;

/// What the deepest place needs for a backslash: it doubles with each string.
const BACKSLASHES: &str = match std::str::from_utf8(&[b'\\'; 1 << STRINGS_DEEP_MAX]) {
    Ok(backslashes) => backslashes,
    Err(_) => "",
};

/// What a URL's part keeps beside letters and digits.
pub(super) const URL_KEPT: &[u8] = b"-_.~";
/// What form data keep beside letters and digits.
const FORM_KEPT: &[u8] = b"*-._";
/// What a header's value keeps: all of ASCII, also control characters, which whoever makes the header refuses.
const HEADER_KEPT: &[u8] = &{
    let mut ascii = [0_u8; 128];
    let mut byte = 0;
    while byte < 128 {
        ascii[byte as usize] = byte;
        byte += 1;
    }
    ascii
};

/// The output of a rendering, which cannot grow over its limit.
pub(super) struct Output {
    /// What was written.
    pub(super) text: String,
    bytes_max: usize,
}

/// What writing comes to.
pub(super) type Written = Result<(), RenderError>;

impl Output {
    /// An empty one.
    pub(super) fn new(bytes_max: usize, expected: usize) -> Self {
        Self { text: String::with_capacity(expected.min(bytes_max)), bytes_max }
    }

    /// Writes text as it is.
    pub(super) fn push(&mut self, text: &str) -> Written {
        if text.len() > self.bytes_max.saturating_sub(self.text.len()) {
            return Err(RenderError(format!("the rendered text is longer than {} bytes", self.bytes_max)));
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Writes a value for its place.
    pub(super) fn value(&mut self, value: &Value, style: Style) -> Written {
        match style {
            Style::Json(strings) => self.json(value, strings),
            Style::RawJson if value.is_null() => self.push("null"),
            Style::Quoted(strings) => match value {
                Value::Array(_) | Value::Object(_) => self.json(value, strings),
                _ => self.escaped(&text_of(value), strings),
            },
            Style::Plain | Style::RawJson => match value {
                Value::Array(_) | Value::Object(_) => self.json(value, 0),
                _ => self.push(&text_of(value)),
            },
            Style::Form => percent_encode(&text_of(value), FORM_KEPT, true, |part| self.push(part)),
            Style::Url => percent_encode(&text_of(value), URL_KEPT, false, |part| self.push(part)),
            Style::Header => percent_encode(&text_of(value), HEADER_KEPT, false, |part| self.push(part)),
        }
    }

    /// Writes a text for its place.
    pub(super) fn text(&mut self, text: &str, style: Style) -> Written {
        match style {
            Style::Json(strings) => self.string(text, strings),
            Style::Quoted(strings) => self.escaped(text, strings),
            Style::Plain | Style::RawJson => self.push(text),
            Style::Form => percent_encode(text, FORM_KEPT, true, |part| self.push(part)),
            Style::Url => percent_encode(text, URL_KEPT, false, |part| self.push(part)),
            Style::Header => percent_encode(text, HEADER_KEPT, false, |part| self.push(part)),
        }
    }

    /// Writes compact JSON, in this many strings.
    pub(super) fn json(&mut self, value: &Value, strings: usize) -> Written {
        match value {
            Value::Null => self.push("null"),
            Value::Bool(_) | Value::Number(_) => self.push(&text_of(value)),
            Value::String(text) => self.string(text, strings),
            Value::Array(list) => {
                self.push("[")?;
                for (i, item) in list.iter().enumerate() {
                    if i > 0 {
                        self.push(",")?;
                    }
                    self.json(item, strings)?;
                }
                self.push("]")
            }
            Value::Object(members) => {
                self.push("{")?;
                for (i, (key, item)) in members.iter().enumerate() {
                    if i > 0 {
                        self.push(",")?;
                    }
                    self.string(key, strings)?;
                    self.push(":")?;
                    self.json(item, strings)?;
                }
                self.push("}")
            }
        }
    }

    fn string(&mut self, text: &str, strings: usize) -> Written {
        self.backslashes((1 << strings) - 1)?;
        self.push("\"")?;
        self.escaped(text, strings + 1)?;
        self.backslashes((1 << strings) - 1)?;
        self.push("\"")
    }

    /// Writes a text as it stands in this many strings, one in the other.
    ///
    /// Escaping once puts a backslash before a quote and doubles backslashes, so that after `n` times a quote has
    /// `2ⁿ - 1` of them before it, a backslash is `2ⁿ`, and the one in `\n` has become `2ⁿ⁻¹`.
    fn escaped(&mut self, text: &str, strings: usize) -> Written {
        if strings == 0 {
            return self.push(text);
        }
        let mut from = 0;
        for (i, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.push(text.get(from..i).unwrap_or_default())?;
            from = i + 1;
            match byte {
                b'"' => {
                    self.backslashes((1 << strings) - 1)?;
                    self.push("\"")?;
                }
                b'\\' => self.backslashes(1 << strings)?,
                _ => {
                    self.backslashes(1 << (strings - 1))?;
                    match byte {
                        b'\n' => self.push("n")?,
                        b'\r' => self.push("r")?,
                        b'\t' => self.push("t")?,
                        _ => self.push(&format!("u{byte:04x}"))?,
                    }
                }
            }
        }
        self.push(text.get(from..).unwrap_or_default())
    }

    fn backslashes(&mut self, count: usize) -> Written {
        // Places deeper than the limit are refused when a template is compiled, so the slice is never too long.
        self.push(BACKSLASHES.get(..count).unwrap_or(BACKSLASHES))
    }
}

/// Percent-encodes all bytes but letters, digits and `kept`.
pub(super) fn percent_encode<E>(
    text: &str,
    kept: &[u8],
    space_is_plus: bool,
    mut push: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = 0;
    for (i, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            continue;
        }
        // Bytes of a longer character follow each other, so that nothing lies between them.
        push(text.get(from..i).unwrap_or_default())?;
        from = i + 1;
        if byte == b' ' && space_is_plus {
            push("+")?;
        } else {
            push(percent_encoding::percent_encode_byte(byte))?;
        }
    }
    push(text.get(from..).unwrap_or_default())
}
