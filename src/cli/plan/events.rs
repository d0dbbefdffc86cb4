//! The events that a plan is made for: recorded ones, a line each, or the kinds' samples.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::side::Side;
use crate::cli::count;
use crate::config::read_text;
use crate::diagnostic::nearest;
use crate::event::{Event, EventId};
use crate::kind::Kind;
use crate::kind::decode::{DecodeError, decode};

/// How many events a plan is made for.
const EVENTS_MAX: usize = 100_000;
/// How large all files together may be, in bytes.
const EVENTS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How many bad lines are reported.
const BAD_LINES_SHOWN_MAX: usize = 20;

/// Where an event comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// A line of a file, counted from 1.
    Line(Arc<str>, usize),
    /// A sample of a kind.
    Sample(Arc<str>),
}

/// One event as each side takes it.
pub(super) struct Occurrence {
    pub(super) origin: Origin,
    /// `None` where the side has no such kind, or does not take it as one.
    pub(super) old: Option<Event>,
    pub(super) new: Option<Event>,
    /// Whether both sides take it alike, because its kind is the same on both.
    pub(super) alike: bool,
}

impl Occurrence {
    /// The event as one of the sides takes it.
    pub(super) fn event(&self) -> Option<&Event> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// All events of a plan.
pub(super) struct Events {
    pub(super) all: Vec<Occurrence>,
    /// How many files they came from; none when they are samples.
    pub(super) files: usize,
}

/// What is asked for: the files, each with its kind where it names one, and the kind of the others.
pub(super) struct Wanted<'w> {
    pub(super) files: &'w [String],
    pub(super) kind: &'w str,
}

impl Events {
    /// Reads the events, or takes the samples where no file is named. The error says all that is wrong with them.
    pub(super) fn read(wanted: &Wanted<'_>, old: &Side, new: &Side) -> Result<Self, String> {
        let kinds = Kinds { old: &old.snapshot.kinds, new: &new.snapshot.kinds };
        if wanted.files.is_empty() {
            return Ok(Self { all: kinds.samples(old, new), files: 0 });
        }
        let mut reading = Reading { bytes_left: EVENTS_BYTES_MAX, all: Vec::new(), bad: Vec::new(), bad_count: 0 };
        for written in wanted.files {
            let (kind, file) = kind_and_file(written, wanted.kind);
            kinds.known(kind)?;
            reading.file(file, kind, &kinds)?;
        }
        reading.end(wanted.files.len())
    }
}

/// `KIND=FILE`, or a file alone. What is no plain name before the `=` belongs to the file's name.
fn kind_and_file<'w>(written: &'w str, kind: &'w str) -> (&'w str, &'w str) {
    let plain =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    written.split_once('=').filter(|(kind, _)| plain(kind)).unwrap_or((kind, written))
}

/// The kinds of both sides.
struct Kinds<'k> {
    old: &'k BTreeMap<Arc<str>, Arc<Kind>>,
    new: &'k BTreeMap<Arc<str>, Arc<Kind>>,
}

impl Kinds<'_> {
    fn known(&self, name: &str) -> Result<(), String> {
        if self.old.contains_key(name) || self.new.contains_key(name) {
            return Ok(());
        }
        let names: BTreeSet<&str> = self.old.keys().chain(self.new.keys()).map(|name| &**name).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let fix = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the kinds are {}; a file whose name has a `=` is written ./FILE", names.join(", ")),
        };
        Err(format!("--events: neither side has a kind `{name}`; {fix}"))
    }

    /// An event as each side takes it. The error is a side's that takes no such event where the other does not either.
    fn occurrence(&self, name: &str, origin: Origin, raw: &Bytes) -> Result<Occurrence, DecodeError> {
        let (old, new) = (self.old.get(name), self.new.get(name));
        // Ids and times of arrival are no part of what is rendered but for the delivery's id, which is not shown.
        let take = |kind: &Kind| decode(kind, raw.clone(), EventId::from_bytes([0; 16]), Timestamp::UNIX_EPOCH);
        if old == new {
            let event = old.map(|kind| take(kind)).transpose()?;
            return Ok(Occurrence { origin, old: event.clone(), new: event, alike: true });
        }
        match (old.map(|kind| take(kind)), new.map(|kind| take(kind))) {
            (Some(Err(error)), Some(Err(_)) | None) | (None, Some(Err(error))) => Err(error),
            (old, new) => {
                let (old, new) = (old.and_then(Result::ok), new.and_then(Result::ok));
                Ok(Occurrence { origin, old, new, alike: false })
            }
        }
    }

    /// The samples of all kinds that a webhook of either side is for.
    fn samples(&self, old: &Side, new: &Side) -> Vec<Occurrence> {
        let webhooks = old.snapshot.webhooks.values().chain(new.snapshot.webhooks.values());
        let names: BTreeSet<&Arc<str>> = webhooks.map(|webhook| &webhook.kind.name).collect();
        let mut all = Vec::new();
        for name in names {
            let Some(kind) = self.new.get(name).or_else(|| self.old.get(name)) else { continue };
            for sample in &kind.samples {
                let raw = Bytes::from(sample.payload.to_string());
                // A sample is an event of its kind.
                all.extend(self.occurrence(name, Origin::Sample(Arc::clone(&sample.name)), &raw));
            }
        }
        all
    }
}

