//! How values compare and how they are shown: numbers by their value, whatever their digits.

use std::cmp::Ordering;
use std::io;

use serde_json::{Number, Value};

/// The longest number that is compared by its value, in bytes. A longer one equals what is written like it, and has no order: one number
/// in an event may be compared with a hundred thousand others.
pub const NUMBER_BYTES_MAX: usize = 1000;

/// A decimal number by its value, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    /// Of the last digit.
    exponent: i64,
}

impl Decimal {
    /// One text for all numbers of the same value.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Self { negative, digits, exponent } = self;
        format!("{}{digits}e{exponent}", if *negative { "-" } else { "" })
    }

    /// Reads a number as JSON writes it; `None` for any other text, and for a longer one than [`NUMBER_BYTES_MAX`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > NUMBER_BYTES_MAX {
            return None;
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let significant = all.trim_end_matches('0');
        let digits = significant.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let dropped = i64::try_from(all.len() - significant.len()).ok()?;
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
        Some(Self { negative, digits, exponent })
    }

    /// Where the first digit stands: the power of ten above it.
    fn magnitude(&self) -> i128 {
        i128::from(self.exponent) + i128::try_from(self.digits.len()).unwrap_or(i128::MAX)
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.sign().cmp(&other.sign());
        if signs.is_ne() || self.digits.is_empty() {
            return signs;
        }
        // Without zeros at their ends, digits of one magnitude compare as texts do.
        let sizes = self.magnitude().cmp(&other.magnitude()).then_with(|| self.digits.cmp(&other.digits));
        if self.negative { sizes.reverse() } else { sizes }
    }
}

/// How two numbers compare by their values, exactly. `None` where one has an exponent beyond counting, or too many digits.
#[must_use]
pub fn order_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => Some(Decimal::parse(left.as_str())?.cmp(&Decimal::parse(right.as_str())?)),
    }
}

/// Whether two values are the same JSON: numbers by value, members in any order.
///
/// A text and anything else are the same when the text is the other's JSON (`"true"` and `true`, `"200"` and `200.0`),
/// because people write what they expect as text.
#[must_use]
pub fn same(left: &Value, right: &Value) -> bool {
    Compared::new(left).is_same(&Compared::new(right))
}

/// A value that is compared with many by [`same`]: what its text writes is read once.
pub struct Compared<'v> {
    value: &'v Value,
    written: Option<Value>,
}

impl<'v> Compared<'v> {
    /// The value, with what its text writes.
    #[must_use]
    pub fn new(value: &'v Value) -> Self {
        let written = value.as_str().and_then(|text| serde_json::from_str(text).ok());
        Self { value, written: written.filter(|written: &Value| !written.is_string()) }
    }

    /// Whether the two are the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.value, other.value) {
            (Value::String(left), Value::String(right)) => left == right,
            (Value::String(_), value) => self.written.as_ref().is_some_and(|written| equal(written, value)),
            (value, Value::String(_)) => other.written.as_ref().is_some_and(|written| equal(written, value)),
            (left, right) => equal(left, right),
        }
    }
}

/// Equality as JSON: numbers by value, members in any order.
#[must_use]
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left.as_str() == right.as_str() || order_numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

/// A value's compact JSON, cut after so many characters.
#[must_use]
pub fn excerpt(value: &Value, chars_max: usize) -> String {
    // A character is four bytes at most, and one more shows that something was cut.
    let mut written = Bounded { bytes: Vec::new(), bytes_max: (chars_max + 1) * 4 };
    // The only failure is the limit, and what was written until then is what is wanted.
    let _ = serde_json::to_writer(&mut written, value);
    cut(&String::from_utf8_lossy(&written.bytes), chars_max)
}

/// A text of so many characters at most; `…` stands for the rest.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => text.get(..end).unwrap_or(text).to_owned() + "…",
        None => text.to_owned(),
    }
}

/// Takes bytes up to a limit, so that a large value is never written whole.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.bytes_max - self.bytes.len();
        if room == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_by_value() {
        for (left, right, expected) in [
            ("1", "1.0", true),
            ("100", "1e2", true),
            ("1E+2", "100.00", true),
            ("-0", "0.000", true),
            ("0.10", "1e-1", true),
            ("-1", "1", false),
            ("9007199254740993", "9007199254740992", false),
            ("1696263265.851898000", "1696263265.851898", true),
            ("10", "1", false),
        ] {
            assert_eq!(Decimal::parse(left).unwrap() == Decimal::parse(right).unwrap(), expected, "{left} {right}");
        }
        for text in ["", "-", "1.", ".5", "01", "1e", "0x1", "inf", "1_0", "+1", "1 ", "1e99999999999999999999"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_the_order_of_their_values() {
        let rising = [
            "-1e400",
            "-10",
            "-1.50",
            "-1.5e-9",
            "0",
            "1e-400",
            "0.09",
            "0.1",
            "0.11",
            "1",
            "9",
            "10",
            "99.9",
            "100",
            "9007199254740992",
            "9007199254740993",
            "1e30",
            "1.1e30",
            "1e400",
        ];
        for (i, left) in rising.iter().enumerate() {
            for (j, right) in rising.iter().enumerate() {
                let (left, right) = (left.parse().unwrap(), right.parse().unwrap());
                assert_eq!(order_numbers(&left, &right), Some(i.cmp(&j)), "{left} {right}");
            }
        }
        let equal = |left: &str, right: &str| order_numbers(&left.parse().unwrap(), &right.parse().unwrap());
        assert_eq!(equal("1.0", "1e0"), Some(Ordering::Equal));
        assert_eq!(equal("-0", "0.0"), Some(Ordering::Equal));
        assert_eq!(equal("1e99999999999999999999", "1"), None);
    }

    #[test]
    fn values_are_the_same_as_json_or_by_the_text_that_writes_them() {
        for (left, right, expected) in [
            ("true", "\"true\"", true),
            ("200", "\"200\"", true),
            ("200.0", "\"2e2\"", true),
            ("null", "\"null\"", true),
            ("\"ok\"", "\"ok\"", true),
            ("\"1\"", "\"1.0\"", false),
            ("true", "1", false),
            ("{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1.0}", true),
            ("{\"a\":1}", "{\"a\":1,\"b\":null}", false),
            ("[1,2]", "[2,1]", false),
            ("[1]", "\"[1.0]\"", true),
            ("{\"a\":1}", "{\"a\":\"1\"}", false),
            ("\"\\\"x\\\"\"", "\"x\"", false),
        ] {
            let (left, right): (Value, Value) =
                (serde_json::from_str(left).unwrap(), serde_json::from_str(right).unwrap());
            assert_eq!(same(&left, &right), expected, "{left} {right}");
            assert_eq!(same(&right, &left), expected, "{right} {left}");
        }
    }

    #[test]
    fn an_excerpt_is_never_longer_than_asked() {
        assert_eq!(excerpt(&serde_json::json!({"a": "ü"}), 9), "{\"a\":\"ü\"}");
        assert_eq!(excerpt(&serde_json::json!({"a": "ü"}), 8), "{\"a\":\"ü\"…");
        let long = Value::from("🦀".repeat(1000));
        let text = excerpt(&long, 10);
        assert_eq!(text.chars().count(), 11, "{text}");
        assert_eq!(text, format!("\"{}…", "🦀".repeat(9)));
    }
}
