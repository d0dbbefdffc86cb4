//! Points in time, as events write them and as people read them.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::helpers::text_of;

/// RFC 3339 with the zone's offset, for a time zone without a format.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// Formats an epoch number, a `seconds.nanos` text or an RFC 3339 text. The error is a sentence, and repeats nothing:
/// what a template says itself was checked before, so that all that is wrong here comes from an event.
pub(super) fn format(value: &Value, format: Option<&str>, zone: Option<&str>) -> Result<String, String> {
    let text = text_of(value);
    let Some(timestamp) = epoch(&text).or_else(|| text.parse().ok()) else {
        return Err("`date` got a value that is neither epoch seconds nor an RFC 3339 date".to_owned());
    };
    let zone = match zone {
        Some(name) => TimeZone::get(name).map_err(|_| "`date` got a text that is no time zone".to_owned())?,
        None if format.is_none() => return Ok(timestamp.to_string()),
        None => TimeZone::UTC,
    };
    let format = format.unwrap_or(RFC_3339);
    print(format, &timestamp.to_zoned(zone)).map_err(|_| "`date` got a text that is no date format".to_owned())
}

/// Checks a format; the error is a problem and its fix.
pub(super) fn check_format(format: &str) -> Result<(), (String, String)> {
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
    match TimeZone::get(zone) {
        Ok(_) => Ok(()),
        Err(_) => Err((format!("`{zone}` is no time zone"), "write an IANA name, such as `Europe/Berlin`".to_owned())),
    }
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
