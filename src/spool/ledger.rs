//! The writer's statements: what one append or one settlement changes in the database.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, Statement, params};

use crate::delivery::{LastOutcome, Reason};
use crate::event::Event;

use super::journal::Mark;
use super::queue::Key;
use super::{Claim, Settlement, column};

/// The due time of a row that waits for another one of its lane: it never comes.
pub(super) const BLOCKED: i64 = i64::MAX - 1;

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
    lane_head: Statement<'c>,
    make_due: Statement<'c>,
    last: Statement<'c>,
    take_dead: Statement<'c>,
    fanout: Statement<'c>,
    aged_fresh: Statement<'c>,
    aged_deferred: Statement<'c>,
    aged_replayed: Statement<'c>,
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
    pages: Statement<'c>,
    pages_free: Statement<'c>,
    checkpoint: Statement<'c>,
    mark: Statement<'c>,
}

impl<'c> Ledger<'c> {
    /// Prepares all statements.
    pub(super) fn new(connection: &'c Connection) -> Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            rollback: prepare("ROLLBACK")?,
            add_event: prepare("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            // What is there under the same key is what damage left of a delivery.
            add_delivery: prepare("INSERT OR REPLACE INTO deliveries VALUES (?1, ?2, ?3, 0, ?4, ?5, 0, NULL)")?,
            lane_head: prepare(
                "SELECT due, seq FROM deliveries INDEXED BY lanes WHERE webhook = ?1 AND lane = ?2 AND lane <> 0 ORDER BY seq LIMIT 1",
            )?,
            make_due: prepare("UPDATE OR REPLACE deliveries SET due = ?4 WHERE webhook = ?1 AND due = ?2 AND seq = ?3")?,
            add_owed: prepare("INSERT OR REPLACE INTO owed VALUES (?1, ?2)")?,
            drop_delivery: prepare("DELETE FROM deliveries WHERE webhook = ?1 AND due = ?2 AND seq = ?3")?,
            move_delivery: prepare(
                "UPDATE OR REPLACE deliveries SET due = ?4, attempts = ?5, lane = ?6, failing_ms = ?7, last = ?8
                 WHERE webhook = ?1 AND due = ?2 AND seq = ?3",
            )?,
            last: prepare("SELECT last FROM deliveries WHERE webhook = ?1 AND due = ?2 AND seq = ?3")?,
            drop_event: prepare("DELETE FROM events WHERE seq = ?1")?,
            lessen_owed: prepare("UPDATE owed SET n = max(n, 1) - 1 WHERE seq = ?1 RETURNING n")?,
            drop_owed: prepare("DELETE FROM owed WHERE seq = ?1")?,
            add_dead: prepare(
                "INSERT INTO dead (webhook, seq, event, died_ms, reason, attempts, last)
                 VALUES (?1, ?2, (SELECT id FROM events WHERE seq = ?2), ?3, ?4, ?5, ?6)",
            )?,
            take_dead: prepare("DELETE FROM dead WHERE number = ?1 RETURNING webhook, seq")?,
            fanout: prepare("SELECT fanout FROM events WHERE seq = ?1")?,
            drop_dead: prepare("DELETE FROM dead WHERE number = ?1")?,
            old_dead: prepare(
                "SELECT d.number, d.webhook, d.seq, coalesce(e.fanout, 1) FROM dead d INDEXED BY dead_ages
                 LEFT JOIN events e ON e.seq = d.seq WHERE d.died_ms < ?1 ORDER BY d.died_ms LIMIT ?2",
            )?,
            count: prepare(
                "INSERT INTO webhooks VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET pending = pending + excluded.pending, dead = dead + excluded.dead",
            )?,
            uncount_dead: prepare("UPDATE webhooks SET dead = dead - ?2 WHERE id = ?1")?,
            pending: prepare(
                "SELECT d.due, d.seq, d.attempts, coalesce(e.fanout, 1), d.lane, e.received_ms, d.since_ms FROM deliveries d
                 LEFT JOIN events e ON e.seq = d.seq
                 WHERE d.webhook = ?1 AND (d.due, d.seq) > (?2, ?3) ORDER BY d.due, d.seq LIMIT ?4",
            )?,
            aged_fresh: prepare(&aged("d.due = 0 AND d.seq > ?2 AND ?3 = ?3", "", "d.seq"))?,
            aged_deferred: prepare(&aged("d.due > 0 AND d.since_ms = 0 AND d.seq > ?2 AND ?3 = ?3", "deferred", "d.seq"))?,
            aged_replayed: prepare(&aged(
                "d.since_ms > 0 AND (d.since_ms, d.seq) > (?3, ?2)",
                "replayed",
                "d.since_ms, d.seq",
            ))?,
            pages: prepare("PRAGMA page_count")?,
            pages_free: prepare("PRAGMA freelist_count")?,
            checkpoint: prepare("PRAGMA wal_checkpoint(TRUNCATE)")?,
            mark: prepare("INSERT OR REPLACE INTO journal VALUES (1, ?1, ?2)")?,
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

    /// Keeps an event that `fanout` webhooks wanted at first and `owed` still need.
    pub(super) fn add_event(&mut self, seq: i64, event: &Event, fanout: i64, owed: i64) -> Result<()> {
        self.add_event.execute(params![
            seq,
            event.id.as_bytes().as_slice(),
            &*event.kind,
            &*event.event_type,
            event.received_at.as_millisecond(),
            fanout,
            &*event.raw,
            event.trace().map(|trace| trace.written()),
        ])?;
        if fanout > 1 {
            self.add_owed.execute(params![seq, owed])?;
        }
        Ok(())
    }

    /// Keeps that a webhook is owed an event. Whether it is blocked: another delivery of its lane comes before it.
    pub(super) fn add_delivery(&mut self, webhook: i64, seq: i64, lane: i64) -> Result<bool> {
        let blocked = lane != 0 && self.lane_head(webhook, lane)?.is_some();
        self.add_row(webhook, if blocked { BLOCKED } else { 0 }, seq, lane)?;
        Ok(blocked)
    }

    /// Keeps a delivery that was never attempted, with its due time.
    pub(super) fn add_row(&mut self, webhook: i64, due: i64, seq: i64, lane: i64) -> Result<()> {
        self.add_delivery.execute([webhook, due, seq, lane, 0]).map(drop)
    }

    /// Keeps up to where the journal was taken over.
    pub(super) fn set_mark(&mut self, mark: Mark) -> Result<()> {
        self.mark.execute([mark.number, mark.salt]).map(drop)
    }

    /// Makes the first delivery of a lane due, if it is blocked; its key then.
    pub(super) fn release_lane(&mut self, webhook: i64, lane: i64, now_ms: i64) -> Result<Option<Key>> {
        let Some((due, seq)) = self.lane_head(webhook, lane)?.filter(|(due, _)| *due == BLOCKED) else {
            return Ok(None);
        };
        let due_next = now_ms.max(1);
        self.make_due.execute([webhook, due, seq, due_next])?;
        Ok(Some((due_next, seq)))
    }

    /// The first delivery of a lane.
    pub(super) fn lane_head(&mut self, webhook: i64, lane: i64) -> Result<Option<Key>> {
        self.lane_head.query_row([webhook, lane], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// Writes a settlement. A row that is not there any more changes nothing.
    pub(super) fn settle(&mut self, webhook: i64, claim: Claim, settlement: &Settlement) -> Result<Change> {
        let Claim { due, seq, shared, .. } = claim;
        match settlement {
            Settlement::Delivered => {
                if self.drop_delivery.execute([webhook, due, seq])? == 0 {
                    return Ok(Change::default());
                }
                self.release(seq, shared)?;
                Ok(Change { pending: -1, dead: 0 })
            }
            Settlement::Defer { attempts, failing_since, passed, last, .. } => {
                let due_next = due_of(settlement).unwrap_or(due);
                let lane = if *passed { 0 } else { claim.lane };
                let failing_ms = failing_since.map_or(0, Timestamp::as_millisecond);
                let last = written(last);
                self.move_delivery.execute(params![webhook, due, seq, due_next, attempts, lane, failing_ms, last])?;
                Ok(Change::default())
            }
            Settlement::Bury { reason, last, attempts, at, .. } => {
                let last = if let Some(last) = last {
                    Some(written(last))
                } else {
                    let text = |row: &Row<'_>| Ok(column::text(row, 0)?.map(Cow::into_owned));
                    self.last.query_row([webhook, due, seq], text).optional()?.flatten()
                };
                if self.drop_delivery.execute([webhook, due, seq])? == 0 {
                    return Ok(Change::default());
                }
                let died_ms = at.as_millisecond();
                self.add_dead.execute(params![webhook, seq, died_ms, reason.as_str(), attempts, last])?;
                Ok(Change { pending: -1, dead: 1 })
            }
        }
    }

    /// Makes a pending delivery of a dead letter: its webhook and its new key. `None` when there is no such letter.
    pub(super) fn replay(&mut self, number: i64, now_ms: i64) -> Result<Option<(i64, Key)>> {
        let Some((webhook, seq)) = self.take_dead(number)? else { return Ok(None) };
        let due = now_ms.max(1);
        self.add_delivery.execute([webhook, due, seq, 0, due])?;
        Ok(Some((webhook, (due, seq))))
    }

    /// Forgets a dead letter; its webhook. `None` when there is no such letter.
    pub(super) fn forget(&mut self, number: i64) -> Result<Option<i64>> {
        let Some((webhook, seq)) = self.take_dead(number)? else { return Ok(None) };
        let fanout = self.fanout.query_row([seq], |row| column::number(row, 0)).optional()?;
        self.release(seq, fanout.is_some_and(|fanout| fanout > 1))?;
        Ok(Some(webhook))
    }

    fn take_dead(&mut self, number: i64) -> Result<Option<(i64, i64)>> {
        let mut rows = self.take_dead.query([number])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let taken = (column::number(row, 0)?, column::number(row, 1)?);
        // The statement is stepped to its end, or the row would come back.
        rows.next()?;
        Ok(Some(taken))
    }

    /// Adds to the kept counters of a webhook, which is made when it is new.
    pub(super) fn count(&mut self, webhook: i64, name: &str, change: Change) -> Result<()> {
        self.count.execute(params![webhook, name, change.pending, change.dead]).map(drop)
    }

    /// Takes dropped dead letters off the kept counter of a webhook.
    pub(super) fn uncount_dead(&mut self, webhook: i64, dropped: i64) -> Result<()> {
        self.uncount_dead.execute(params![webhook, dropped]).map(drop)
    }

    /// The rows of a webhook behind `cursor` in the order of their keys.
    pub(super) fn pending(&mut self, webhook: i64, cursor: Key, limit: i64) -> Result<Vec<Pending>> {
        self.pending.query_map(params![webhook, cursor.0, cursor.1, limit], pending)?.collect()
    }

    /// The rows of one sort in the order in which their age began to count, behind `cursor`: that of the last one seen.
    pub(super) fn aged(&mut self, webhook: i64, sort: Sort, cursor: Aged, limit: i64) -> Result<Vec<Pending>> {
        let statement = match sort {
            Sort::Fresh => &mut self.aged_fresh,
            Sort::Deferred => &mut self.aged_deferred,
            Sort::Replayed => &mut self.aged_replayed,
        };
        statement.query_map(params![webhook, cursor.seq, cursor.since_ms, limit], pending)?.collect()
    }

    /// The oldest pending delivery of a webhook: the number of its event, and since when its age counts.
    pub(super) fn oldest(&mut self, webhook: i64) -> Result<Option<(i64, i64)>> {
        let mut oldest: Option<(i64, i64)> = None;
        for sort in Sort::ALL {
            for Pending { claim, since_ms } in self.aged(webhook, sort, Aged::default(), 1)? {
                if oldest.is_none_or(|(_, oldest_ms)| since_ms < oldest_ms) {
                    oldest = Some((claim.seq, since_ms));
                }
            }
        }
        Ok(oldest)
    }

    /// Drops up to `limit` dead letters that died before `before_ms`; the webhook of each.
    pub(super) fn drop_old_dead(&mut self, before_ms: i64, limit: i64) -> Result<Vec<i64>> {
        let old: Vec<(i64, i64, i64, i64)> = self
            .old_dead
            .query_map([before_ms, limit], |row| {
                Ok((row.get(0)?, column::number(row, 1)?, column::number(row, 2)?, column::number(row, 3)?))
            })?
            .collect::<Result<_>>()?;
        let mut webhooks = Vec::new();
        for (number, webhook, seq, fanout) in old {
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
            let left = self.lessen_owed.query_row([seq], |row| column::number(row, 0)).optional()?;
            if left.is_some_and(|left| left > 0) {
                return Ok(());
            }
            self.drop_owed.execute([seq])?;
        }
        self.drop_event.execute([seq]).map(drop)
    }
}

/// Pending rows by what makes their order: each sort has an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Never attempted, in the order of arrival.
    Fresh,
    /// Attempted, or waiting for their turn, in the order of arrival.
    Deferred,
    /// Replayed, in the order of their replays.
    Replayed,
}

impl Sort {
    pub(super) const ALL: [Self; 3] = [Self::Fresh, Self::Deferred, Self::Replayed];

    /// The next one, until there is none.
    pub(super) fn next(self) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|sort| *sort != self).nth(1)
    }
}

/// A place in the order of a [`Sort`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aged {
    pub(super) since_ms: i64,
    pub(super) seq: i64,
}

