//! The log: one line for each thing that happened, as JSON or text, on standard error.
//!
//! One layer lets lines pass: by the level, which the file and people change while the process runs, and by whether the same was said
//! just before ([`collapse`]). What each line is called and has is in [`events`].

mod collapse;
pub mod events;

use std::io::{IsTerminal as _, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config;

use collapse::Lines;

/// How often ended windows are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The levels by their names, the most severe first.
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// The log of this process.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    /// The level in force, by its place among [`LEVELS`]: what each line is asked by.
    level: AtomicUsize,
    levels: Mutex<Levels>,
    lines: Lines,
}

/// Where the level comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// What `log.level` says.
    pub configured: Level,
    /// What somebody set since, which holds until `log.level` is edited or the process ends.
    pub set: Option<Level>,
}

impl Levels {
    /// The one in force.
    #[must_use]
    pub fn in_force(self) -> Level {
        self.set.unwrap_or(self.configured)
    }
}

impl Log {
    /// A log with this level that nobody writes yet.
    #[must_use]
    pub fn new(level: Level) -> Self {
        let levels = Levels { configured: level, set: None };
        Self(Arc::new(Shared {
            level: AtomicUsize::new(place(level)),
            levels: Mutex::new(levels),
            lines: Lines::default(),
        }))
    }

    /// Starts to write to standard error, one line an entry. A line that cannot be written is lost: to complain about it there would be
    /// a panic in the middle of a delivery.
    #[must_use]
    pub fn start(settings: &config::Log) -> Self {
        let log = Self::new(settings.level);
        let colours = std::io::stderr().is_terminal();
        if settings.json {
            log.json(std::io::stderr).init();
        } else {
            log.text(std::io::stderr, colours).init();
        }
        log
    }

    /// What writes lines as JSON.
    fn json<W>(&self, writer: W) -> impl Subscriber + Send + Sync + use<W>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
        registry().with(lines.json().flatten_event(true).with_target(false)).with(self.clone())
    }

    /// What writes lines as text.
    fn text<W>(&self, writer: W, colours: bool) -> impl Subscriber + Send + Sync + use<W>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
        registry().with(lines.with_target(false).with_ansi(colours)).with(self.clone())
    }

    /// Where the level comes from.
    #[must_use]
    pub fn levels(&self) -> Levels {
        *self.0.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the level until `log.level` is edited; `None` goes back to that one.
    pub fn set(&self, level: Option<Level>) {
        self.change("admin", |levels| levels.set = level);
    }

    /// Takes what `log.level` says now. Where that is another one it counts, whatever was set.
    pub fn configure(&self, level: Level) {
        self.change("file", |levels| {
            if levels.configured != level {
                *levels = Levels { configured: level, set: None };
            }
        });
    }

    fn change(&self, by: &str, change: impl FnOnce(&mut Levels)) {
        let mut levels = self.0.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let from = levels.in_force();
        change(&mut levels);
        let to = levels.in_force();
        if from == to {
            return;
        }
        // What was left out is told under the level under which it was.
        self.tell(true);
        let tell = || tracing::info!(from = name(from), to = name(to), by, "log.level_changed");
        // It is told by whichever of both tells it.
        if from >= Level::INFO {
            tell();
        }
        self.0.level.store(place(to), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        if from < Level::INFO {
            tell();
        }
    }

    /// Tells of what was left out, once its window has ended, until `stop`.
    pub async fn tend(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.tell(false),
            }
        }
    }

    /// Tells of all that was left out: no more lines are to come.
    pub fn flush(&self) {
        self.tell(true);
        let _ = std::io::stderr().flush();
    }

    fn tell(&self, all: bool) {
        // Outside the lock, under which each line is looked up.
        self.0.lines.ended(Instant::now(), all).iter().for_each(collapse::Repeated::tell);
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        // What the client of NATS tells of its connections is told by the spool.
        place(*metadata.level()) <= self.0.level.load(Ordering::Relaxed) && !metadata.target().starts_with("async_nats")
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let level = LEVELS.get(self.0.level.load(Ordering::Relaxed));
        Some(level.map_or(LevelFilter::TRACE, |(_, level)| LevelFilter::from_level(*level)))
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.lines.lets(event, Instant::now())
    }
}

/// A level's place among [`LEVELS`].
fn place(level: Level) -> usize {
    LEVELS.iter().position(|(_, known)| *known == level).unwrap_or(LEVELS.len())
}

/// A level by its name; `None` for anything else.
#[must_use]
pub fn parse(name: &str) -> Option<Level> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

/// The name of a level.
#[must_use]
pub fn name(level: Level) -> &'static str {
    LEVELS.get(place(level)).map_or("trace", |(name, _)| name)
}

/// The names of all levels, the most severe first.
#[must_use]
pub fn names() -> [&'static str; 5] {
    LEVELS.map(|(name, _)| name)
}

#[cfg(test)]
mod tests;
