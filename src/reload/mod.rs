//! Reload: a hint that files changed → load all → publish one Snapshot, or keep the old one and say why.
//!
//! ```text
//! file events, SIGHUP, POST /-/reload, the poll ──▶ hints ──▶ look (a thread of its own) ──▶ publish: one store
//!                                                              watch → stamp → read → stamp
//! ```
//!
//! Hints say "look again" and nothing else: the content decides. Events and the poll are taken for what the file system can prove
//! without reading (a stamp); whoever asks gets the files read.

mod hints;
mod look;
mod publish;
mod restart;
mod stamp;
mod told;
mod watch;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch as tokio_watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Loader, hide_lines};
use crate::diagnostic::Level;
use crate::live::{Live, Reader};
use crate::log::Log;
use crate::metrics::{Metrics, Reloaded};
use crate::supervisor::Supervisor;

pub use hints::{Hinted, Hints, Refusal, WAITING_MAX};
pub use told::{DIAGNOSTICS_MAX, Differences, LastLook, Told};

use look::{Looker, Looks, Order};
use publish::Publisher;
use watch::Watch;

/// The poll comes no more often than this, however short `config.poll` is.
const POLL_MIN: Duration = Duration::from_millis(100);
/// A look that takes longer than this is told of: a file system hangs.
const SLOW: Duration = Duration::from_secs(30);

/// What a reload needs.
pub struct Reload {
    /// What loaded the configuration in force, and loads it again.
    pub loader: Loader,
    /// The one store.
    pub publisher: tokio_watch::Sender<Arc<Live>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whose level the configuration says.
    pub log: Log,
    /// The files and folders whose changes count.
    pub watched: BTreeSet<PathBuf>,
    /// What asks for looks.
    pub hints: (Hints, Hinted),
    /// Who is told what looks come to.
    pub supervisor: Supervisor,
}

/// A reload whose thread runs.
pub struct Reloading {
    looks: Looks,
    live: Reader,
    hinted: Hinted,
    supervisor: Supervisor,
}

impl Reload {
    /// Starts the thread that looks. The error is the system's: it has no thread left.
    pub fn start(self) -> io::Result<Reloading> {
        let Self { mut loader, publisher, metrics, log, watched, hints: (hints, hinted), supervisor } = self;
        let load = move || {
            // One that panics is not used again.
            let anew = Loader::new(loader.source().clone());
            let mut taken = std::mem::replace(&mut loader, anew);
            let mut loaded = taken.load();
            // Who hears of them need not be who may see the files; reading these once more is for this thread.
            hide_lines(taken.source(), &mut loaded.diagnostics);
            loader = taken;
            loaded
        };
        let (publisher, watch) = (Publisher::new(publisher, metrics, log), Watch::new(hints));
        Reloading::start(Looker { load: Box::new(load), publisher, watch, watched, read: None }, hinted, supervisor)
    }
}

impl Reloading {
    fn start(looker: Looker, hinted: Hinted, supervisor: Supervisor) -> io::Result<Self> {
        let live = looker.publisher.live();
        Ok(Self { looks: Looks::start(looker)?, live, hinted, supervisor })
    }

    /// Looks on every hint until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut waiting = Vec::new();
        // What changed between the first load and the first watch would be missed without a look.
        let mut order = Order::Check;
        loop {
            if self.hinted.drain(&mut waiting) {
                order = Order::Read;
            }
            if order == Order::Read {
                self.supervisor.reloading();
            }
            let Some(told) = self.look(order, &stop).await else {
                // Nothing looks any more, and still the reload that was told of has an end.
                self.tell(order, None);
                return;
            };
            self.tell(order, told.as_deref());
            if let Some(told) = &told {
                self.hinted.keep(LastLook::of(told, Timestamp::now()));
            }
            for one in waiting.drain(..) {
                // Who asked may have gone.
                let _ = told.as_ref().map(|told| one.send(Arc::clone(told)));
            }
            let poll = self.live.borrow().snapshot.settings.poll;
            tokio::select! {
                () = stop.cancelled() => return,
                hint = self.hinted.next(&mut waiting) => match hint {
                    None => return,
                    Some(asked) => order = if asked { Order::Read } else { Order::Check },
                },
                () = tokio::time::sleep(poll.max(POLL_MIN)), if !poll.is_zero() => order = Order::Check,
            }
        }
    }

    /// Tells who started the process what a look came to.
    fn tell(&self, order: Order, told: Option<&Told>) {
        match (order, told) {
            // Whatever came of it, a reload that was told of has an end.
            (Order::Read, told) => self.supervisor.ready(&status(&self.live, told)),
            (Order::Check, Some(told)) => self.supervisor.status(&status(&self.live, Some(told))),
            (Order::Check, None) => {}
        }
    }

    /// One look, which a file system that hangs may never end. `None` when there is nothing to wait for any more.
    async fn look(&self, order: Order, stop: &CancellationToken) -> Option<Option<Arc<Told>>> {
        let mut looked = self.looks.order(order);
        let slow = async {
            tokio::time::sleep(SLOW).await;
            tracing::warn!(
                after_s = SLOW.as_secs(),
                note = "a look at the configuration has not ended: a file system may hang; what is in force stays",
                "config.look_slow"
            );
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => None,
            looked = &mut looked => {
                if looked.is_err() {
                    tracing::error!(note = "the thread that reloads has ended: edits take a restart", "config.look_ended");
                }
                looked.ok()
            }
            () = slow => None,
        }
    }
}

