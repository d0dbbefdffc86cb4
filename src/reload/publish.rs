//! The one place that publishes. All that can fail comes before its one store.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::config::Loaded;
use crate::diagnostic::{Diagnostic, Level};
use crate::live::{Live, Reader};
use crate::log::Log;
use crate::metrics::{Metrics, Reloaded};
use crate::reload::restart::Started;
use crate::reload::told::{Differences, Told};

/// What publishes, and what it has told.
pub(super) struct Publisher {
    live: watch::Sender<Arc<Live>>,
    metrics: Arc<Metrics>,
    log: Log,
    started: Started,
    hash: Arc<str>,
    /// Keys that wait for a restart, as they were last logged.
    restart: Vec<&'static str>,
    /// Of the faults that were last logged; `None` since the last good look.
    faults: Option<u64>,
}

impl Publisher {
    /// The process has started with what is in force now.
    pub(super) fn new(live: watch::Sender<Arc<Live>>, metrics: Arc<Metrics>, log: Log) -> Self {
        let (started, hash) = {
            let live = live.borrow();
            (Started::with(&live.snapshot.settings), Arc::from(live.snapshot.hash.as_str()))
        };
        metrics.set_config_hash(&hash);
        Self { live, metrics, log, started, hash, restart: Vec::new(), faults: None }
    }

    /// Where readers find what is in force.
    pub(super) fn live(&self) -> Reader {
        self.live.subscribe()
    }

    /// Publishes what was loaded, if it is good and differs. `asked` is whether a person wants to know, also what was told before.
    pub(super) fn publish(&mut self, loaded: Loaded, begun: Instant, asked: bool) -> Told {
        let told = self.decide(loaded, begun);
        if told.result == Reloaded::Refused {
            let mut hasher = DefaultHasher::new();
            told.diagnostics.iter().for_each(|diagnostic| diagnostic.for_log().hash(&mut hasher));
            let faults = Some(hasher.finish());
            if asked || self.faults != faults {
                told.log_refused();
            }
            self.faults = faults;
        } else {
            self.faults = None;
            if !told.restart.is_empty() && (asked || self.restart != told.restart) {
                let settings = told.restart.join(", ");
                tracing::warn!(
                    settings,
                    note = "a change of these settings takes a restart; until then their old values stay in force",
                    "config.restart_needed"
                );
            }
            self.restart.clone_from(&told.restart);
        }
        self.metrics.reloaded(told.result, Timestamp::now());
        told
    }

    /// A look that broke down: what is in force stays.
    pub(super) fn give_up(&self, problem: &str) -> Told {
        self.metrics.reloaded(Reloaded::Refused, Timestamp::now());
        let told =
            self.refuse(vec![fault(problem.to_owned(), "see the log, and report it: this is a fault of outrigger")]);
        told.log_refused();
        told
    }

    fn decide(&mut self, loaded: Loaded, begun: Instant) -> Told {
        let Loaded { snapshot, diagnostics, .. } = loaded;
        let Some(mut snapshot) = snapshot else { return self.refuse(diagnostics) };
        let current = Arc::clone(&self.live.borrow());
        let restart = self.started.keep(&current.snapshot.settings, &mut snapshot.settings);
        // The file of a webhook that was left out at the start may have gone.
        let clients = if snapshot.is_same(&current.snapshot) && current.quarantined.is_empty() {
            None
        } else {
            match current.clients.next(&snapshot.settings.egress, snapshot.webhooks.values()) {
                Ok(clients) => Some(clients),
                Err(error) => return self.refuse(vec![fault(error.to_string(), "correct `[egress]`")]),
            }
        };
        self.log.configure(snapshot.settings.log.level);
        // Also a change that means nothing, of a comment say, is a state of the files that people compare.
        self.hash = snapshot.hash.as_str().into();
        self.metrics.set_config_hash(&self.hash);
        let mut told = Told {
            result: Reloaded::Unchanged,
            generation: current.generation,
            hash: Arc::clone(&self.hash),
            differences: Differences::default(),
            restart,
            diagnostics,
        };
        let Some(clients) = clients else { return told };
        let live = Live::new(snapshot, current.generation + 1, clients, &self.metrics);
        told.result = Reloaded::Published;
        told.generation = live.generation;
        told.differences = Differences::between(&current.snapshot, &live.snapshot);
        self.live.send_replace(Arc::new(live));
        told.log_published(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        told
    }

    fn refuse(&self, diagnostics: Vec<Diagnostic>) -> Told {
        Told {
            result: Reloaded::Refused,
            generation: self.live.borrow().generation,
            hash: Arc::clone(&self.hash),
            differences: Differences::default(),
            restart: Vec::new(),
            diagnostics,
        }
    }
}

fn fault(problem: String, fix: &str) -> Diagnostic {
    let file = "outrigger.toml".to_owned();
    Diagnostic { level: Level::Error, lint: None, file, place: None, problem, fix: Some(fix.to_owned()) }
}
