//! `outrigger plan OLD [NEW]`: which deliveries appear, vanish or change between two configurations.
//!
//! Both sides are loaded without any secret ([`side`]; a revision of git is read into a private folder by [`revision`]), every
//! event is asked of both and effects that look alike are put together ([`effect`]), and what the requests do not show comes
//! from the files themselves ([`definition`]). [`text`] and [`json`] write the same [`report`].

mod definition;
mod difference;
mod effect;
mod events;
mod json;
mod lines;
mod report;
mod revision;
mod scratch;
mod shown;
mod side;
mod text;

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::events::{Events, Wanted};
use self::report::Report;
use self::scratch::Scratch;
use self::side::{Side, Unusable};
use super::{Answer, FINE, Folder, NO, USAGE, run};
use crate::cli::paint::{Paint, When};

/// What programs end with that an interrupt ended.
const INTERRUPTED: u8 = 130;

/// Show which deliveries appear, vanish or change between two configurations
///
/// Nothing is sent, and no secret is read: references are shown as ***, and the URL behind its host too. For each effect one
/// event is shown in full, and where the others are that look alike.
#[derive(Clone, Debug, Args)]
#[command(after_help = "OLD and NEW are folders, or git:REV (the folder of --config as it is in that revision), or\n\
                        git:REV:PATH (a path from the repository's root).\n\n\
                        Examples:\n  outrigger plan git:main\n  \
                        outrigger plan git:main --events recorded.ndjson --events oort=checks.ndjson\n  \
                        outrigger plan config.old config --events - --json < recorded.ndjson\n\n\
                        Exits 0 when nothing differs, 1 when something does, 78 when a side is faulty.")]
pub(super) struct Plan {
    /// The configuration before: a folder, or git:REV
    old: String,
    /// The configuration after [default: the folder of --config]
    new: Option<String>,
    /// Events, one JSON object a line, or - for standard input; may be repeated [default: the kinds' samples]
    #[arg(long, value_name = "[KIND=]FILE")]
    events: Vec<String>,
    /// The kind of events of files that name none
    #[arg(long, default_value = "request", requires = "events")]
    kind: String,
    /// Show every effect in full, also those that look alike
    #[arg(long)]
    all: bool,
    /// Show URLs behind their host; what is written there in clear may be a secret
    #[arg(long)]
    show_urls: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// When to colour the output
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: When,
    #[command(flatten)]
    folder: Folder,
}

impl Plan {
    pub(super) fn run(&self) -> Answer {
        if !side::is_revision(&self.old) && !self.new.as_deref().is_some_and(side::is_revision) {
            return self.answer(None);
        }
        match Scratch::create() {
            Ok(scratch) => self.unless_interrupted(&Arc::new(scratch)),
            Err(error) => refused(&format!(
                "no folder can be made in {}: {}; make room, or set TMPDIR",
                std::env::temp_dir().display(),
                error.kind()
            )),
        }
    }

    /// The answer, or none after a signal. What was written is gone then, as it is in the end.
    fn unless_interrupted(&self, scratch: &Arc<Scratch>) -> Answer {
        let (plan, own) = (self.clone(), Arc::clone(scratch));
        let answered = run::runtime().and_then(|runtime| {
            runtime.block_on(async {
                let mut interrupt = signal(SignalKind::interrupt())?;
                let mut terminate = signal(SignalKind::terminate())?;
                let mut hang_up = signal(SignalKind::hangup())?;
                let (done, answered) = tokio::sync::oneshot::channel();
                let thread = std::thread::Builder::new().name("plan".to_owned());
                thread.spawn(move || done.send(plan.answer(Some(&own))))?;
                Ok(tokio::select! {
                    answer = answered => answer.ok(),
                    _ = interrupt.recv() => None,
                    _ = terminate.recv() => None,
                    _ = hang_up.recv() => None,
                })
            })
        });
        scratch.remove();
        match answered {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer { code: INTERRUPTED, ..Answer::default() },
            Err(error) => Answer { code: NO, ..refused(&format!("no runtime: {error}")) },
        }
    }

    fn answer(&self, scratch: Option<&Scratch>) -> Answer {
        let config = &self.folder.dir;
        let new = self.new.clone().unwrap_or_else(|| config.display().to_string());
        let opened = [("OLD", &self.old, "old"), ("NEW", &new, "new")].map(|(side, written, below)| {
            side::open(written, config, scratch, below).map_err(|why| unusable(side, written, why))
        });
        if let Some(scratch) = scratch {
            // Both sides are in memory now.
            scratch.remove();
        }
        let (old, new) = match opened {
            [Ok(old), Ok(new)] => (old, new),
            [Err(fault), Ok(_)] | [Ok(_), Err(fault)] => return fault,
            [Err(one), Err(other)] => {
                return Answer { err: one.err + &other.err, code: one.code.min(other.code), ..one };
            }
        };
        match self.planned(&old, &new) {
            Ok(answer) => answer,
            Err(problem) => refused(&problem),
        }
    }

    /// The plan itself; the error is what is wrong with the events.
    fn planned(&self, old: &Side, new: &Side) -> Result<Answer, String> {
        let events = Events::read(&Wanted { files: &self.events, kind: &self.kind }, old, new)?;
        let outcome = effect::effects(old, new, &events.all);
        let report = Report::new(old, new, &events, &outcome);
        let out = if self.json {
            json::write(&report, self)
        } else {
            text::write(&report, self, Paint(self.color.colours()))
        };
        Ok(Answer { out, code: if report.differs { NO } else { FINE }, ..Answer::default() })
    }
}

/// The question makes no sense.
fn refused(problem: &str) -> Answer {
    Answer { err: format!("error: {problem}\n"), code: USAGE, ..Answer::default() }
}

/// A side that there is no plan for.
fn unusable(side: &str, written: &str, why: Unusable) -> Answer {
    match why {
        Unusable::Unread(problem) => refused(&format!("{side}, {written}: {problem}")),
        Unusable::Faulty(diagnostics) => {
            let answer = Answer::bad_config(&diagnostics);
            Answer { err: format!("{side}, {written}, is faulty:\n{}", answer.err), ..answer }
        }
    }
}
