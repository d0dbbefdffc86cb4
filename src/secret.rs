//! Text that must never be seen: it has no `Display`, no `Serialize`, a `Debug` that hides it, and is wiped on drop. And the
//! [`Mask`] that takes it out of texts that others wrote.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// A secret text. [`Secret::expose`] is the one way in, so that every use can be found by its name.
///
/// It cannot be printed:
/// ```compile_fail
/// println!("{}", outrigger::secret::Secret::new("hunter2".to_owned()));
/// ```
/// Nor written as JSON:
/// ```compile_fail
/// serde_json::to_string(&outrigger::secret::Secret::new("hunter2".to_owned()));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the wire and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// What stands in place of a secret wherever people look.
pub const MASK: &str = "***";

/// The shortest text that is masked, in bytes. What is shorter stands in many texts by chance, and is guessed as fast as read.
pub const MASKED_BYTES_MIN: usize = 4;

/// Where a text was cut because it is long.
pub const CUT: &str = "…";

/// In how many strings, one in the other, a secret is looked for.
const STRINGS_DEEP: usize = 3;

/// What forms leave as it is.
const FORM_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');
/// What URLs leave as it is.
const URL_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What `CloudEvents` percent-encode in a header's value, beside all that is not ASCII (HTTP protocol binding 3.1.3.2).
pub const ATTRIBUTE_ENCODES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Takes secrets out of texts that people see and others wrote: a response, an error, a rendered body.
///
/// A secret is found as it is, and as it stands in a JSON string, in a document inside one, and in a URL; also where a text was cut
/// (`…`) in the middle of it.
#[derive(Clone, Default)]
pub struct Mask {
    /// What is looked for, each form once.
    forms: Vec<Secret>,
}

impl Mask {
    /// A mask for these secrets; those that are too short are left out.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        let mut mask = Self::default();
        for secret in secrets {
            mask.add(secret);
        }
        mask
    }

    /// The same mask with one more secret.
    #[must_use]
    pub fn with(&self, secret: &Secret) -> Self {
        let mut mask = self.clone();
        mask.add(secret);
        mask
    }

    fn add(&mut self, secret: &Secret) {
        let plain = secret.expose();
        if plain.trim().len() < MASKED_BYTES_MIN {
            return;
        }
        // HTTP drops blanks around a header's value, and ours are ASCII.
        let header = utf8_percent_encode(plain.trim(), CONTROLS).to_string();
        let attribute = utf8_percent_encode(plain, ATTRIBUTE_ENCODES).to_string();
        let mut forms = vec![plain.to_owned(), plain.trim().to_owned(), header, attribute];
        // In JSON, as some write it (`/` and what is beyond ASCII escaped) and others do, in documents inside strings too.
        for (slashes, ascii) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut text = plain.to_owned();
            for _ in 0..STRINGS_DEEP {
                text = json_text(&text, slashes, ascii);
                forms.push(text.clone());
            }
        }
        for set in [URL_KEEPS, FORM_KEEPS] {
            let encoded = utf8_percent_encode(plain, set).to_string();
            forms.extend([encoded.replace("%20", "+"), lower_escapes(&encoded), encoded]);
        }
        for form in forms.into_iter().map(Secret::new) {
            if !self.forms.contains(&form) {
                self.forms.push(form);
            }
        }
    }

    /// How long the longest text is that is looked for, in bytes: so much behind a cut says what stands before it.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.forms.iter().map(|form| form.expose().len()).max().unwrap_or(0)
    }

    /// The text with [`MASK`] in place of every secret. Secrets that overlap are masked as one.
    #[must_use]
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let cuts: Vec<usize> = text.match_indices(CUT).map(|(at, _)| at).collect();
        for form in &self.forms {
            begun(text.as_bytes(), &cuts, form.expose(), &mut found);
            let mut from = 0;
            while let Some(at) = text.get(from..).and_then(|rest| rest.find(form.expose())) {
                let start = from + at;
                found.push(start..start + form.expose().len());
                // The next one may overlap this one.
                from = start + text.get(start..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            }
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| range.start);
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            if range.start >= end {
                masked.push_str(text.get(end..range.start).unwrap_or_default());
                masked.push_str(MASK);
            }
            end = end.max(range.end);
        }
        masked.push_str(text.get(end..).unwrap_or_default());
        Cow::Owned(masked)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").field("forms", &self.forms.len()).finish()
    }
}

/// Finds where a text is cut in a secret: the longest beginnings of it that the text has before its cuts. It goes through the text
/// once (Knuth, Morris and Pratt), however many cuts there are.
fn begun(text: &[u8], cuts: &[usize], secret: &str, found: &mut Vec<Range<usize>>) {
    if cuts.is_empty() || secret.len() <= MASKED_BYTES_MIN {
        return;
    }
    let bytes = secret.as_bytes();
    // For each beginning, the longest shorter one that it ends in.
    let mut shorter = vec![0; bytes.len()];
    let mut length = 0;
    for at in 1..bytes.len() {
        length = step(bytes, &shorter, length, bytes[at]);
        shorter[at] = length;
    }
    let (mut at, mut length) = (0, 0);
    for cut in cuts {
        // What is further back than the secret is long says nothing.
        let first = cut.saturating_sub(bytes.len() - 1);
        if first > at {
            (at, length) = (first, 0);
        }
        for byte in &text[at..*cut] {
            if length == bytes.len() {
                length = shorter[length - 1];
            }
            length = step(bytes, &shorter, length, *byte);
        }
        at = *cut;
        let mut begun = if length == bytes.len() { shorter[length - 1] } else { length };
        while begun > 0 && !secret.is_char_boundary(begun) {
            begun = shorter[begun - 1];
        }
        if begun >= MASKED_BYTES_MIN {
            found.push(cut - begun..*cut);
        }
    }
}

