//! Going through JSON text fast: whether it is JSON, and the parts of it that somebody reads.
//!
//! It knows less than the parser and never another answer: for what it does not know it says so, and the parser is asked. That is all
//! that is rare: names with escapes or that begin with `$`, halves of surrogate pairs, deep nesting, and whatever is no JSON.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::reads::{Found, Node, Picked, Reads};

/// How deep a value is gone into, itself included; the parser goes 127 levels deep. One bit each.
const LEVELS_MAX: usize = 120;

/// What is read of a JSON text; `None` where the parser has to be asked.
#[must_use]
pub(super) fn pick<'r>(raw: &[u8], reads: &'r Reads) -> Option<Picked<'r>> {
    let mut scanner = Scanner::new(raw)?;
    let mut picked = Picked::new(reads);
    scanner.read(reads, 0, &mut picked.found, LEVELS_MAX)?;
    scanner.ends().then_some(picked)
}

/// Whether a text is JSON; false also where the parser has to be asked.
#[must_use]
pub(crate) fn is_json(text: &str) -> bool {
    let mut scanner = Scanner { text, at: 0 };
    scanner.blanks();
    scanner.skip(LEVELS_MAX).is_some() && scanner.ends()
}

/// The text of one member of an object that nests no deeper than so many levels, where it has one that is a text; `None` where the
/// parser has to be asked.
#[must_use]
pub(super) fn member<'r>(raw: &'r [u8], name: Option<&str>, levels_max: usize) -> Option<Passed<'r>> {
    let mut scanner = Scanner::new(raw)?;
    let levels = levels_max.min(LEVELS_MAX).checked_sub(1)?;
    let mut found = Passed::Other;
    let mut more = scanner.opens(b'{', b'}')?;
    while more {
        let key = scanner.key()?;
        if name.is_some_and(|name| scanner.text.get(key).is_some_and(|key| key == name)) {
            found = scanner.text_or_skip(levels)?;
        } else {
            scanner.skip(levels)?;
        }
        more = scanner.goes_on(b'}')?;
    }
    scanner.ends().then_some(found)
}

/// What was gone through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed<'r> {
    /// A text.
    Text(Cow<'r, str>),
    /// Anything else, or nothing.
    Other,
}

impl<'r> Passed<'r> {
    /// The text, where it was one.
    pub(super) fn text(self) -> Option<Cow<'r, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other => None,
        }
    }
}

struct Scanner<'r> {
    text: &'r str,
    at: usize,
}

impl<'r> Scanner<'r> {
    /// At the first value.
    fn new(raw: &'r [u8]) -> Option<Self> {
        let mut scanner = Self { text: std::str::from_utf8(raw).ok()?, at: 0 };
        scanner.blanks();
        Some(scanner)
    }

    /// Whether nothing but blanks is left.
    fn ends(&mut self) -> bool {
        self.blanks();
        self.at == self.text.len()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes this byte, or nothing.
    fn takes(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// The value that begins here, as far as it is read.
    fn read(&mut self, reads: &Reads, at: usize, found: &mut [Found], levels: usize) -> Option<()> {
        let node = reads.node(at)?;
        if !matches!(found.get(at)?, Found::Nothing) {
            // Another member had the same name: the last one counts.
            forget(reads, at, found);
        }
        let value = match self.peek()? {
            _ if node.whole => Found::Value(self.value(levels)?),
            b'{' => {
                self.object(reads, node, found, levels.checked_sub(1)?)?;
                Found::Object
            }
            b'[' if node.has_elements() => {
                self.list(reads, node, found, levels.checked_sub(1)?)?;
                Found::List
            }
            // Nothing of it can be read.
            _ => return self.skip(levels),
        };
        *found.get_mut(at)? = value;
        Some(())
    }

    fn object(&mut self, reads: &Reads, node: &Node, found: &mut [Found], levels: usize) -> Option<()> {
        let mut more = self.opens(b'{', b'}')?;
        while more {
            let key = self.key()?;
            match node.member(self.text.get(key)?) {
                Some(below) => self.read(reads, below, found, levels)?,
                None => self.skip(levels)?,
            }
            more = self.goes_on(b'}')?;
        }
        Some(())
    }

    fn list(&mut self, reads: &Reads, node: &Node, found: &mut [Found], levels: usize) -> Option<()> {
        let mut more = self.opens(b'[', b']')?;
        let mut index = 0;
        while more {
            match node.element(index) {
                Some(below) => self.read(reads, below, found, levels)?,
                None => self.skip(levels)?,
            }
            index += 1;
            more = self.goes_on(b']')?;
        }
        Some(())
    }

    /// All of the value that begins here.
    fn value(&mut self, levels: usize) -> Option<Value> {
        let from = self.at;
        if let Passed::Text(text) = self.text_or_skip(levels)? {
            return Some(Value::String(text.into_owned()));
        }
        serde_json::from_str(self.text.get(from..self.at)?).ok()
    }

    /// Goes behind a value; its text where it is one.
    fn text_or_skip(&mut self, levels: usize) -> Option<Passed<'r>> {
        let from = self.at;
        if !self.takes(b'"') {
            self.skip(levels)?;
            return Some(Passed::Other);
        }
        if self.string()? {
            return self.text.get(from + 1..self.at - 1).map(|text| Passed::Text(Cow::Borrowed(text)));
        }
        serde_json::from_str(self.text.get(from..self.at)?).ok().map(|text| Passed::Text(Cow::Owned(text)))
    }

    /// Goes into an object or a list; whether anything is in it.
    fn opens(&mut self, begin: u8, end: u8) -> Option<bool> {
        if !self.takes(begin) {
            return None;
        }
        self.blanks();
        Some(!self.takes(end))
    }

    /// Whether another one comes behind this value; `None` where neither it nor the end does.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        self.blanks();
        if self.takes(b',') {
            self.blanks();
            return Some(true);
        }
        self.takes(end).then_some(false)
    }