fn aged(place: &str, index: &str, order: &str) -> String {
    let index = if index.is_empty() { String::new() } else { format!("INDEXED BY {index}") };
    format!(
        "SELECT d.due, d.seq, d.attempts, coalesce(e.fanout, 1), d.lane, e.received_ms, d.since_ms
         FROM deliveries d {index} LEFT JOIN events e ON e.seq = d.seq
         WHERE d.webhook = ?1 AND {place} ORDER BY {order} LIMIT ?4"
    )
}

/// A pending row, and when its age began to count.
pub(super) struct Pending {
    pub(super) claim: Claim,
    pub(super) since_ms: i64,
}

fn pending(row: &Row<'_>) -> Result<Pending> {
    let claim = Claim {
        due: row.get(0)?,
        seq: row.get(1)?,
        attempts: column::count(row, 2)?,
        shared: column::number(row, 3)? > 1,
        lane: column::number(row, 4)?,
        since_ms: column::number(row, 6)?,
        failing_ms: 0,
    };
    let since_ms = if claim.since_ms == 0 { column::number(row, 5)? } else { claim.since_ms };
    Ok(Pending { claim, since_ms })
}

/// An outcome as it is stored: reason, status and sentence, with `-` for no status.
pub(super) fn written(last: &LastOutcome) -> String {
    match last.status {
        Some(status) => format!("{} {status} {}", last.reason, last.detail),
        None => format!("{} - {}", last.reason, last.detail),
    }
}