/// How much of a secret has been seen after one more byte, when so much had been before.
fn step(secret: &[u8], shorter: &[usize], mut length: usize, byte: u8) -> usize {
    while length > 0 && secret[length] != byte {
        length = shorter[length - 1];
    }
    length + usize::from(secret[length] == byte)
}

/// A text as it stands in a JSON string, without its quotes; with `\/` for slashes, and with `\u` for what is beyond ASCII, if so asked.
fn json_text(text: &str, slashes: bool, ascii: bool) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut written = String::with_capacity(inner.len());
    for character in inner.chars() {
        match character {
            '/' if slashes => written.push_str("\\/"),
            character if ascii && !character.is_ascii() => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(written, "\\u{unit:04x}");
                }
            }
            character => written.push(character),
        }
    }
    written
}

/// Percent-escapes with lower-case digits.
fn lower_escapes(encoded: &str) -> String {
    let mut lower = String::with_capacity(encoded.len());
    let mut digits = 0;
    for character in encoded.chars() {
        lower.push(if digits > 0 { character.to_ascii_lowercase() } else { character });
        digits = if character == '%' { 2 } else { usize::saturating_sub(digits, 1) };
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn debug_output_hides_the_text() {
        assert_eq!(format!("{:?}", secret("hunter2")), "<secret>");
        assert_eq!(format!("{:?}", Mask::new([&secret("hunter2")])), "Mask { forms: 1 }", "most secrets have one form");
    }

    #[test]
    fn a_secret_is_masked_in_every_form_in_which_it_comes_back() {
        let mask = Mask::new([&secret("a\"b\\c/ü"), &secret("hunter2")]);
        for (text, expected) in [
            ("nothing here", "nothing here"),
            ("it is hunter2, hunter2!", "it is ***, ***!"),
            ("as it is: a\"b\\c/ü.", "as it is: ***."),
            (r#"{"echo":"a\"b\\c/ü"}"#, r#"{"echo":"***"}"#),
            (r#"{"text":"{\"echo\":\"a\\\"b\\\\c/ü\"}"}"#, r#"{"text":"{\"echo\":\"***\"}"}"#),
            ("/x?echo=a%22b%5Cc%2F%C3%BC&y", "/x?echo=***&y"),
            ("/x?echo=a%22b%5cc%2f%c3%bc&y", "/x?echo=***&y"),
            (r#"{"echo":"a\"b\\c\/\u00fc"}"#, r#"{"echo":"***"}"#),
            (r#"x-echo: a"b\c/%C3%BC"#, "x-echo: ***"),
            ("", ""),
        ] {
            assert_eq!(mask.apply(text), expected, "{text}");
        }
    }

    #[test]
    fn blanks_are_masked_as_forms_write_them_and_without_those_that_http_drops() {
        let mask = Mask::new([&secret(" pass word~* ")]);
        for text in ["x=+pass+word%7E*+", "x=%20pass%20word~%2A%20", "x-secret: pass word~*"] {
            let masked = mask.apply(text);
            assert!(masked.ends_with("***") && !masked.contains("pass"), "{masked}");
        }
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        let mask = Mask::new([&secret("abcdef"), &secret("defghi"), &secret("aaaa")]);
        assert_eq!(mask.apply("x abcdefghi y"), "x *** y");
        assert_eq!(mask.apply("aaaaaa"), "***");
        assert_eq!(mask.apply("abcdefabcdef"), "******");
        assert_eq!(mask.with(&secret("efg-more")).apply("efg-more abcdef"), "*** ***");
    }

    #[test]
    fn the_beginning_of_a_secret_is_masked_where_the_text_was_cut() {
        let mask = Mask::new([&secret("eyJhbGciOi.J9.sig")]);
        assert_eq!(mask.apply("\"eyJhbGc…, \"eyJ…, eyJhbG"), "\"***…, \"eyJ…, eyJhbG");
        assert_eq!(mask.apply("token eyJhbGciOi.J9.sig…"), "token ***…");
    }

    #[test]
    fn the_longest_beginning_is_found_as_by_trying_all_of_them() {
        for secret_text in ["aabaabaac", "abababab", "aaaaa", "üüüxüüüy", "xyz1xyz2xyz1xyz3"] {
            let mask = Mask { forms: vec![secret(secret_text)] };
            for end in 0..=secret_text.len() {
                for start in 0..=end {
                    let Some(part) = secret_text.get(start..end) else { continue };
                    for before in ["", "a", "aab", "ü", "xyz1", "abab"] {
                        let text = format!("{before}{part}");
                        if text.contains(secret_text) {
                            continue;
                        }
                        let tried =
                            |bytes: &usize| secret_text.get(..*bytes).is_some_and(|begun| text.ends_with(begun));
                        let longest = (MASKED_BYTES_MIN..secret_text.len()).rev().find(tried).unwrap_or(0);
                        let masked = if longest > 0 { MASK } else { "" };
                        let expected = format!("{}{masked}…", &text[..text.len() - longest]);
                        assert_eq!(mask.apply(&format!("{text}…")), expected, "{secret_text} in {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn many_cuts_cost_no_more_than_one() {
        let secrets: Vec<Secret> = (0..5).map(|number| secret(&format!("{number}-").repeat(500))).collect();
        let (mask, text) = (Mask::new(&secrets), "0-0-…".repeat(100_000));
        let begun = std::time::Instant::now();
        assert!(mask.apply(&text).starts_with("***…***…"));
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_too_short_is_no_secret_that_could_be_kept() {
        assert_eq!(Mask::new([&secret("abc"), &secret("")]).apply("abc abcd"), "abc abcd");
    }
}