    /// A member's name with all up to its value: where the name stands.
    fn key(&mut self) -> Option<Range<usize>> {
        if !self.takes(b'"') {
            return None;
        }
        // By some names that begin so the parser means something else.
        let is_plain = self.peek()? != b'$';
        let from = self.at;
        let is_plain = self.string()? && is_plain;
        let key = from..self.at - 1;
        self.blanks();
        let follows = self.takes(b':');
        self.blanks();
        (is_plain && follows).then_some(key)
    }

    /// Goes behind a value.
    fn skip(&mut self, levels: usize) -> Option<()> {
        // What is open, the innermost in the lowest bit: whether it is an object.
        let (mut open, mut depth) = (0_u128, 0_usize);
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                }
                begin @ (b'{' | b'[') => {
                    if depth >= levels {
                        return None;
                    }
                    let is_object = begin == b'{';
                    if self.opens(begin, if is_object { b'}' } else { b']' })? {
                        (open, depth) = (open << 1 | u128::from(is_object), depth + 1);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => self.number()?,
            }
            loop {
                if depth == 0 {
                    return Some(());
                }
                let is_object = open & 1 == 1;
                if self.goes_on(if is_object { b'}' } else { b']' })? {
                    if is_object {
                        self.key()?;
                    }
                    break;
                }
                (open, depth) = (open >> 1, depth - 1);
            }
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let follows = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        follows.then_some(())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// A number as RFC 8259, section 6 has it.
    fn number(&mut self) -> Option<()> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Some(())
    }