/// Files on the way to events.
struct Reading {
    bytes_left: u64,
    all: Vec<Occurrence>,
    /// The first bad lines.
    bad: Vec<String>,
    bad_count: usize,
}

impl Reading {
    fn file(&mut self, file: &str, kind: &str, kinds: &Kinds<'_>) -> Result<(), String> {
        let text = text(file, self.bytes_left)?;
        self.bytes_left = self.bytes_left.saturating_sub(text.len() as u64);
        let name: Arc<str> = Arc::from(if file == "-" { "standard input" } else { file });
        let whole = Bytes::from(text);
        let before = (self.all.len(), self.bad_count);
        let mut start = 0;
        for (index, line) in whole.split(|byte| *byte == b'\n').enumerate() {
            let range = start..start + line.len();
            start = range.end + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            if self.all.len() == EVENTS_MAX {
                return Err(format!(
                    "--events: there are more than {EVENTS_MAX} events; give fewer, as with `head -n`"
                ));
            }
            let origin = Origin::Line(Arc::clone(&name), index + 1);
            match kinds.occurrence(kind, origin, &whole.slice(range)) {
                Ok(occurrence) => self.all.push(occurrence),
                Err(error) => {
                    if self.bad.len() < BAD_LINES_SHOWN_MAX {
                        self.bad.push(bad_line(&name, index + 1, kind, &error));
                    }
                    self.bad_count += 1;
                }
            }
        }
        if (self.all.len(), self.bad_count) == before {
            return Err(format!("--events: {name} holds no event; write one JSON object a line"));
        }
        let all_bad = self.all.len() == before.0 && self.bad_count > before.1 + 1;
        if all_bad && serde_json::from_slice::<serde::de::IgnoredAny>(&whole).is_ok() {
            return Err(format!(
                "--events: {name} is one JSON document over many lines; write one event a line, as `jq -c . {name}` does"
            ));
        }
        Ok(())
    }

    fn end(self, files: usize) -> Result<Events, String> {
        if self.bad_count == 0 {
            return Ok(Events { all: self.all, files });
        }
        let mut problem = format!(
            "--events: {} no event",
            if self.bad_count == 1 { "a line is".to_owned() } else { format!("{} are", count(self.bad_count, "line")) }
        );
        for line in &self.bad {
            problem.push_str("\n  ");
            problem.push_str(line);
        }
        if self.bad_count > self.bad.len() {
            let _ = write!(problem, "\n  and {} more", self.bad_count - self.bad.len());
        }
        problem.push_str(
            "\n  = fix: correct the lines or leave them out; events of another kind are given as --events KIND=FILE",
        );
        Err(problem)
    }
}

fn bad_line(name: &str, line: usize, kind: &str, error: &DecodeError) -> String {
    match error.place {
        // The text is one line: its column says all.
        Some((_, column)) => format!("{name}:{line}:{column}: {}", error.problem),
        None => format!("{name}:{line}: as an event of kind {kind}: {}", error.problem),
    }
}

/// A file's text, or that of standard input for `-`. A pipe is read as standard input is: a shell's `<(…)` gives one.
fn text(file: &str, bytes_max: u64) -> Result<String, String> {
    let is_pipe = || std::fs::metadata(file).is_ok_and(|about| about.file_type().is_fifo());
    if file == "-" {
        return piped(std::io::stdin(), "standard input", bytes_max);
    }
    if is_pipe() {
        let pipe = File::open(file).map_err(|error| format!("--events: the pipe {file} cannot be read: {error}"))?;
        return piped(pipe, file, bytes_max);
    }
    read_text(file.as_ref(), bytes_max).map_err(|problem| {
        format!(
            "--events: the file {file} {problem}; give NDJSON, one event a line, of {} MiB in all at most",
            mebibytes()
        )
    })
}

/// The text of what has no end that is known.
fn piped(pipe: impl Read, name: &str, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("--events: {name} cannot be read: {error}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("--events: there are more than {} MiB of events; give fewer", mebibytes()));
    }
    String::from_utf8(bytes).map_err(|_| format!("--events: {name} is not UTF-8; give NDJSON, one event a line"))
}

const fn mebibytes() -> u64 {
    EVENTS_BYTES_MAX / 1024 / 1024
}

impl fmt::Display for Origin {
    /// Where it is, for one who does not know the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::Sample(name) => write!(f, "sample {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_may_stand_before_its_file() {
        for (written, kind, file) in [
            ("events.ndjson", "request", "events.ndjson"),
            ("oort=checks.ndjson", "oort", "checks.ndjson"),
            ("oort=-", "oort", "-"),
            ("./a=b.ndjson", "request", "./a=b.ndjson"),
            ("a b=c", "request", "a b=c"),
            ("=c", "request", "=c"),
        ] {
            assert_eq!(kind_and_file(written, "request"), (kind, file), "{written}");
        }
    }
}
