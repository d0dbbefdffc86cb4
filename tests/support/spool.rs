//! What a spool holds, read through the library once its process has ended.

use std::path::Path;

use outrigger::spool::{Backlog, DeadLetter, DeadLetterQuery, DiskSpool, Options, Spool as _};

use super::receiver::RUNTIME;

/// All that is left in a spool.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) dead: Vec<DeadLetter>,
    pub(crate) backlog: Vec<Backlog>,
}

impl Left {
    /// Deliveries of all webhooks that are not settled.
    pub(crate) fn pending(&self) -> u64 {
        self.backlog.iter().map(|backlog| backlog.pending).sum()
    }
}

/// Opens the spool of a process that has ended.
#[track_caller]
pub(crate) fn left(directory: &Path) -> Left {
    let spool = DiskSpool::open(Options::new(directory)).unwrap_or_else(|error| panic!("{error}"));
    RUNTIME.block_on(async {
        let (mut dead, mut query) = (Vec::new(), DeadLetterQuery::default());
        loop {
            let page = spool.dead_letters(query.clone()).await.expect("they can be read");
            dead.extend(page.letters);
            let Some(next) = page.next else { break };
            query.behind = Some(next);
        }
        let backlog = spool.backlog();
        spool.close().await;
        Left { dead, backlog }
    })
}

/// Every dead letter with the payload of its event, from the spool of a process that has ended.
#[track_caller]
pub(crate) fn letters(directory: &Path) -> Vec<(DeadLetter, Vec<u8>)> {
    let dead = left(directory).dead;
    let spool = DiskSpool::open(Options::new(directory)).unwrap_or_else(|error| panic!("{error}"));
    RUNTIME.block_on(async {
        let mut letters = Vec::with_capacity(dead.len());
        for letter in dead {
            let found = spool.dead_letter(letter.event, &letter.webhook).await.expect("it can be read");
            let (_, payload) = found.expect("a dead letter keeps its event");
            letters.push((letter, payload.to_vec()));
        }
        spool.close().await;
        letters
    })
}
