//! Looks: one thread of its own that watches, reads, compiles and publishes, so that none of it takes the threads that serve. A
//! file system that hangs holds up this thread and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::config::Loaded;
use crate::reload::publish::Publisher;
use crate::reload::stamp::Stamp;
use crate::reload::told::Told;
use crate::reload::watch::Watch;

/// How often one look reads the files again because they changed meanwhile. What changes without an end is taken as it is.
pub(super) const READINGS_MAX: usize = 4;

/// How far a look goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Read the files if the file system says that something changed.
    Check,
    /// Read them: somebody wants to know.
    Read,
}

/// Reads and compiles everything, each time anew.
pub(super) type Load = Box<dyn FnMut() -> Loaded + Send>;

/// What the thread looks with.
pub(super) struct Looker {
    pub(super) load: Load,
    pub(super) publisher: Publisher,
    pub(super) watch: Watch,
    /// The files and folders that decide what the configuration is.
    pub(super) watched: BTreeSet<PathBuf>,
    /// The stamp of the files as they were last read; `None` when they have to be read to know.
    pub(super) read: Option<Stamp>,
}

/// The thread that looks, to be given one order after the other.
pub(super) struct Looks(mpsc::Sender<(Order, oneshot::Sender<Option<Arc<Told>>>)>);

impl Looks {
    /// Starts the thread. It ends when this is dropped, and nobody waits for that.
    pub(super) fn start(mut looker: Looker) -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel::<(Order, oneshot::Sender<_>)>();
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            while let Ok((order, answer)) = ordered.recv() {
                let told = catch_unwind(AssertUnwindSafe(|| looker.obey(order)));
                let told = told.unwrap_or_else(|_| {
                    looker.read = None;
                    Some(looker.publisher.give_up("the configuration could not be loaded: its loader panicked"))
                });
                // Nobody hears it when the sidecar has closed meanwhile.
                let _ = answer.send(told.map(Arc::new));
            }
        })?;
        Ok(Self(orders))
    }

    /// Those of a thread that is gone.
    #[cfg(test)]
    pub(super) fn gone() -> Self {
        Self(mpsc::channel().0)
    }

    /// Gives an order. The answer is what a look came to, or `None` where none was needed.
    pub(super) fn order(&self, order: Order) -> oneshot::Receiver<Option<Arc<Told>>> {
        let (answer, answered) = oneshot::channel();
        // A thread that is gone answers by dropping what it would have answered with.
        let _ = self.0.send((order, answer));
        answered
    }
}

impl Looker {
    /// Looks. `None` where nothing had to be read.
    pub(super) fn obey(&mut self, order: Order) -> Option<Told> {
        let begun = Instant::now();
        self.watch.follow(&self.watched);
        let stamp = Stamp::take(&self.watched);
        let proven = self.read.is_some_and(|read| read.proves() && read.is_same(stamp));
        if order == Order::Check && proven {
            return None;
        }
        let loaded = self.read(stamp);
        Some(self.publisher.publish(loaded, begun, order == Order::Read))
    }

    /// Reads until nothing changed while it read: a folder's list may lack a file that is being replaced, and two files of one
    /// edit may be read before and after it. What is watched is watched before it is read, so that the next change is a hint.
    fn read(&mut self, mut before: Stamp) -> Loaded {
        let mut readings = 1;
        loop {
            let loaded = (self.load)();
            let same_files = self.watched == loaded.watched;
            let after = Stamp::take(&self.watched);
            if same_files && before.is_same(after) {
                // A fault may lie in what no stamp shows, as a file system that could not read: each poll tries again.
                self.read = loaded.snapshot.is_some().then_some(before);
                return loaded;
            }
            self.read = None;
            self.watched.clone_from(&loaded.watched);
            if readings == READINGS_MAX {
                self.watch.look_again();
                return loaded;
            }
            readings += 1;
            self.watch.follow(&self.watched);
            before = Stamp::take(&self.watched);
        }
    }
}
