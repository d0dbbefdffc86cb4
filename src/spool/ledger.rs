//! The writer's statements: what one append or one settlement changes in the database.

use rusqlite::{Connection, OptionalExtension, Result, Statement, params};

use crate::event::Event;

use super::queue::Key;
use super::{Claim, Settlement};

/// How a settlement changed the counters of its webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) pending: i64,
    pub(super) dead: i64,
}

/// The statements, prepared once.
pub(super) struct Ledger<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    add_event: Statement<'c>,
    add_delivery: Statement<'c>,
    add_owed: Statement<'c>,
    drop_delivery: Statement<'c>,
    move_delivery: Statement<'c>,
    drop_event: Statement<'c>,
    lessen_owed: Statement<'c>,
    drop_owed: Statement<'c>,
    add_dead: Statement<'c>,
    drop_dead: Statement<'c>,
    old_dead: Statement<'c>,
    count: Statement<'c>,
    uncount_dead: Statement<'c>,
    pending: Statement<'c>,
    oldest: Statement<'c>,
    pages: Statement<'c>,
    pages_free: Statement<'c>,
    checkpoint: Statement<'c>,
}

impl<'c> Ledger<'c> {
    /// Prepares all statements.
    pub(super) fn new(connection: &'c Connection) -> Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            rollback: prepare("ROLLBACK")?,
            add_event: prepare("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            add_delivery: prepare("INSERT INTO deliveries VALUES (?1, 0, ?2, 0)")?,
            add_owed: prepare("INSERT INTO owed VALUES (?1, ?2)")?,
            drop_delivery: prepare("DELETE FROM deliveries WHERE webhook = ?1 AND due = ?2 AND seq = ?3")?,
            move_delivery: prepare(
                "UPDATE deliveries SET due = ?4, attempts = ?5 WHERE webhook = ?1 AND due = ?2 AND seq = ?3",
            )?,
            drop_event: prepare("DELETE FROM events WHERE seq = ?1")?,
            lessen_owed: prepare("UPDATE owed SET n = n - 1 WHERE seq = ?1 RETURNING n")?,
            drop_owed: prepare("DELETE FROM owed WHERE seq = ?1")?,
            add_dead: prepare(
                "INSERT INTO dead (webhook, seq, died_ms, reason, detail, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            drop_dead: prepare("DELETE FROM dead WHERE number = ?1")?,
            old_dead: prepare(
                "SELECT d.number, d.webhook, d.seq, d.died_ms, coalesce(e.fanout, 1) FROM dead d
                 LEFT JOIN events e ON e.seq = d.seq ORDER BY d.number LIMIT ?1",
            )?,
            count: prepare(
                "INSERT INTO webhooks VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET pending = pending + excluded.pending, dead = dead + excluded.dead",
            )?,
            uncount_dead: prepare("UPDATE webhooks SET dead = dead - ?2 WHERE id = ?1")?,
            pending: prepare(
                "SELECT d.due, d.seq, d.attempts, coalesce(e.fanout, 1) FROM deliveries d
                 LEFT JOIN events e ON e.seq = d.seq
                 WHERE d.webhook = ?1 AND (d.due, d.seq) > (?2, ?3) ORDER BY d.due, d.seq LIMIT ?4",
            )?,
            oldest: prepare(
                "SELECT seq, received_ms FROM events WHERE seq = (SELECT min(first) FROM (
                   SELECT (SELECT seq FROM deliveries WHERE webhook = ?1 AND due = 0 ORDER BY seq LIMIT 1) AS first
                   UNION ALL
                   SELECT (SELECT seq FROM deliveries INDEXED BY deferred WHERE webhook = ?1 AND due > 0
                           ORDER BY seq LIMIT 1)))",
            )?,
            pages: prepare("PRAGMA page_count")?,
            pages_free: prepare("PRAGMA freelist_count")?,
            checkpoint: prepare("PRAGMA wal_checkpoint(TRUNCATE)")?,
        })
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.begin.execute([]).map(drop)
    }

    /// Makes everything since `begin` durable.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.commit.execute([]).map(drop)
    }

    /// Undoes everything since `begin`. `SQLite` has done so itself after some errors, and then says that there is nothing.
    pub(super) fn rollback(&mut self) {
        let _ = self.rollback.execute([]);
    }

    /// Keeps an event that `fanout` webhooks want.
    pub(super) fn add_event(&mut self, seq: i64, event: &Event, fanout: i64) -> Result<()> {
        self.add_event.execute(params![
            seq,
            event.id.as_bytes().as_slice(),
            &*event.kind,
            &*event.event_type,
            event.received_at.as_millisecond(),
            fanout,
            &*event.raw,
        ])?;
        if fanout > 1 {
            self.add_owed.execute(params![seq, fanout])?;
        }
        Ok(())
    }

    /// Keeps that a webhook is owed an event.
    pub(super) fn add_delivery(&mut self, webhook: i64, seq: i64) -> Result<()> {
        self.add_delivery.execute([webhook, seq]).map(drop)
    }

    /// Writes a settlement. A row that is not there any more changes nothing.
    pub(super) fn settle(&mut self, webhook: i64, claim: Claim, settlement: &Settlement) -> Result<Change> {
        let Claim { due, seq, shared } = claim;
        match settlement {
            Settlement::Delivered => {
                if self.drop_delivery.execute([webhook, due, seq])? == 0 {
                    return Ok(Change::default());
                }
                self.release(seq, shared)?;
                Ok(Change { pending: -1, dead: 0 })
            }
            Settlement::Defer { attempts, .. } => {
                let due_next = due_of(settlement).unwrap_or(due);
                self.move_delivery.execute(params![webhook, due, seq, due_next, attempts])?;
                Ok(Change::default())
            }
            Settlement::Bury { reason, detail, attempts, at } => {
                if self.drop_delivery.execute([webhook, due, seq])? == 0 {
                    return Ok(Change::default());
                }
                let died_ms = at.as_millisecond();
                self.add_dead.execute(params![webhook, seq, died_ms, reason.as_str(), detail, attempts])?;
                Ok(Change { pending: -1, dead: 1 })
            }
        }
    }

    /// Adds to the kept counters of a webhook, which is made when it is new.
    pub(super) fn count(&mut self, webhook: i64, name: &str, change: Change) -> Result<()> {
        self.count.execute(params![webhook, name, change.pending, change.dead]).map(drop)
    }

    /// Takes dropped dead letters off the kept counter of a webhook.
    pub(super) fn uncount_dead(&mut self, webhook: i64, dropped: i64) -> Result<()> {
        self.uncount_dead.execute(params![webhook, dropped]).map(drop)
    }

    /// The rows of a webhook behind `cursor`: each with its attempts.
    pub(super) fn pending(&mut self, webhook: i64, cursor: Key, limit: i64) -> Result<Vec<(Claim, u32)>> {
        self.pending
            .query_map(params![webhook, cursor.0, cursor.1, limit], |row| {
                let claim = Claim { due: row.get(0)?, seq: row.get(1)?, shared: row.get::<_, i64>(3)? > 1 };
                Ok((claim, row.get(2)?))
            })?
            .collect()
    }

    /// The oldest pending event of a webhook: its number, and when it was taken in.
    pub(super) fn oldest(&mut self, webhook: i64) -> Result<Option<(i64, i64)>> {
        self.oldest.query_row([webhook], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// Drops up to `limit` dead letters that died before `before_ms`; the webhook of each.
    pub(super) fn drop_old_dead(&mut self, before_ms: i64, limit: i64) -> Result<Vec<i64>> {
        let old: Vec<(i64, i64, i64, i64, i64)> = self
            .old_dead
            .query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
            .collect::<Result<_>>()?;
        let mut webhooks = Vec::new();
        for (number, webhook, seq, died_ms, fanout) in old {
            if died_ms >= before_ms {
                break;
            }
            self.drop_dead.execute([number])?;
            self.release(seq, fanout > 1)?;
            webhooks.push(webhook);
        }
        Ok(webhooks)
    }

    /// Pages in use.
    pub(super) fn pages_used(&mut self) -> Result<u64> {
        let pages: i64 = self.pages.query_row([], |row| row.get(0))?;
        let free: i64 = self.pages_free.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(pages - free).unwrap_or(0))
    }

    /// Writes `SQLite`'s log back and empties it.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        self.checkpoint.query_row([], |_| Ok(()))
    }

    /// One delivery or dead letter less needs the event; the last one takes it along.
    fn release(&mut self, seq: i64, shared: bool) -> Result<()> {
        if shared {
            let left: Option<i64> = self.lessen_owed.query_row([seq], |row| row.get(0)).optional()?;
            if left.is_some_and(|left| left > 0) {
                return Ok(());
            }
            self.drop_owed.execute([seq])?;
        }
        self.drop_event.execute([seq]).map(drop)
    }
}

/// When a deferred row is due, as stored: never 0, which means that it was never attempted.
pub(super) fn due_of(settlement: &Settlement) -> Option<i64> {
    match settlement {
        Settlement::Defer { until, .. } => Some(until.as_millisecond().max(1)),
        Settlement::Delivered | Settlement::Bury { .. } => None,
    }
}
