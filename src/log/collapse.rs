//! Errors that repeat are written once: the first line, and how often it was left out once its window ends.
//!
//! A line is the same when its level, its name and all of its fields are, but for numbers that tell how much. Only warnings and errors
//! are looked at, none that names an event, and none that the table of lines says is told each time. All else passes after one
//! comparison.

use std::collections::HashMap;
use std::fmt::{self, Debug, Write as _};
use std::hash::{BuildHasher as _, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::events::collapses;

/// How long a line stands for those that are the same.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Lines that are known at the same time; what comes beyond them is written.
const LINES_MAX: usize = 256;
/// What is kept of a text to be told again, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Fields that say how much of the same there is.
const AMOUNTS: [&str; 4] = ["after_s", "connections", "count", "seq"];

/// What was written lately.
#[derive(Default)]
pub(super) struct Lines {
    keys: RandomState,
    known: Mutex<HashMap<u64, Line>>,
}

/// A line that was written.
struct Line {
    from: Instant,
    repeated: Repeated,
}

/// A line that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    level: Level,
    of: String,
    webhook: Option<String>,
    error: Option<String>,
    listener: Option<String>,
    /// How often.
    pub(super) count: u64,
}

impl Lines {
    /// Whether a line is written.
    pub(super) fn lets(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN
            || ["event_id", "of"].iter().any(|told| metadata.fields().field(told).is_some())
        {
            return true;
        }
        let mut seen =
            Seen { hasher: self.keys.build_hasher(), of: String::new(), webhook: None, error: None, listener: None };
        event.record(&mut seen);
        if !collapses(&seen.of) {
            return true;
        }
        let level = *metadata.level();
        seen.hasher.write(level.as_str().as_bytes());
        let Seen { hasher, of, webhook, error, listener } = seen;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = known.get_mut(&hasher.finish()) {
            line.repeated.count += 1;
            return false;
        }
        if known.len() < LINES_MAX {
            let repeated = Repeated { level, of, webhook, error, listener, count: 0 };
            known.insert(hasher.finish(), Line { from: now, repeated });
        }
        true
    }

    /// What was left out in windows that have ended by now, or in all of them. What repeats goes on being left out.
    pub(super) fn ended(&self, now: Instant, all: bool) -> Vec<Repeated> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Vec::new();
        known.retain(|_, line| {
            if !all && now.saturating_duration_since(line.from) < WINDOW {
                return true;
            }
            if line.repeated.count == 0 {
                return false;
            }
            ended.push(line.repeated.clone());
            (line.from, line.repeated.count) = (now, 0);
            !all
        });
        ended
    }
}

impl Repeated {
    /// Its line.
    pub(super) fn tell(&self) {
        let Self { level, of, webhook, error, listener, count } = self;
        let (webhook, error, listener) = (webhook.as_deref(), error.as_deref(), listener.as_deref());
        if *level == Level::ERROR {
            tracing::error!(of, count, webhook, error, listener, "log.repeated");
        } else {
            tracing::warn!(of, count, webhook, error, listener, "log.repeated");
        }
    }
}

/// What a line says.
struct Seen<H> {
    hasher: H,
    of: String,
    webhook: Option<String>,
    error: Option<String>,
    listener: Option<String>,
}

impl<H: Hasher> Visit for Seen<H> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        if AMOUNTS.contains(&name) {
            return;
        }
        let text = match name {
            "message" => Some(&mut self.of),
            "webhook" => Some(self.webhook.get_or_insert_default()),
            "error" => Some(self.error.get_or_insert_default()),
            "listener" => Some(self.listener.get_or_insert_default()),
            _ => None,
        };
        self.hasher.write(name.as_bytes());
        // Neither end gives up.
        let _ = write!(Sink { hasher: &mut self.hasher, text }, "{value:?}");
        self.hasher.write_u8(0xff);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Takes a text into a hash, and the beginning of it where it is kept.
struct Sink<'s, H> {
    hasher: &'s mut H,
    text: Option<&'s mut String>,
}

impl<H: Hasher> fmt::Write for Sink<'_, H> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.hasher.write(part.as_bytes());
        if let Some(text) = &mut self.text {
            let room = TEXT_BYTES_MAX.saturating_sub(text.len());
            text.push_str(part.get(..part.floor_char_boundary(room)).unwrap_or_default());
        }
        Ok(())
    }
}
