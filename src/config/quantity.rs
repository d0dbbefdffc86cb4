//! Durations and sizes as people write them.

use std::time::Duration;

const UNITS_OF_TIME: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

const UNITS_OF_RATE: [(&str, f64); 3] = [("s", 1.0), ("m", 60.0), ("h", 3600.0)];

const UNITS_OF_SIZE: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// The longest duration that can be written: far beyond every bound, and far from overflow.
const SECONDS_MAX: f64 = 1e9;

/// Reads `30s`, `1.5h`, `250ms`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, factor) = UNITS_OF_TIME.into_iter().find(|(name, _)| *name == unit)?;
    seconds(number.parse::<f64>().ok()? * factor)
}

/// A number of seconds.
pub(super) fn seconds(number: f64) -> Option<Duration> {
    (0.0..=SECONDS_MAX).contains(&number).then(|| {
        let rounded = Duration::from_secs_f64(number);
        // Binary fractions leave dust below the microsecond: 0.1 s are 100 ms.
        Duration::from_micros(u64::try_from((rounded + Duration::from_nanos(500)).as_micros()).unwrap_or(u64::MAX))
    })
}

/// Reads `10/s`, `0.5/m`, `100/h`, and gives the time between two.
pub(super) fn interval(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_once('/')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let (_, seconds) = UNITS_OF_RATE.into_iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.parse().ok().filter(|number| plain && *number > 0.0)?;
    Duration::try_from_secs_f64(seconds / number).ok()
}

/// Reads `64KiB`, `1MiB`, `10MB`, `100`.
pub(super) fn size(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.parse() {
        return Some(bytes);
    }
    let (number, unit) = split(text)?;
    let (_, factor) = UNITS_OF_SIZE.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let unit = text.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    number.starts_with(|character: char| character.is_ascii_digit()).then(|| (number.trim_end(), unit))
}

/// Writes a duration in its largest whole unit.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// Writes a size in its largest whole unit.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("7d", 604_800_000),
            ("0s", 0),
            ("10 m", 600_000),
            ("0.1s", 100),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "30", "30x", "-1s", "1h30m", "1e300d", "nans", "30S"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn rates_are_read_as_the_time_between_two() {
        for (text, micros) in
            [("10/s", 100_000), ("1/s", 1_000_000), ("0.5/s", 2_000_000), ("30/m", 2_000_000), ("2.5/h", 1_440_000_000)]
        {
            assert_eq!(interval(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for text in [
            "", "10", "/s", "10/", "10/d", "0/s", "0.0/s", "-1/s", "+1/s", "1e3/s", "inf/s", "nan/s", "10 /s",
            "10/s/s", "../s",
        ] {
            assert_eq!(interval(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in
            [("1MiB", 1 << 20), ("64KiB", 65_536), ("100", 100), ("5 MB", 5_000_000), ("0", 0), ("12B", 12)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "-1", "1mib", "99999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_written_in_their_largest_whole_unit() {
        assert_eq!(show_duration(Duration::from_hours(24)), "1d");
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
        assert_eq!(show_size(65_536), "64KiB");
        assert_eq!(show_size(1000), "1000");
    }
}
