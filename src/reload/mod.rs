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

use tokio::sync::watch as tokio_watch;
use tokio_util::sync::CancellationToken;

use crate::client::Routes;
use crate::config::Loader;
use crate::live::{Live, Reader};
use crate::metrics::Metrics;

pub use hints::{Hinted, Hints, Refusal, WAITING_MAX};
pub use told::{Differences, Told};

use look::{Load, Looker, Looks, Order};
use publish::Publisher;
use watch::Watch;

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
    /// Connections that are led elsewhere, for `demo`.
    pub routes: Routes,
    /// The files and folders whose changes count.
    pub watched: BTreeSet<PathBuf>,
    /// What asks for looks.
    pub hints: (Hints, Hinted),
}

/// A reload whose thread runs.
pub struct Reloading {
    looks: Looks,
    live: Reader,
    hinted: Hinted,
}

impl Reload {
    /// Starts the thread that looks. The error is the system's: it has no thread left.
    pub fn start(self) -> io::Result<Reloading> {
        let Self { mut loader, publisher, metrics, routes, watched, hints } = self;
        let load = move || {
            // One that panics is not used again.
            let anew = Loader::new(loader.source().clone());
            let mut taken = std::mem::replace(&mut loader, anew);
            let loaded = taken.load();
            loader = taken;
            loaded
        };
        Reloading::start(Box::new(load), publisher, metrics, routes, watched, hints)
    }
}

impl Reloading {
    fn start(
        load: Load,
        publisher: tokio_watch::Sender<Arc<Live>>,
        metrics: Arc<Metrics>,
        routes: Routes,
        watched: BTreeSet<PathBuf>,
        (hints, hinted): (Hints, Hinted),
    ) -> io::Result<Self> {
        let live = publisher.subscribe();
        let publisher = Publisher::new(publisher, metrics, routes);
        let watch = Watch::new(hints);
        let looks = Looks::start(Looker { load, publisher, watch, watched, read: None })?;
        Ok(Self { looks, live, hinted })
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
            let Some(told) = self.look(order, &stop).await else { return };
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
                () = tokio::time::sleep(poll), if !poll.is_zero() => order = Order::Check,
            }
        }
    }

    /// One look, which a file system that hangs may never end. `None` when there is nothing to wait for any more.
    async fn look(&self, order: Order, stop: &CancellationToken) -> Option<Option<Arc<Told>>> {
        let mut looked = self.looks.order(order);
        let slow = async {
            tokio::time::sleep(SLOW).await;
            tracing::warn!(
                "a look at the configuration has not ended after {} s: a file system may hang; what is in force stays",
                SLOW.as_secs()
            );
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => None,
            looked = &mut looked => {
                if looked.is_err() {
                    tracing::error!("the thread that reloads has ended: edits take a restart");
                }
                looked.ok()
            }
            () = slow => None,
        }
    }
}