/// How many webhooks are in force, and what the last look at the files came to: one line without any name.
pub fn status(live: &Reader, told: Option<&Told>) -> String {
    let webhooks = match live.borrow().snapshot.webhooks.len() {
        1 => "1 webhook".to_owned(),
        count => format!("{count} webhooks"),
    };
    let Some(told) = told else { return webhooks };
    let faults = told.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count();
    match told.result {
        Reloaded::Refused => format!("{webhooks}; the last reload was refused: faults: {faults}"),
        Reloaded::Published | Reloaded::Unchanged => format!("{webhooks}; the last reload: {}", told.result.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::client::{Clients, Routes};
    use crate::config::Source;

    /// Far more than anything here takes.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Writes the one webhook's file anew, under the same name.
    fn rewrite(folder: &Path) {
        std::fs::create_dir_all(folder.join("webhooks")).unwrap();
        let fresh = folder.join("fresh");
        std::fs::write(&fresh, "url = \"https://hooks.example.com/in\"\n").unwrap();
        std::fs::rename(fresh, folder.join("webhooks/a.toml")).unwrap();
    }

    /// What looks at a small folder, whose readings are counted and each begin with a call; and the hints of its own watcher.
    fn looker(
        folder: &Path,
        mut reading: impl FnMut(usize) + Send + 'static,
    ) -> (Looker, (Hints, Hinted), Arc<AtomicUsize>) {
        rewrite(folder);
        let source = Source { env: Arc::new(|_| None), ..Source::new(folder) };
        let mut loader = Loader::new(source);
        let first = loader.load();
        let snapshot = first.snapshot.unwrap();
        let metrics = Arc::new(Metrics::new(snapshot.kinds.keys().map(AsRef::as_ref)).unwrap());
        let clients = Clients::new(&snapshot.settings.egress, Routes::default(), snapshot.webhooks.values()).unwrap();
        let (publisher, _) = tokio_watch::channel(Arc::new(Live::new(snapshot, 1, clients, &metrics)));
        let readings = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&readings);
        let load = Box::new(move || {
            reading(counted.fetch_add(1, Ordering::SeqCst) + 1);
            loader.load()
        });
        let (hints, publisher) = (Hints::new(), Publisher::new(publisher, metrics, Log::new(tracing::Level::INFO)));
        let watch = Watch::new(hints.0.clone());
        (Looker { load, publisher, watch, watched: first.watched, read: None }, hints, readings)
    }

    /// A reload whose readings each wait for a permit.
    fn held(folder: &Path) -> (Reloading, Hints, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (permit, permits) = mpsc::channel();
        let (looker, (hints, hinted), readings) = looker(folder, move |_| permits.recv().unwrap());
        (Reloading::start(looker, hinted, Supervisor::default()).unwrap(), hints, permit, readings)
    }

    #[test]
    fn files_that_change_while_they_are_read_are_read_again_but_not_for_ever() {
        for (changes, expected) in [(0, 1), (1, 2), (2, 3), (look::READINGS_MAX, look::READINGS_MAX)] {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().to_owned();
            let (mut looker, _, readings) = looker(dir.path(), move |reading| {
                if reading <= changes {
                    rewrite(&folder);
                }
            });
            let told = looker.obey(Order::Read).unwrap();
            assert_eq!((told.result, readings.load(Ordering::SeqCst)), (Reloaded::Unchanged, expected), "{changes}");
        }
    }

    #[test]
    fn what_was_refused_for_no_fault_of_the_files_goes_live_with_a_later_poll() {
        let dir = tempfile::tempdir().unwrap();
        let (mut looker, _, readings) = looker(dir.path(), |_| {});
        let begun = std::time::Instant::now();
        while !stamp::Stamp::take(&looker.watched).proves() {
            assert!(begun.elapsed() < LIMIT, "the files never grow old");
            std::thread::yield_now();
        }
        let mut load = looker.load;
        let mut refused = 0;
        looker.load = Box::new(move || {
            refused += 1;
            let loaded = load();
            crate::config::Loaded { snapshot: loaded.snapshot.filter(|_| refused > 2), ..loaded }
        });
        let mut poll = || looker.obey(Order::Check).map(|told| told.result);
        let results = [poll(), poll(), poll(), poll()];
        let expected = [Some(Reloaded::Refused), Some(Reloaded::Refused), Some(Reloaded::Unchanged), None];
        assert_eq!((results, readings.load(Ordering::SeqCst)), (expected, 3));
    }

    async fn begun(readings: &AtomicUsize, count: usize) {
        let waits = async {
            while readings.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, waits).await.is_ok(), "reading {count} has not begun");
    }

    #[tokio::test]
    async fn who_asks_while_a_look_runs_shares_the_next_one_with_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let (reloading, hints, permit, readings) = held(dir.path());
        let stop = CancellationToken::new();
        let running = tokio::spawn(reloading.run(stop.clone()));
        begun(&readings, 1).await;
        let asked: Vec<_> = (0..WAITING_MAX).map(|_| hints.request().unwrap()).collect();
        assert_eq!(hints.request().err(), Some(Refusal::Crowded));
        permit.send(()).unwrap();
        begun(&readings, 2).await;
        permit.send(()).unwrap();
        for answer in asked {
            let told = tokio::time::timeout(LIMIT, answer).await.unwrap().unwrap();
            assert_eq!((told.result, told.generation), (Reloaded::Unchanged, 1));
        }
        assert_eq!(readings.load(Ordering::SeqCst), 2, "one for the start, and one for all of them");
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_look_that_never_ends_holds_up_neither_the_end_nor_who_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (reloading, hints, permit, readings) = held(dir.path());
        let stop = CancellationToken::new();
        let running = tokio::spawn(reloading.run(stop.clone()));
        begun(&readings, 1).await;
        let asked = hints.request().unwrap();
        stop.cancel();
        assert!(tokio::time::timeout(LIMIT, running).await.is_ok(), "it ends");
        assert!(tokio::time::timeout(LIMIT, asked).await.unwrap().is_err(), "nobody will answer any more");
        assert_eq!(hints.request().err(), Some(Refusal::Closing));
        assert_eq!(readings.load(Ordering::SeqCst), 1, "it hangs until now");
        drop(permit);
    }

    #[tokio::test]
    async fn a_reload_that_was_told_of_has_an_end_also_when_the_thread_that_looks_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let next = || {
            let mut message = [0; 256];
            let length = socket.recv(&mut message).unwrap();
            String::from_utf8_lossy(&message[..length]).lines().next().unwrap().to_owned()
        };
        let (looker, (hints, hinted), _) = looker(dir.path(), |_| {});
        let mut reloading = Reloading::start(looker, hinted, Supervisor::at(Some(path.into())).unwrap()).unwrap();
        reloading.looks = Looks::gone();
        let _asked = hints.request().unwrap();
        reloading.run(CancellationToken::new()).await;
        assert_eq!((next(), next()), ("RELOADING=1".to_owned(), "READY=1".to_owned()));
    }

    #[tokio::test]
    async fn a_loader_that_panics_is_told_of_and_the_next_look_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (reloading, hints, permit, readings) = held(dir.path());
        let stop = CancellationToken::new();
        let running = tokio::spawn(reloading.run(stop.clone()));
        permit.send(()).unwrap();
        begun(&readings, 1).await;
        let answer = hints.request().unwrap();
        // Nothing will permit this reading, and the one that waits for it panics.
        drop(permit);
        let told = tokio::time::timeout(LIMIT, answer).await.unwrap().unwrap();
        assert_eq!((told.result, told.diagnostics.len()), (Reloaded::Refused, 1));
        let answer = hints.request().unwrap();
        assert_eq!(tokio::time::timeout(LIMIT, answer).await.unwrap().unwrap().result, Reloaded::Refused);
        stop.cancel();
        running.await.unwrap();
    }
}