/// Reads what [`written`] writes; `None` for what only a damaged or newer spool holds.
pub(super) fn read(last: &str) -> Option<LastOutcome> {
    let mut parts = last.splitn(3, ' ');
    let reason = Reason::parse(parts.next()?)?;
    let status = parts.next()?.parse().ok();
    Some(LastOutcome { reason, status, detail: parts.next()?.to_owned() })
}

/// When a deferred row is due, as stored: never 0, which means that it was never attempted.
pub(super) fn due_of(settlement: &Settlement) -> Option<i64> {
    match settlement {
        Settlement::Defer { until, .. } => Some(until.as_millisecond().clamp(1, BLOCKED - 1)),
        Settlement::Delivered | Settlement::Bury { .. } => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::super::contract::assert_by_index;
    use super::super::schema;
    use super::*;

    #[test]
    fn every_statement_finds_its_rows_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        schema::make_tables(&connection).unwrap();
        // All are named, so that none is forgotten.
        let Ledger {
            begin,
            commit,
            rollback,
            add_event,
            add_delivery,
            lane_head,
            make_due,
            last,
            take_dead,
            fanout,
            aged_fresh,
            aged_deferred,
            aged_replayed,
            add_owed,
            drop_delivery,
            move_delivery,
            drop_event,
            lessen_owed,
            drop_owed,
            add_dead,
            drop_dead,
            old_dead,
            count,
            uncount_dead,
            pending,
            pages,
            pages_free,
            checkpoint,
            mark,
        } = Ledger::new(&connection).unwrap();
        let statements = [
            begin,
            commit,
            rollback,
            add_event,
            add_delivery,
            lane_head,
            make_due,
            last,
            take_dead,
            fanout,
            aged_fresh,
            aged_deferred,
            aged_replayed,
            add_owed,
            drop_delivery,
            move_delivery,
            drop_event,
            lessen_owed,
            drop_owed,
            add_dead,
            drop_dead,
            old_dead,
            count,
            uncount_dead,
            pending,
            pages,
            pages_free,
            checkpoint,
            mark,
        ];
        for statement in statements {
            assert_by_index(&connection, &statement.expanded_sql().unwrap());
        }
    }
}
