//! Going through JSON text fast: whether it is JSON, and the part of its tree that somebody reads.
//!
//! It knows less than the parser and never another answer: for what it does not know it says so, and the parser is asked. That is all
//! that is rare: names with escapes or that begin with `$`, halves of surrogate pairs, deep nesting, and whatever is no JSON.

use serde_json::{Map, Value};

use super::reads::{Parts, Reads};

/// How deep a value is gone into, itself included; the parser goes 127 levels deep.
const LEVELS_MAX: usize = 120;

/// The tree of what is read of a JSON text that nests no deeper than so many levels; `None` where the parser has to be asked.
#[must_use]
pub(super) fn tree(raw: &[u8], reads: &Reads, levels_max: usize) -> Option<Value> {
    let mut scanner = Scanner { text: std::str::from_utf8(raw).ok()?, at: 0 };
    scanner.blanks();
    let tree = scanner.read(reads, levels_max.min(LEVELS_MAX))?;
    scanner.blanks();
    (scanner.at == raw.len()).then_some(tree)
}

struct Scanner<'r> {
    text: &'r str,
    at: usize,
}

impl<'r> Scanner<'r> {
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
    fn read(&mut self, reads: &Reads, levels: usize) -> Option<Value> {
        match (reads, self.peek()?) {
            (Reads::Whole, b'"') => {
                self.at += 1;
                let from = self.at;
                if self.string()? {
                    return self.text.get(from..self.at - 1).map(Value::from);
                }
                self.parsed(from - 1)
            }
            (Reads::Whole, _) => {
                let from = self.at;
                self.skip(levels)?;
                self.parsed(from)
            }
            (Reads::Parts(parts), b'{') => self.object(parts, levels.checked_sub(1)?),
            (Reads::Parts(parts), b'[') if parts.has_elements() => self.list(parts, levels.checked_sub(1)?),
            // Nothing of it can be read.
            (Reads::Parts(_), _) => self.skip(levels).map(|()| Value::Null),
        }
    }

    /// The tree of what was gone through since.
    fn parsed(&self, from: usize) -> Option<Value> {
        serde_json::from_str(self.text.get(from..self.at)?).ok()
    }

    fn object(&mut self, parts: &Parts, levels: usize) -> Option<Value> {
        let mut members = Map::new();
        self.at += 1;
        self.blanks();
        if self.takes(b'}') {
            return Some(Value::Object(members));
        }
        loop {
            let name = self.name()?;
            match parts.member(name) {
                Some(below) => {
                    let value = self.read(below, levels)?;
                    members.insert(name.to_owned(), value);
                }
                None => self.skip(levels)?,
            }
            if !self.goes_on(b'}')? {
                return Some(Value::Object(members));
            }
            self.blanks();
        }
    }

    fn list(&mut self, parts: &Parts, levels: usize) -> Option<Value> {
        let mut list = Vec::new();
        self.at += 1;
        self.blanks();
        if self.takes(b']') {
            return Some(Value::Array(list));
        }
        let mut index = 0;
        loop {
            match parts.element(index) {
                Some(below) => {
                    let value = self.read(below, levels)?;
                    list.resize(index, Value::Null);
                    list.push(value);
                }
                None => self.skip(levels)?,
            }
            index += 1;
            if !self.goes_on(b']')? {
                return Some(Value::Array(list));
            }
            self.blanks();
        }
    }

    /// A member's name with all up to its value.
    fn name(&mut self) -> Option<&'r str> {
        if !self.takes(b'"') {
            return None;
        }
        let from = self.at;
        let is_plain = self.string()?;
        let name = self.text.get(from..self.at - 1)?;
        self.blanks();
        let follows = self.takes(b':');
        self.blanks();
        // By some names that begin so the parser means something else.
        (is_plain && follows && !name.starts_with('$')).then_some(name)
    }

    /// Whether another one comes behind this value; `None` where neither it nor the end does.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        self.blanks();
        if self.takes(b',') { Some(true) } else { self.takes(end).then_some(false) }
    }

    /// Goes behind a value.
    fn skip(&mut self, levels: usize) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string().map(|_| ())
            }
            b'{' => {
                let levels = levels.checked_sub(1)?;
                self.at += 1;
                self.blanks();
                if self.takes(b'}') {
                    return Some(());
                }
                loop {
                    self.name()?;
                    self.skip(levels)?;
                    if !self.goes_on(b'}')? {
                        return Some(());
                    }
                    self.blanks();
                }
            }
            b'[' => {
                let levels = levels.checked_sub(1)?;
                self.at += 1;
                self.blanks();
                if self.takes(b']') {
                    return Some(());
                }
                loop {
                    self.skip(levels)?;
                    if !self.goes_on(b']')? {
                        return Some(());
                    }
                    self.blanks();
                }
            }
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
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

/// How many bytes come before the first that is a quote, a backslash or a control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let mut count = 0;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        // The highest bit of each byte that is zero in `with`, and of no byte before the first such.
        let zero_in = |with: u64| with.wrapping_sub(ONES) & !with;
        let quotes = zero_in(word ^ (ONES * 0x22));
        let backslashes = zero_in(word ^ (ONES * 0x5c));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quotes | backslashes | controls) & HIGHS;
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
    use super::super::reads::tests::{at, reads};
    use super::*;

    #[test]
    fn what_services_send_is_gone_through_without_the_parser() {
        for kind in Kind::builtin() {
            for sample in &kind.samples {
                for text in [sample.payload.to_string(), serde_json::to_string_pretty(&sample.payload).unwrap()] {
                    assert_eq!(tree(text.as_bytes(), &Reads::Whole, 100).as_ref(), Some(&sample.payload), "{text}");
                    assert!(tree(text.as_bytes(), &Reads::default(), 100).is_some(), "{text}");
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
            for reads in [Reads::Whole, Reads::default()] {
                assert_eq!(tree(text.as_bytes(), &reads, 100), None, "{text}");
            }
        }
        assert_eq!(tree(b"\"\xff\"", &Reads::Whole, 100), None);
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(tree(deep(100).as_bytes(), &Reads::Whole, 100).is_some());
        assert!(tree(deep(101).as_bytes(), &Reads::Whole, 100).is_none());
        assert!(tree(deep(1_000_000).as_bytes(), &Reads::Whole, usize::MAX).is_none());
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
            let whole = tree(text.as_bytes(), &Reads::Whole, 100);
            let parsed = serde_json::from_str::<Value>(&text).ok();
            prop_assert!(whole.is_none() || whole == parsed, "{}", text);
            if let Some(part) = tree(text.as_bytes(), &reads(&paths), 100) {
                prop_assert!(parsed.is_some(), "{}", text);
                for path in paths {
                    prop_assert_eq!(at(&part, path), parsed.as_ref().and_then(|whole| at(whole, path)), "{} in {}", path, text);
                }
            }
        }

        #[test]
        fn what_is_written_anew_is_read_as_it_was(text in "\\PC{0,40}", number in any::<f64>(), more in any::<Vec<i64>>()) {
            let value = serde_json::json!({ "a": text, "b": [number, { "c": more }], "d": { "e": text } });
            let written = value.to_string();
            prop_assert_eq!(tree(written.as_bytes(), &Reads::Whole, 100), serde_json::from_str(&written).ok());
        }
    }
}
