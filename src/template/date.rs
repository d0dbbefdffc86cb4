//! Points in time, as events write them and as people read them.

use std::borrow::Cow;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::helpers::text_of;

/// RFC 3339 with the zone's offset, for a time zone without a format.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// The longest text that can be a point in time, in bytes.
const TIME_BYTES_MAX: usize = 128;

/// The longest format, in bytes: each conversion may write many.
pub(super) const FORMAT_BYTES_MAX: usize = 256;

/// The longest name of a time zone, in bytes.
const ZONE_BYTES_MAX: usize = 128;

/// Formats an epoch number, a `seconds.nanos` text or an RFC 3339 text. The error is a sentence, and repeats nothing:
/// what a template says itself was checked before, so that all that is wrong here comes from an event.
pub(super) fn format(value: &Value, format: Option<&str>, zone: Option<&str>) -> Result<String, String> {
    let text = match value {
        Value::Array(_) | Value::Object(_) => Cow::Borrowed(""),
        one => text_of(one),
    };
    let timestamp = (text.len() <= TIME_BYTES_MAX).then(|| epoch(&text).or_else(|| text.parse().ok())).flatten();
    let Some(timestamp) = timestamp else {
        return Err("`date` got a value that is neither epoch seconds nor an RFC 3339 date".to_owned());
    };
    let zone = match zone {
        Some(name) => zone_of(name).ok_or("`date` got a text that is no time zone")?,
        None if format.is_none() => return Ok(timestamp.to_string()),
        None => TimeZone::UTC,
    };
    let format = format.unwrap_or(RFC_3339);
    if format.len() > FORMAT_BYTES_MAX {
        return Err(format!("`date` got a format of more than {FORMAT_BYTES_MAX} bytes"));
    }
    print(format, &timestamp.to_zoned(zone)).map_err(|_| "`date` got a text that is no date format".to_owned())
}

/// Checks a format; the error is a problem and its fix.
pub(super) fn check_format(format: &str) -> Result<(), (String, String)> {
    if format.len() > FORMAT_BYTES_MAX {
        let problem = format!("the date format is {} bytes long, and {FORMAT_BYTES_MAX} is the limit", format.len());
        return Err((problem, "write a shorter one, and the rest as text around it".to_owned()));
    }
    match print(format, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)) {
        Ok(_) => Ok(()),
        Err(error) => {
            let fix = "write it as for strftime, such as `%Y-%m-%d %H:%M`".to_owned();
            Err((format!("`{format}` is no date format: {error}"), fix))
        }
    }
}

/// Checks a time zone's name; the error is a problem and its fix.
pub(super) fn check_zone(zone: &str) -> Result<(), (String, String)> {
    match zone_of(zone) {
        Some(_) => Ok(()),
        None => Err((format!("`{zone}` is no time zone"), "write an IANA name, such as `Europe/Berlin`".to_owned())),
    }
}

fn zone_of(name: &str) -> Option<TimeZone> {
    (name.len() <= ZONE_BYTES_MAX).then(|| TimeZone::get(name).ok()).flatten()
}

fn print(format: &str, time: &Zoned) -> Result<String, jiff::Error> {
    strtime::format(format, time)
}

/// Epoch seconds with up to nine decimals, read digit by digit as no floating point number holds them all.
fn epoch(text: &str) -> Option<Timestamp> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(seconds) || !all_digits(fraction) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: i32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let (seconds, nanos) = if negative { (-seconds, -nanos) } else { (seconds, nanos) };
    Timestamp::new(seconds, nanos).ok()
}