    /// Goes behind the quote that ends a string; whether the string holds no escape.
    fn string(&mut self) -> Option<bool> {
        let mut is_plain = true;
        loop {
            self.at += plain(self.text.as_bytes().get(self.at..)?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(is_plain);
                }
                b'\\' => {
                    is_plain = false;
                    self.escape()?;
                }
                // A control character.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let escaped = self.text.as_bytes().get(self.at + 1)?;
        match escaped {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let is_half = digits.starts_with(['d', 'D']) && !matches!(digits.as_bytes().get(1), Some(b'0'..=b'7'));
                if !is_hex || is_half {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }
}

/// Forgets what was found at a node and below.
fn forget(reads: &Reads, at: usize, found: &mut [Found]) {
    if let Some(found) = found.get_mut(at) {
        *found = Found::Nothing;
    }
    for below in reads.node(at).into_iter().flat_map(Node::below) {
        forget(reads, below, found);
    }
}

/// How many bytes come before the first that is a quote, a backslash or a control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    let mut count = 0;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        // The highest bit of each byte below 0x80 that is meant, and of no byte before the first such: with their second bit turned over
        // the quote comes next to the control characters.
        let quotes_or_controls = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let backslashes = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
        let found = (quotes_or_controls | backslashes) & !word & (ONES << 7);
        if found != 0 {
            return count + found.trailing_zeros() as usize / 8;
        }
        count += 8;
    }
    count + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use proptest::prelude::*;

    use super::super::Kind;
    use super::super::reads::follow;
    use super::super::reads::tests::{reads, steps};
    use super::*;

    /// All of a text.
    fn tree(raw: &[u8]) -> Option<Value> {
        pick(raw, &Reads::whole())?.at(std::iter::empty()).cloned()
    }

    #[test]
    fn what_services_send_is_gone_through_without_the_parser() {
        for kind in Kind::builtin() {
            for sample in &kind.samples {
                for text in [sample.payload.to_string(), serde_json::to_string_pretty(&sample.payload).unwrap()] {
                    assert_eq!(tree(text.as_bytes()).as_ref(), Some(&sample.payload), "{text}");
                    assert!(pick(text.as_bytes(), &Reads::default()).is_some(), "{text}");
                    let name = sample.payload.as_object().unwrap().keys().next_back().unwrap();
                    let found = member(text.as_bytes(), Some(name), 100).unwrap().text();
                    assert_eq!(found.as_deref(), sample.payload[name].as_str(), "{name} of {text}");
                }
            }
        }
    }

    #[test]
    fn what_it_does_not_know_is_left_to_the_parser() {
        for text in [
            "",
            "{",
            "}",
            "{}x",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "tru",
            "nul",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "\"",
            "{\"\\u0061\":1}",
            "{\"$serde_json::private::Number\":\"1\"}",
            "'a'",
            "[1 2]",
            "\u{feff}{}",
            "{\"a\":1}}",
            "\"\u{1f}\"",
            "\"12345678\u{7}\"",
        ] {
            for reads in [Reads::whole(), Reads::default()] {
                assert!(pick(text.as_bytes(), &reads).is_none(), "{text}");
            }
            assert!(member(text.as_bytes(), None, 100).is_none(), "{text}");
            assert!(!is_json(text), "{text}");
        }
        assert_eq!(tree(b"\"\xff\""), None);
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(tree(deep(120).as_bytes()).is_some());
        assert!(tree(deep(121).as_bytes()).is_none());
        assert!(tree(deep(1_000_000).as_bytes()).is_none());
        let within = |levels: usize| format!(r#"{{"a":{}}}"#, deep(levels - 1));
        assert!(member(within(100).as_bytes(), Some("a"), 100).is_some());
        assert!(member(within(101).as_bytes(), Some("a"), 100).is_none());
        assert!(member(within(101).as_bytes(), None, 100).is_none());
    }

    #[test]
    fn of_a_member_the_last_text_counts() {
        let of = |text| member(str::as_bytes(text), Some("a"), 100).unwrap().text();
        assert_eq!(of(r#"{"a":"x","b":{"a":"z"},"a":"y\n"}"#).as_deref(), Some("y\n"));
        assert_eq!(of(r#"{"a":"x","a":1}"#), None);
        assert_eq!(of(" { } "), None);
    }

    #[test]
    fn the_end_of_plain_text_is_found_in_every_place() {
        for length in 0..40 {
            for (at, other) in (0..length).flat_map(|at| ['"', '\\', '\u{0}', '\u{1f}'].map(|other| (at, other))) {
                for fill in ["x", "é", "\u{7f}", " ", "!", "#", "[", "]", "\u{80}", "\u{10ffff}"] {
                    let text = format!("{}{other}{}", fill.repeat(at), fill.repeat(length));
                    assert_eq!(plain(text.as_bytes()), at * fill.len(), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_never_has_another_answer_than_the_parser(
            text in r#"[ \n]?(\{("[a-b]":)?)?[\[\]{}0-9eE.+\-tnrufalsi":,\\ab \n]{0,30}\}?"#,
            paths in proptest::collection::vec("([ab01](\\.[ab01]){0,2})?", 0..3),
        ) {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let whole = tree(text.as_bytes());
            let parsed = serde_json::from_str::<Value>(&text).ok();
            prop_assert!(whole.is_none() || whole == parsed, "{}", text);
            prop_assert_eq!(is_json(&text), pick(text.as_bytes(), &Reads::default()).is_some(), "{}", text);
            let found = member(text.as_bytes(), Some("a"), 100);
            prop_assert!(found.is_none() || found.unwrap().text().as_deref() == parsed.as_ref().unwrap()["a"].as_str(), "{}", text);
            if let Some(part) = pick(text.as_bytes(), &reads(&paths)) {
                prop_assert!(parsed.is_some(), "{}", text);
                for path in paths {
                    let expected = parsed.as_ref().and_then(|whole| follow(whole, steps(path)));
                    prop_assert_eq!(part.at(steps(path)), expected, "{} in {}", path, text);
                }
            }
        }

        #[test]
        fn what_is_written_anew_is_read_as_it_was(text in "\\PC{0,40}", number in any::<f64>(), more in any::<Vec<i64>>()) {
            let value = serde_json::json!({ "a": text, "b": [number, { "c": more }], "d": { "e": text } });
            let written = value.to_string();
            prop_assert_eq!(tree(written.as_bytes()), serde_json::from_str(&written).ok());
        }
    }
}
